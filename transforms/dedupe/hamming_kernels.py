"""The inner loops of the search for near hashes, compiled by numba.

Arrays of hashes are flat, one after the other, and places are unsigned: so numba leaves out its
test for negative ones, and the compiler makes vector instructions. `shape` is a tuple of as many
zeros as a hash has words: a length that is known when a loop is compiled.
"""
# pyright: reportCallIssue=false
# An intrinsic is called without its typing context.

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from transforms.dedupe.bands import WINDOW

# Where a chunk's search is: its buckets, the mask and bucket it has come to, how many hashes of the
# other bucket it has done with, and how many of the bucket itself.
FIRST, LAST, MASK, BUCKET, SKIPPED, ROW = range(6)
STATE_SIZE = 6
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
def keyed(flat, begin, bits, shape):
    """The band's bits of each hash, above its place."""
    out = np.empty(len(flat) // len(shape), np.uint64)
    for row in range(len(out)):
        out[row] = _key(flat, row, begin, bits, shape) << np.uint64(32) | np.uint64(row)
    return out


@numba.njit(nogil=True, cache=True)
def bucket_starts(keyed, bits):
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


@numba.njit(nogil=True, cache=True, inline="always")
def _note(ordered, a, begin, stop, most, known, shape, found, size):
    """Note which of a few hashes are near one, and were not given out; gives the new size. A pair
    within a bucket comes twice, and is noted when the one has the lower place."""
    left, right, bits = found
    for b in range(begin, stop):
        near = _apart(ordered, a, ordered, b, shape)
        if a < b and near <= most and not _met_before(ordered, a, b, known, shape):
            left[size], right[size], bits[size] = a, b, near
            size += 1
    return size


@numba.njit(nogil=True, cache=True)
def compare_buckets(ordered, starts, masks, known, limit, shape, state, left, right, bits):
    """Compare a chunk's buckets with those that each mask leads to; gives the number of pairs.

    Stops where there may be no room for more, and leaves in `state` where it was. Masks are the
    outer loop: both buckets then move through memory in order. WINDOW hashes are compared at a
    time, past the other bucket's end too (there are WINDOW empty ones after the last): `_note`
    looks again at those that lie in it.

    Args: ordered: flat, in the order of buckets; starts: (buckets + 1,); masks: (M,); known:
        (earlier bands, 3) of begin, bits, differing; state: (STATE_SIZE,); left, right, bits:
        (room,), filled from their beginning."""
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
                    until = min(last, begin + np.uint64(WINDOW)) if mask == ZERO else last
                    for a in range(first + row, until):
                        hits = np.uint64(0)
                        for b in range(begin, begin + np.uint64(WINDOW)):
                            hits += np.uint64(_apart(ordered, a, ordered, b, shape) <= most)
                        if hits > np.uint64(mask == ZERO and a >= begin):  # itself, at its place
                            if size > room:
                                state[MASK], state[BUCKET] = turn, bucket
                                state[SKIPPED], state[ROW] = window, a - first
                                return size
                            stop = min(begin + np.uint64(WINDOW), end)
                            found = (left, right, bits)
                            size = _note(ordered, a, begin, stop, most, known, shape, found, size)
                    begin, window, row = begin + np.uint64(WINDOW), window + np.uint64(WINDOW), ZERO
            bucket, window = bucket + ONE, ZERO
        turn, bucket = turn + 1, np.uint64(state[FIRST])
    state[MASK] = turn
    return size


@numba.njit(nogil=True, cache=True)
def look_up(questions, begin, width, starts, ordered, found, masks, shape, places, bits):
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
