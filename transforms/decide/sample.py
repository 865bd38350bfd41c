"""Seeded sampling: a budget of rows or images, and equal shares of languages."""

from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, StrictFloat, StrictInt, model_validator

from schemas.outcome import Reason, Stage
from transforms.decide.rule import Rule, Verdict
from transforms.shards.languages import column_of, likeliest
from transforms.shards.uids import U64, draws, draws_of


class SampleRule(Rule):
    """Keep a seeded sample of a set size: a number of rows or images, or a fraction of the rows.

    A smaller sample is part of a larger one of the same seed, and rows added later do not change
    the order of those that were there."""

    stage = Stage.SELECT
    rows: StrictInt | None = Field(default=None, ge=0, description="Rows that stay.")
    images: StrictInt | None = Field(
        default=None, ge=0, description="Images that stay, with all their captions."
    )
    fraction: StrictFloat | None = Field(default=None, gt=0, le=1, description="Share of rows.")
    seed: StrictInt = Field(default=0, description="Another seed draws another sample.")

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if sum(size is not None for size in (self.rows, self.images, self.fraction)) != 1:
            raise ValueError("give exactly one of `rows`, `images` and `fraction`")
        return self

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("uid",) if self.images is None else ("image",)

    def settle(self, gathered: pa.Table) -> pa.Table:
        """One row (last_draw, size, of): the largest draw that stays, and how many that are."""
        drawn = _distinct(self._draws(gathered))
        share = None if self.fraction is None else int(len(drawn) * self.fraction)
        wanted = next(size for size in (self.rows, self.images, share) if size is not None)
        return _limits([("", drawn, min(wanted, len(drawn)))])

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        (limit,) = outcome.to_pylist()
        unit = "rows" if self.images is None else "images"
        told = f"among the {limit['size']:,} of {limit['of']:,} {unit} drawn with seed {self.seed}"
        drawn = self._draws(rows)
        dropped = (drawn > limit["last_draw"]) | (limit["size"] == 0)
        return [
            Verdict(
                reason=Reason.OVER_BUDGET,
                dropped=dropped,
                detail=lambda i: f"not {told}" if dropped[i] else told,
                value=np.full(rows.num_rows, limit["of"]),
                limit=limit["size"],
            )
        ]

    def _draws(self, rows: pa.Table) -> U64:
        if self.images is None:
            return draws(rows["uid"], "sample", self.seed)
        return draws_of(rows["image"].to_numpy(), "sample", self.seed)


class EqualLanguagesRule(Rule):
    """Keep equally many captions of each group of languages, as VisualGLM trains on Chinese and
    English: all of the smallest group, and a seeded sample of the others."""

    stage = Stage.SELECT
    groups: tuple[tuple[str, ...], ...] = Field(
        ..., min_length=2, description="Codes by group: [[en], [zh-cn, zh-tw]]."
    )
    language: str = Field(default="language", description="The language measure to go by.")
    seed: StrictInt = Field(default=0, description="Another seed draws another sample.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        codes = [code for group in self.groups for code in group]
        if len(codes) != len(set(codes)) or not all(self.groups):
            raise ValueError("every group needs a code, and a code belongs to one group")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        return (column_of(self.language),)

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(code for group in self.groups for code in group)

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("uid", *self.measured)

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Rows (group, last_draw, size, of), one for each group, in the recipe's order."""
        drawn, groups = self._draws(gathered), self._groups(gathered)
        found = [np.sort(drawn[groups == place]) for place in range(len(self.groups))]
        size = min(len(one) for one in found)
        named = ["+".join(codes) for codes in self.groups]
        return _limits([(name, one, size) for name, one in zip(named, found, strict=True)])

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        limits, groups = outcome.to_pylist(), self._groups(rows)
        codes = likeliest(rows[column_of(self.language)])
        last = outcome["last_draw"].to_numpy()[groups]
        none_left = outcome["size"].to_numpy()[groups] == 0
        surplus = (groups >= 0) & ((self._draws(rows) > last) | none_left)

        def told(i: int) -> str:
            limit = limits[groups[i]]
            told = f"{limit['of']:,} rows in {limit['group']}"
            return f"{told}, {limit['size']:,} of each are kept, as many as {least['group']} has"

        wanted = ", ".join(name["group"] for name in limits)
        least = min(limits, key=lambda limit: limit["of"])
        return [
            Verdict(
                reason=Reason.OTHER_LANGUAGE,
                dropped=groups < 0,
                detail=lambda i: f"{codes[i]}, one of {wanted} wanted",
            ),
            Verdict(
                reason=Reason.LANGUAGE_SURPLUS,
                dropped=surplus,
                detail=told,
                value=outcome["of"].to_numpy()[groups],
                limit=outcome["size"].to_numpy()[groups],
            ),
        ]

    def _draws(self, rows: pa.Table) -> U64:
        return draws(rows["uid"], "equal_languages", self.seed)

    def _groups(self, rows: pa.Table) -> npt.NDArray[np.intp]:
        """(rows,): the number of the group of each caption's likeliest language; -1 for none."""
        codes = likeliest(rows[column_of(self.language)]).astype(str)
        groups = np.full(len(codes), -1)
        for place, wanted in enumerate(self.groups):
            groups[np.isin(codes, wanted)] = place
        return groups


def _distinct(drawn: U64) -> U64:
    """Sorted. As np.unique, which hashes first and takes many times as long."""
    ordered = np.sort(drawn)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


def _limits(groups: list[tuple[str, U64, int]]) -> pa.Table:
    """For each group its name, sorted draws, and how many of them stay."""
    return pa.table(
        {
            "group": [name for name, _, _ in groups],
            "last_draw": pa.array(
                [int(drawn[size - 1]) if size else 0 for _, drawn, size in groups], pa.uint64()
            ),
            "size": pa.array([size for _, _, size in groups], pa.int64()),
            "of": pa.array([len(drawn) for _, drawn, _ in groups], pa.int64()),
        }
    )
