"""Which of many hashes, some near each other, are kept: none is near another, all else is near one.

Connected components alone would let a chain of near matches join pictures that are unlike. Here
the best of all is kept, what is near it goes, then the best of the rest, and so on; whatever is
dropped is within the limit of what is kept instead. Where the pairs fit into memory this is one
sweep; where not, it is done in rounds over all pairs. In whatever order they come the end is the
same.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numba
import numpy as np
import scipy.sparse

from transforms.decide.rule import I64, Mask
from transforms.dedupe.hamming import NO_PAIRS, Hashes, Pairs, as_words, near_pair_blocks

HELD_PAIRS = 1 << 24  # a gigabyte while they are swept


def keepers(hashes: Hashes, limit: int, rank: I64, held: int = HELD_PAIRS) -> I64:
    """(N,): for each hash the best-ranked kept one that is near it; a kept one is its own.

    Args: hashes: distinct, (N,) or (N, W); limit: bits; rank: (N,), 0 to N - 1, 0 the best; held:
        pairs that may be in memory."""
    blocks: list[Pairs] = []
    for block in near_pair_blocks(hashes, limit):
        blocks.append(block)
        held -= len(block.left)
        if held < 0:
            return in_rounds(lambda: near_pair_blocks(hashes, limit), rank)
    return in_one_sweep(blocks, rank)


def in_one_sweep(pairs: Iterable[Pairs], rank: I64) -> I64:
    """(N,): keepers, by going through the hashes from the best to the worst."""
    blocks = [NO_PAIRS, *pairs]
    left, right = (np.concatenate([block[side] for block in blocks]) for side in (0, 1))
    both = np.append(left, right), np.append(right, left)
    near = scipy.sparse.coo_array((np.ones(len(both[0]), np.bool_), both), (len(rank),) * 2).tocsr()
    keeper = np.full(len(rank), -1)
    _sweep(near.indptr, near.indices, np.argsort(rank), keeper)
    return keeper


@numba.njit(nogil=True, cache=True)
def _sweep(starts, near, order, keeper):
    for node in order:
        if keeper[node] < 0:
            keeper[node] = node
            for place in range(starts[node], starts[node + 1]):
                if keeper[near[place]] < 0:
                    keeper[near[place]] = node


def in_rounds(pairs: Callable[[], Iterable[Pairs]], rank: I64) -> I64:
    """(N,): the same, with `pairs` called for them twice a round. Whatever no undecided one beats
    is kept, and what is near it goes; there are as many rounds as the longest chain of ever worse
    neighbours asks for."""
    kept = np.zeros(len(rank), np.bool_)
    undecided = np.ones(len(rank), np.bool_)
    while undecided.any():
        beaten = np.zeros(len(rank), np.bool_)
        for left, right, _ in pairs():
            both = undecided[left] & undecided[right]
            left_loses = rank[left[both]] > rank[right[both]]
            beaten[np.where(left_loses, left[both], right[both])] = True
        best = undecided & ~beaten
        kept |= best
        undecided &= beaten
        for left, right, _ in pairs():
            undecided[left[best[right]]] = False
            undecided[right[best[left]]] = False
    return _best_kept(pairs, rank, kept)


def _best_kept(pairs: Callable[[], Iterable[Pairs]], rank: I64, kept: Mask) -> I64:
    by_rank = np.empty(len(rank), np.int64)
    by_rank[rank] = np.arange(len(rank))
    best = np.where(kept, rank, len(rank))
    for left, right, _ in pairs():
        for one, other in ((left, right), (right, left)):
            drops = kept[one] & ~kept[other]
            np.minimum.at(best, other[drops], rank[one[drops]])
    return by_rank[best]


class Collapsed(NamedTuple):
    """Hashes of which none comes twice."""

    distinct: Hashes  # (M,) or (M, W)
    group: I64  # (N,): which of them each hash is


def collapsed(hashes: Hashes) -> Collapsed:
    """Equal hashes as one: a million blank pictures are then no more than one."""
    words = as_words(hashes)
    order = np.lexsort(words.T)
    ordered = words[order]
    is_first = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(order)]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(is_first) - 1
    return Collapsed(hashes[order[is_first]], group)
