"""The measures of the stage: candidate captions, their ITM probability and their CLIP score.

One row a uid, the candidates of its image in lists, so that lists of one row belong together. Rows
of one image share its candidates.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from transforms.capfilt.attempts import Attempts
from transforms.capfilt.columns import CANDIDATES_SCHEMA, CLIP_TEXTS_SCHEMA, MATCHES_SCHEMA
from transforms.capfilt.models import Captioner, Matcher
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy, question
from transforms.capfilt.seeds import seeds_of
from transforms.hub.errors import ModelError
from transforms.hub.policy import model_folder
from transforms.score.ahead import ahead
from transforms.score.clip import clip_scores
from transforms.score.clip_model import F32, Clip
from transforms.shards.measures import places_of, read_measure
from transforms.shards.pool import PoolImages

_AHEAD = 2  # batches that are decoded while the model is at work
_DECODING = (
    "backend", "decoding", "candidates", "top_p", "temperature", "repetition_penalty", "beams",
    "min_tokens", "max_tokens", "prompt", "language", "precision",
)  # fmt: skip
_NOT_SENT = ("repetition_penalty", "beams", "min_tokens", "precision")  # to a server


class _Shown(NamedTuple):
    """A picture of the pool on its way to a captioner."""

    picture: Image.Image
    seeds: list[int]


def caption_images(
    keys: Sequence[str],
    images: PoolImages,
    captioner: Captioner,
    policy: CaptionerPolicy,
    attempts: Attempts,
) -> list[dict[str, Any]]:
    """Candidates of each image, as columns texts, seeds, error of CANDIDATES_SCHEMA.

    Args: keys: distinct, of the pool shard's images. Batches are cut in their order."""

    def show(key: str) -> _Shown:
        _, data = images.read(key)
        return _Shown(images.picture(key), seeds_of(data, policy.seed, policy.candidates))

    def caption(batch: Sequence[_Shown]) -> list[list[str]]:
        return captioner.caption([one.picture for one in batch], [one.seeds for one in batch])

    found: list[dict[str, Any]] = []
    written: list[list[str] | ModelError] = []
    depth = _AHEAD * policy.batch_size
    with closing(ahead(show, keys, workers=1, depth=depth)) as shown:
        for batch in _batches(shown, policy.batch_size):
            texts = attempts.work(caption, batch)
            found += [_captioned(one, own) for one, own in zip(batch, texts, strict=True)]
            written += texts
    attempts.refuse_if_all_failed(written)
    return found


def _captioned(shown: _Shown, texts: list[str] | ModelError) -> dict[str, Any]:
    if isinstance(texts, ModelError):
        return {"texts": [], "seeds": [], "error": str(texts)}
    return {"texts": texts, "seeds": shown.seeds, "error": None}


def candidate_table(
    keys: Sequence[str],
    by_key: Mapping[str, Mapping[str, Any]],
    policy: CaptionerPolicy,
    digest: str | None,
) -> pa.Table:
    """CANDIDATES_SCHEMA, a row for each of `keys`, which may come twice."""
    decoding = json.dumps(_decoding(policy), ensure_ascii=False)
    same = {"model": _model_name(policy), "digest": digest, "decoding": decoding}
    return pa.Table.from_pylist([{**by_key[key], **same} for key in keys], CANDIDATES_SCHEMA)


def _decoding(policy: CaptionerPolicy) -> dict[str, Any]:
    """How captions were asked for."""
    asked = {name: getattr(policy, name) for name in _DECODING}
    if policy.backend == "endpoint":
        asked = {name: value for name, value in asked.items() if name not in _NOT_SENT}
    if policy.backend in ("chat", "endpoint"):
        asked["prompt"] = question(policy)
    return asked


def _model_name(policy: CaptionerPolicy) -> str:
    """Of a folder its last part only: where it lies is another place on another machine."""
    folder = model_folder(policy)
    return policy.model if folder is None else folder.name


class Asked(NamedTuple):
    """The texts of one image: the web captions of its rows, then its candidates."""

    key: str
    web: list[str]
    synthetic: tuple[str, ...]


def ask_by_image(
    rows: pa.Table, candidates: Sequence[Sequence[str]]
) -> tuple[list[Asked], list[tuple[int, int]]]:
    """The rows' images in their order, each once, with all texts about it; and for each row the
    place of its image among these and of its caption among that one's.

    Rows of one image with other candidates (captioning failed for an earlier part) are apart.

    Args: candidates: those of each row's image."""
    asked: list[Asked] = []
    places: list[tuple[int, int]] = []
    numbers: dict[tuple[str, tuple[str, ...]], int] = {}
    columns = (rows["key"].to_pylist(), rows["caption"].to_pylist(), candidates)
    for key, caption, texts in zip(*columns, strict=True):
        number = numbers.setdefault((key, tuple(texts)), len(numbers))
        if number == len(asked):
            asked.append(Asked(key, [], tuple(texts)))
        places.append((number, len(asked[number].web)))
        asked[number].web.append(caption)
    return asked, places


def match_texts(
    rows: pa.Table,
    candidates: Sequence[Sequence[str]],
    images: PoolImages,
    matcher: Matcher,
    policy: ItmPolicy,
    attempts: Attempts,
) -> pa.Table:
    """MATCHES_SCHEMA: every text about each row's image, which is encoded once for all."""
    asked, places = ask_by_image(rows, candidates)

    def show(one: Asked) -> tuple[Image.Image, list[str]]:
        return images.picture(one.key), [*one.web, *one.synthetic]

    def match(batch: Sequence[tuple[Image.Image, list[str]]]) -> list[list[float]]:
        return matcher.match([picture for picture, _ in batch], [texts for _, texts in batch])

    found: list[list[float] | ModelError] = []
    depth = _AHEAD * policy.batch_size
    with closing(ahead(show, asked, workers=1, depth=depth)) as shown:
        for batch in _batches(shown, policy.batch_size):
            found += attempts.work(match, batch)
    attempts.refuse_if_all_failed(found)
    return pa.Table.from_pylist(
        [_matched(asked[n], found[n], place) for n, place in places], MATCHES_SCHEMA
    )


def _matched(asked: Asked, scores: list[float] | ModelError, place: int) -> dict[str, Any]:
    if isinstance(scores, ModelError):
        return {"score": None, "synthetic": [], "error": str(scores)}
    return {"score": scores[place], "synthetic": scores[len(asked.web) :], "error": None}


def score_texts(images: F32, web: F32, candidates: Sequence[Sequence[str]], clip: Clip) -> pa.Table:
    """CLIP_TEXTS_SCHEMA from stored embeddings: only the candidates are encoded, equal ones once.

    Args: images, web: (N, D), of norm 1 but for rounding; candidates: of each row."""
    distinct = list(dict.fromkeys(text for texts in candidates for text in texts))
    places = {text: place for place, text in enumerate(distinct)}
    size = clip.policy.batch_size
    encoded = [clip.embed_texts(distinct[n : n + size]) for n in range(0, len(distinct), size)]
    vectors = np.concatenate(encoded) if encoded else np.zeros((0, images.shape[1]), np.float32)
    owner = np.repeat(np.arange(len(candidates)), [len(texts) for texts in candidates])
    flat = np.array([places[text] for texts in candidates for text in texts], np.intp)
    scores = clip_scores(images[owner], vectors[flat])
    ends = np.cumsum([0, *(len(texts) for texts in candidates)])
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(scores, pa.float32()))
    columns = {"score": pa.array(clip_scores(images, web), pa.float32()), "synthetic": lists}
    return pa.table(columns, schema=CLIP_TEXTS_SCHEMA)


def read_candidates(measure: Path, shard: int, uids: pa.ChunkedArray) -> list[list[str]]:
    """The candidate captions of some uids of a shard, all of which are captioned."""
    captioned = read_measure(measure, shard)
    if not len(uids):
        return []
    return captioned["texts"].take(places_of(uids, captioned["uid"])).to_pylist()


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
