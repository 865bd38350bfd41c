"""The recipe: one YAML file that says all of a run. Refused before anything starts if it is wrong.

It composes the policies of the stages; each policy, with its defaults, lives beside its stage.
"""

import re
import reprlib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, field_validator, model_validator

from pipelines.steps import (
    BUILT_IN,
    LISTS,
    HashPolicy,
    MeasurePolicy,
    MeasureStep,
    RuleStep,
    columns_of,
)
from transforms.corpora.policy import CorpusPolicy
from transforms.decide.limit import ThresholdRule
from transforms.decide.rule import Rule
from transforms.fetch.policy import FetchPolicy
from transforms.measure.language import LanguagePolicy, known_codes
from transforms.read.policy import InputPolicy
from transforms.score.policy import LOCAL_DIR, ClipPolicy
from transforms.score.rule import ClipScoreRule

CLIP = "clip-"  # how the measures of CLIP models begin
POCKET = "pocket"
FOLDER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
POCKET_FOLDER = Path(__file__).parent / "pocket" / "clip"


class Recipe(BaseModel, extra="forbid", frozen=True):
    """All of a run: input, fetch, models, rules in the order of the funnel, corpora."""

    input: InputPolicy = Field(..., description="Where the rows come from.")
    fetch: FetchPolicy = Field(
        default=FetchPolicy(), description="How images are fetched and stored."
    )
    clip: dict[str, ClipPolicy] = Field(
        default={POCKET: ClipPolicy(architecture=POCKET)},
        description="CLIP models by a name of your own; `pocket` ships with Pairmill.",
    )
    measures: dict[str, MeasureStep] = Field(
        default={}, description="Measures by a name of your own, for rules to read."
    )
    rules: tuple[RuleStep, ...] = Field((), description="In this order; the first drop counts.")
    corpora: dict[str, CorpusPolicy] = Field(default={}, description="What to build, by name.")

    @field_validator("rules")
    @classmethod
    def _keepers_by_score(cls, rules: tuple[RuleStep, ...]) -> tuple[RuleStep, ...]:
        """Where there is a CLIP rule, its score says which of a cluster of duplicates stays."""
        leaves = [rule for step in rules for _, rule in step.leaves("")]
        models = [rule.model for rule in leaves if isinstance(rule, ClipScoreRule)]
        return tuple(step.with_keepers(models[0]) for step in rules) if models else rules

    @model_validator(mode="after")
    def _names_folders(self) -> Self:
        for name in (*self.clip, *self.corpora, *self.measures):
            if not FOLDER_NAME.fullmatch(name):
                raise ValueError(
                    f"{reprlib.repr(name)} names a folder: 1 to 64 of a-z, A-Z, 0-9, - and _ wanted"
                )
        if taken := [name for name in self.measures if name.startswith(CLIP)]:
            raise ValueError(f"measures.{taken[0]}: names with {CLIP} belong to the CLIP models")
        return self

    @model_validator(mode="after")
    def _measures_exist(self) -> Self:
        for name, step in self.measures.items():
            if step.head is not None and step.head.clip not in self.clip:
                raise ValueError(
                    f"measures.{name}.head.clip: no model {step.head.clip!r} under `clip`; there"
                    f" are: {', '.join(self.clip)}"
                )
        for number, step in enumerate(self.rules):
            for place, rule in step.leaves(f"rules.{number}"):
                self._check_reads(place, rule)
        return self

    def _check_reads(self, place: str, rule: Rule) -> None:
        """A rule reads columns that there are, and names languages that its detector knows."""
        for column in rule.measured:
            measure, _, name = column.partition(".")
            if measure.startswith(CLIP) and measure.removeprefix(CLIP) not in self.clip:
                raise ValueError(
                    f"{place}: no model {measure.removeprefix(CLIP)!r} under `clip`; there are:"
                    f" {', '.join(self.clip)}"
                )
            if measure not in self.measure_names():
                there = ", ".join(self.measure_names())
                raise ValueError(f"{place}: no measure {measure!r}; there are: {there}")
            columns = columns_of(self.policy(measure))
            if columns and name not in columns:
                raise ValueError(
                    f"{place}: the measure {measure} has no column {name!r}; it has:"
                    f" {', '.join(columns)}"
                )
            is_no_number = name in LISTS or isinstance(self.policy(measure), HashPolicy)
            if isinstance(rule, ThresholdRule) and column == rule.number and is_no_number:
                raise ValueError(f"{place}: {column} holds no numbers to set a limit on")
            if not columns and name in LISTS:
                raise ValueError(f"{place}: the measure {measure} is a function: no {name} in it")

    def unknown_codes(self) -> str | None:
        """What is wrong with the languages that rules name, or None. Loads the detectors.

        Raises: BadInputError: one cannot be loaded."""
        for number, step in enumerate(self.rules):
            for place, rule in step.leaves(f"rules.{number}"):
                for column in rule.measured:
                    policy = self.policy(column.partition(".")[0])
                    if rule.codes and isinstance(policy, LanguagePolicy):
                        known = known_codes(policy)
                        if unknown := [code for code in rule.codes if code not in known]:
                            there = ", ".join(known)
                            return (
                                f"{place}: {policy.detector} has no {unknown[0]!r}; it has: {there}"
                            )
        return None

    def measure_names(self) -> list[str]:
        """Every measure that a rule may read."""
        return [*(BUILT_IN | self.measures), *(f"{CLIP}{name}" for name in self.clip)]

    def policy(self, measure: str) -> MeasurePolicy:
        """What a measure is set to."""
        if measure.startswith(CLIP):
            return self.clip_model(measure.removeprefix(CLIP))
        return (BUILT_IN | self.measures)[measure].policy

    def clip_model(self, name: str) -> ClipPolicy:
        """The model of this name, with `pocket` resolved to the folder that ships."""
        policy = self.clip[name]
        if policy.architecture != POCKET:
            return policy
        return policy.model_copy(update={"architecture": f"{LOCAL_DIR}{POCKET_FOLDER}"})
