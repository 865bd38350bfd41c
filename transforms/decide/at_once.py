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
from transforms.decide.screen import (
    Step,
    arrive,
    carry_out,
    looked_at,
    measured_rows,
    vectors_of,
)
from transforms.decide.screened import Drop, Places, Screened
from transforms.shards.commit import Draft
from transforms.shards.pool import read_pool
from transforms.shards.tables import joined

THREADS = 4  # reading and writing wait for the disk
# What every decision needs of the pool; rules say what they read beside it.
_LEDGER = ("row", "uid", "image")
_ALWAYS = (*_LEDGER, "repeated", "failure", "error_message")
Looked = tuple[pa.Table, Places]  # rows with their measures, and where they lie in their shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """How far every row came, and what the rules over the whole pool found."""

    screens: Sequence[Screened]  # one a shard, in their order
    outcomes: Sequence[tuple[Step, pa.Table]]  # of the steps over the whole pool
    unmeasured: int


def decide_at_once(pool: Path, shards: int, steps: Sequence[Step]) -> Decided:
    """Apply `steps` to all rows of a pool.

    Raises: RunFailedError: the pool or a measure cannot be read."""
    columns = [*_ALWAYS, *(name for step in steps for name in step.rule.columns)]
    wanted = list(dict.fromkeys(columns))
    with ThreadPoolExecutor(THREADS) as threads:
        tables = threads.map(lambda shard: read_pool(pool, shard, columns=wanted), range(shards))
        screens = [arrive(table) for table in tables]
        found = [_apply(steps, place, screens, threads) for place in range(len(steps))]
    outcomes = [outcome for outcomes in found for outcome in outcomes]
    unmeasured = sum(screened.count(Reason.UNMEASURED) for screened in screens)
    return Decided(screens=screens, outcomes=outcomes, unmeasured=unmeasured)


def write_at_once(decided: Decided, decision: Path, steps: Sequence[Step]) -> None:
    """Commit outcomes, ledgers and the decision, as the graph would have; what is there stays.

    Outcomes over rows some of which were unmeasured are not those of the recipe: not committed."""
    shards = range(len(decided.screens))
    if not decided.unmeasured:
        for step, outcome in decided.outcomes:
            _write_outcome(step, outcome)
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda n: _write_ledger(decided.screens[n], n, decision), shards))
    with Draft(decision_manifest(decision)) as draft:
        write_decision(decision, shards, steps, draft)
        draft.facts["seconds"] = 0.0  # no worker's


def _apply(
    steps: Sequence[Step], place: int, screens: Sequence[Screened], threads: ThreadPoolExecutor
) -> list[tuple[Step, pa.Table]]:
    """Drop what one step drops; gives the outcomes over the whole pool, its finder's first."""
    outcomes: list[tuple[Step, pa.Table]] = []
    found = None
    for step in filter(None, (steps[place].finder, steps[place])):
        found = _judge_all(step, screens, threads, found)
        if found is not None:
            outcomes.append((step, found))
    wanted = {*_LEDGER, *(name for step in steps[place + 1 :] for name in step.rule.columns)}
    for screened in screens:
        screened.narrow(wanted)
    return outcomes


def _judge_all(
    step: Step, screens: Sequence[Screened], threads: ThreadPoolExecutor, found: pa.Table | None
) -> pa.Table | None:
    """Apply one step to the rows of the images found, or to all; gives its outcome, if any."""

    def look(shard: int) -> Looked:
        return _measured(step, shard, screens[shard], found)

    def judge(shard: int, looked: Looked, outcome: pa.Table | None) -> None:
        rows, places = looked
        if rows.num_rows:
            carry_out(step, rows, places, outcome, screens[shard])

    shards = range(len(screens))
    if not step.rule.whole_pool:
        list(threads.map(lambda n: judge(n, look(n), None), shards))
        return None
    looked = list(threads.map(look, shards))
    measured = [rows for rows, _ in looked if {*step.rule.gathers} <= {*rows.column_names}]
    if not measured:  # in no shard was anything measured
        return None
    gathered = joined([rows.select(step.rule.gathers) for rows in measured])
    outcome = step.rule.settle_with(gathered, vectors_of(step))
    list(threads.map(lambda n: judge(n, looked[n], outcome), shards))
    return outcome


def _measured(step: Step, shard: int, screened: Screened, found: pa.Table | None) -> Looked:
    """The rows that a step looks at, with its measures; those that lack one end here."""
    asked = looked_at(screened, found).copy()
    rows = screened.rows.filter(asked)

    def lacking(lack: Mask, measure: Path) -> None:
        places = np.flatnonzero(asked)[lack]
        asked[places] = False
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

    rows = measured_rows(step, shard, rows, lacking)
    return rows, np.flatnonzero(asked)


def _write_outcome(step: Step, outcome: pa.Table) -> None:
    if step.outcome is not None:
        with Draft(outcome_manifest(step.outcome)) as draft:
            pq.write_table(outcome, draft.path(OUTCOME_FILE))
            draft.facts |= {"rows": outcome.num_rows, "seconds": 0.0}


def _write_ledger(screened: Screened, shard: int, decision: Path) -> None:
    with Draft(ledger_manifest(decision, shard)) as draft:
        write_ledger(screened, shard, draft)
        draft.facts["seconds"] = 0.0
