"""The rule that drops pairs by their CLIP score: under a threshold, or outside the top fraction."""

from typing import Self

import pyarrow as pa
from pydantic import Field, model_validator

from schemas.outcome import Reason, Stage
from transforms.decide.limit import ThresholdRule
from transforms.decide.rule import Verdict


class ClipScoreRule(ThresholdRule):
    """Exactly one of `at_least`, a cosine (not x100), and `top_fraction`.

    Published thresholds: 0.30 for ViT-B/32 (LAION-400M), 0.28 (LAION-5B; other languages 0.26);
    top 30 % by ViT-L/14 (DataComp). A threshold belongs to one model; for another it means
    something else.
    """

    stage = Stage.CLIP
    model: str = Field(default="pocket", description="A name under `clip` in the recipe.")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.at_least is None) == (self.top_fraction is None):
            raise ValueError("give exactly one of `at_least` and `top_fraction`")
        limits = [self.at_least or 0.0, *self.by_language.values()]
        if not all(-1 <= limit <= 1 for limit in limits):
            raise ValueError("a cosine from -1 to 1 wanted, not x100")
        return self

    @property
    def number(self) -> str:
        return f"clip-{self.model}.score"

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        scores, limits = self.under(rows, outcome)
        return [
            Verdict(
                reason=Reason.LOW_CLIP_SCORE,
                dropped=~(scores >= limits),  # NaN is no score to keep a pair for
                detail=lambda i: f"clip-{self.model} {scores[i]:.4f}, limit {limits[i]:.4f}",
                value=scores,
                limit=limits,
            )
        ]
