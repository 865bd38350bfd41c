"""Every pair of hashes within a number of bits: exact, in memory of the order of the hashes.

Hashes are sorted into buckets by a band of their bits. Buckets whose numbers differ in at most as
many bits as the band allows are compared by popcount, a few hashes at a time so that a processor's
vector instructions can do it. A pair that meets in several bands is given out in the first of them.
"""
# pyright: reportCallIssue=false
# numba's decorators have no types.

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.extending import intrinsic

from transforms.dedupe.bands import WINDOW, Band, plan_bands

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
    caller that may have many of these collapses them first (`np.unique`)."""
    found = list(near_pair_blocks(hashes, limit))
    joined = [np.concatenate(parts) for parts in zip(Pairs(*_NO_PAIRS), *found, strict=True)]
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
    most `limit` bits, or -1, and in how many it differs. Of equally near ones the first."""
    questions, words = as_words(asked), as_words(hashes)
    if questions.shape[1] != words.shape[1]:
        raise ValueError(f"hashes of {words.shape[1]} and {questions.shape[1]} words are not alike")
    places, bits = np.full(len(questions), -1), np.full(len(questions), limit + 1)
    if len(questions) and len(words):
        shape = (0,) * words.shape[1]
        for band in plan_bands(len(words), words.shape[1] * WORD_BITS, limit):
            found = (questions.reshape(-1), band.begin, band.bits, *_sorted_by(words, band))
            _look_up(*found, band.masks, shape, places, bits)
    return places, bits


def compared(hashes: Hashes, limit: int) -> int:
    """How many pairs of hashes a search compares, of the N * (N - 1) / 2 that there are."""
    words, total = as_words(hashes), 0
    for band in plan_bands(len(words), words.shape[1] * WORD_BITS, limit):
        sizes = np.diff(_sorted_by(words, band)[0].astype(np.int64))
        for mask in band.masks:
            others = sizes[np.arange(len(sizes)) ^ mask]
            total += int((sizes * (others - (mask == 0))).sum()) // 2
    return total


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
        left, right, bits = (
            np.empty(ROOM, np.uint32),
            np.empty(ROOM, np.uint32),
            np.empty(ROOM, np.uint8),
        )
        size = _compare(ordered, starts, masks, known, limit, shape, state, left, right, bits)
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
    pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    return [np.array([begin, end, 0, begin, 0, 0], np.int64) for begin, end in pairs]


def _sorted_by(
    words: npt.NDArray[np.uint64], band: Band
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Where each bucket begins, the hashes in the order of their buckets with some empty ones
    after the last, and their places. Band and place are sorted as one number: numpy has vector
    instructions for that."""
    shape = (0,) * words.shape[1]
    keyed = _keyed(words.reshape(-1), band.begin, band.bits, shape)
    keyed.sort()
    starts = _starts(keyed, band.bits)
    places = keyed.astype(np.uint32)  # the lower half
    ordered = np.zeros((len(words) + WINDOW, words.shape[1]), np.uint64)
    np.take(words, places, axis=0, out=ordered[: len(words)], mode="clip")
    return starts, ordered.reshape(-1), places


# Where a chunk's search is: its buckets, the mask and bucket it has come to, how many hashes of the
# other bucket it has done with, and how many of the bucket itself.
FIRST, LAST, MASK, BUCKET, SKIPPED, ROW = range(6)
ZERO, ONE = np.uint64(0), np.uint64(1)


@intrinsic
def popcount(typing_context, word):
    """Number of ones among the bits of a uint64."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@numba.njit(nogil=True, cache=True)
def _apart(ones, a, others, b, shape):
    """In how many bits two hashes differ, from arrays that have one after the other."""
    width, bits = np.uint64(len(shape)), np.uint64(0)
    for word in range(width):
        bits += popcount(ones[np.uint64(a) * width + word] ^ others[np.uint64(b) * width + word])
    return bits


@numba.njit(nogil=True, cache=True)
def _key(flat, row, begin, bits, shape):
    """The band's bits of a hash, which may lie in two words."""
    place = np.uint64(row) * np.uint64(len(shape)) + np.uint64(begin // 64)
    shift = np.uint64(begin % 64)
    key = flat[place] >> shift
    if begin % 64 + bits > 64:
        key |= flat[place + ONE] << (np.uint64(64) - shift)
    return key & ((ONE << np.uint64(bits)) - ONE)


@numba.njit(nogil=True, cache=True)
def _keyed(flat, begin, bits, shape):
    """The band's bits of each hash, above its place."""
    out = np.empty(len(flat) // len(shape), np.uint64)
    for row in range(len(out)):
        out[row] = _key(flat, row, begin, bits, shape) << np.uint64(32) | np.uint64(row)
    return out


@numba.njit(nogil=True, cache=True)
def _starts(keyed, bits):
    """Where each bucket begins among sorted keys, and where the last one ends."""
    starts = np.zeros((1 << bits) + 1, np.uint32)
    for row in range(len(keyed)):
        starts[(keyed[row] >> np.uint64(32)) + ONE] += np.uint32(1)
    for bucket in range(1, len(starts)):
        starts[bucket] += starts[bucket - 1]
    return starts


@numba.njit(nogil=True, cache=True)
def _met_before(flat, a, b, known, shape):
    """Whether two hashes are near in an earlier band, and so were given out there."""
    for begin, bits, differing in known:
        key, other = _key(flat, a, begin, bits, shape), _key(flat, b, begin, bits, shape)
        if popcount(key ^ other) <= np.uint64(differing):
            return True
    return False


@numba.njit(nogil=True, cache=True)
def _compare(ordered, starts, masks, known, limit, shape, state, left, right, bits):
    """Compare a chunk's buckets with those that each mask leads to; gives the number of pairs.

    Stops where there may be no room for more, and leaves in `state` where it was. Masks are the
    outer loop: both buckets then move through memory in order."""
    size, room, most = 0, len(left) - WINDOW, np.uint64(limit)
    turn, bucket = state[MASK], np.uint64(state[BUCKET])
    window, row = np.uint64(state[SKIPPED]), np.uint64(state[ROW])
    while turn < len(masks):
        mask = np.uint64(masks[turn])
        while bucket < np.uint64(state[LAST]):
            other = bucket ^ mask
            if other >= bucket:
                first, last = np.uint64(starts[bucket]), np.uint64(starts[bucket + ONE])
                begin, end = np.uint64(starts[other]) + window, np.uint64(starts[other + ONE])
                while begin < end:
                    for a in range(first + row, last):
                        hits = False
                        for b in range(begin, begin + np.uint64(WINDOW)):
                            hits |= _apart(ordered, a, ordered, b, shape) <= most
                        if hits:
                            if size > room:
                                state[MASK], state[BUCKET] = turn, bucket
                                state[SKIPPED], state[ROW] = window, a - first
                                return size
                            for b in range(begin, min(begin + np.uint64(WINDOW), end)):
                                near = _apart(ordered, a, ordered, b, shape)
                                is_once = a < b or mask != ZERO
                                if (
                                    near <= most
                                    and is_once
                                    and not _met_before(ordered, a, b, known, shape)
                                ):
                                    left[size], right[size], bits[size] = a, b, near
                                    size += 1
                    begin, window, row = begin + np.uint64(WINDOW), window + np.uint64(WINDOW), ZERO
            bucket, window = bucket + ONE, ZERO
        turn, bucket = turn + 1, np.uint64(state[FIRST])
    state[MASK] = turn
    return size


@numba.njit(nogil=True, cache=True)
def _look_up(questions, begin, width, starts, ordered, found, masks, shape, places, bits):
    """Note for each question what is nearer to it in its buckets of a band than before."""
    for row in range(len(places)):
        bucket = _key(questions, row, begin, width, shape)
        for mask in masks:
            other = bucket ^ np.uint64(mask)
            for b in range(starts[other], starts[other + ONE]):
                near = np.int64(_apart(questions, row, ordered, b, shape))
                place = np.int64(found[b])
                if near < bits[row] or (near == bits[row] and 0 <= place < places[row]):
                    bits[row], places[row] = near, place


_NO_PAIRS = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))
