"""Keep captions that are probably in one of some languages."""

import pyarrow as pa
from pydantic import Field, StrictFloat

from schemas.outcome import Reason
from transforms.decide.rule import Rule, Verdict
from transforms.shards.languages import column_of, likeliest, probability_of

LANGUAGE = "language"  # the measure that rules go by unless they name another


class LanguageRule(Rule):
    """Keep captions that may well be in one of the languages wanted.

    A detector gives a probability to each language it thinks possible. On short captions its
    first choice is often wrong, with the right one a close second, so the rule looks at the
    probability of the wanted languages together. `at_least: 0.5` is close to a top-1 rule.
    """

    keep: tuple[str, ...] = Field(
        ..., min_length=1, description="The detector's codes: en, de, zh-cn, ..."
    )
    at_least: StrictFloat = Field(
        default=0.5, gt=0, le=1, description="Least probability of the wanted languages together."
    )
    language: str = Field(default=LANGUAGE, description="The language measure to go by.")

    @property
    def measured(self) -> tuple[str, ...]:
        return (column_of(self.language),)

    @property
    def codes(self) -> tuple[str, ...]:
        return self.keep

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        languages = rows[column_of(self.language)]
        wanted, codes = probability_of(languages, self.keep), likeliest(languages)
        names = "+".join(self.keep)
        return [
            Verdict(
                reason=Reason.OTHER_LANGUAGE,
                dropped=wanted < self.at_least,
                detail=lambda i: f"{codes[i]}; {names} {wanted[i]:.3f}, limit {self.at_least:g}",
                value=wanted,
                limit=self.at_least,
            )
        ]
