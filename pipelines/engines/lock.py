"""One run at a time in one folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import BadInputError

LOCK = ".run.lock"


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold the folder `run` for this process; the kernel frees it when the process dies.

    Raises: BadInputError: another run holds it, or the folder cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = (run / LOCK).open("a")
    except OSError as error:
        raise BadInputError(
            f"The run's folder {run} cannot be written ({error.strerror}): name another with --out."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInputError(
                f"Another run is at work in {run}: wait for its end, or name another with --out."
            ) from error
        yield
