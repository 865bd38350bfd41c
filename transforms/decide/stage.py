"""Wire rules into the graph: whole-pool outcomes, the ledgers, and the decision as a unit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import AsIter, AsSingleton

from schemas.layout import (
    OUTCOME_FILE,
    Layout,
    decision_manifest,
    ledger_manifest,
    outcome_manifest,
    shard_name,
)
from transforms.decide.ledger import write_decision, write_ledger
from transforms.decide.rule import FinderRule, as_found
from transforms.decide.screen import Step, gather, screen, vectors_of
from transforms.shards.commit import Draft, committed
from transforms.shards.tables import joined
from transforms.shards.work import at_work

Gathered = tuple[pa.RecordBatch, float]  # a shard's columns, and the seconds they took


@dataclass(eq=False)
class Settle(beam.PTransform):
    """Settle a whole-pool rule once; shards go on when its outcome is committed.

    What crosses the shuffle is an Arrow batch of a few small columns for each shard; for what is
    searched in parts, one for each shard and key.
    """

    run: Path
    before: Sequence[Step]
    step: Step

    def expand(self, input_or_inputs):
        where = (self.run, self.step)
        columns = input_or_inputs | "gather" >> beam.FlatMap(
            gather_columns, self.run, self.before, self.step
        )
        if isinstance(self.step.rule, FinderRule):
            found = columns | Find(*where)
            settling = beam.Map(settle_found, *where, AsIter(found))
        else:
            settling = beam.Map(settle, *where, AsIter(columns))
        settled = input_or_inputs.pipeline | beam.Create([None]) | "settle" >> settling
        return input_or_inputs | "wait" >> beam.Map(_after, AsSingleton(settled)) | beam.Reshuffle()


@dataclass(eq=False)
class Find(beam.PTransform):
    """Bring the columns of all shards together by key; gives what is found under each."""

    run: Path
    step: Step

    def expand(self, input_or_inputs):
        return (
            input_or_inputs
            | "scatter" >> beam.FlatMap(scatter, self.step.rule)
            | beam.GroupByKey()
            | "find" >> beam.Map(find, self.run, self.step)
        )


@dataclass(eq=False)
class Decide(beam.PTransform):
    """Write every shard's ledger, then the decision; gives one element, the decision's folder."""

    run: Path
    decision: Path
    steps: Sequence[Step]

    def expand(self, input_or_inputs):
        where = (self.run, self.decision, self.steps)
        ledgers = input_or_inputs | "ledger" >> beam.Map(commit_ledger, *where)
        return (
            input_or_inputs.pipeline
            | beam.Create([None])
            | "commit" >> beam.Map(commit_decision, *where, AsIter(ledgers))
        )


def gather_columns(shard: int, run: Path, before: Sequence[Step], step: Step) -> Iterable[Gathered]:
    """What a whole-pool rule needs of one shard; nothing where its outcome is committed."""
    assert step.outcome is not None
    if committed(outcome_manifest(step.outcome)) is None:
        with at_work(run, step.outcome.parent.name, shard_name(shard)) as work:
            table = gather(Layout(run).pool, shard, before, step)
        yield _as_batch(table), work.seconds


def settle(_: None, run: Path, step: Step, gathered: Iterable[Gathered]) -> bool:
    """Commit the outcome of a whole-pool rule, from the columns of all shards."""

    def outcome(tables: Sequence[pa.Table]) -> pa.Table:
        return step.rule.settle_with(joined(tables), vectors_of(step))

    return _commit_outcome(run, step, gathered, outcome)


def scatter(gathered: Gathered, rule: FinderRule) -> Iterable[tuple[str, Gathered]]:
    """A shard's columns in packed batches by key; its seconds go with the first."""
    batch, seconds = gathered
    for key, part in rule.scatter(pa.Table.from_batches([batch])):
        yield key, (_as_batch(part), seconds)
        seconds = 0.0


def find(together: tuple[str, Iterable[Gathered]], run: Path, step: Step) -> Gathered:
    """What is found among the rows that share a key."""
    assert step.outcome is not None
    key, gathered = together
    assert isinstance(step.rule, FinderRule)
    with at_work(run, step.outcome.parent.name, key) as work:
        batches, seconds = zip(*gathered, strict=True)
        found = as_found([step.rule.find(pa.Table.from_batches(batches))])
    return _as_batch(found), sum(seconds) + work.seconds


def settle_found(_: None, run: Path, step: Step, found: Iterable[Gathered]) -> bool:
    """Commit the images that a finder found under all keys."""

    def outcome(tables: Sequence[pa.Table]) -> pa.Table:
        return as_found(table["image"].to_numpy() for table in tables)

    return _commit_outcome(run, step, found, outcome)


def _commit_outcome(
    run: Path,
    step: Step,
    gathered: Iterable[Gathered],
    outcome: Callable[[Sequence[pa.Table]], pa.Table],
) -> bool:
    assert step.outcome is not None
    manifest = outcome_manifest(step.outcome)
    if committed(manifest) is None:
        with at_work(run, step.outcome.parent.name, "outcome") as work, Draft(manifest) as draft:
            parts = list(gathered)
            settled = outcome([pa.Table.from_batches([batch]) for batch, _ in parts])
            pq.write_table(settled, draft.path(OUTCOME_FILE))
            draft.facts["rows"] = settled.num_rows
            draft.facts["seconds"] = work.seconds + sum(seconds for _, seconds in parts)
    return True


def commit_ledger(shard: int, run: Path, decision: Path, steps: Sequence[Step]) -> int:
    """Commit a shard's ledger and the references to what it keeps. Returns the shard."""
    manifest = ledger_manifest(decision, shard)
    if committed(manifest) is None:
        with at_work(run, "decide", shard_name(shard)) as work, Draft(manifest) as draft:
            write_ledger(screen(Layout(run).pool, shard, steps), shard, draft)
            draft.facts["seconds"] = work.seconds
    return shard


def commit_decision(
    _: None, run: Path, decision: Path, steps: Sequence[Step], shards: Iterable[int]
) -> str:
    """Commit the selection, the surviving texts and the funnel of all ledgers."""
    manifest = decision_manifest(decision)
    if committed(manifest) is None:
        with at_work(run, "decide", "decision") as work, Draft(manifest) as draft:
            write_decision(decision, sorted(shards), steps, draft)
            draft.facts["seconds"] = work.seconds
    return str(decision)


def _after(shard: int, _settled: bool) -> int:
    return shard


def _as_batch(table: pa.Table) -> pa.RecordBatch:
    if not table.num_rows:
        return pa.RecordBatch.from_pylist([], schema=table.schema)
    return table.combine_chunks().to_batches()[0]
