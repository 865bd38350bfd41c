"""Decide over a whole pool in one process, without Beam: the same rules, and the same files.

Where `pairmill run` walks each shard anew up to every rule over the whole pool, here the columns
that rules read are held in memory, and each rule is applied once. A row that reaches a rule whose
measure it lacks ends there as `unmeasured`: whoever decides does not measure.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.layout import OUTCOME_FILE, decision_manifest, ledger_manifest, outcome_manifest
from schemas.outcome import Reason
from transforms.decide.ledger import write_decision, write_ledger
from transforms.decide.rule import Mask
from transforms.decide.screen import Step, arrive, carry_out, measured_rows
from transforms.decide.screened import Drop, Screened
from transforms.shards.commit import Draft
from transforms.shards.pool import read_pool
from transforms.shards.tables import joined

THREADS = 4  # reading and writing wait for the disk
# What every decision needs of the pool; rules say what they read beside it.
_LEDGER = ("row", "uid", "image")
_ALWAYS = (*_LEDGER, "repeated", "failure", "error_message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """How far every row came, and what the rules over the whole pool found."""

    screens: Sequence[Screened]  # one a shard, in their order
    outcomes: Sequence[pa.Table | None]  # one a step; None for a rule of single rows
    unmeasured: int


def decide_at_once(pool: Path, shards: int, steps: Sequence[Step]) -> Decided:
    """Apply `steps` to all rows of a pool.

    Raises: RunFailedError: the pool or a measure cannot be read."""
    columns = [*_ALWAYS, *(name for step in steps for name in step.rule.columns)]
    wanted = list(dict.fromkeys(columns))
    with ThreadPoolExecutor(THREADS) as threads:
        tables = threads.map(lambda shard: read_pool(pool, shard, columns=wanted), range(shards))
        screens = [arrive(table) for table in tables]
        outcomes = [_apply(steps, place, screens, threads) for place in range(len(steps))]
    unmeasured = sum(screened.count(Reason.UNMEASURED) for screened in screens)
    return Decided(screens=screens, outcomes=outcomes, unmeasured=unmeasured)


def write_at_once(decided: Decided, decision: Path, steps: Sequence[Step]) -> None:
    """Commit outcomes, ledgers and the decision, as the graph would have; what is there stays.

    Outcomes over rows some of which were unmeasured are not those of the recipe: not committed."""
    shards = range(len(decided.screens))
    if not decided.unmeasured:
        for step, outcome in zip(steps, decided.outcomes, strict=True):
            _write_outcome(step, outcome)
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda n: _write_ledger(decided.screens[n], n, decision), shards))
    with Draft(decision_manifest(decision)) as draft:
        write_decision(decision, shards, steps, draft)
        draft.facts["seconds"] = 0.0  # no worker's


def _apply(
    steps: Sequence[Step], place: int, screens: Sequence[Screened], threads: ThreadPoolExecutor
) -> pa.Table | None:
    """Drop what one step drops; gives its outcome, where it looks at the whole pool."""
    outcome = _judge_all(steps[place], screens, threads)
    wanted = {*_LEDGER, *(name for step in steps[place + 1 :] for name in step.rule.columns)}
    for screened in screens:
        screened.narrow(wanted)
    return outcome


def _judge_all(
    step: Step, screens: Sequence[Screened], threads: ThreadPoolExecutor
) -> pa.Table | None:

    def judge(shard: int, rows: pa.Table, outcome: pa.Table | None) -> None:
        if rows.num_rows:
            carry_out(step, rows, outcome, screens[shard])

    shards = range(len(screens))
    if not step.rule.whole_pool:
        list(threads.map(lambda n: judge(n, _measured(step, n, screens[n]), None), shards))
        return None
    rows = list(threads.map(lambda n: _measured(step, n, screens[n]), shards))
    measured = [some for some in rows if {*step.rule.gathers} <= {*some.column_names}]
    if not measured:  # in no shard was anything measured
        return None
    outcome = step.rule.settle(joined([some.select(step.rule.gathers) for some in measured]))
    list(threads.map(lambda n: judge(n, rows[n], outcome), shards))
    return outcome


def _measured(step: Step, shard: int, screened: Screened) -> pa.Table:
    """The kept rows with the step's measures; those that lack one end here."""

    def lacking(rows: Mask, measure: Path) -> None:
        places = np.flatnonzero(screened.kept)[rows]
        told = [f"no {measure.parent.name} measure yet"] * len(places)
        screened.drop(
            Drop(
                places=places,
                stage=step.rule.stage,
                reason=Reason.UNMEASURED,
                details=told,
                rule=step.name,
            )
        )

    return measured_rows(step, shard, screened.kept_rows(), lacking)


def _write_outcome(step: Step, outcome: pa.Table | None) -> None:
    if step.outcome is not None and outcome is not None:
        with Draft(outcome_manifest(step.outcome)) as draft:
            pq.write_table(outcome, draft.path(OUTCOME_FILE))
            draft.facts |= {"rows": outcome.num_rows, "seconds": 0.0}


def _write_ledger(screened: Screened, shard: int, decision: Path) -> None:
    with Draft(ledger_manifest(decision, shard)) as draft:
        write_ledger(screened, shard, draft)
        draft.facts["seconds"] = 0.0
