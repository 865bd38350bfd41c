"""How much each threshold of a number keeps. Pure arithmetic: every group is sorted once."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.decide.rule import F64

I64 = npt.NDArray[np.int64]
_TINY, _HUGE = 1e-290, 1e300
_TAIL = 0.005  # of the rows, at either end: steps over the range of one outlier tell nothing
_STEPS = (1.0, 2.0, 2.5, 5.0)  # times a power of ten


def even_thresholds(ordered: F64, about: int = 20) -> F64:
    """About so many round numbers, evenly apart, over the range of all values but 0.5 % at either
    end; over whole numbers they are whole, and may be fewer.

    Args:    ordered: (rows,), finite, ascending, at least one.
    Returns: (thresholds,), ascending; the one value where there is but one."""
    tail = int(_TAIL * len(ordered))
    low, high = float(ordered[tail]), float(ordered[-1 - tail])
    if low == high:
        low, high = float(ordered[0]), float(ordered[-1])
    if low == high:
        return np.array([low])
    with np.errstate(over="ignore"):
        span = np.float64(high) - low
    if not _TINY < span < _HUGE:  # no round numbers there: quantiles, as they are
        return np.unique(np.quantile(ordered / 2, np.linspace(0, 1, about)) * 2)
    step = _round_step(0.8 * (high - low) / about, whole=bool((ordered == np.round(ordered)).all()))
    places = np.arange(np.floor(low / step), np.ceil(high / step) + 1)
    decimals = max(0, 2 - int(np.floor(np.log10(step))))  # 0.30000000000000004 is no round number
    return np.unique(np.round(places * step, decimals))


def kept_counts(ordered: F64, thresholds: F64) -> I64:
    """(thresholds,): how many values are at least each threshold. `ordered` is ascending."""
    return len(ordered) - np.searchsorted(ordered, thresholds, side="left")


def fraction_thresholds(ordered: F64, fractions: Sequence[float]) -> F64:
    """(fractions,): what a top fraction of these values comes to, to be kept with `>=`.

    The formula of `top_fraction_threshold` (DataComp) on values sorted already.
    Args: ordered: (rows,), finite, ascending, at least one."""
    places = [min(int(len(ordered) * fraction), len(ordered) - 1) for fraction in fractions]
    return ordered[::-1][places]


def kept_by_group(
    values: F64, groups: npt.NDArray[np.integer], thresholds: F64, top: int
) -> tuple[list[int], list[I64]]:
    """The `top` largest groups, largest first, each with how much every threshold keeps of it.

    Args: values, groups: (rows,) twice; a group is a number from 0, and the lower one comes first
          where two are equally large."""
    sizes = np.bincount(groups)
    largest = np.argsort(-sizes, kind="stable")[:top]
    largest = largest[sizes[largest] > 0]
    counts = [kept_counts(np.sort(values[groups == group]), thresholds) for group in largest]
    return largest.tolist(), counts


def _round_step(least: float, *, whole: bool) -> float:
    """The smallest round number that is no less."""
    power = np.floor(np.log10(least))
    steps = [step * 10.0**exponent for exponent in (power, power + 1) for step in _STEPS]
    if whole:
        steps = [step for step in (1.0, *steps) if step >= 1 and step == int(step)]
    return min(step for step in steps if step >= least)
