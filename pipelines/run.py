"""Run a recipe from end to end under supervision, and say how it ended."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.engines.flags import runner_of
from pipelines.engines.lock import run_lock
from pipelines.engines.supervise import supervise
from pipelines.prepare import prepare
from pipelines.progress import shown_progress
from pipelines.recipe import Recipe
from pipelines.report import make_report
from schemas.errors import BadInputError
from schemas.report import RunReport

GRAPH = "pipelines.graph:mill"


def run_recipe(recipe: Recipe, run: Path, flags: Sequence[str]) -> RunReport:
    """Prepare RUN, run the one graph on the engine that `flags` name, and report.

    Raises: BadInputError: nothing was started; RunFailedError: run again to resume."""
    runner_of(flags)  # an engine that is not offered is refused before anything is written
    with _folder(run), run_lock(run):
        job = prepare(recipe, run.resolve())
        with shown_progress(job) as show:
            supervise(
                run=job.run,
                graph=GRAPH,
                job=job.layout.job,
                flags=flags,
                on_progress=lambda _: show(),
            )
        return make_report(job)


@contextlib.contextmanager
def _folder(run: Path) -> Iterator[None]:
    """The RUN folder, made if need be; taken away again where the input turned out bad."""
    try:
        is_new = not run.exists()
        run.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise BadInputError(f"Cannot make the folder {run}: {err.strerror or err}.") from err
    try:
        yield
    except BadInputError:
        if is_new:
            shutil.rmtree(run, ignore_errors=True)
        raise
