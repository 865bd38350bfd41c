"""Whoever is within the limit meets in a band of any plan, and a plan is the cheapest there is."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.dedupe.bands import COMPARE_NS, MOST_BITS, Band, cost_ns, plan_bands

COUNTS = st.integers(0, 5000) | st.sampled_from([10**5, 10**6, 10**7, 10**9])


@st.composite
def plans(draw: st.DrawFn) -> tuple[tuple[Band, ...], int, int]:
    """A plan, the width and the limit it is for."""
    width = draw(st.sampled_from([1, 2, 64, 128, 256]))
    limits = st.integers(0, min(width - 1, 40)) | st.just(min(width, 128) - 1)
    limit = draw(limits)
    return plan_bands(draw(COUNTS), width, limit), width, limit


@given(plans())
def test_bands_lie_side_by_side_within_the_width(plan: tuple[tuple[Band, ...], int, int]) -> None:
    bands, width, _ = plan
    assert bands[0].begin >= 0
    assert all(1 <= band.bits <= MOST_BITS and band.differing >= 0 for band in bands)
    assert all(one.begin + one.bits <= other.begin for one, other in pairwise(bands))
    assert bands[-1].begin + bands[-1].bits <= width


@given(plans(), st.data())
def test_two_hashes_within_the_limit_meet_in_a_band(
    plan: tuple[tuple[Band, ...], int, int], data: st.DataObject
) -> None:
    """Bits that differ lie in the bands for the most part, where they do harm."""
    bands, width, limit = plan
    within = [band.begin + bit for band in bands for bit in range(band.bits)]
    places = st.sampled_from(within) | st.integers(0, width - 1)
    differing = data.draw(st.sets(places, min_size=min(limit, len(within)), max_size=limit))
    apart = [sum(b.begin <= place < b.begin + b.bits for place in differing) for b in bands]
    assert any(bits <= band.differing for band, bits in zip(bands, apart, strict=True))


@given(plans())
def test_what_bands_miss_is_over_the_limit(plan: tuple[tuple[Band, ...], int, int]) -> None:
    """The pigeonhole: to be missed a pair has to differ in one bit more in each of the bands."""
    bands, _, limit = plan
    assert sum(band.differing + 1 for band in bands) > limit


@given(st.integers(1, 9), st.integers(0, 11))
def test_masks_are_all_numbers_of_few_ones_fewest_first(bits: int, differing: int) -> None:
    masks = Band(0, bits, differing).masks
    ones = [number.bit_count() for number in masks.tolist()]
    assert masks.dtype == np.int64
    assert sorted(masks.tolist()) == [n for n in range(1 << bits) if n.bit_count() <= differing]
    assert ones == sorted(ones)


@pytest.mark.parametrize(("width", "limit"), [(64, -1), (64, 64), (64, 65), (256, 256), (1, 1)])
def test_a_limit_out_of_range_is_refused(width: int, limit: int) -> None:
    with pytest.raises(ValueError, match=f"a limit of 0 to {width - 1} bits wanted, not {limit}"):
        plan_bands(100, width, limit)


@pytest.mark.parametrize(("width", "limit"), [(64, 0), (64, 63), (256, 0), (256, 255), (1, 0)])
@pytest.mark.parametrize("count", [0, 1, 2, 10**6])
def test_limits_at_their_edges_have_a_plan(width: int, limit: int, count: int) -> None:
    assert sum(band.differing + 1 for band in plan_bands(count, width, limit)) > limit


@given(COUNTS, COUNTS, st.sampled_from([64, 256]), st.integers(0, 31))
def test_no_plan_for_another_count_costs_less(
    count: int, another: int, width: int, limit: int
) -> None:
    cost = cost_ns(plan_bands(count, width, limit), count)
    assert cost <= cost_ns(plan_bands(another, width, limit), count) * (1 + 1e-9)


@given(st.sampled_from([64, 256]), st.integers(0, 31))
@settings(max_examples=30)
def test_the_more_hashes_the_less_of_all_pairs_is_looked_at(width: int, limit: int) -> None:
    counts = [1, 10, 10**3, 10**5, 10**7, 10**9]
    shares = [cost_ns(plan_bands(count, width, limit), count) / count**2 for count in counts]
    assert all(more <= few * (1 + 1e-9) for few, more in pairwise(shares))


@pytest.mark.parametrize(("width", "limit"), [(64, 3), (64, 8), (256, 31)])
def test_of_a_million_hashes_a_tenth_of_all_pairs_at_most_is_looked_at(
    width: int, limit: int
) -> None:
    count = 10**6
    all_pairs_ns = COMPARE_NS * count * (count - 1) / 2
    assert cost_ns(plan_bands(count, width, limit), count) < all_pairs_ns / 10
