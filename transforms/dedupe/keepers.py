"""Which of many hashes, some near each other, are kept: none is near another, all else is near one.

Connected components alone would let a chain of near matches join pictures that are unlike. Here
the best of all is kept, what is near it goes, then the best of the rest, and so on; whatever is
dropped is within the limit of what is kept instead. It is done in rounds over all pairs, which
need not fit into memory, and in whatever order they come the end is the same.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.dedupe.hamming import Hashes, Pairs, as_words, near_pair_blocks

I64 = npt.NDArray[np.int64]
HELD_PAIRS = 1 << 24  # 17 bytes each; beyond that they are searched for anew


class NearPairs:
    """All pairs of hashes within a limit, as often as they are asked for."""

    def __init__(self, hashes: Hashes, limit: int, held: int = HELD_PAIRS) -> None:
        self._hashes, self._limit, self._held = hashes, limit, held
        self._blocks: list[Pairs] | None = None

    def __iter__(self) -> Iterator[Pairs]:
        if self._blocks is not None:
            yield from self._blocks
            return
        blocks: list[Pairs] = []
        count = 0
        for block in near_pair_blocks(self._hashes, self._limit):
            count += len(block.left)
            if count > self._held:
                blocks.clear()
            else:
                blocks.append(block)
            yield block
        if count <= self._held:
            self._blocks = blocks


def keepers(pairs: Iterable[Pairs], rank: I64) -> I64:
    """(N,): for each hash the best-ranked kept one that is near it; a kept one is its own.

    Args: pairs: all near pairs, to be gone through several times; rank: (N,), 0 the best, no two
        the same."""
    kept = np.zeros(len(rank), np.bool_)
    undecided = np.ones(len(rank), np.bool_)
    while undecided.any():
        beaten = np.zeros(len(rank), np.bool_)
        for left, right, _ in pairs:
            both = undecided[left] & undecided[right]
            left_loses = rank[left[both]] > rank[right[both]]
            beaten[np.where(left_loses, left[both], right[both])] = True
        best = undecided & ~beaten
        kept |= best
        undecided &= beaten
        for left, right, _ in pairs:
            undecided[left[best[right]]] = False
            undecided[right[best[left]]] = False
    return _nearest_kept(pairs, rank, kept)


def _nearest_kept(pairs: Iterable[Pairs], rank: I64, kept: npt.NDArray[np.bool_]) -> I64:
    by_rank = np.empty(len(rank), np.int64)
    by_rank[rank] = np.arange(len(rank))
    best = np.where(kept, rank, len(rank))
    for left, right, _ in pairs:
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
