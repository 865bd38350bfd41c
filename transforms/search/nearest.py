"""Exact search by inner product over fp16 embeddings, and the vector that is searched for.

A shard at a time is read, checked and searched, so the whole never lies in memory: 1 million x
512 takes 5 s of one core, half of them for checksums, and 0.5 GB. The search is faiss's fp16
scalar quantiser: it takes the kept bytes as they are and multiplies in fp32, so nothing is
approximate beyond the kept precision, and equal vectors have equal scores wherever they lie.
Brute force by numpy must convert to fp32 first: over 1 million x 512 in memory a query took 5 to
9 s so, against 0.11 s.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import BadInputError
from schemas.pair import Status
from transforms.shards.measures import places_of, read_measure
from transforms.shards.ordered import among
from transforms.shards.pool import read_pool
from transforms.shards.vectors import F16, read_vectors

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Block = tuple[I64, F16]  # (n,) numbers of rows, and their vectors (n, D)


def nearest(blocks: Iterable[Block], query: F32, top: int) -> tuple[I64, F32]:
    """Rows and inner products of the `top` best, best first; fewer where there are fewer.

    Equal scores come by their row, lowest first, also where `top` cuts through them: whatever
    the order in which the vectors arrive. A vector that holds no number is never found.

    Args: query: (D,)."""
    rows, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
    for block_rows, vectors in blocks:
        found_rows, found_scores = _nearest_in_block(block_rows, vectors, query, top)
        rows = np.concatenate([rows, found_rows])
        scores = np.concatenate([scores, found_scores])
        best = np.lexsort((rows, -scores))[:top]
        rows, scores = rows[best], scores[best]
    return rows, scores


def image_blocks(pictures: pa.Table, measure: Path) -> Iterator[Block]:
    """The image embeddings of `one_a_picture`'s rows, each of which is measured, by shard.

    Raises: RunFailedError: a file of the measure is missing or damaged."""
    for shard, rows in cut_by_shard(pictures):
        if len(rows):
            uids, vectors = read_vectors(measure, shard, "image")
            yield rows["row"].to_numpy(), vectors[places_of(rows["uid"], uids).to_numpy()]


def cut_by_shard(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Slices of a table that is sorted by its column `shard`; an empty table as one slice."""
    shards = table["shard"].to_numpy()
    if not len(shards):
        yield 0, table
        return
    begins = [0, *(np.flatnonzero(np.diff(shards)) + 1), len(shards)]
    for begin, end in itertools.pairwise(begins):
        yield int(shards[begin]), table.slice(begin, end - begin)


def with_images(pool: Path, shards: int) -> Iterator[tuple[int, pa.Table]]:
    """Columns uid, row, image, shard of each shard's rows that have an image."""
    for shard in range(shards):
        columns = ["uid", "row", "image", "repeated", "status"]
        table = read_pool(pool, shard, columns=columns)
        there = (pc.field("status") == Status.SUCCESS.value) & ~pc.field("repeated")
        rows = table.filter(there).select(["uid", "row", "image"])
        yield shard, rows.append_column("shard", pa.array(np.full(len(rows), shard, np.int32)))


def embedded(shards: Iterable[tuple[int, pa.Table]], measure: Path) -> pa.Table:
    """Those rows of these shards that the measure holds."""
    tables = [
        rows.filter(pc.field("uid").isin(read_measure(measure, shard)["uid"].combine_chunks()))
        for shard, rows in shards
    ]
    return pa.concat_tables(tables)


def one_a_picture(rows: pa.Table, kept: I64 | None) -> pa.Table:
    """The lowest kept row of each picture, or its lowest one; sorted by shard, then by row.

    Args: rows: columns row, image, shard and any others; kept: numbers of kept rows, ordered."""
    numbers, images = rows["row"].to_numpy(), rows["image"].to_numpy()
    is_kept = np.zeros(len(numbers), bool) if kept is None else among(numbers, kept)
    order = np.lexsort((numbers, ~is_kept, images))
    _, firsts = np.unique(images[order], return_index=True)
    table = rows.take(pa.array(order[firsts]))
    return table.sort_by([("shard", "ascending"), ("row", "ascending")])


def mix(text: F32 | None, image: F32 | None, alpha: float) -> F32:
    """The vector to search for: normalise(alpha * text + (1 - alpha) * image), or the one given.

    Args:    text, image: (D,), norm 1, or nearly so where they come from fp16; at least one.
    Returns: (D,), norm 1.
    Raises:  BadInputError: they cancel each other out."""
    if text is not None and image is not None:
        mixed = alpha * text + (1 - alpha) * image
    else:
        mixed = image if text is None else text
    if mixed is None:
        raise ValueError("neither a text nor an image")
    norm = float(np.linalg.norm(mixed))
    if norm < 1e-6:
        raise BadInputError("The text and the image cancel each other out at this alpha.")
    return (mixed / norm).astype(np.float32)


def _nearest_in_block(rows: I64, vectors: F16, query: F32, top: int) -> tuple[I64, F32]:
    """The `top` best of a block; where some that tie are left out, the highest rows."""
    index = faiss.IndexScalarQuantizer(
        len(query), faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.add_sa_codes(np.ascontiguousarray(vectors, np.float16).view(np.uint8))
    wanted = min(top + 1, len(rows))
    places, scores = _search(index, query, wanted)
    # faiss keeps any of those that tie: look further until the last one found is worse.
    while len(places) == wanted < len(rows) and scores[-1] == scores[top - 1]:
        wanted = min(4 * wanted, len(rows))
        places, scores = _search(index, query, wanted)
    best = np.lexsort((rows[places], -scores))[:top]
    return rows[places][best], scores[best]


def _search(index: faiss.IndexScalarQuantizer, query: F32, count: int) -> tuple[I64, F32]:
    """What faiss finds, best first, in any order where scores are equal."""
    scores, places = index.search(query[None].astype(np.float32), count)
    found = places[0] >= 0
    return places[0][found], scores[0][found]
