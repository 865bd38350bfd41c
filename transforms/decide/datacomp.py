"""DataComp's basic filter, exactly. Source: DataComp, baselines/apply_filter.py."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import functools

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.outcome import Reason
from transforms.decide.basic import SIDES, count_words_and_chars, sides_px
from transforms.decide.rule import Rule, Verdict
from transforms.shards.languages import column_of, likeliest

MIN_WORDS, MIN_CHARS, MIN_SIDE_PX, MAX_ASPECT = 3, 6, 200, 3.0


class DataCompBasicRule(Rule):
    """English by fastText's first choice; 3 words; 6 characters, white space around them counted;
    shorter side 200 px as fetched; longer side at most 3 times the shorter.

    DataComp reads languages with lid.176.bin; name that file in a language measure of one's own
    to have the very same answers. The model that comes with Pairmill is its compressed form.
    """

    language: str = Field(default="fasttext", description="The language measure to go by.")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("caption", *SIDES)

    @property
    def measured(self) -> tuple[str, ...]:
        return (column_of(self.language),)

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        codes = likeliest(rows[column_of(self.language)])
        words, _ = count_words_and_chars(rows["caption"])
        chars = pc.utf8_length(rows["caption"]).to_numpy()
        shorter_px, longer_px = sides_px(rows)
        aspect = longer_px / shorter_px
        short = functools.partial(Verdict, reason=Reason.SHORT_CAPTION)
        return [
            Verdict(
                reason=Reason.OTHER_LANGUAGE,
                dropped=codes != "en",
                detail=lambda i: f"{codes[i]}, en wanted",
            ),
            short(
                dropped=words < MIN_WORDS,
                detail=lambda i: f"{words[i]} words, limit {MIN_WORDS}",
                value=words,
                limit=MIN_WORDS,
            ),
            short(
                dropped=chars < MIN_CHARS,
                detail=lambda i: f"{chars[i]} characters, limit {MIN_CHARS}",
                value=chars,
                limit=MIN_CHARS,
            ),
            Verdict(
                reason=Reason.SMALL_IMAGE,
                dropped=shorter_px < MIN_SIDE_PX,
                detail=lambda i: f"shorter side {shorter_px[i]} px, limit {MIN_SIDE_PX} px",
                value=shorter_px,
                limit=MIN_SIDE_PX,
            ),
            Verdict(
                reason=Reason.EXTREME_ASPECT,
                dropped=aspect > MAX_ASPECT,
                detail=lambda i: f"aspect {aspect[i]:.3f}, limit {MAX_ASPECT:g}",
                value=aspect,
                limit=MAX_ASPECT,
            ),
        ]
