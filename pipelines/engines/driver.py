"""Builds one Beam graph and runs it to its end.

    python -m pipelines.engines.driver --graph MODULE:FUNCTION --job JOB.json -- [BEAM FLAGS]

FUNCTION(pipeline, job_path) applies the graph's transforms. The last line of stdout is a report
(pipelines/engines/report.py). The driver ends, with all of its process group, when its parent
does.
"""

import argparse
import importlib
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines.engines.lifeline import PARENT, die_with_parent, end_group
from pipelines.engines.options import read_options, runner_for
from pipelines.engines.report import WORKER_LOST, Report, report_of
from schemas.errors import RunFailedError

# Raised by SubprocessSdkWorker.run, apache_beam/runners/portability/local_job_service.py
_WORKER_EXIT = re.compile(r"Worker subprocess exited with return code (-?\d+)")
THREADS_SAY_S = 1.0  # until the thread that waited for a lost worker has said how it ended
BuildGraph = Callable[[beam.Pipeline, str], object]


def run_graph(
    build: BuildGraph,
    job: str | Path,
    flags: Sequence[str] = (),
    *,
    on_started: Callable[[PipelineResult], object] = lambda _: None,
) -> None:
    """Build the graph of `job` and wait for its end; `flags` are Beam's.

    Raises: BadInputError: flags that cannot be used; whatever a unit raises, in Beam's wrapping.
    """
    options = read_options(flags)
    runner = runner_for(options, flags)
    # Beam warns where this names no runner, though one is given.
    options.view_as(StandardOptions).runner = type(runner).__name__
    pipeline = beam.Pipeline(runner=runner, options=options)
    build(pipeline, str(job))
    result = pipeline.run()
    on_started(result)
    state = result.wait_until_finish()
    if state != PipelineState.DONE:
        raise RunFailedError(f"The Beam job ended in state {state}; the same command goes on.")


def main(argv: Sequence[str]) -> int:
    args, flags = _arguments(argv)
    parent = int(os.environ.get(PARENT, os.getppid()))
    os.environ[PARENT] = str(os.getpid())  # for the workers
    jobs: list[PipelineResult] = []
    threading.excepthook = _on_thread_error
    signal.signal(signal.SIGTERM, lambda *_: _stop(jobs))
    die_with_parent(parent, end_group, sent=signal.SIGTERM)
    try:
        run_graph(_load(args.graph), args.job, flags, on_started=jobs.append)
        report = Report()
    except Exception as error:  # process boundary: the supervisor hears of everything
        text = "".join(traceback.format_exception(error))
        sys.stderr.write(text)
        report = report_of(error, text)
        if report.kind == WORKER_LOST:
            time.sleep(THREADS_SAY_S)
    os.write(1, report.line())
    return 1 if report.error else 0


def _load(graph: str) -> BuildGraph:
    module, _, name = graph.partition(":")
    return getattr(importlib.import_module(module), name)


def _on_thread_error(args: threading.ExceptHookArgs) -> None:
    """Beam waits for each local worker in a thread, which dies unheard where the worker does."""
    traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback)
    if found := _WORKER_EXIT.search(str(args.exc_value)):
        code = int(found[1])
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        os.write(1, Report(kind=WORKER_LOST, error=how).line())


def _stop(jobs: list[PipelineResult]) -> None:
    """A job service goes on without its driver, so tell it; the alarm is for one that is gone."""
    signal.signal(signal.SIGALRM, lambda *_: end_group())
    signal.alarm(2)
    for job in jobs:
        try:
            job.cancel()
        except Exception:  # process boundary: nothing is left to report to
            break
    end_group()


def _arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    cut = list(argv).index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(prog="pipelines.engines.driver", allow_abbrev=False)
    parser.add_argument("--graph", required=True, metavar="MODULE:FUNCTION")
    parser.add_argument("--job", required=True)
    return parser.parse_args(argv[:cut]), list(argv[cut + 1 :])


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # Beam's threads wait for workers for ever where one is stuck
