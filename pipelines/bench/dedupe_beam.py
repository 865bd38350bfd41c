"""How long Beam takes to carry hashes to where near ones are found, and how that grows.

The graph is that of a finder in transforms/decide/stage.py, on the local engine with one worker a
core; hashes are made in the graph, so nothing is read, and the rule finds nothing, so nothing is
searched.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsIter

from pipelines.bench.contest import at_most, in_turn
from pipelines.bench.machine import Mark
from pipelines.engines.supervise import supervise
from schemas.layout import Layout, outcome_manifest
from transforms.decide.rule import I64
from transforms.decide.screen import Step
from transforms.decide.stage import Find, Gathered, settle_found
from transforms.dedupe.near_duplicate import HASHED, NearFinder

BATCH_ROWS = 10_000
WITHIN_BITS = 3
MOST_SLOPE = 1.15  # about linear
BEGAN = "began"  # a file of the run, made with the first batch


class Carrier(NearFinder):
    """Sends hashes where they would be searched, and looks at none there."""

    def find(self, together: pa.Table) -> I64:
        return np.zeros(0, np.int64)


def measure_beam(sizes: Sequence[int], runs: int, folder: Path) -> list[Mark]:
    """Seconds by rows, from the first batch to the outcome, and their growth."""
    contest = {
        f"Beam's part: {rows:,} rows within {WITHIN_BITS} bits, s": lambda rows=rows: _run(
            rows, folder
        )
        for rows in sizes
    }
    took = {name: statistics.median(spent) for name, spent in in_turn(contest, runs).items()}
    marks = [at_most(name, seconds) for name, seconds in took.items()]
    if len(sizes) == 1:
        return marks
    slope = float(np.polyfit(np.log(sizes), np.log([*took.values()]), 1)[0])
    return [*marks, at_most("Beam's part: slope of log s by log rows", slope, MOST_SLOPE)]


def graph(pipeline: beam.Pipeline, job_file: str) -> None:
    """Wire what `Settle` does with a finder, after it has gathered."""
    job = json.loads(Path(job_file).read_text())
    step = _step(Path(job["run"]))
    where = (Path(job["run"]), step)
    found = (
        pipeline
        | "batches" >> beam.Create(range(-(-job["rows"] // BATCH_ROWS)))
        | "spread" >> beam.Reshuffle()
        | "make" >> beam.FlatMap(make_batch, Path(job["run"]))
        | Find(*where)
    )
    _ = (
        pipeline
        | "once" >> beam.Create([None])
        | "settle" >> beam.Map(settle_found, *where, AsIter(found))
    )


def make_batch(number: int, run: Path) -> Iterable[Gathered]:
    """The columns that a finder gathers of a shard, drawn by its number."""
    with contextlib.suppress(FileExistsError):
        (run / BEGAN).open("x").close()
    images = np.arange(number * BATCH_ROWS, (number + 1) * BATCH_ROWS)
    hashes = np.random.default_rng(number).integers(0, 1 << 64, BATCH_ROWS, dtype=np.uint64)
    columns = {"image": images, HASHED["phash"][0]: hashes}
    yield (
        pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()}),
        0.0,
    )


def _step(run: Path) -> Step:
    rule = Carrier(hash="phash", within_bits=WITHIN_BITS)
    return Step(name="bench", rule=rule, outcome=Layout(run).outcome("bench", "near"))


def _run(rows: int, folder: Path) -> float:
    """Seconds from a graph's first batch to its outcome."""
    run = folder / f"beam-{rows}-{time.time_ns()}"
    run.mkdir()
    job = run / "job.json"
    job.write_text(json.dumps({"run": str(run), "rows": rows}))
    supervise(
        run=run, graph="pipelines.bench.dedupe_beam:graph", job=job, flags=(), on_look=_ignore
    )
    outcome = _step(run).outcome
    assert outcome is not None
    return outcome_manifest(outcome).stat().st_mtime - (run / BEGAN).stat().st_mtime


def _ignore(_units: object) -> None:
    """Nobody looks on."""
