"""The search finds every pair of hashes within the limit and no other, as brute force does."""

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.dedupe import hamming
from transforms.dedupe.bands import WINDOW, Band
from transforms.dedupe.hamming import (
    Hashes,
    as_words,
    near_pair_blocks,
    near_pairs,
    nearest,
)
from transforms.dedupe.keepers import collapsed

Found = list[tuple[int, int, int]]  # left, right, bits; sorted
KINDS = st.sampled_from(["even", "planted", "few bits", "equal"])
SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(0, 3) | st.integers(0, 90)
WIDTHS = st.sampled_from([64, 256])


def drawn(count: int, width: int, kind: str, seed: int) -> Hashes:
    """`even`: all bits by chance; `planted`: a few and their neighbours; `few bits`: seven of
    them vary, the others are the same; `equal`: only three different ones."""
    rng = np.random.default_rng(seed)
    bits = rng.random((count, width)) < 0.5
    if kind == "planted":
        bits = bits[rng.integers(0, max(1, count // 6), count)] if count else bits
        flips = rng.integers(0, 12, (count, 1)) / width
        bits = bits ^ (rng.random(bits.shape) < flips)
    if kind == "few bits":
        bits[:, rng.permutation(width)[7:]] = seed % 2
    if kind == "equal":
        bits = bits[rng.integers(0, min(3, count), count)] if count else bits
    words = np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    return words[:, 0] if width == 64 else words


def apart(ones: Hashes, others: Hashes) -> Any:
    """(ones, others): in how many bits they differ, by brute force."""
    differing = as_words(ones)[:, None] ^ as_words(others)[None]
    return np.bitwise_count(differing).sum(axis=2, dtype=np.int64)


def by_brute_force(hashes: Hashes, limit: int) -> Found:
    bits = apart(hashes, hashes)
    left, right = np.nonzero(np.triu(bits <= limit, 1))
    return list(zip(left.tolist(), right.tolist(), bits[left, right].tolist(), strict=True))


def listed(pairs: hamming.Pairs) -> Found:
    return list(zip(*(part.tolist() for part in pairs), strict=True))


def searched(hashes: Hashes, limit: int, threads: int) -> Found:
    blocks = near_pair_blocks(hashes, limit, threads)
    return sorted(pair for block in blocks for pair in listed(block))


@given(COUNTS, WIDTHS, KINDS, SEEDS, st.data())
def test_all_pairs_within_the_limit_are_found_sorted(
    count: int, width: int, kind: str, seed: int, data: st.DataObject
) -> None:
    limit = data.draw(st.integers(0, 12) | st.sampled_from([31, 32, 63]), "limit")
    hashes = drawn(count, width, kind, seed)
    assert listed(near_pairs(hashes, limit)) == by_brute_force(hashes, limit)


@pytest.mark.parametrize("width", [64, 256])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_of_none_one_and_two_the_pairs_are_found(count: int, width: int) -> None:
    hashes = np.repeat(drawn(1, width, "even", 5), count, axis=0)
    found = near_pairs(hashes, 3)
    assert listed(found) == ([(0, 1, 0)] if count == 2 else [])
    assert [part.dtype for part in found] == [np.int64, np.int64, np.uint8]


@pytest.mark.parametrize("width", [64, 256])
def test_limits_at_their_edges_are_kept(width: int) -> None:
    """At the highest only a hash and its complement are no pair."""
    hashes = drawn(40, width, "planted", 1)
    hashes = np.concatenate([hashes, ~hashes[:1], hashes[:1]])
    for limit in (0, width - 1):
        assert listed(near_pairs(hashes, limit)) == by_brute_force(hashes, limit)
    assert (0, 40) not in {(left, right) for left, right, _ in by_brute_force(hashes, width - 1)}


@pytest.mark.parametrize("limit", [-1, 64, 1000])
def test_a_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"a limit of 0 to 63 bits wanted, not {limit}"):
        near_pairs(np.zeros(3, np.uint64), limit)


@pytest.mark.parametrize(
    "hashes",
    [
        np.zeros(3, np.int64),
        np.zeros(3, np.uint32),
        np.zeros((3, 4)),
        np.zeros((3, 0), np.uint64),
        np.zeros((3, 1, 1), np.uint64),
    ],
)
def test_what_is_no_row_of_hashes_is_refused(hashes: Any) -> None:
    with pytest.raises(ValueError, match=r"hashes of uint64 wanted, \(N,\) or \(N, W\)"):
        near_pairs(hashes, 3)


def test_hashes_that_do_not_lie_side_by_side_are_taken_as_they_are() -> None:
    hashes = drawn(120, 256, "planted", 3)
    assert listed(near_pairs(hashes[::3], 9)) == by_brute_force(hashes[::3], 9)
    assert listed(near_pairs(hashes[::-1, 1], 9)) == by_brute_force(hashes[::-1, 1], 9)


@given(COUNTS, WIDTHS, KINDS, SEEDS, st.integers(0, 12))
@settings(max_examples=30)
def test_one_thread_and_three_find_the_same(
    count: int, width: int, kind: str, seed: int, limit: int
) -> None:
    hashes = drawn(count, width, kind, seed)
    assert searched(hashes, limit, 1) == searched(hashes, limit, 3) == by_brute_force(hashes, limit)


@given(st.integers(2, 90), WIDTHS, KINDS, SEEDS, st.integers(0, 40), st.integers(WINDOW, 30))
@settings(max_examples=30)
def test_a_chunk_whose_room_runs_out_goes_on_where_it_was(
    count: int, width: int, kind: str, seed: int, limit: int, room: int
) -> None:
    hashes = drawn(count, width, kind, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "ROOM", room)
        assert all(len(block.left) <= room for block in near_pair_blocks(hashes, limit, 2))
        assert searched(hashes, limit, 2) == by_brute_force(hashes, limit)


@st.composite
def any_plans(draw: st.DrawFn) -> tuple[tuple[Band, ...], int, int]:
    """Bands of any width and place, on both sides of words, as the cost never asks for: with the
    width and the limit that they are for."""
    width = draw(WIDTHS)
    border = st.sampled_from(range(64, width + 1, 64)).map(lambda bit: bit - 3)
    cuts = sorted(draw(st.sets(st.integers(0, width - 1) | border, min_size=2, max_size=7)))
    spans = [(begin, min(end - begin, 10)) for begin, end in pairwise(cuts)]
    bands = tuple(Band(*span, draw(st.integers(0, 3))) for span in spans)
    limit = sum(band.differing + 1 for band in bands) - 1
    return bands, width, limit


@given(any_plans(), COUNTS, KINDS, SEEDS)
def test_any_plan_finds_all_pairs_once(
    plan: tuple[tuple[Band, ...], int, int], count: int, kind: str, seed: int
) -> None:
    bands, width, limit = plan
    hashes = drawn(count, width, kind, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "plan_bands", lambda *_: bands)
        assert searched(hashes, limit, 2) == by_brute_force(hashes, limit)
        check_nearest(hashes[::2], hashes[1::2], limit)


@pytest.mark.parametrize("begin", [55, 56, 57, 60, 63, 64, 120, 121, 127, 190])
def test_bits_that_lie_in_two_words_are_one_band(begin: int) -> None:
    """All else is the same, so that the pairs are those of the band's eight bits."""
    rng = np.random.default_rng(begin)
    keys = rng.integers(0, 256, 80).tolist()
    wide = [key << begin for key in keys]
    words = [[number >> 64 * place & (2**64 - 1) for place in range(4)] for number in wide]
    hashes = np.array(words, np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "plan_bands", lambda *_: (Band(begin, 8, 1),))
        found = searched(hashes, 1, 1)
        equal = sum((a ^ b).bit_count() <= 1 for i, a in enumerate(keys) for b in keys[:i])
        assert len(found) == equal
    assert found == by_brute_force(hashes, 1)


def check_nearest(asked: Hashes, hashes: Hashes, limit: int) -> None:
    places, bits = nearest(asked, hashes, limit)
    assert places.shape == bits.shape == (len(asked),)
    for row, line in enumerate(apart(asked, hashes).tolist()):
        least = min(line, default=limit + 1)
        if least <= limit:
            assert (places[row], bits[row]) == (line.index(least), least)
        else:
            assert places[row] == -1
            assert bits[row] > limit


@given(COUNTS, COUNTS, WIDTHS, KINDS, SEEDS, st.integers(0, 40), st.randoms())
def test_the_nearest_is_the_first_of_those_that_differ_least(
    asked: int,
    count: int,
    width: int,
    kind: str,
    seed: int,
    limit: int,
    rng: random.Random,
) -> None:
    all_of_them = drawn(asked + count, width, kind, seed)
    order = rng.sample(range(len(all_of_them)), len(all_of_them))
    check_nearest(all_of_them[order[:asked]], all_of_them[order[asked:]], limit)


def test_of_equal_ones_the_first_is_the_nearest() -> None:
    hashes = np.array([9, 7, 7, 7, 6], np.uint64)
    places, bits = nearest(np.array([7, 5, 2**63], np.uint64), hashes, 1)
    assert (places.tolist(), bits[:2].tolist()) == ([1, 1, -1], [0, 1])


@pytest.mark.parametrize("limit", [0, 63])
def test_the_nearest_is_found_at_the_edges_of_limits(limit: int) -> None:
    hashes = drawn(60, 64, "planted", 2)
    check_nearest(np.append(hashes[:20], ~hashes[:20]), hashes, limit)
    check_nearest(~hashes[:1], hashes[:1], limit)


@pytest.mark.parametrize("width", [64, 256])
def test_a_million_equal_hashes_cost_no_more_than_one(width: int) -> None:
    one = drawn(1, width, "even", 6)
    distinct, group = collapsed(np.repeat(one, 10**6, axis=0))
    np.testing.assert_array_equal(distinct, one)
    assert not group.any()
    assert not listed(near_pairs(distinct, 3))
