"""How to cut hashes into bands so that a search for near ones looks at as little as can be.

Two hashes that differ in at most `limit` bits agree on at least one of `limit + 1` bands; and of
fewer bands at least one differs in no more than its share of the bits (Norouzi, Punjani and Fleet
2012, multi-index hashing). Which number of bands, how wide, and how many bits each may differ, is
a matter of the number of hashes: the plan that costs least is taken.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_BITS = 24  # of a band: its table of buckets has 2**bits places
# Nanoseconds on one core, as measured: to sort a hash into its bucket, to pass an empty bucket by,
# to turn to a pair of buckets, to take up a hash of one, and to compare it with one of the other.
SORT_NS, PASS_NS, VISIT_NS, TAKE_NS, COMPARE_NS = 60.0, 2.0, 30.0, 3.0, 1.0
WINDOW = 4  # hashes that are compared at a time


@dataclass(frozen=True, slots=True)
class Band:
    """Some bits of a hash that lie side by side, and how many of them may differ."""

    begin: int  # number of the first bit; bit 0 is the lowest of word 0
    bits: int
    differing: int

    @property
    def masks(self) -> npt.NDArray[np.int64]:
        """(M,): all numbers of `bits` bits that have at most `differing` ones, fewest first."""
        chosen = (
            places
            for count in range(self.differing + 1)
            for places in itertools.combinations(range(self.bits), count)
        )
        return np.array([sum(1 << place for place in places) for places in chosen], np.int64)


def plan_bands(count: int, width: int, limit: int) -> tuple[Band, ...]:
    """The bands for `count` hashes of `width` bits: whoever is within `limit` meets in one.

    Raises: ValueError: the limit is negative, or not under the width."""
    if not 0 <= limit < width:
        raise ValueError(f"a limit of 0 to {width - 1} bits wanted, not {limit}")
    return min(_plans(count, width, limit), key=lambda bands: cost_ns(bands, count))


def cost_ns(bands: tuple[Band, ...], count: int) -> float:
    """About how long a search takes on one core, if bits are evenly spread."""
    return sum(_band_cost_ns(band.bits, band.differing, count) for band in bands)


def _plans(count: int, width: int, limit: int) -> Iterator[tuple[Band, ...]]:
    """One for each number of bands, all as wide as is best for them within an even share."""
    for number in range(1, min(limit + 1, width) + 1):
        each, over = divmod(limit + 1 - number, number)
        share = width // number
        bits = {most: _best_bits(share, most, count) for most in (each, each + 1)}
        differing = [each + 1] * over + [each] * (number - over)
        yield tuple(Band(place * share, bits[most], most) for place, most in enumerate(differing))


def _best_bits(share: int, differing: int, count: int) -> int:
    choices = range(1, min(share, MOST_BITS) + 1)
    return min(choices, key=lambda bits: _band_cost_ns(bits, differing, count))


def _band_cost_ns(bits: int, differing: int, count: int) -> float:
    masks = sum(math.comb(bits, ones) for ones in range(min(bits, differing) + 1))
    visits, in_bucket = masks * 2 ** (bits - 1), count / 2**bits
    a_row = TAKE_NS + COMPARE_NS * (in_bucket + WINDOW / 2)
    a_visit = PASS_NS + VISIT_NS * min(1.0, in_bucket) + in_bucket * a_row
    return SORT_NS * count + PASS_NS * 2**bits + visits * a_visit
