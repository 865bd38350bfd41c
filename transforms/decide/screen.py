"""Walk the rows of a shard through the recipe's rules: the first rule that drops a row is its end.

Nothing is kept between calls but what is committed on disk (pool, measures, outcomes), so a
screen can be done again at any time, on any worker, and ends the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas.errors import RunFailedError
from schemas.layout import OUTCOME_FILE, outcome_manifest, shard_name
from schemas.outcome import LEDGER_SCHEMA, Reason, Stage
from transforms.decide.rule import Mask, Rule, Verdict
from transforms.shards.measures import read_measure
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A rule at its place in the recipe, with the folders of what it reads."""

    rule: Rule
    measure: Path | None  # RUN/measures/NAME/FINGERPRINT
    outcome: Path | None  # RUN/outcomes/NAME/FINGERPRINT


@dataclass(slots=True)
class Screened:
    """A shard's rows and how far each came."""

    rows: pa.Table  # POOL_SCHEMA
    kept: Mask
    stage: list[str | None] = field(default_factory=list)
    reason: list[str | None] = field(default_factory=list)
    detail: list[str | None] = field(default_factory=list)

    def drop(self, index: int, stage: Stage, reason: str, detail: str) -> None:
        self.kept[index] = False
        self.stage[index], self.reason[index] = stage.value, reason
        self.detail[index] = detail

    def kept_rows(self) -> pa.Table:
        return self.rows.filter(pa.array(self.kept))

    def ledger(self) -> pa.Table:
        """LEDGER_SCHEMA, one line for every row, in the pool's order."""
        columns = {
            "row": self.rows["row"],
            "uid": self.rows["uid"],
            "kept": pa.array(self.kept),
            "stage": pa.array(self.stage, pa.string()),
            "reason": pa.array(self.reason, pa.string()),
            "detail": pa.array(self.detail, pa.string()),
        }
        return pa.table(columns, schema=LEDGER_SCHEMA)


def screen(pool: Path, shard: int, steps: Sequence[Step]) -> Screened:
    """Rows of a pool shard after `steps`: the pool's own failures come first."""
    screened = _arrive(read_pool(pool, shard))
    for step in steps:
        _apply(step, shard, screened)
    return screened


def gather(
    pool: Path, shard: int, before: Sequence[Step], rule: Rule, measure: Path | None
) -> pa.Table:
    """What a whole-pool rule needs of the rows of a shard that are kept at its place."""
    rows = screen(pool, shard, before).kept_rows()
    return rule.gather(_with_measure(rows, measure, shard))


def _arrive(rows: pa.Table) -> Screened:
    count = rows.num_rows
    screened = Screened(
        rows=rows,
        kept=np.ones(count, dtype=np.bool_),
        stage=[None] * count,
        reason=[None] * count,
        detail=[None] * count,
    )
    failures, errors = rows["failure"].to_pylist(), rows["error_message"].to_pylist()
    for i, repeated in enumerate(rows["repeated"].to_pylist()):
        if repeated:
            screened.drop(i, Stage.READ, Reason.REPEATED_ROW, "an earlier row has the same uid")
        elif failures[i] is not None:
            screened.drop(i, Stage.FETCH, failures[i], errors[i] or "")
    return screened


def _apply(step: Step, shard: int, screened: Screened) -> None:
    places = np.flatnonzero(screened.kept)
    if not len(places):
        return
    rows = _with_measure(screened.kept_rows(), step.measure, shard)
    for verdict in step.rule.judge(rows, _outcome(step)):
        _carry_out(step.rule.stage, verdict, places, screened)


def _carry_out(stage: Stage, verdict: Verdict, places: np.ndarray, screened: Screened) -> None:
    """A row that two verdicts of one rule name ends with the first."""
    for i in np.flatnonzero(verdict.dropped):
        if screened.kept[places[i]]:
            screened.drop(int(places[i]), stage, verdict.reason, verdict.detail(int(i)))


def _outcome(step: Step) -> pa.Table | None:
    if step.outcome is None:
        return None
    return read_committed(outcome_manifest(step.outcome), OUTCOME_FILE)


def _with_measure(rows: pa.Table, measure: Path | None, shard: int) -> pa.Table:
    """Rows with the columns of a measure beside them; every row must have been measured."""
    if measure is None:
        return rows
    values = read_measure(measure, shard)
    places = pd.Index(values["uid"].to_pylist()).get_indexer(rows["uid"].to_pylist())
    if (places < 0).any():
        raise RunFailedError(
            f"{(places < 0).sum()} rows of shard {shard_name(shard)} have no {measure.parent.name}"
            " measure, though a rule needs it: delete that measure's folder and run again."
        )
    for name in values.column_names:
        if name != "uid":
            rows = rows.append_column(name, values[name].take(places))
    return rows
