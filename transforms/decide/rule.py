"""What a rule is: pure, over columns, and every drop has a reason and a detail.

A rule looks at the rows that are still kept at its place in the recipe. Most rules judge a row
by itself. A whole-pool rule first gathers small columns of all kept rows and settles an outcome
once; then it, too, judges shard by shard, with that outcome in hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.outcome import Reason, Stage

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule drops among the rows it was shown, and why."""

    reason: Reason
    dropped: Mask  # (rows,)
    detail: Callable[[int], str]  # for the number of a dropped row: the value and the limit


class Rule(Protocol):
    """A rule over rows: the pool's columns and those of the measure it needs."""

    @property
    def stage(self) -> Stage: ...

    @property
    def measure(self) -> str | None:
        """Name of the measure whose columns the rule reads, or None."""
        ...

    @property
    def whole_pool(self) -> bool: ...

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        """The rows to drop; `outcome` is what `settle` gave, None for a rule of single rows."""
        ...

    def gather(self, rows: pa.Table) -> pa.Table:
        """The small columns that a whole-pool rule needs of one shard's kept rows."""
        ...

    def settle(self, gathered: pa.Table) -> pa.Table:
        """The outcome of a whole-pool rule, whatever the order in which shards arrived."""
        ...


class SingleRowRule:
    """Base of the basic rules: one row at a time, and no measure unless they say so."""

    stage = Stage.BASIC
    whole_pool = False

    @property
    def measure(self) -> str | None:
        return None

    def gather(self, rows: pa.Table) -> pa.Table:
        raise TypeError(f"{type(self).__name__} does not look at the whole pool")

    def settle(self, gathered: pa.Table) -> pa.Table:
        raise TypeError(f"{type(self).__name__} does not look at the whole pool")
