"""Settling a whole-pool rule, without Beam: committed once, whatever order the shards come in."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from schemas.layout import OUTCOME_FILE
from transforms.decide.screen import Step, screen
from transforms.decide.stage import gather_columns, settle
from transforms.dedupe.exact import ExactDuplicateRule

SAME = "ab" * 32


def _step(run: Path) -> Step:
    outcome = run / "outcomes" / "exact_duplicate" / "f"
    return Step(
        name="rules.0.exact_duplicate", rule=ExactDuplicateRule(keep="first"), outcome=outcome
    )


def _settle(run: Path, shards: Sequence[int]) -> None:
    step = _step(run)
    batches = [batch for shard in shards for batch in gather_columns(shard, run, [], step)]
    settle(None, run, step, batches)


def _draw(draw_pool, run: Path) -> None:
    draw_pool(run / "pool", 0, [{"row": 7, "sha256": SAME}, {"row": 8, "failure": "gone"}])
    draw_pool(run / "pool", 1, [{"row": 2, "sha256": SAME}])
    draw_pool(run / "pool", 2, [{"row": 5, "failure": "gone"}])  # gathers an empty batch


def test_an_outcome_does_not_depend_on_the_order_of_shards(draw_pool, tmp_path: Path) -> None:
    made = []
    for name, order in (("a", [0, 1, 2]), ("b", [2, 1, 0])):
        run = tmp_path / name
        _draw(draw_pool, run)
        _settle(run, order)
        outcome = _step(run).outcome
        assert outcome is not None
        made.append((outcome / OUTCOME_FILE).read_bytes())
    assert made[0] == made[1]


def test_a_settled_outcome_drops_the_later_row(draw_pool, tmp_path: Path) -> None:
    _draw(draw_pool, tmp_path)
    _settle(tmp_path, [0, 1, 2])
    steps = [_step(tmp_path)]
    assert screen(tmp_path / "pool", 1, steps).kept.tolist() == [True]
    dropped = screen(tmp_path / "pool", 0, steps)
    ledger = dropped.ledger()
    assert ledger["reason"].to_pylist() == ["exact_duplicate", "gone"]
    assert ledger["rule"].to_pylist() == ["rules.0.exact_duplicate", None]
    assert ledger["detail"][0].as_py().startswith("same bytes as row 2, ")


def test_a_committed_outcome_is_read_not_gathered_again(draw_pool, tmp_path: Path) -> None:
    _draw(draw_pool, tmp_path)
    _settle(tmp_path, [0, 1, 2])
    outcome = _step(tmp_path).outcome
    assert outcome is not None
    before = (outcome / OUTCOME_FILE).stat().st_mtime_ns
    assert list(gather_columns(0, tmp_path, [], _step(tmp_path))) == []
    settle(None, tmp_path, _step(tmp_path), [])
    assert (outcome / OUTCOME_FILE).stat().st_mtime_ns == before
    assert pq.read_table(outcome / OUTCOME_FILE)["row"].to_pylist() == [7]
