"""What is kept is what one keeps by going through hashes in their order, however pairs come."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dedupe import keepers as module
from transforms.dedupe.hamming import Hashes, Pairs, near_pairs
from transforms.dedupe.keepers import I64, NearPairs, collapsed, keepers

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
    found = keepers(blocks_of(edges, size), np.array(rank))
    assert found.tolist() == one_by_one(edges, rank)


@given(graphs())
def test_none_kept_are_near_each_other_and_each_dropped_is_near_its_keeper(
    graph: tuple[list[Edge], list[int]],
) -> None:
    edges, rank = graph
    keeper = keepers(blocks_of(edges, 5), np.array(rank)).tolist()
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
    expected = keepers(blocks_of(edges, 100), np.array(rank))
    blocks = blocks_of(rng.sample(edges, len(edges)), size)
    empty = Pairs(*(part[:0] for part in blocks_of([(0, 1)], 1)[0]))
    blocks.insert(rng.randint(0, len(blocks)), empty)
    np.testing.assert_array_equal(keepers(blocks, np.array(rank)), expected)


def test_of_a_chain_every_second_is_kept() -> None:
    """Ranks that rise along it take a round for each: the most there can be."""
    count = 60
    chain = [(place, place + 1) for place in range(count - 1)]
    found = keepers(blocks_of(chain, 7), np.arange(count))
    assert found.tolist() == [place - place % 2 for place in range(count)]


def test_the_end_of_a_chain_stays_where_only_the_middle_is_near_it() -> None:
    chain = blocks_of([(0, 1), (1, 2)], 1)
    assert keepers(chain, np.array([0, 1, 2])).tolist() == [0, 0, 2]
    assert keepers(chain, np.array([1, 0, 2])).tolist() == [1, 1, 1]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_without_pairs_all_are_kept(count: int) -> None:
    found = keepers([], np.arange(count)[::-1])
    assert found.tolist() == list(range(count))


def few_bits(count: int, width: int, seed: int) -> Hashes:
    """Hashes of which many are near each other: nine bits of each vary."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((count, width), np.bool_)
    bits[:, rng.permutation(width)[:9]] = rng.random((count, 9)) < 0.5
    words = np.packbits(bits, axis=1).view(np.uint64)
    return words[:, 0] if width == 64 else words


def edges_of(pairs: Pairs) -> list[Edge]:
    return list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


def gone_through(pairs: NearPairs) -> list[Edge]:
    return sorted(edge for block in pairs for edge in edges_of(block))


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The limits of all searches that were begun; each gives out ten pairs at a time."""
    begun: list[int] = []

    def search(hashes: Hashes, limit: int) -> Iterator[Pairs]:
        begun.append(limit)
        found = near_pairs(hashes, limit)
        for place in range(0, len(found.left), 10):
            yield Pairs(*(part[place : place + 10] for part in found))

    monkeypatch.setattr(module, "near_pair_blocks", search)
    return begun


def test_pairs_are_searched_for_anew_only_where_too_many_to_hold(searches: list[int]) -> None:
    hashes = few_bits(60, 64, 0)
    expected = edges_of(near_pairs(hashes, 2))
    count = len(expected)
    assert count > 30
    for held, begun in ((count, 1), (count + 1, 1), (count - 1, 3), (15, 3), (0, 3)):
        searches.clear()
        pairs = NearPairs(hashes, 2, held)
        assert [gone_through(pairs) for _ in range(3)] == [expected] * 3
        assert searches == [2] * begun


def test_pairs_that_were_not_gone_through_to_the_end_are_all_there_the_next_time(
    searches: list[int],
) -> None:
    hashes = few_bits(60, 64, 0)
    pairs = NearPairs(hashes, 2)
    assert len(next(iter(pairs)).left) == 10
    assert gone_through(pairs) == edges_of(near_pairs(hashes, 2))
    assert searches == [2, 2]


def test_where_there_are_no_pairs_one_search_tells(searches: list[int]) -> None:
    pairs = NearPairs(few_bits(1, 64, 0), 2, held=0)
    assert [gone_through(pairs) for _ in range(3)] == [[]] * 3
    assert searches == [2]


SEEDS = st.integers(0, 2**32 - 1)


@given(st.integers(0, 60), st.sampled_from([64, 256]), SEEDS, st.integers(0, 4), st.integers(0, 90))
def test_of_hashes_those_are_kept_that_are_kept_one_by_one(
    count: int, width: int, seed: int, limit: int, held: int
) -> None:
    """Held or searched for anew, with equal hashes among them."""
    hashes = few_bits(count, width, seed)
    rank: I64 = np.random.default_rng(seed).permutation(count)
    expected = one_by_one(edges_of(near_pairs(hashes, limit)), rank.tolist())
    assert keepers(NearPairs(hashes, limit, held), rank).tolist() == expected
    assert keepers(NearPairs(hashes, limit), rank).tolist() == expected


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
