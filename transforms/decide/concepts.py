"""Balance over concepts: MetaCLIP's by counts of matched entries, LLaVA's by rare noun phrases."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array
from pydantic import Field, StrictBool, StrictInt, model_validator

from schemas.outcome import Reason, Stage
from transforms.decide.caps import listed
from transforms.decide.rule import F64, Rule, Verdict
from transforms.decide.uids import U64, draws, draws_of, mixed
from transforms.shards.languages import column_of, likeliest

Ints = npt.NDArray[np.int64]
_ENTRY_BITS = 32


class Pairs(NamedTuple):
    """The entries of all rows, one line for each row and entry."""

    rows: Ints  # position of the row
    entries: npt.NDArray[np.int32]  # numbers of entries, or of phrases
    keys: U64  # of the entries, whatever the order of shards


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
    def whole_pool(self) -> bool:
        return True

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
        pairs, groups = _pairs(gathered[self._entries]), self._groups(gathered)
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
        pairs = _pairs(rows[self._entries])
        listed_groups = outcome["group"].combine_chunks()
        names = listed_groups.unique()
        entries = outcome["entry"].to_numpy()
        numbers = np.arange(outcome.num_rows)
        keys = _keys(listed_groups, names, numbers, entries)  # sorted, for names are
        asked = _keys(self._groups(rows), names, pairs.rows, pairs.entries)
        places = np.searchsorted(keys, asked)
        counts = outcome["count"].to_numpy()[places]
        limits = outcome["t"].to_numpy()[places]
        drawn = _as_shares(_pair_draws(draws(rows["uid"], "metaclip", self.seed), pairs))
        keeps = drawn * np.maximum(counts, limits) < limits
        size = rows.num_rows
        kept = np.bincount(pairs.rows[keeps], minlength=size) > 0
        named = np.bincount(pairs.rows, minlength=size) > 0
        rarest = _least(pairs.rows, counts, size)
        t = _least(pairs.rows, limits, size)

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


class RarePhrasesRule(Rule):
    """Keep captions with rare noun phrases: how LLaVA chose 595,000 pairs of CC3M.

    Phrases that fewer than `min_captions` captions have are passed over; of every other phrase
    all captions stay, or a seeded `at_most` of them where it has more. Source: Liu et al. 2023,
    appendix, where the limits are 3 and 100.
    """

    stage = Stage.SELECT
    phrases: str = Field(default="phrases", description="The measure of phrases to go by.")
    min_captions: StrictInt = Field(default=3, ge=1, description="Rarer phrases do not count.")
    at_most: StrictInt = Field(default=100, ge=1, description="Captions that a phrase keeps.")
    seed: StrictInt = Field(default=0, description="Another seed draws others.")

    @property
    def whole_pool(self) -> bool:
        return True

    @property
    def measured(self) -> tuple[str, ...]:
        return (f"{self.phrases}.phrases",)

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("row", "uid", *self.measured)

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Rows (row, captions): each row to drop, and how many captions have its rarest phrase
        that counts, 0 where none does. Sorted by row."""
        pairs = _pairs(gathered[f"{self.phrases}.phrases"])
        counts = np.bincount(pairs.entries)[pairs.entries]
        known = counts >= self.min_captions
        owners, phrases, counts = pairs.rows[known], pairs.entries[known], counts[known]
        drawn = _pair_draws(draws(gathered["uid"], "rare_phrases", self.seed), pairs)[known]
        order = np.lexsort((drawn, phrases))
        kept = np.zeros(gathered.num_rows, np.bool_)
        kept[owners[order[_ranks(phrases[order]) < self.at_most]]] = True
        rarest = _least(owners, counts, gathered.num_rows)
        rows = gathered["row"].to_numpy()
        dropped = np.flatnonzero(~kept)[np.argsort(rows[~kept])]
        return pa.table({"row": rows[dropped], "captions": rarest[dropped].astype(np.int64)})

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        dropped, counts = listed(rows, outcome, "captions")

        def told(i: int) -> str:
            if not dropped[i]:
                return f"has a phrase for which it is among the {self.at_most:,} drawn"
            if not counts[i]:
                return f"no phrase that {self.min_captions} captions or more have"
            return f"rarest phrase has {counts[i]:,.0f} captions, {self.at_most:,} drawn of each"

        return [
            Verdict(
                reason=Reason.NO_RARE_PHRASE,
                dropped=dropped,
                detail=told,
                value=counts,
                limit=self.at_most,
            )
        ]


def _pairs(lists: pa.ChunkedArray) -> Pairs:
    begins = np.cumsum([0, *map(len, lists.chunks)])
    owners, entries = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for begin, chunk in zip(begins, lists.chunks, strict=False):
        owners.append(begin + pc.list_parent_indices(chunk).to_numpy(zero_copy_only=False))
    flat = pc.list_flatten(lists)
    named = None
    if not pa.types.is_integer(flat.type):  # phrases: their places in one dictionary
        coded = flat.dictionary_encode().chunks
        flat = pa.chunked_array([chunk.indices for chunk in coded], pa.int32())
        named = coded[0].dictionary.to_numpy(zero_copy_only=False) if coded else np.empty(0, object)
    entries += [chunk.to_numpy(zero_copy_only=False) for chunk in flat.chunks]
    numbers = np.concatenate(entries)
    # A phrase's key comes from its text: its place depends on the order of shards.
    if named is None:
        keys = draws_of(numbers, "entry")
    else:
        keys = np.asarray(hash_array(named), np.uint64)[numbers]  # pyright: ignore
    return Pairs(np.concatenate(owners), numbers, keys)


def _keys(groups: pa.Array, names: pa.Array, rows: Ints, entries: npt.NDArray[np.integer]) -> Ints:
    """(pairs,): one number for group and entry, which sorts by the group's place, then the entry.

    A group that is not among the names has no entries."""
    places = pc.fill_null(pc.index_in(groups, value_set=names), -1).to_numpy()
    return places.astype(np.int64)[rows] << _ENTRY_BITS | entries


def _ranks(ordered: npt.NDArray[np.integer]) -> Ints:
    """(N,): how many equal ones come before, of sorted numbers."""
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    return np.arange(len(ordered)) - np.repeat(begins, np.diff(begins, append=len(ordered)))


def _pair_draws(of_rows: U64, pairs: Pairs) -> U64:
    """A number for each row and entry, evenly spread over 64 bits."""
    return mixed(of_rows[pairs.rows] ^ pairs.keys)


def _as_shares(drawn: U64) -> F64:
    """The same in [0, 1)."""
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _least(rows: Ints, values: npt.NDArray, size: int) -> F64:
    """(size,): the least value of each row's pairs, 0 where it has none."""
    least = np.full(size, np.inf)
    np.minimum.at(least, rows, values.astype(np.float64))  # of one kind, or it is slow
    least[np.isinf(least)] = 0.0
    return least
