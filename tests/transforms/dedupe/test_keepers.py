"""What is kept is what one keeps by going through hashes in their order, however pairs come."""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dedupe import keepers as module
from transforms.dedupe.hamming import Hashes, Pairs, near_pair_blocks, near_pairs
from transforms.dedupe.keepers import I64, collapsed, in_one_sweep, in_rounds, keepers

Edge = tuple[int, int]


def blocks_of(edges: list[Edge], size: int) -> list[Pairs]:
    """Pairs as a search gives them out: left < right, `size` at a time."""
    blocks = []
    for begin in range(0, len(edges), size):
        block = np.array([sorted(edge) for edge in edges[begin : begin + size]], np.int64)
        blocks.append(Pairs(block[:, 0], block[:, 1], np.zeros(len(block), np.uint8)))
    return blocks


def one_by_one(edges: list[Edge], rank: list[int]) -> list[int]:
    """Go through by rank; one is kept unless it is near one that is, and then goes to the best."""
    near: dict[int, set[int]] = {place: set() for place in range(len(rank))}
    for one, other in edges:
        near[one].add(other)
        near[other].add(one)
    keeper = list(range(len(rank)))
    kept: list[int] = []
    for place in sorted(near, key=rank.__getitem__):
        better = [one for one in kept if one in near[place]]
        if better:
            keeper[place] = better[0]
        else:
            kept.append(place)
    return keeper


def both_ways(blocks: list[Pairs], rank: Sequence[int]) -> tuple[list[int], list[int]]:
    """The keepers by one sweep, and in rounds."""
    ranks = np.array(rank, np.int64)
    return in_one_sweep(blocks, ranks).tolist(), in_rounds(lambda: blocks, ranks).tolist()


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Edge], list[int]]:
    """Pairs that are near, each once, and a rank."""
    count = draw(st.integers(1, 14))
    all_edges = [(left, right) for right in range(count) for left in range(right)]
    edges = draw(st.sets(st.sampled_from(all_edges))) if all_edges else set()
    return sorted(edges), draw(st.permutations(range(count)))


@given(graphs(), st.integers(1, 20))
def test_those_are_kept_that_are_kept_one_by_one(
    graph: tuple[list[Edge], list[int]], size: int
) -> None:
    edges, rank = graph
    for found in both_ways(blocks_of(edges, size), rank):
        assert found == one_by_one(edges, rank)


@given(graphs())
def test_none_kept_are_near_each_other_and_each_dropped_is_near_its_keeper(
    graph: tuple[list[Edge], list[int]],
) -> None:
    edges, rank = graph
    keeper, _ = both_ways(blocks_of(edges, 5), rank)
    kept = set(keeper)
    assert all(keeper[one] == one for one in kept)
    assert not any(left in kept and right in kept for left, right in edges)
    for place, one in enumerate(keeper):
        if place != one:
            assert (min(place, one), max(place, one)) in edges
            assert rank[one] < rank[place]


@given(graphs(), st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_of_pairs_and_blocks_does_not_matter(
    graph: tuple[list[Edge], list[int]], size: int, rng: random.Random
) -> None:
    edges, rank = graph
    expected = both_ways(blocks_of(edges, 100), rank)
    blocks = blocks_of(rng.sample(edges, len(edges)), size)
    empty = Pairs(*(part[:0] for part in blocks_of([(0, 1)], 1)[0]))
    blocks.insert(rng.randint(0, len(blocks)), empty)
    assert both_ways(blocks, rank) == expected


def test_of_a_chain_every_second_is_kept() -> None:
    """Ranks that rise along it take a round for each: the most there can be."""
    count = 60
    chain = [(place, place + 1) for place in range(count - 1)]
    for found in both_ways(blocks_of(chain, 7), range(count)):
        assert found == [place - place % 2 for place in range(count)]


def test_a_long_chain_takes_one_sweep() -> None:
    count = 300_000
    chain = Pairs(np.arange(count - 1), np.arange(1, count), np.ones(count - 1, np.uint8))
    found = in_one_sweep([chain], np.arange(count))
    np.testing.assert_array_equal(found, np.arange(count) // 2 * 2)


def test_the_end_of_a_chain_stays_where_only_the_middle_is_near_it() -> None:
    chain = blocks_of([(0, 1), (1, 2)], 1)
    assert both_ways(chain, [0, 1, 2]) == ([0, 0, 2], [0, 0, 2])
    assert both_ways(chain, [1, 0, 2]) == ([1, 1, 1], [1, 1, 1])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_without_pairs_all_are_kept(count: int) -> None:
    assert both_ways([], range(count)[::-1]) == (list(range(count)),) * 2


def few_bits(count: int, width: int, seed: int) -> Hashes:
    """Hashes of which many are near each other: nine bits of each vary."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((count, width), np.bool_)
    bits[:, rng.permutation(width)[:9]] = rng.random((count, 9)) < 0.5
    words = np.packbits(bits, axis=1).view(np.uint64)
    return words[:, 0] if width == 64 else words


def edges_of(pairs: Pairs) -> list[Edge]:
    return list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


def test_pairs_are_searched_for_anew_only_where_too_many_to_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashes = few_bits(60, 64, 0)
    count = len(near_pairs(hashes, 2).left)
    begun: list[int] = []

    def search(hashes: Hashes, limit: int) -> Iterator[Pairs]:
        begun.append(limit)
        return near_pair_blocks(hashes, limit)

    monkeypatch.setattr(module, "near_pair_blocks", search)
    for held, is_one in ((count, True), (count + 1, True), (count - 1, False), (0, False)):
        begun.clear()
        keepers(hashes, 2, np.arange(60), held)
        assert (len(begun) == 1) == is_one


SEEDS = st.integers(0, 2**32 - 1)


@given(st.integers(0, 60), st.sampled_from([64, 256]), SEEDS, st.integers(0, 4), st.integers(0, 90))
def test_of_hashes_those_are_kept_that_are_kept_one_by_one(
    count: int, width: int, seed: int, limit: int, held: int
) -> None:
    """Held or searched for anew, with equal hashes among them."""
    hashes = few_bits(count, width, seed)
    rank: I64 = np.random.default_rng(seed).permutation(count)
    expected = one_by_one(edges_of(near_pairs(hashes, limit)), rank.tolist())
    assert keepers(hashes, limit, rank, held).tolist() == expected
    assert keepers(hashes, limit, rank).tolist() == expected


@given(st.integers(0, 60), st.sampled_from([64, 256]), SEEDS)
def test_collapsed_hashes_are_all_different_and_give_back_each(
    count: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    hashes = few_bits(count, width, seed)
    hashes = hashes[rng.integers(0, count, count)] if count else hashes
    distinct, group = collapsed(hashes)
    assert distinct.shape[1:] == hashes.shape[1:]
    assert distinct.dtype == np.uint64
    np.testing.assert_array_equal(distinct[group], hashes)
    assert len(distinct) == len({row.tobytes() for row in hashes})
    np.testing.assert_array_equal(np.unique(group), np.arange(len(distinct)))


def test_hashes_that_differ_in_one_word_only_are_not_collapsed() -> None:
    hashes = np.vstack([np.zeros((1, 4), np.uint64), np.eye(4, dtype=np.uint64)])
    assert len(collapsed(hashes).distinct) == 5


@given(st.integers(1, 40), SEEDS, st.randoms(use_true_random=False))
def test_hashes_collapse_to_the_same_in_any_order(
    count: int, seed: int, rng: random.Random
) -> None:
    hashes = few_bits(count, 256, seed)
    order = rng.sample(range(count), count)
    once, again = collapsed(hashes), collapsed(hashes[order])
    np.testing.assert_array_equal(again.distinct, once.distinct)
    np.testing.assert_array_equal(again.group, once.group[order])
