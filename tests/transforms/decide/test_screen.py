"""Screening: the first rule that drops a row is its end, and every row has exactly one end."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RunFailedError
from schemas.outcome import LEDGER_SCHEMA, Stage
from schemas.pair import Failure
from transforms.decide.basic import AspectRule, CaptionRule, ShorterSideRule
from transforms.decide.language import LanguageRule
from transforms.decide.ledger import count_funnel, kept_texts
from transforms.decide.limit import LimitRule
from transforms.decide.rule import Rule
from transforms.decide.screen import Step, gather, screen
from transforms.dedupe.exact import ExactDuplicateRule
from transforms.score.rule import ClipScoreRule
from transforms.shards.commit import Draft

RULES: dict[str, Rule] = {
    "caption": CaptionRule(min_words=2),
    "side": ShorterSideRule(at_least_px=30),
    "aspect": AspectRule(at_most=2),
}


def _steps(*rules: Rule, measure: Path | None = None) -> list[Step]:
    return [
        Step(name="r", rule=rule, measures=(measure,) if rule.measures and measure else ())
        for rule in rules
    ]


def _endings(ledger: pa.Table) -> list[tuple[str | None, str | None]]:
    return list(zip(ledger["stage"].to_pylist(), ledger["reason"].to_pylist(), strict=True))


def _commit_measure(measure: Path, part: int, **columns: Any) -> None:
    with Draft(measure / f"00000-{part}.json") as draft:
        pq.write_table(pa.table(columns), draft.path(f"00000-{part}.parquet"))


def test_the_first_rule_that_drops_a_row_is_its_end(draw_pool, tmp_path: Path) -> None:
    row = {"caption": "short", "original_width": 90, "original_height": 10}
    draw_pool(tmp_path, 0, [{"row": 0, **row}])
    caption, side, aspect = RULES.values()
    for rules, reason in (
        ((caption, side, aspect), "short_caption"),
        ((side, aspect, caption), "small_image"),
        ((aspect, side, caption), "extreme_aspect"),
    ):
        assert _endings(screen(tmp_path, 0, _steps(*rules)).ledger()) == [("basic", reason)]


def test_the_pools_own_failures_come_before_every_rule(draw_pool, tmp_path: Path) -> None:
    rows = [
        {"row": 0, "caption": ""},
        {"row": 1, "caption": "", "failure": "not_found"},
        {"row": 2, "caption": "", "failure": "timeout", "repeated": True},
    ]
    draw_pool(tmp_path, 0, rows)
    ledger = screen(tmp_path, 0, _steps(CaptionRule())).ledger()
    assert _endings(ledger) == [
        ("basic", "empty_caption"),
        ("fetch", "not_found"),
        ("read", "repeated_row"),
    ]
    details = ["no characters", "told: not_found", "an earlier row has the same uid"]
    assert ledger["detail"].to_pylist() == details


def test_the_ledger_of_kept_rows_has_no_reason(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path, 0, [{"row": 0}])
    ledger = screen(tmp_path, 0, []).ledger()
    assert ledger.schema.equals(LEDGER_SCHEMA)
    (line,) = ledger.to_pylist()
    assert line["kept"] is True
    assert line["stage"] is line["reason"] is line["detail"] is None


ROW = st.fixed_dictionaries(
    {
        "caption": st.sampled_from(["", " ", "one", "one two", "one two three"]),
        "original_width": st.integers(1, 80),
        "original_height": st.integers(1, 80),
        "failure": st.none() | st.sampled_from([failure.value for failure in Failure]),
        "repeated": st.booleans(),
    }
)


def _expected(row: dict[str, Any], names: list[str]) -> tuple[str | None, str | None]:
    """The same funnel, said once more in plain words."""
    shorter, longer = sorted((row["original_width"], row["original_height"]))
    words = row["caption"].split()
    drops = {
        "caption": not words or len(words) < 2,
        "side": shorter < 30,
        "aspect": longer > 2 * shorter,
    }
    reasons = {
        "caption": "short_caption" if words else "empty_caption",
        "side": "small_image",
        "aspect": "extreme_aspect",
    }
    if row["repeated"]:
        return "read", "repeated_row"
    if row["failure"]:
        return "fetch", row["failure"]
    return next((("basic", reasons[name]) for name in names if drops[name]), (None, None))


@given(rows=st.lists(ROW, min_size=1, max_size=8), names=st.permutations(list(RULES)))
def test_every_row_has_one_end_and_the_counts_reconcile(
    draw_pool, rows: list[dict[str, Any]], names: list[str], tmp_path_factory
) -> None:
    pool = tmp_path_factory.mktemp("pool")
    draw_pool(pool, 0, [{"row": number, **row} for number, row in enumerate(rows)])
    screened = screen(pool, 0, _steps(*(RULES[name] for name in names)))
    ledger = screened.ledger()
    assert ledger["row"].to_pylist() == list(range(len(rows)))
    expected = [_expected(row, names) for row in rows]
    assert _endings(ledger) == expected
    assert ledger["kept"].to_pylist() == [reason is None for _, reason in expected]
    funnel = count_funnel([ledger], [Stage.BASIC])
    told = {(s, r): n for s, reasons in funnel["dropped"].items() for r, n in reasons.items()}
    assert told == Counter(ending for ending in expected if ending[1])
    assert funnel["input_rows"] == len(rows) == funnel["kept"] + sum(told.values())


def test_a_measure_is_joined_by_uid_whatever_its_order(draw_pool, tmp_path: Path) -> None:
    pool, measure = tmp_path / "pool", tmp_path / "clip-m" / "f"
    draw_pool(pool, 0, [{"row": n, "uid": f"{n:032x}"} for n in range(4)])
    _commit_measure(measure, 0, uid=[f"{n:032x}" for n in (3, 0)], score=np.float32([0.3, 0.0]))
    _commit_measure(measure, 1, uid=[f"{n:032x}" for n in (2, 1)], score=np.float32([0.2, 0.1]))
    rule = ClipScoreRule(model="m", at_least=0.15)
    screened = screen(pool, 0, _steps(rule, measure=measure))
    assert screened.kept.tolist() == [False, False, True, True]
    dropped = screened.ledger().to_pylist()[1]
    assert dropped["detail"] == "clip-m 0.1000, limit 0.1500"
    assert (dropped["rule"], dropped["limit"]) == ("r", 0.15)
    assert dropped["value"] == pytest.approx(0.1)
    texts = kept_texts(screened, 0)
    assert texts["place"].to_pylist() == [2, 3]
    assert texts["clip_score"].to_pylist() == pytest.approx([0.2, 0.3])


def test_language_probabilities_are_joined_over_parts(draw_pool, tmp_path: Path) -> None:
    pool, measure = tmp_path / "pool", tmp_path / "language" / "f"
    draw_pool(pool, 0, [{"row": n, "uid": f"{n:032x}"} for n in range(2)])
    kind = pa.map_(pa.string(), pa.float32())
    for part, guess in enumerate(([("de", 0.9)], [("en", 0.9)])):
        _commit_measure(measure, part, uid=[f"{part:032x}"], languages=pa.array([guess], kind))
    screened = screen(pool, 0, _steps(LanguageRule(keep=("en",)), measure=measure))
    assert screened.kept.tolist() == [False, True]


def test_a_row_that_was_not_measured_is_an_error_not_a_drop(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path / "pool", 0, [{"row": 0}])
    measure = tmp_path / "clip-m" / "f"
    with pytest.raises(RunFailedError, match=r"1 rows have no clip-m measure, though"):
        screen(tmp_path / "pool", 0, _steps(ClipScoreRule(model="m", at_least=0), measure=measure))


def test_a_whole_pool_rule_gathers_only_rows_kept_at_its_place(draw_pool, tmp_path: Path) -> None:
    draw_pool(tmp_path, 0, [{"row": 0, "caption": ""}, {"row": 1}, {"row": 2, "failure": "dns"}])
    gathered = gather(tmp_path, 0, _steps(CaptionRule()), *_steps(ExactDuplicateRule()))
    assert gathered["row"].to_pylist() == [1]


def test_a_column_that_no_row_of_a_shard_has_is_null_there(draw_pool, tmp_path: Path) -> None:
    """A function's dicts need not all have the same names; another shard may have this one."""
    pool, measure = tmp_path / "pool", tmp_path / "own" / "f"
    draw_pool(pool, 0, [{"row": 0, "uid": f"{0:032x}"}])
    _commit_measure(measure, 0, uid=[f"{0:032x}"], size=[1.0])
    for limits in ({"at_least": 1.0}, {"top_fraction": 0.5}):
        steps = _steps(LimitRule(value="own.share", **limits), measure=measure)
        assert gather(pool, 0, [], *steps).num_columns == len(steps[0].rule.gathers)
    steps = _steps(LimitRule(value="own.share", at_least=1.0), measure=measure)
    assert _endings(screen(pool, 0, steps).ledger()) == [("basic", "no_value")]


def test_a_function_that_gave_nothing_in_a_shard_leaves_no_value(draw_pool, tmp_path: Path) -> None:
    """Its table is then one null column `value`, whatever columns other shards have."""
    pool, measure = tmp_path / "pool", tmp_path / "own" / "f"
    draw_pool(pool, 0, [{"row": 0, "uid": f"{0:032x}"}])
    _commit_measure(measure, 0, uid=[f"{0:032x}"], value=pa.nulls(1))
    steps = _steps(LimitRule(value="own.size", at_least=1.0), measure=measure)
    assert _endings(screen(pool, 0, steps).ledger()) == [("basic", "no_value")]


def test_parts_of_different_kinds_are_told(draw_pool, tmp_path: Path) -> None:
    pool, measure = tmp_path / "pool", tmp_path / "own" / "f"
    draw_pool(pool, 0, [{"row": n, "uid": f"{n:032x}"} for n in range(2)])
    _commit_measure(measure, 0, uid=[f"{0:032x}"], value=[True])
    _commit_measure(measure, 1, uid=[f"{1:032x}"], value=["x"])
    steps = _steps(LimitRule(value="own", at_least=1.0), measure=measure)
    with pytest.raises(RunFailedError, match="Shards disagree on what a measure holds"):
        screen(pool, 0, steps)
