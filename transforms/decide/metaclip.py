"""MetaCLIP's balance: captions by how many others name the same entries of a list."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StrictBool, StrictInt, model_validator

from schemas.outcome import Reason, Stage
from transforms.decide.pairs import Ints, least_of, pair_draws, pairs_of
from transforms.decide.rule import F64, Rule, Verdict
from transforms.shards.languages import column_of, likeliest
from transforms.shards.uids import U64, draws

_ENTRY_BITS = 32


class MetaClipRule(Rule):
    """Balance captions over the entries that they name: MetaCLIP (Xu et al. 2023).

    An entry that `count` captions name keeps each of them with probability t / max(count, t); a
    caption stays if one of its entries keeps it. One that names no entry is dropped. Counts are
    those of the rows kept so far. MetaCLIP has t = 20,000 for 400M pairs, 170,000 for 2.5B.
    """

    stage = Stage.SELECT
    concepts: str = Field(..., description="A measure of concepts, by its name in `measures`.")
    t: StrictInt = Field(..., ge=1, description="Most captions that an entry is sure to keep.")
    by_language: StrictBool = Field(default=False, description="Count each language by itself.")
    tail_of: str | None = Field(
        default=None,
        description="With `by_language`: `t` is this language's; every other gets the t at which"
        " its rare entries have the same share of all matches (MetaCLIP 2).",
    )
    language: str = Field(default="language", description="The language measure to go by.")
    seed: StrictInt = Field(default=0, description="Another seed draws others.")

    @model_validator(mode="after")
    def _tail(self) -> Self:
        if self.tail_of is not None and not self.by_language:
            raise ValueError("`tail_of` goes with `by_language`")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        languages = [column_of(self.language)] if self.by_language else []
        return (self._entries, *languages)

    @property
    def codes(self) -> tuple[str, ...]:
        return (self.tail_of,) if self.tail_of else ()

    @property
    def gathers(self) -> tuple[str, ...]:
        return self.measured

    @property
    def _entries(self) -> str:
        return f"{self.concepts}.entries"

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Rows (group, entry, count, t), sorted: captions of a language that name an entry."""
        pairs, groups = pairs_of(gathered[self._entries]), self._groups(gathered)
        names = groups.unique().sort()
        keys, counts = np.unique(
            _keys(groups, names, pairs.rows, pairs.entries), return_counts=True
        )
        owners = keys >> _ENTRY_BITS
        return pa.table(
            {
                "group": names.take(pa.array(owners)),
                "entry": (keys & (1 << _ENTRY_BITS) - 1).astype(np.int32),
                "count": counts.astype(np.int64),
                "t": self._limits(names.to_pylist(), owners, counts),
            }
        )

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        pairs = pairs_of(rows[self._entries])
        listed_groups = outcome["group"].combine_chunks()
        names = listed_groups.unique()
        entries = outcome["entry"].to_numpy()
        numbers = np.arange(outcome.num_rows)
        keys = _keys(listed_groups, names, numbers, entries)  # sorted, for names are
        asked = _keys(self._groups(rows), names, pairs.rows, pairs.entries)
        places = np.searchsorted(keys, asked)
        counts = outcome["count"].to_numpy()[places]
        limits = outcome["t"].to_numpy()[places]
        drawn = _as_shares(pair_draws(draws(rows["uid"], "metaclip", self.seed), pairs))
        keeps = drawn * np.maximum(counts, limits) < limits
        size = rows.num_rows
        kept = np.bincount(pairs.rows[keeps], minlength=size) > 0
        named = np.bincount(pairs.rows, minlength=size) > 0
        rarest = least_of(pairs.rows, counts, size)
        t = least_of(pairs.rows, limits, size)

        return [
            Verdict(
                reason=Reason.NO_CONCEPT,
                dropped=~named,
                detail=lambda i: f"names no entry of {self.concepts}",
            ),
            Verdict(
                reason=Reason.COMMON_CONCEPTS,
                dropped=named & ~kept,
                detail=lambda i: f"rarest entry named by {rarest[i]:,.0f} captions, t {t[i]:,.0f}",
                value=rarest,
                limit=t,
            ),
        ]

    def _groups(self, rows: pa.Table) -> pa.Array:
        if not self.by_language:
            return pa.repeat("", rows.num_rows)
        return pa.array(likeliest(rows[column_of(self.language)]), pa.string())

    def _limits(self, names: Sequence[str], owners: Ints, counts: Ints) -> Ints:
        """(N,): t for each count, by its owner: the number of its language. Sorted by that."""
        t = np.full(len(owners), self.t)
        numbers = np.arange(len(names))
        begins = np.searchsorted(owners, numbers)
        ends = np.searchsorted(owners, numbers, side="right")
        spans = {
            name: slice(begin, end)
            for name, begin, end in zip(names, begins, ends, strict=True)
            if begin < end  # no caption of some languages names an entry
        }
        if self.tail_of in spans:
            share = tail_share(counts[spans[self.tail_of]], self.t)
            for name, span in spans.items():
                t[span] = self.t if name == self.tail_of else t_of_tail(counts[span], share)
        return t


def tail_share(counts: Ints, t: int) -> float:
    """The share of all matches that entries rarer than t have."""
    return float(counts[counts < t].sum() / counts.sum())


def t_of_tail(counts: Ints, share: float) -> int:
    """The count at which the share of matches of entries up to it comes nearest to `share`.

    Source: MetaCLIP 2 (Chuang et al. 2025)."""
    ordered = np.sort(counts)
    shares = np.cumsum(ordered) / ordered.sum()
    return int(ordered[np.abs(shares - share).argmin()])


def _keys(groups: pa.Array, names: pa.Array, rows: Ints, entries: npt.NDArray[np.integer]) -> Ints:
    """(pairs,): one number for group and entry, which sorts by the group's place, then the entry.

    A group that is not among the names has no entries."""
    places = pc.fill_null(pc.index_in(groups, value_set=names), -1).to_numpy()
    return places.astype(np.int64)[rows] << _ENTRY_BITS | entries


def _as_shares(drawn: U64) -> F64:
    """The same in [0, 1)."""
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
