"""Thresholds: DataComp's formula with its ties, and the rule that applies them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from transforms.decide.limit import top_fraction_threshold
from transforms.score.rule import ClipScoreRule

# Few distinct values, so that ties are the rule.
SCORES = st.lists(st.sampled_from([-0.5, 0.0, 0.1, 0.2, 0.25, 0.3]), min_size=1, max_size=40)
FRACTION = st.floats(0.01, 1.0, exclude_max=True)


def _kept(rule: ClipScoreRule, scores: list[float]) -> list[bool]:
    column = f"clip-{rule.model}.score"
    rows = pa.table({column: pa.array(scores, pa.float32()), "uid": ["u"] * len(scores)})
    outcome = rule.settle(rows.select(rule.gathers)) if rule.whole_pool else None
    (verdict,) = rule.judge(rows, outcome)
    return (~verdict.dropped).tolist()


@given(SCORES, FRACTION)
def test_the_threshold_is_datacomps(scores: list[float], fraction: float) -> None:
    """baselines/apply_filter.py: the n-th largest score for n = int(rows * fraction), from 0."""
    array = np.array(scores, np.float32)
    best_first = sorted(array.tolist(), reverse=True)
    assert top_fraction_threshold(array, fraction) == best_first[int(len(scores) * fraction)]


@given(SCORES, FRACTION)
def test_the_top_fraction_keeps_ties_and_one_row_more(scores: list[float], fraction: float) -> None:
    kept = _kept(ClipScoreRule(top_fraction=fraction), scores)
    best_first = sorted(scores, reverse=True)
    last = best_first[int(len(scores) * fraction)]
    assert kept == [score >= last for score in scores]
    assert sum(kept) >= int(len(scores) * fraction) + 1


def test_without_ties_one_row_more_than_the_fraction_stays() -> None:
    assert _kept(ClipScoreRule(top_fraction=0.5), [0.1, 0.4, 0.2, 0.3]) == [False, True, True, True]


@pytest.mark.parametrize("fraction", [0.001, 0.3, 1.0])
def test_a_fraction_of_one_row_is_that_row(fraction: float) -> None:
    assert _kept(ClipScoreRule(top_fraction=fraction), [0.2]) == [True]


def test_the_whole_is_everything_and_of_nothing_nothing() -> None:
    assert _kept(ClipScoreRule(top_fraction=1), [0.3, -1.0, 0.1]) == [True] * 3
    assert top_fraction_threshold(np.zeros(0, np.float32), 0.3) == -1


def test_at_least_keeps_the_boundary() -> None:
    below = float(np.nextafter(np.float32(0.25), np.float32(0)))
    assert _kept(ClipScoreRule(at_least=0.25), [0.25, below, -1.0, 1.0]) == [
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("rule", [ClipScoreRule(at_least=-1), ClipScoreRule(top_fraction=0.9)])
def test_what_has_no_score_is_not_kept(rule: ClipScoreRule) -> None:
    """NaN is what a broken model gives; it compares as false with everything."""
    assert _kept(rule, [float("nan"), float("nan")]) == [False, False]


def test_the_detail_names_value_and_limit() -> None:
    rule = ClipScoreRule(model="l14", at_least=0.3)
    (verdict,) = rule.judge(pa.table({"clip-l14.score": pa.array([0.2], pa.float32())}), None)
    assert verdict.reason == "low_clip_score"
    assert verdict.detail(0) == "clip-l14 0.2000, limit 0.3000"


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"at_least": 0.2, "top_fraction": 0.3},
        {"at_least": 28},
        {"at_least": float("nan")},
        {"top_fraction": 0},
        {"top_fraction": 1.01},
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ClipScoreRule(**limits)  # pyright: ignore[reportArgumentType]
