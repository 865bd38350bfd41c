"""What each kind of measure does with a part: rows in, columns out. No Beam here.

Every function takes the part and what it was set to, writes the part's files, and returns how
many images it looked at.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL.Image import Image

from schemas.errors import RunFailedError
from transforms.capfilt.attempts import Attempts
from transforms.capfilt.candidates import (
    candidate_table,
    caption_images,
    match_texts,
    read_candidates,
    score_texts,
)
from transforms.capfilt.columns import CANDIDATES_SCHEMA, CLIP_TEXTS_SCHEMA, MATCHES_SCHEMA
from transforms.capfilt.load import load_captioner, load_matcher, weights_of
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy
from transforms.dedupe.captions import caption_hashes
from transforms.dedupe.hashes import image_hashes, pdq_hashes
from transforms.measure.concepts import match_concepts
from transforms.measure.head import apply_head, load_head
from transforms.measure.image import IMAGE_SCHEMA, image_facts
from transforms.measure.language import LanguagePolicy, measure_languages
from transforms.measure.own import load_own, load_text_detector, measure_own, wants_image
from transforms.measure.phrases import noun_phrases
from transforms.measure.policy import ConceptsPolicy, FunctionPolicy, HeadPolicy, PhrasesPolicy
from transforms.measure.stage import Part
from transforms.measure.text import text_facts
from transforms.score.clip import measure_clip
from transforms.score.clip_model import F32, load_clip
from transforms.score.policy import ClipPolicy
from transforms.shards.measures import places_of
from transforms.shards.pool import PoolImages
from transforms.shards.vectors import Kind, read_vectors

CLIP_SCHEMA = pa.schema([("text", pa.int32()), ("score", pa.float32())])


def measure_part_languages(part: Part, policy: LanguagePolicy) -> int:
    """Column languages: code to probability, likeliest first."""
    languages = measure_languages(part.rows["caption"].to_pylist(), policy)
    part.write(pa.table({"languages": languages}))
    return 0


def measure_part_text(part: Part) -> int:
    """Columns of TEXT_SCHEMA."""
    part.write(text_facts(part.rows["caption"].to_pylist()))
    return 0


def measure_part_image(part: Part, detector: str | None) -> int:
    """Columns of IMAGE_SCHEMA; a text detector is a function of `image`, as one's own measure."""
    find_text = None if detector is None else load_text_detector(detector)
    keys = part.rows["key"].to_pylist()
    with PoolImages(part.pool, part.shard) as images:
        try:
            distinct = dict.fromkeys(keys)
            facts = {key: image_facts(images.picture(key), find_text) for key in distinct}
        except ValueError as err:  # boxes that are none
            raise RunFailedError(f"The text detector {detector} failed: {err}.") from err
    part.write(pa.Table.from_pylist([facts[key] for key in keys], schema=IMAGE_SCHEMA))
    return len(facts)


def measure_part_image_hash(part: Part) -> int:
    """Columns of IMAGE_HASH_SCHEMA."""
    return _measure_pictures(part, image_hashes)


def measure_part_pdq(part: Part) -> int:
    """Columns of PDQ_SCHEMA."""
    return _measure_pictures(part, pdq_hashes)


def measure_part_caption_hash(part: Part) -> int:
    """Columns of CAPTION_HASH_SCHEMA."""
    rows = part.rows
    part.write(caption_hashes(rows["url"].to_pylist(), rows["caption"].to_pylist()))
    return 0


def _measure_pictures(part: Part, measure: Callable[[Iterable[Image]], pa.Table]) -> int:
    """Write what is found of each distinct picture for each row that has it."""
    keys = part.rows["key"].dictionary_encode().combine_chunks()
    with PoolImages(part.pool, part.shard) as images:
        found = measure(images.picture(key) for key in keys.dictionary.to_pylist())
    part.write(found.take(keys.indices))
    return found.num_rows


def measure_part_concepts(part: Part, policy: ConceptsPolicy) -> int:
    """Column entries: sorted numbers of the list's entries that the caption names."""
    captions = part.rows["caption"].to_pylist()
    part.write(pa.table({"entries": match_concepts(captions, policy.list, policy.ignore_case)}))
    return 0


def measure_part_phrases(part: Part, policy: PhrasesPolicy) -> int:
    """Column phrases: distinct noun phrases of the caption, in order."""
    part.write(pa.table({"phrases": noun_phrases(part.rows["caption"].to_pylist(), policy)}))
    return 0


def measure_part_head(part: Part, policy: HeadPolicy, clip: Path) -> int:
    """Column value, from the image embeddings of the measure in the folder `clip`."""
    uids, vectors = read_vectors(clip, part.shard, "image")
    places = places_of(part.rows["uid"], uids)
    found = np.zeros(0, np.float32)
    if part.rows.num_rows:
        head = load_head(policy.file, policy.between)
        found = apply_head(head, vectors[places.to_numpy()], policy.activation)
    part.write(pa.table({"value": pa.array(found, pa.float32())}))
    return 0


def measure_part_own(part: Part, policy: FunctionPolicy) -> int:
    """Column value, or those that the function names."""
    own = load_own(policy.function)
    rows = part.rows.to_pylist()
    if not wants_image(own):
        part.write(measure_own(own, iter(rows)))
        return 0
    with PoolImages(part.pool, part.shard) as images:
        part.write(measure_own(own, _with_pictures(rows, images)))
    return len(set(part.rows["key"].to_pylist()))


def measure_part_clip(part: Part, policy: ClipPolicy) -> int:
    """Columns text, score; beside the table NAME.image.npy and NAME.text.npy (fp16)."""
    if part.rows.num_rows == 0:
        part.write(CLIP_SCHEMA.empty_table())
        return 0
    with PoolImages(part.pool, part.shard) as images:
        measured = measure_clip(part.rows, images, load_clip(policy))
    part.write(measured.table.select(CLIP_SCHEMA.names))
    for kind, vectors in (("image", measured.images), ("text", measured.texts)):
        with part.draft.path(f"{part.name}.{kind}.npy").open("wb") as file:
            np.save(file, vectors.astype(np.float16))
    return measured.images_seen


def measure_part_captions(part: Part, policy: CaptionerPolicy) -> int:
    """Columns of CANDIDATES_SCHEMA; rows of one image share its candidates."""
    keys = part.rows["key"].to_pylist()
    distinct = list(dict.fromkeys(keys))
    if not distinct:
        part.write(CANDIDATES_SCHEMA.empty_table())
        return 0
    captioner, attempts = load_captioner(policy), _attempts(policy)
    with PoolImages(part.pool, part.shard) as images:
        found = caption_images(distinct, images, captioner, policy, attempts)
    by_key = dict(zip(distinct, found, strict=True))
    part.write(candidate_table(keys, by_key, policy, weights_of(policy, captioner)))
    return len(distinct)


def measure_part_itm(part: Part, policy: ItmPolicy, captions: Path | None) -> int:
    """Columns of MATCHES_SCHEMA: of web captions and of the candidates in the folder `captions`."""
    if not part.rows.num_rows:
        part.write(MATCHES_SCHEMA.empty_table())
        return 0
    candidates = _candidates(part, captions)
    with PoolImages(part.pool, part.shard) as images:
        matcher, attempts = load_matcher(policy), _attempts(policy)
        part.write(match_texts(part.rows, candidates, images, matcher, policy, attempts))
    return len(part.rows["key"].unique())


def measure_part_clip_texts(part: Part, policy: ClipPolicy, clip: Path, captions: Path) -> int:
    """Columns of CLIP_TEXTS_SCHEMA, from the embeddings of the measure in the folder `clip`."""
    if not part.rows.num_rows:
        part.write(CLIP_TEXTS_SCHEMA.empty_table())
        return 0
    shown, web = _vectors_of(part, clip, "image"), _vectors_of(part, clip, "text")
    part.write(score_texts(shown, web, _candidates(part, captions), load_clip(policy)))
    return 0


def _candidates(part: Part, captions: Path | None) -> list[list[str]]:
    if captions is None:
        return [[] for _ in range(part.rows.num_rows)]
    return read_candidates(captions, part.shard, part.rows["uid"])


def _vectors_of(part: Part, clip: Path, kind: Kind) -> F32:
    """(rows, D) in float32: what the CLIP measure holds of the part's rows."""
    uids, vectors = read_vectors(clip, part.shard, kind)
    return vectors[places_of(part.rows["uid"], uids).to_numpy()].astype(np.float32)


@functools.lru_cache(maxsize=8)
def _attempts(policy: CaptionerPolicy | ItmPolicy) -> Attempts:
    """A model's failures in a row are counted over all parts that a worker makes."""
    return Attempts(policy.model)


def _with_pictures(rows: Iterable[dict[str, Any]], images: PoolImages) -> Iterator[dict[str, Any]]:
    """Rows with their picture; rows of one image come together and share it."""
    key, picture = None, None
    for row in rows:
        if row["key"] != key:
            key, picture = row["key"], images.picture(row["key"])
        yield row | {"image": picture}
