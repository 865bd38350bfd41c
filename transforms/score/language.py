"""Which language a caption is written in, by langdetect, and the rule that keeps some of them."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from langdetect import DetectorFactory, LangDetectException
from langdetect.detector_factory import PROFILES_DIRECTORY
from pydantic import BaseModel, Field, StrictFloat, field_validator

from schemas.outcome import Reason
from transforms.decide.rule import SingleRowRule, Verdict

LANGUAGE = "language"
NO_LANGUAGE = "und"  # ISO 639-3: undetermined


class LanguageRule(BaseModel, SingleRowRule, extra="forbid", frozen=True):
    """Keep captions that may well be in one of the languages wanted.

    langdetect gives a probability to each language it thinks possible. On short captions its
    first choice is often wrong, with the right one a close second, so the rule looks at the
    probability of the wanted languages together. `at_least: 0.5` is the top-1 rule of DataComp.
    """

    keep: tuple[str, ...] = Field(
        ..., min_length=1, description="langdetect's codes: en, de, zh-cn, ..."
    )
    at_least: StrictFloat = Field(
        default=0.5, gt=0, le=1, description="Least probability of the wanted languages together."
    )

    @field_validator("keep")
    @classmethod
    def _known_codes(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        known = [path.name for path in _profiles()]
        if unknown := [code for code in keep if code not in known]:
            raise ValueError(f"langdetect has no {unknown[0]!r}; it has: {', '.join(known)}")
        return keep

    @property
    def measure(self) -> str | None:
        return LANGUAGE

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        guesses = rows["languages"].combine_chunks()
        begins, ends = guesses.offsets.to_numpy()[:-1], guesses.offsets.to_numpy()[1:]
        is_wanted = pc.is_in(guesses.keys, pa.array(self.keep)).to_numpy(zero_copy_only=False)
        codes = guesses.keys.to_numpy(zero_copy_only=False)
        probabilities = guesses.items.to_numpy().astype(np.float64)
        owners = np.repeat(np.arange(len(guesses)), ends - begins)
        these = slice(begins[0], ends[-1]) if len(guesses) else slice(0)
        wanted = np.bincount(
            owners, np.where(is_wanted, probabilities, 0.0)[these], minlength=len(guesses)
        )

        def told(i: int) -> str:
            code, probability = NO_LANGUAGE, 1.0
            if begins[i] < ends[i]:
                code, probability = codes[begins[i]], probabilities[begins[i]]
            limit = f"{'+'.join(self.keep)} {wanted[i]:.3f}, limit {self.at_least:g}"
            return f"{code} {probability:.3f}; {limit}"

        return [Verdict(reason=Reason.OTHER_LANGUAGE, dropped=wanted < self.at_least, detail=told)]


def measure_languages(captions: list[str]) -> pa.Array:
    """For each caption the languages it may be in, likeliest first: map of code to probability.

    Empty where langdetect finds no letters. The same caption always gives the same answer:
    langdetect draws at random, and each caption is read with the same seed.
    """
    kind = pa.map_(pa.string(), pa.float32())
    return pa.array([_languages(caption) for caption in captions], kind)


def _languages(caption: str) -> list[tuple[str, float]]:
    detector = _factory().create()
    detector.append(caption)
    try:
        return [(guess.lang, guess.prob) for guess in detector.get_probabilities()]
    except LangDetectException:
        return []


@functools.cache
def _factory() -> DetectorFactory:
    """langdetect's own factory is a global without a seed; this one is ours and seeded."""
    factory = DetectorFactory()
    factory.load_json_profile([path.read_text(encoding="utf-8") for path in _profiles()])
    factory.set_seed(0)
    return factory


def _profiles() -> list[Path]:
    """A file for each language, named by its code; in one order, which is part of the numbers."""
    return sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.name[0] != ".")
