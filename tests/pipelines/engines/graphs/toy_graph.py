"""A graph of two stages and a gathering between them, for the engines' tests.

The job is a JSON file: run, units, and what unit 1 of the first stage does.
"""

import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
from apache_beam.options.value_provider import RuntimeValueProvider

from schemas.errors import CorruptPoolError
from transforms.shards.work import at_work


def build(pipeline: beam.Pipeline, job_path: str) -> None:
    job = json.loads(Path(job_path).read_text())
    run = job["run"]
    drawn = (
        pipeline
        | beam.Create(range(job["units"]))
        | "spread" >> beam.Reshuffle()
        | "draw" >> beam.Map(draw, run, job.get("unit_1", ""))
    )
    gathered = (
        drawn
        | "key" >> beam.Map(lambda unit: (0, unit))
        | beam.GroupByKey()
        | "gather" >> beam.Map(gather, run)
    )
    _ = (
        drawn
        | "spread again" >> beam.Reshuffle()
        | "colour" >> beam.Map(colour, beam.pvalue.AsSingleton(gathered), run)
    )


def draw(unit: int, run: str, unit_1: str) -> int:
    with at_work(Path(run), "draw", f"{unit:05d}") as work:
        if unit == 1:
            _misbehave(unit_1, Path(run))
        (Path(run) / f"draw-{unit}").write_text("")
        work.images = 10
    if unit == 1 and unit_1 == "frozen between":
        _freeze()
    return unit


def gather(pair: tuple[int, Iterable[int]], run: str) -> int:
    total = sum(pair[1])
    (Path(run) / "gathered").write_text(str(total))
    return total


def colour(unit: int, total: int, run: str) -> None:
    with at_work(Path(run), "colour", f"{unit:05d}") as work:
        (Path(run) / f"colour-{unit}").write_text(str(total))
        work.images = 1


def _misbehave(how: str, run: Path) -> None:
    (run / "worker.pid").write_text(str(os.getpid()))
    match how:
        case "raise":
            raise CorruptPoolError("The pool's shard 00001 is torn: fetch it again.")
        case "bug":
            raise ZeroDivisionError("nothing to divide by")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "frozen":
            _freeze()
        case "slow":
            time.sleep(600)
        case "long":
            time.sleep(8)


def _freeze() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)  # this thread may run on for a moment


def tell_options(pipeline: beam.Pipeline, job_path: str) -> None:
    """Write the options that a worker was started with."""
    run = json.loads(Path(job_path).read_text())["run"]
    _ = pipeline | beam.Create([run]) | beam.Map(_write_options)


def _write_options(run: str) -> None:
    options = RuntimeValueProvider.runtime_options
    (Path(run) / "options").write_text(json.dumps(options))
