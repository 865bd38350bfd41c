"""Rules over what a pool row says of itself: caption, sides, aspect."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StrictFloat, StrictInt

from schemas.outcome import Reason
from transforms.decide.rule import Rule, Verdict

SIDES = ("original_width", "original_height")  # px, as fetched


class CaptionRule(Rule):
    """Drop captions that are empty or too short. DataComp's basic filter: 3 words, 6 characters.

    Words are what white space parts, as in DataComp; characters include inner spaces.
    """

    min_words: StrictInt = Field(default=1, ge=1, description="Fewest words of a caption.")
    min_chars: StrictInt = Field(
        default=1, ge=1, description="Fewest characters of a caption, stripped."
    )

    @property
    def columns(self) -> tuple[str, ...]:
        return ("caption",)

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        words, chars = count_words_and_chars(rows["caption"])
        short = (chars > 0) & ((words < self.min_words) | (chars < self.min_chars))

        few_words = words < self.min_words  # the value and limit told are those of words first

        def too_short(i: int) -> str:
            limits = f"at least {self.min_words} and {self.min_chars}"
            return f"{words[i]} words and {chars[i]} characters, {limits} wanted"

        return [
            Verdict(
                reason=Reason.EMPTY_CAPTION,
                dropped=chars == 0,
                detail=lambda i: "no characters",
                value=chars,
                limit=1,
            ),
            Verdict(
                reason=Reason.SHORT_CAPTION,
                dropped=short,
                detail=too_short,
                value=np.where(few_words, words, chars),
                limit=np.where(few_words, self.min_words, self.min_chars),
            ),
        ]


def count_words_and_chars(
    captions: pa.ChunkedArray,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(rows,) twice: what len(c.split()) and len(c.strip()) give in Python, a thousand a ms."""
    stripped = pc.utf8_trim_whitespace(captions)
    words = pc.list_value_length(pc.utf8_split_whitespace(stripped)).to_numpy().astype(np.int64)
    chars = pc.utf8_length(stripped).to_numpy().astype(np.int64)
    return np.where(chars > 0, words, 0), chars


class ShorterSideRule(Rule):
    """Drop images whose shorter side, as fetched, is under a limit. DataComp: 200 px."""

    at_least_px: StrictInt = Field(..., ge=1, description="Fewest pixels of the shorter side.")

    @property
    def columns(self) -> tuple[str, ...]:
        return SIDES

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        shorter_px, _ = sides_px(rows)
        return [
            Verdict(
                reason=Reason.SMALL_IMAGE,
                dropped=shorter_px < self.at_least_px,
                detail=lambda i: f"shorter side {shorter_px[i]} px, limit {self.at_least_px} px",
                value=shorter_px,
                limit=self.at_least_px,
            )
        ]


class AspectRule(Rule):
    """Drop images whose longer side is over `at_most` times the shorter. DataComp: 3.0."""

    at_most: StrictFloat = Field(
        ..., ge=1, allow_inf_nan=False, description="Largest longer : shorter."
    )

    @property
    def columns(self) -> tuple[str, ...]:
        return SIDES

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        shorter_px, longer_px = sides_px(rows)
        aspect = longer_px / shorter_px
        return [
            Verdict(
                reason=Reason.EXTREME_ASPECT,
                dropped=aspect > self.at_most,
                detail=lambda i: f"aspect {aspect[i]:.3f}, limit {self.at_most:g}",
                value=aspect,
                limit=self.at_most,
            )
        ]


def sides_px(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) twice: the shorter and the longer side, as fetched."""
    width_px, height_px = (rows[name].to_numpy() for name in SIDES)
    return np.minimum(width_px, height_px), np.maximum(width_px, height_px)
