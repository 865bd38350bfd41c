"""Look numbers up among ordered ones: by search, for few of a shard are asked of many of a pool."""

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def find_in(numbers: I64, ordered: I64) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """(N,) twice: whether each number is among the ordered ones, and, where it is, at which
    place."""
    if not len(ordered):
        return np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.intp)
    places = np.searchsorted(ordered, numbers).clip(max=len(ordered) - 1)
    return ordered[places] == numbers, places


def among(numbers: I64, ordered: I64) -> npt.NDArray[np.bool_]:
    """(N,): which of the numbers are among the ordered ones."""
    return find_in(numbers, ordered)[0]
