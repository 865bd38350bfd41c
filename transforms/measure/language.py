"""Which languages a caption may be in, by a detector of the recipe's choice."""

import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Literal, Self

import pyarrow as pa
from pydantic import BaseModel, Field, model_validator

from schemas.fingerprint import Json, file_sha256
from transforms.measure.detectors import (
    Detector,
    FastText,
    Langdetect,
    Lingua,
    langdetect_profiles,
    model_path,
)
from transforms.shards.languages import LANGUAGES_TYPE

_DISTRIBUTIONS = {"fasttext": "fasttext-predict", "lingua": "lingua-language-detector"}


class LanguagePolicy(BaseModel, extra="forbid", frozen=True):
    """Which detector reads the captions."""

    detector: Literal["langdetect", "fasttext", "lingua"] = Field(
        default="langdetect", description="langdetect, fasttext or lingua."
    )
    model: str | None = Field(
        default=None,
        description="For fasttext: a model file, as lid.176.bin (DataComp's); else lid.176.ftz.",
    )

    @model_validator(mode="after")
    def _only_fasttext_has_models(self) -> Self:
        if self.model is not None and self.detector != "fasttext":
            raise ValueError(f"{self.detector} takes no model; only fasttext does")
        return self


@functools.lru_cache
def load_detector(policy: LanguagePolicy) -> Detector:
    """The detector, once in a process. Raises: BadInputError: its model or library is missing."""
    match policy.detector:
        case "langdetect":
            return Langdetect()
        case "fasttext":
            return FastText(model_path(policy.model))
        case "lingua":
            return Lingua()


def known_codes(policy: LanguagePolicy) -> tuple[str, ...]:
    """Codes that the detector may give, sorted. Raises: BadInputError, as `load_detector`."""
    if policy.detector == "langdetect":  # the names of its files: to read them takes half a second
        return tuple(path.name for path in langdetect_profiles())
    return load_detector(policy).codes


def language_identity(policy: LanguagePolicy) -> Json:
    """What makes two detectors the same: the library, its version, and the model file's sha256.

    Where the file lies is no part of it. Raises: BadInputError: there is no such model."""
    name = _DISTRIBUTIONS.get(policy.detector, policy.detector)
    if policy.detector != "langdetect":  # which is always there
        load_detector(policy)  # so that what is missing is told in one sentence
    identity = {"detector": policy.detector, "library": name, "version": version(name)}
    if policy.detector == "fasttext":
        identity["model_sha256"] = file_sha256(model_path(policy.model))
    return identity


def measure_languages(captions: Sequence[str], policy: LanguagePolicy) -> pa.Array:
    """For each caption the languages it may be in, likeliest first: map of code to probability.

    (captions,) of LANGUAGES_TYPE; empty where the detector cannot say. The same caption always
    gives the same answer, alone or among others. Raises: BadInputError, as `load_detector`."""
    return pa.array(load_detector(policy).detect(captions), LANGUAGES_TYPE)
