"""Every pair of hashes within a number of bits: exact, in memory of the order of the hashes.

Hashes are sorted into buckets by a band of their bits. Buckets whose numbers differ in at most as
many bits as the band allows are compared by popcount, a few hashes at a time so that a processor's
vector instructions can do it. A pair that meets in several bands is given out in the first of them.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.dedupe.bands import WINDOW, Band, plan_bands
from transforms.dedupe.hamming_kernels import (
    BUCKET,
    FIRST,
    LAST,
    MASK,
    STATE_SIZE,
    bucket_starts,
    compare_buckets,
    keyed,
    look_up,
)

Hashes = npt.NDArray[np.uint64]  # (N,) of 64 bits, or (N, W) of 64 * W
I64 = npt.NDArray[np.int64]
WORD_BITS = 64
CHUNKS = 16  # of a band's buckets, for each thread
ROOM = 1 << 16  # pairs that a chunk holds before they are taken from it
MOST_HASHES = 1 << 32  # a place among them has 32 bits


class Pairs(NamedTuple):
    """Some pairs of hashes, by their places: left < right."""

    left: I64  # (P,)
    right: I64  # (P,)
    bits: npt.NDArray[np.uint8]  # (P,): in how many they differ


def near_pairs(hashes: Hashes, limit: int) -> Pairs:
    """All pairs that differ in at most `limit` bits, sorted. Equal hashes are pairs as well: a
    caller that may have many of these collapses them first (`keepers.collapsed`)."""
    found = list(near_pair_blocks(hashes, limit))
    joined = [np.concatenate(parts) for parts in zip(NO_PAIRS, *found, strict=True)]
    order = np.lexsort((joined[1], joined[0]))
    return Pairs(*(part[order] for part in joined))


def near_pair_blocks(hashes: Hashes, limit: int, threads: int | None = None) -> Iterator[Pairs]:
    """The same pairs in no order, some at a time: they need not all fit into memory.

    Args:   hashes: (N,) or (N, W) of uint64; limit: bits, under 64 * W; threads: one a core.
    Raises: ValueError: another shape, or the limit is out of range."""
    words = as_words(hashes)
    bands = plan_bands(len(words), words.shape[1] * WORD_BITS, limit)
    workers = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="near") as pool:
        for place, band in enumerate(bands):
            yield from _in_band(words, band, bands[:place], limit, pool, workers)


def nearest(asked: Hashes, hashes: Hashes, limit: int) -> tuple[I64, I64]:
    """(A,) twice: for each hash asked for, the place of the nearest of others that differs in at
    most `limit` bits, or -1, and in how many it differs, or limit + 1. Of equally near ones the
    first.

    Raises: ValueError: as `near_pair_blocks`, or hashes of two widths."""
    questions, words = as_words(asked), as_words(hashes)
    if questions.shape[1] != words.shape[1]:
        raise ValueError(f"hashes of {words.shape[1]} and {questions.shape[1]} words are not alike")
    places, bits = np.full(len(questions), -1), np.full(len(questions), limit + 1)
    if len(questions) and len(words):
        shape = (0,) * words.shape[1]
        for band in plan_bands(len(words), words.shape[1] * WORD_BITS, limit):
            found = (questions.reshape(-1), band.begin, band.bits, *_sorted_by(words, band))
            look_up(*found, band.masks, shape, places, bits)
    return places, bits


def as_words(hashes: Hashes) -> npt.NDArray[np.uint64]:
    """(N, W), whichever of the two forms hashes have.

    Raises: ValueError: they have neither."""
    words = hashes[:, None] if hashes.ndim == 1 else hashes
    if words.ndim != 2 or words.shape[1] == 0 or words.dtype != np.uint64:
        raise ValueError(
            f"hashes of uint64 wanted, (N,) or (N, W), not {hashes.dtype} of {hashes.shape}"
        )
    if len(words) >= MOST_HASHES:
        raise ValueError(f"{len(words):,} hashes are too many to search at once")
    return np.ascontiguousarray(words)


def _in_band(
    words: npt.NDArray[np.uint64],
    band: Band,
    earlier: Sequence[Band],
    limit: int,
    pool: ThreadPoolExecutor,
    workers: int,
) -> Iterator[Pairs]:
    starts, ordered, places = _sorted_by(words, band)
    masks, shape = band.masks, (0,) * words.shape[1]
    known = np.array([(b.begin, b.bits, b.differing) for b in earlier], np.int64).reshape(-1, 3)

    def search(state: I64) -> Pairs:
        left, right = np.empty(ROOM, np.uint32), np.empty(ROOM, np.uint32)
        bits = np.empty(ROOM, np.uint8)
        size = compare_buckets(
            ordered, starts, masks, known, limit, shape, state, left, right, bits
        )
        one, other = places[left[:size]].astype(np.int64), places[right[:size]].astype(np.int64)
        return Pairs(np.minimum(one, other), np.maximum(one, other), bits[:size])

    waiting = _chunks(starts, workers * CHUNKS)
    while waiting:
        turn, waiting = waiting[:workers], waiting[workers:]
        yield from (found for found in pool.map(search, turn) if len(found.left))
        waiting = [state for state in turn if state[MASK] < len(masks)] + waiting


def _chunks(starts: npt.NDArray[np.uint32], count: int) -> list[I64]:
    """States in which to begin: runs of buckets that hold about as many hashes each."""
    rows = int(starts[-1])
    ends = np.searchsorted(starts, np.linspace(0, rows, count + 1)[1:-1])
    bounds = np.unique([0, *ends.tolist(), len(starts) - 1])
    states = np.zeros((len(bounds) - 1, STATE_SIZE), np.int64)
    states[:, FIRST], states[:, LAST], states[:, BUCKET] = bounds[:-1], bounds[1:], bounds[:-1]
    return list(states)


def _sorted_by(
    words: npt.NDArray[np.uint64], band: Band
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Where each bucket begins, the hashes in the order of their buckets with some empty ones
    after the last, and their places. Band and place are sorted as one number: numpy has vector
    instructions for that."""
    shape = (0,) * words.shape[1]
    keys = keyed(words.reshape(-1), band.begin, band.bits, shape)
    keys.sort()
    starts = bucket_starts(keys, band.bits)
    places = keys.astype(np.uint32)  # the lower half
    ordered = np.zeros((len(words) + WINDOW, words.shape[1]), np.uint64)
    np.take(words, places, axis=0, out=ordered[: len(words)], mode="clip")
    return starts, ordered.reshape(-1), places


NO_PAIRS = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))
