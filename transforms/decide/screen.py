"""Walk the rows of a shard through the recipe's rules: the first rule that drops a row is its end.

Nothing is kept between calls but what is committed on disk (pool, measures, outcomes), so a
screen can be done again at any time, on any worker, and ends the same.
"""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import RunFailedError
from schemas.layout import OUTCOME_FILE, outcome_manifest, shard_name
from schemas.outcome import LEDGER_SCHEMA, Reason, Stage
from transforms.decide.rule import Mask, Rule
from transforms.shards.measures import read_measure
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed

Places = npt.NDArray[np.intp]  # positions among a shard's rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A rule at its place in the recipe, with the folders of what it reads."""

    rule: Rule
    measure: Path | None  # RUN/measures/NAME/FINGERPRINT
    outcome: Path | None  # RUN/outcomes/NAME/FINGERPRINT


class Screened:
    """A shard's rows and how far each came."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows  # POOL_SCHEMA, or those of its columns that the rules read
        self.kept: Mask = np.ones(rows.num_rows, dtype=np.bool_)
        # (rows,) each, of str; None where kept
        self.stage, self.reason, self.detail = np.full((3, rows.num_rows), None, dtype=object)

    def drop(self, places: Places, stage: Stage, reason: str, details: Sequence[str]) -> None:
        """End the rows at `places`, all of which are still kept."""
        self.kept[places] = False
        self.stage[places], self.reason[places] = stage.value, str(reason)
        self.detail[places] = details

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
    screened = arrive(read_pool(pool, shard))
    for step in steps:
        _apply(step, shard, screened)
    return screened


def gather(
    pool: Path, shard: int, before: Sequence[Step], rule: Rule, measure: Path | None
) -> pa.Table:
    """What a whole-pool rule needs of the rows of a shard that are kept at its place."""
    rows = screen(pool, shard, before).kept_rows()
    return rule.gather(_with_measure(rows, measure, shard))


def arrive(rows: pa.Table) -> Screened:
    """Rows as they come from the pool, with its own failures as the first drops."""
    screened = Screened(rows)
    repeated = np.flatnonzero(rows["repeated"].to_numpy())
    told = ["an earlier row has the same uid"] * len(repeated)
    screened.drop(repeated, Stage.READ, Reason.REPEATED_ROW, told)
    failures = rows["failure"].to_numpy()
    for failure in dict.fromkeys(failures[screened.kept & ~pd.isna(failures)]):
        places = np.flatnonzero(screened.kept & (failures == failure))
        errors = rows["error_message"].take(places).to_pylist()
        screened.drop(places, Stage.FETCH, failure, [error or "" for error in errors])
    return screened


def _apply(step: Step, shard: int, screened: Screened) -> None:
    if screened.kept.any():
        rows = _with_measure(screened.kept_rows(), step.measure, shard)
        carry_out(step.rule, rows, _outcome(step), screened)


def carry_out(rule: Rule, rows: pa.Table, outcome: pa.Table | None, screened: Screened) -> None:
    """Drop what the rule drops of `rows`, which are those still kept, in their order.

    A row that two verdicts of the rule name ends with the first."""
    places = np.flatnonzero(screened.kept)
    for verdict in rule.judge(rows, outcome):
        fallen = np.flatnonzero(verdict.dropped & screened.kept[places])
        details = [verdict.detail(i) for i in fallen.tolist()]
        screened.drop(places[fallen], rule.stage, verdict.reason, details)


def _outcome(step: Step) -> pa.Table | None:
    if step.outcome is None:
        return None
    return read_committed(outcome_manifest(step.outcome), OUTCOME_FILE)


def _with_measure(rows: pa.Table, measure: Path | None, shard: int) -> pa.Table:
    """Rows with the columns of a measure beside them; every row must have been measured."""
    if measure is None:
        return rows
    values = read_measure(measure, shard)
    places = find_measured(rows, values)
    if places.null_count:
        raise RunFailedError(
            f"{places.null_count} rows of shard {shard_name(shard)} have no {measure.parent.name}"
            " measure, though a rule needs it: delete that measure's folder and run again."
        )
    return join_measure(rows, values, places)


def find_measured(rows: pa.Table, values: pa.Table) -> pa.Array:
    """For each row its place among the values of a measure; null where it was not measured."""
    return pc.index_in(rows["uid"].combine_chunks(), value_set=values["uid"].combine_chunks())


def join_measure(rows: pa.Table, values: pa.Table, places: pa.Array) -> pa.Table:
    """Rows with the columns of a measure beside them, from these places of it."""
    for name in values.column_names:
        if name != "uid":
            rows = rows.append_column(name, values[name].take(places))
    return rows
