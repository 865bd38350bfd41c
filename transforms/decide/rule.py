"""What a rule is: pure, over columns, and every drop has a reason, a value, a limit and a detail.

A rule looks at the rows that are still kept at its place in the recipe. Most rules judge a row
by itself. A whole-pool rule first gathers small columns of all kept rows and settles an outcome
once; then it, too, judges shard by shard, with that outcome in hand.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from schemas.fingerprint import Json
from schemas.outcome import Reason, Stage
from transforms.shards.ordered import find_in

Mask = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
# From a measure's name to its embeddings of images, shard by shard: uids, and (N, D) of norm 1.
Vectors = Callable[[str], Iterator[tuple[pa.Array, npt.NDArray[np.float16]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule drops among the rows it was shown, and why."""

    reason: Reason
    dropped: Mask  # (rows,)
    detail: Callable[[int], str]  # for the number of a row: the value and the limit
    value: npt.NDArray[Any] | None = None  # (rows,) numbers, where what was compared is one
    limit: float | npt.NDArray[Any] | None = None  # what `value` was compared with
    given_to: I64 | None = None  # (rows,): the image that takes the caption of a dropped row, or -1
    chosen: pa.Table | None = None  # CHOSEN_SCHEMA: the texts that survive, if the rule chooses


class Rule(BaseModel):
    """Base of all rules: a row by itself, and no measure, unless a rule says so.

    Columns of the pool have their own names; those of a measure are `MEASURE.COLUMN`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stage: ClassVar[Stage] = Stage.BASIC
    chooses_texts: ClassVar[bool] = False  # among web captions and candidates

    @property
    def whole_pool(self) -> bool:
        """Whether `settle` must have looked at all kept rows before `judge` can."""
        return bool(self.gathers)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the pool that the rule reads, beside those of its measures."""
        return ()

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns of measures that the rule reads, as MEASURE.COLUMN."""
        return ()

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures whose columns the rule reads."""
        return tuple(dict.fromkeys(column.partition(".")[0] for column in self.measured))

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of languages that the rule names, all of them the detector's that it goes by."""
        return ()

    @property
    def gathers(self) -> tuple[str, ...]:
        """The small columns of all kept rows from which a whole-pool rule settles its outcome."""
        return ()

    @property
    def finder(self) -> "FinderRule | None":
        """What finds the images whose rows alone this rule measures, gathers and may drop."""
        return None

    def identity(self) -> Json:
        """What makes two rules the same, as a part of fingerprints."""
        return self.model_dump(mode="json", exclude_none=True)

    def pinned(self, identity: Json) -> Self:
        """The rule, bound to what its files held when `identity` was taken: once edited they are
        another rule's."""
        return self

    def check(self) -> None:
        """Raises: BadInputError: a file that the rule reads cannot be used."""

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        """The rows to drop; `outcome` is what `settle` gave, None for a rule of single rows."""
        raise NotImplementedError

    def settle(self, gathered: pa.Table) -> pa.Table:
        """The outcome of a whole-pool rule, whatever the order in which shards arrived."""
        raise TypeError(f"{type(self).__name__} does not look at the whole pool")

    def settle_with(self, gathered: pa.Table, vectors: Vectors) -> pa.Table:
        """The same, for a rule that reads embeddings too: these are too large to be gathered."""
        return self.settle(gathered)


class FinderRule(Rule):
    """Base of what finds the images that another rule is about; it drops nothing itself.

    A large pool is searched in parts: images that may be found by each other share a key."""

    stage = Stage.DEDUPE

    def scatter(self, gathered: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """Some rows of what was gathered for each key; a row may come under several."""
        raise NotImplementedError

    def find(self, together: pa.Table) -> I64:
        """(images,): those that are found among some rows, such as all of one key."""
        raise NotImplementedError

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Column image: those found, sorted."""
        return as_found([self.find(gathered)])

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        return []


def as_found(images: Iterable[npt.NDArray[np.int64]]) -> pa.Table:
    """The outcome of a finder from what it found in each part."""
    return pa.table({"image": np.unique(np.concatenate([np.zeros(0, np.int64), *images]))})


def listed(rows: pa.Table, outcome: pa.Table, column: str) -> tuple[Mask, F64]:
    """(rows,) twice: whether an outcome lists a row, and its `column` of numbers, NaN where not.

    The outcome is sorted by row, and is searched, not scanned: each shard asks it anew."""
    found, places = find_in(rows["row"].to_numpy(), outcome["row"].to_numpy())
    numbers = np.full(rows.num_rows, np.nan)
    numbers[found] = outcome[column].to_numpy()[places[found]]
    return found, numbers
