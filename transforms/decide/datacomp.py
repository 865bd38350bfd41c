"""DataComp's basic filter, exactly. Source: DataComp, baselines/apply_filter.py."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import functools

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.outcome import Reason
from transforms.decide.basic import SIDES, AspectRule, ShorterSideRule, count_words_and_chars
from transforms.decide.rule import Rule, Verdict
from transforms.shards.languages import column_of, likeliest

MIN_WORDS, MIN_CHARS = 3, 6


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
            *ShorterSideRule(at_least_px=200).judge(rows, None),
            *AspectRule(at_most=3.0).judge(rows, None),
        ]
