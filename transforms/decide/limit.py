"""Keep what reaches a limit: a number of one's own choice, or a top fraction, per language too."""

import functools
from collections.abc import Callable
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pydantic import AllowInfNan, Field, StrictBool, StrictFloat, model_validator

from schemas.errors import BadInputError
from schemas.outcome import Reason
from transforms.decide.rule import F64, Rule, Verdict
from transforms.shards.languages import column_of, likeliest

Groups = tuple[npt.NDArray[np.intp], list[str]]
ALL = ""  # the group of the rows that have no limit of their own


class ThresholdRule(Rule):
    """Base of rules on one number a row. Exactly one of a least value and a top fraction."""

    at_least: StrictFloat | None = Field(
        default=None, allow_inf_nan=False, description="Least value that is kept."
    )
    top_fraction: StrictFloat | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the rows kept so far that stays, best first.",
    )
    by_language: dict[str, Annotated[StrictFloat, AllowInfNan(False)]] = Field(
        default={},
        description="Limits of the same kind for captions of these languages, by likeliest code;"
        " a top fraction is then one of that language's rows.",
    )
    each_language: StrictBool = Field(
        default=False, description="With `top_fraction`: rank every language by itself."
    )
    language: str = Field(default="language", description="The language measure to go by.")

    @model_validator(mode="after")
    def _fractions(self) -> Self:
        if self.top_fraction is None:
            if self.each_language:
                raise ValueError("`each_language` goes with `top_fraction`")
        elif bad := [code for code, share in self.by_language.items() if not 0 < share <= 1]:
            raise ValueError(f"by_language.{bad[0]}: a fraction over 0 and up to 1 wanted")
        return self

    @property
    def number(self) -> str:
        """MEASURE.COLUMN of the number that is compared."""
        raise NotImplementedError

    @property
    def measured(self) -> tuple[str, ...]:
        return (self.number, *([self._languages] if self._goes_by_language else []))

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(self.by_language)

    @property
    def gathers(self) -> tuple[str, ...]:
        return () if self.top_fraction is None else self.measured

    def settle(self, gathered: pa.Table) -> pa.Table:
        """Columns group, at_least: the least value kept in each group of rows that there is."""
        values, (places, names) = numbers(gathered, self.number), self._groups(gathered)
        limits = {
            name: top_fraction_threshold(values[places == place], self._fraction(name))
            for place, name in enumerate(names)
        }
        ordered = sorted(limits.items())
        return pa.table(
            {
                "group": pa.array([name for name, _ in ordered], pa.string()),
                "at_least": pa.array([limit for _, limit in ordered], pa.float64()),
            }
        )

    def under(self, rows: pa.Table, outcome: pa.Table | None) -> tuple[F64, F64]:
        """(rows,) twice: the numbers, and the least value for each row."""
        values, (places, names) = numbers(rows, self.number), self._groups(rows)
        limits = dict(self.by_language)
        if outcome is not None:
            limits = dict(
                zip(outcome["group"].to_pylist(), outcome["at_least"].to_pylist(), strict=True)
            )
        elif self.at_least is not None:
            limits[ALL] = self.at_least
        return values, np.array([limits.get(name, -np.inf) for name in names])[places]

    @property
    def _goes_by_language(self) -> bool:
        return bool(self.by_language) or self.each_language

    @property
    def _languages(self) -> str:
        return column_of(self.language)

    def _groups(self, rows: pa.Table) -> Groups:
        """For each row the place of its group among the names: that of a language that has a limit
        of its own, or ALL."""
        if not self._goes_by_language:
            return np.zeros(rows.num_rows, np.intp), [ALL] if rows.num_rows else []
        places, found = pd.factorize(likeliest(rows[self._languages]))
        has_its_own = (self.each_language or code in self.by_language for code in found)
        names = [code if own else ALL for code, own in zip(found, has_its_own, strict=True)]
        merged, distinct = pd.factorize(np.array(names, object))
        return merged[places], distinct.tolist()

    def _fraction(self, group: str) -> float:
        assert self.top_fraction is not None
        return self.by_language.get(group, self.top_fraction)


class LimitRule(ThresholdRule):
    """Keep rows whose number lies within limits: any column of any measure, `text.words`.

    A row without the number, or with NaN, is dropped."""

    value: str = Field(
        ...,
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)?$",
        description="MEASURE.COLUMN, as text.words; MEASURE alone means its column `value`.",
    )
    at_most: StrictFloat | None = Field(
        default=None, allow_inf_nan=False, description="Largest value that is kept."
    )

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.top_fraction is not None and self.at_least is not None:
            raise ValueError("give `at_least` or `top_fraction`, not both")
        if self.top_fraction is None and self.at_least is None and self.at_most is None:
            raise ValueError("give `at_least`, `at_most` or `top_fraction`")
        if self.by_language and self.top_fraction is None and self.at_least is None:
            raise ValueError("`by_language` goes with `at_least` or `top_fraction`")
        return self

    @property
    def number(self) -> str:
        return self.value if "." in self.value else f"{self.value}.value"

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        values, least = self.under(rows, outcome)
        tell = functools.partial(_told, self.value, values)
        verdict = functools.partial(Verdict, value=values)
        said = [
            verdict(
                reason=Reason.NO_VALUE,
                dropped=np.isnan(values),
                detail=lambda i: f"{self.value} has no value",
            ),
            verdict(
                reason=Reason.UNDER_LIMIT, dropped=values < least, detail=tell(least), limit=least
            ),
        ]
        if (most := self.at_most) is not None:
            over = values > most
            said.append(
                verdict(reason=Reason.OVER_LIMIT, dropped=over, detail=tell(most), limit=most)
            )
        return said


def _told(name: str, values: F64, limit: F64 | float) -> Callable[[int], str]:
    limits = np.broadcast_to(limit, values.shape)
    return lambda i: f"{name} {values[i]:.6g}, limit {limits[i]:.6g}"


def numbers(rows: pa.Table, column: str) -> F64:
    """(rows,) of float64, NaN where there is none. True counts as 1.

    Raises: BadInputError: it holds no numbers."""
    kind = rows.schema.field(column).type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        raise BadInputError(f"{column} holds no numbers, but {kind}: a limit cannot be set on it.")
    return rows[column].cast(pa.float64(), safe=False).to_numpy()  # past 2**53, the nearest


def top_fraction_threshold(scores: npt.NDArray[np.floating], fraction: float) -> float:
    """DataComp's threshold: descending_scores[int(n * fraction)], to be kept with `>=`.

    Ties at the threshold stay, and so does one row more than the fraction. Of no rows: -1. A
    score that is no number ranks last.
    Source: DataComp, baselines/apply_filter.py.
    """
    if not len(scores):
        return -1.0
    place = min(int(len(scores) * fraction), len(scores) - 1)
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    return float(np.sort(ranked)[::-1][place])
