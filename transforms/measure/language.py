"""Which languages a caption may be in, by a detector of the recipe's choice."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field, model_validator

from schemas.fingerprint import Json, file_sha256
from transforms.measure.detectors import Detector, FastText, Langdetect, Lingua, model_path

LANGUAGES_TYPE = pa.map_(pa.string(), pa.float32())
NO_LANGUAGE = "und"  # ISO 639-3: undetermined
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
    return load_detector(policy).codes


def language_identity(policy: LanguagePolicy) -> Json:
    """What makes two detectors the same: the library, its version, and the model file's sha256.

    Where the file lies is no part of it. Raises: BadInputError: there is no such model."""
    name = _DISTRIBUTIONS.get(policy.detector, policy.detector)
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


def likeliest(languages: pa.ChunkedArray) -> np.ndarray:
    """The first code of each row, "und" where it has none: (rows,) of str objects."""
    found = np.full(len(languages), NO_LANGUAGE, dtype=object)
    row = 0
    for chunk in languages.chunks:
        begins, ends = chunk.offsets.to_numpy()[:-1], chunk.offsets.to_numpy()[1:]
        some = np.flatnonzero((begins < ends) & _is_there(chunk))
        # A dictionary, so that ten million rows share a few strings.
        tops = chunk.keys.take(pa.array(begins[some])).dictionary_encode()
        names = tops.dictionary.to_numpy(zero_copy_only=False)
        found[row + some] = names[tops.indices.to_numpy()]
        row += len(chunk)
    return found


def probability_of(languages: pa.ChunkedArray, codes: Sequence[str]) -> np.ndarray:
    """The probabilities of these codes together, for each row: (rows,) float64, 0 for none."""
    wanted = pa.array(list(codes), pa.string())
    sums = [_wanted_sums(chunk, wanted) for chunk in languages.chunks]
    return np.concatenate([np.zeros(0), *sums])


def _wanted_sums(chunk: pa.MapArray, wanted: pa.Array) -> np.ndarray:
    offsets = chunk.offsets.to_numpy()
    these = slice(offsets[0], offsets[-1])  # a slice of a chunk shares what the whole holds
    is_wanted = pc.is_in(chunk.keys[these], wanted).to_numpy(zero_copy_only=False)
    weights = np.where(is_wanted, chunk.items[these].to_numpy(zero_copy_only=False), 0.0)
    owners = np.repeat(np.arange(len(chunk)), np.diff(offsets))
    sums = np.bincount(owners, weights, minlength=len(chunk))
    return np.where(_is_there(chunk), sums, 0.0)


def _is_there(chunk: pa.MapArray) -> np.ndarray:
    return chunk.is_valid().to_numpy(zero_copy_only=False)
