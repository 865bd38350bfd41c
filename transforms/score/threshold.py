"""The rule that drops pairs by their CLIP score: under a threshold, or outside the top fraction."""

from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, Field, StrictFloat, model_validator

from schemas.outcome import Reason, Stage
from transforms.decide.rule import Verdict


class ClipScoreRule(BaseModel, extra="forbid", frozen=True):
    """Exactly one of `at_least` and `top_fraction`.

    Published thresholds: 0.30 for ViT-B/32 (LAION-400M), 0.28 (LAION-5B); top 30 % by ViT-L/14
    (DataComp). A threshold belongs to one model; for another it means something else.
    """

    model: str = Field(default="pocket", description="A name under `clip` in the recipe.")
    at_least: StrictFloat | None = Field(
        default=None, ge=-1, le=1, description="Least cosine, not x100."
    )
    top_fraction: StrictFloat | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the rows kept so far that stays, best first.",
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.at_least is None) == (self.top_fraction is None):
            raise ValueError("give exactly one of `at_least` and `top_fraction`")
        return self

    @property
    def stage(self) -> Stage:
        return Stage.CLIP

    @property
    def measure(self) -> str | None:
        return f"clip-{self.model}"

    @property
    def whole_pool(self) -> bool:
        return self.top_fraction is not None

    def gather(self, rows: pa.Table) -> pa.Table:
        return rows.select(["score"])

    def settle(self, gathered: pa.Table) -> pa.Table:
        assert self.top_fraction is not None
        limit = top_fraction_threshold(gathered["score"].to_numpy(), self.top_fraction)
        return pa.table({"at_least": pa.array([limit], pa.float64())})

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        limit = self.at_least if outcome is None else outcome["at_least"][0].as_py()
        scores = rows["score"].to_numpy().astype(np.float64)
        return [
            Verdict(
                reason=Reason.LOW_CLIP_SCORE,
                dropped=~(scores >= limit),  # NaN is no score to keep a pair for
                detail=lambda i: f"{self.measure} {scores[i]:.4f}, limit {limit:.4f}",
            )
        ]


def top_fraction_threshold(scores: npt.NDArray[np.float32], fraction: float) -> float:
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
