"""A rule about some images only: these alone are measured, gathered and judged."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.layout import OUTCOME_FILE
from transforms.decide.at_once import decide_at_once
from transforms.decide.rule import FinderRule
from transforms.decide.screen import Step, rows_for, screen
from transforms.decide.stage import find, gather_columns, scatter, settle, settle_found
from transforms.dedupe.exact import ExactDuplicateRule
from transforms.measure.stage import Part, measure_shard
from transforms.score.rule import ClipScoreRule
from transforms.shards.measures import read_measure

SAME, OTHER = "ab" * 32, "cd" * 32
SHARDS = {
    0: [{"row": 0, "sha256": SAME}, {"row": 1, "sha256": "01" * 32}, {"row": 2, "failure": "gone"}],
    1: [{"row": 3, "sha256": SAME}, {"row": 4, "sha256": OTHER}],
    2: [{"row": 5, "sha256": OTHER}, {"row": 6, "sha256": SAME}],
}
SCORES = {0: 0.1, 3: 0.9, 6: 0.5, 4: 0.2, 5: 0.3}


@pytest.fixture
def run(draw_pool, tmp_path: Path) -> Path:
    for shard, rows in SHARDS.items():
        draw_pool(tmp_path / "pool", shard, rows)
    return tmp_path


def _step(run: Path) -> Step:
    rule = ExactDuplicateRule(keep="clip_score")
    finder = Step(name="finder", rule=rule.finder, outcome=run / "outcomes" / "finder" / "f")
    measures = (run / "measures" / "clip-pocket" / "f",)
    outcome = run / "outcomes" / "exact_duplicate" / "f"
    return Step(name="rules.0.exact", rule=rule, measures=measures, outcome=outcome, finder=finder)


def _find_all(run: Path, shards: list[int], step: Step) -> None:
    """What the graph does with a finder, without Beam."""
    assert isinstance(step.rule, FinderRule)
    gathered = [batch for shard in shards for batch in gather_columns(shard, run, [], step)]
    keyed: dict[str, list] = {}
    for batch in gathered:
        for key, part in scatter(batch, step.rule):
            keyed.setdefault(key, []).append(part)
    found = [find((key, parts), run, step) for key, parts in keyed.items()]
    settle_found(None, run, step, found)


def _score(part: Part) -> int:
    rows = part.rows["row"].to_pylist()
    part.write(pa.table({"score": pa.array([SCORES[row] for row in rows], pa.float32())}))
    return len(rows)


def _mill(run: Path, shards: list[int]) -> Step:
    step = _step(run)
    assert step.finder is not None
    _find_all(run, shards, step.finder)
    for shard in shards:
        measure_shard(shard, run, step.measures[0], [], _score, step.finder)
    settle(None, run, step, [g for n in shards for g in gather_columns(n, run, [], step)])
    return step


def test_only_images_that_are_found_are_measured(run: Path) -> None:
    step = _mill(run, [0, 1, 2])
    measured = [read_measure(step.measures[0], shard).num_rows for shard in SHARDS]
    assert measured == [1, 2, 2]
    assert rows_for(run / "pool", 0, [], step.finder)["row"].to_pylist() == [0]


def test_the_best_score_stays_and_the_ledger_names_it(run: Path) -> None:
    step = _mill(run, [0, 1, 2])
    ledgers = [screen(run / "pool", shard, [step]).ledger() for shard in SHARDS]
    kept = [row for ledger in ledgers for row in ledger.filter(ledger["kept"])["row"].to_pylist()]
    assert kept == [1, 3, 5]
    details = {line["row"]: line["detail"] for ledger in ledgers for line in ledger.to_pylist()}
    assert details[0].startswith("same bytes as row 3, ")
    assert details[4].startswith("same bytes as row 5, ")


def test_the_scores_of_some_rows_are_noted_where_no_rule_before_has_scored(run: Path) -> None:
    step = _mill(run, [0, 1, 2])
    scores = screen(run / "pool", 1, [step]).clip_score
    assert scores.tolist() == pytest.approx([0.9, 0.2])
    assert np.isnan(screen(run / "pool", 0, [step]).clip_score[1])


def test_outcomes_do_not_depend_on_the_order_of_shards(
    run: Path, draw_pool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    for shard, rows in SHARDS.items():
        draw_pool(other / "pool", shard, rows)
    one, two = _mill(run, [0, 1, 2]), _mill(other, [2, 0, 1])
    for a, b in ((one, two), (one.finder, two.finder)):
        assert a is not None
        assert b is not None
        assert a.outcome is not None
        assert b.outcome is not None
        assert (a.outcome / OUTCOME_FILE).read_bytes() == (b.outcome / OUTCOME_FILE).read_bytes()


def test_decide_finds_the_same_in_one_process(run: Path) -> None:
    step = _mill(run, [0, 1, 2])
    decided = decide_at_once(run / "pool", 3, [step])
    assert decided.unmeasured == 0
    assert [of.name for of, _ in decided.outcomes] == ["finder", "rules.0.exact"]
    for of, outcome in decided.outcomes:
        assert of.outcome is not None
        assert outcome.equals(pq.read_table(of.outcome / OUTCOME_FILE))
    for shard, screened in enumerate(decided.screens):
        assert screened.ledger().equals(screen(run / "pool", shard, [step]).ledger())


def test_decide_tells_which_of_those_found_have_no_score_yet(run: Path) -> None:
    step = _step(run)
    assert step.finder is not None
    measure_shard(1, run, step.measures[0], [], _score)
    decided = decide_at_once(run / "pool", 3, [step])
    assert decided.unmeasured == 3  # rows 0, 5 and 6; row 1 is like no other
    reasons = [line["reason"] for s in decided.screens for line in s.ledger().to_pylist()]
    assert reasons == ["unmeasured", None, "gone", None, None, "unmeasured", "unmeasured"]


def test_the_scores_of_a_clip_rule_before_are_not_those_that_choose_keepers(run: Path) -> None:
    step = _mill(run, [0, 1, 2])
    other = run / "measures" / "clip-other" / "f"

    def score_other(part: Part) -> int:
        part.write(pa.table({"score": pa.array([0.7] * part.rows.num_rows, pa.float32())}))
        return 0

    for shard in SHARDS:
        measure_shard(shard, run, other, [], score_other)
    rule = ClipScoreRule(model="other", at_least=0.0)
    before = Step(name="rules.0.clip_score", rule=rule, measures=(other,))
    assert screen(run / "pool", 1, [before, step]).clip_score.tolist() == pytest.approx([0.7] * 2)
    scores = screen(run / "pool", 1, [step, before]).clip_score  # the second is dropped before
    assert scores.tolist() == pytest.approx([0.7, 0.2])
