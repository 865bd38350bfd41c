"""Find pictures in a RUN by a text, by a picture, or by both, over the embeddings it keeps.

A text finds the pictures whose image embedding is nearest to its own. Every picture is found
once, however many captions it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.decided import open_decided
from pipelines.job import Job
from pipelines.look.search_query import Query, make_query, measured_model
from pipelines.look.texts import texts_of
from pipelines.recipe import CLIP
from schemas.errors import BadInputError
from schemas.layout import TEXTS_FILE, decision_manifest
from transforms.decide.ledger import read_ledger
from transforms.search.nearest import (
    I64,
    cut_by_shard,
    embedded,
    image_blocks,
    nearest,
    one_a_picture,
    with_images,
)
from transforms.shards.commit import committed
from transforms.shards.measures import read_measure
from transforms.shards.ordered import among
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed

_FACTS = ["row", "uid", "url", "caption", "key", "image", "repeated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A picture that was found, by its first pair: the lowest row, a kept one before others."""

    rank: int  # from 1
    score: float  # cosine of the picture and what was searched for
    uid: str
    row: int
    url: str
    captions: tuple[str, ...]  # the kept ones of this picture; the first pair's where none is
    clip_score: float | None  # of the first pair
    kept: bool | None  # None: nothing was decided yet
    stage: str | None  # where and why the first pair was dropped
    reason: str | None
    shard: int  # of the pool
    key: str  # of the picture in the shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The hits, best first, and what was searched."""

    hits: tuple[Hit, ...]
    model: str
    images: int  # distinct pictures that were searched
    unembedded: int  # kept pictures that were not, since the model has not measured them


@dataclass(frozen=True, slots=True)
class _Corpus:
    """The pictures that can be found."""

    job: Job
    measure: Path
    images: pa.Table  # uid, row, image, shard: one row a picture, sorted by shard
    kept: I64 | None  # numbers of all kept rows; None where nothing was decided
    unembedded: int


def search(
    run: Path,
    *,
    text: str | None = None,
    image: str | Path | None = None,
    alpha: float = 0.5,
    top: int = 20,
    model: str | None = None,
    everything: bool = False,
    decision: str | None = None,
) -> Found:
    """The pictures of a run nearest to a text, to a picture, or to normalise(alpha * text +
    (1 - alpha) * picture), best first; equal scores by the lowest row.

    Args:
        image: a file, or the uid of a row: its kept embedding, and never itself among the hits.
        alpha: in [0, 1]; counts only where both are given.
        top: hits wanted; fewer where there are fewer pictures.
        model: a name under `clip` in the recipe; default the one its rules ask for last.
        everything: search all that is embedded, not only what the decision keeps.
        decision: another than the last recipe's, by the beginning of its fingerprint.
    Raises: BadInputError: there is nothing to search for, no model, no decision, no such uid, or
        the file is no image. RunFailedError: what the run keeps is damaged."""
    _check(text, image, alpha, top)
    job = Job.open(run) if decision is None else open_decided(run, decision)
    name = measured_model(job, model)
    measure = job.measure(CLIP + name)
    query = make_query(job, name, text, image, alpha)
    corpus = _corpus(job, measure, everything)
    return Found(
        hits=tuple(_hits(corpus, _lines(corpus, query, top))),
        model=name,
        images=corpus.images.num_rows,
        unembedded=corpus.unembedded,
    )


def _check(text: str | None, image: str | Path | None, alpha: float, top: int) -> None:
    if text is None and image is None:
        raise BadInputError("There is nothing to search for: give a text, an image, or both.")
    if text is not None and not text.strip():
        raise BadInputError("The text to search for is empty.")
    if not 0 <= alpha <= 1:
        raise BadInputError(f"alpha is {alpha}: from 0, only the image, to 1, only the text.")
    if top < 1:
        raise BadInputError(f"top is {top}: at least 1 is wanted.")


def _corpus(job: Job, measure: Path, everything: bool) -> _Corpus:
    decision = decision_manifest(job.decision)
    texts = kept = None
    if committed(decision) is not None:
        columns = ["uid", "row", "image", "shard", "given_by"]
        texts = read_committed(decision, TEXTS_FILE, columns=columns).sort_by("shard")
        texts = texts.filter(texts["given_by"].is_null())
        _, firsts = np.unique(texts["row"].to_numpy(), return_index=True)  # a row may bear several
        texts = texts.take(np.sort(firsts))
        kept = np.sort(texts["row"].to_numpy())
    elif not everything:
        raise BadInputError(
            f"The run in {job.run} has no decision yet: --all searches all that is embedded."
        )
    if texts is None or everything:
        rows = with_images(job.layout.pool, job.shards)
        return _Corpus(job, measure, one_a_picture(embedded(rows, measure), kept), kept, 0)
    images = one_a_picture(embedded(cut_by_shard(texts), measure), kept)
    lacking = len(np.unique(texts["image"].to_numpy())) - images.num_rows
    return _Corpus(job, measure, images, kept, lacking)


def _lines(corpus: _Corpus, query: Query, top: int) -> list[dict[str, Any]]:
    """What `nearest` finds: the pictures' rows with their scores, best first."""
    more = 0 if query.without is None else 1
    blocks = image_blocks(corpus.images, corpus.measure)
    rows, scores = nearest(blocks, query.vector, top + more)
    lines = corpus.images.filter(pc.field("row").isin(pa.array(rows))).to_pylist()
    by_row = {line["row"]: line for line in lines}
    scored = [
        {**by_row[row], "score": score}
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
    ]
    return [line for line in scored if line["image"] != query.without][:top]


def _hits(corpus: _Corpus, lines: list[dict[str, Any]]) -> Iterator[Hit]:
    facts = {
        shard: _facts(corpus, shard, [line["image"] for line in lines if line["shard"] == shard])
        for shard in {line["shard"] for line in lines}
    }
    said = _surviving(corpus, [pair for pairs in facts.values() for pair in pairs])
    for rank, line in enumerate(lines, start=1):
        pairs = [pair for pair in facts[line["shard"]] if pair["image"] == line["image"]]
        (first,) = [pair for pair in pairs if pair["row"] == line["row"]]
        captions = [text for pair in pairs for text in said.get(pair["row"], [])]
        captions = captions or [first["caption"]]
        told = {name: first[name] for name in ("uid", "row", "url", "key", "kept")}
        yield Hit(
            rank=rank,
            score=line["score"],
            captions=tuple(captions),
            clip_score=first["score"],
            shard=line["shard"],
            stage=first["stage"],
            reason=first["reason"],
            **told,
        )


def _surviving(corpus: _Corpus, pairs: list[dict[str, Any]]) -> dict[int, list[str]]:
    """The captions that each kept row bears: its own, or those that a rule chose."""
    web = {pair["row"]: pair["caption"] for pair in pairs if pair["kept"]}
    if not web:
        return {}
    chosen = texts_of(corpus.job, web)
    return {
        row: [text["text"] for text in chosen[row]] if row in chosen else [caption]
        for row, caption in web.items()
    }


def _facts(corpus: _Corpus, shard: int, images: list[int]) -> list[dict[str, Any]]:
    """All pairs of these pictures of a shard: how they ended, and the score of the measure."""
    job = corpus.job
    pool = read_pool(job.layout.pool, shard, columns=_FACTS)
    pairs = pool.filter(pc.field("image").isin(images) & ~pc.field("repeated"))
    kept = np.full(len(pairs), None)
    if corpus.kept is not None:
        kept = among(pairs["row"].to_numpy(), corpus.kept)
    outcomes: dict[int, dict[str, Any]] = {}
    if corpus.kept is not None and not kept.all():
        columns = ["row", "stage", "reason"]
        ledger = read_ledger(job.decision, shard, columns)
        outcomes = {line["row"]: line for line in _only(ledger, "row", pairs["row"])}
    measured = _only(read_measure(corpus.measure, shard), "uid", pairs["uid"])
    scores = dict.fromkeys(pairs["uid"].to_pylist())
    scores |= {line["uid"]: line["score"] for line in measured}
    untold = {"stage": None, "reason": None}
    return [
        {**pair, **untold, **outcomes.get(pair["row"], {}), "kept": k, "score": scores[pair["uid"]]}
        for pair, k in zip(pairs.to_pylist(), kept.tolist(), strict=True)
    ]


def _only(table: pa.Table, column: str, values: pa.ChunkedArray) -> list[dict[str, Any]]:
    return table.filter(pc.field(column).isin(values.combine_chunks())).to_pylist()
