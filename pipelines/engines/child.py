"""The driver as a child process: started clean, drained, and ended with all it started."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Self

import psutil

from pipelines.engines.lifeline import PARENT, end_processes, tree
from pipelines.engines.report import WORKER_LOST, Report, read_report
from schemas.errors import RunFailedError

PACKAGES = "schemas, transforms, pipelines"
TAIL_LINES = 200
MAX_LINE_BYTES = 1 << 16
# A number must not depend on the machine's cores: one thread for each library in each worker.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_EXCEPTION = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Exit)\b: ")
_BEAM_S = "Worker subprocess exited"  # says no more than that


def driver_env() -> dict[str, str]:
    """The environment of the driver and, through it, of local workers.

    PYTHONSAFEPATH keeps the current folder off their import path: a folder there that is called
    `schemas` would hide the package of that name.
    """
    one_thread = dict.fromkeys(ONE_THREAD, "1")
    return {**os.environ, **one_thread, "PYTHONSAFEPATH": "1", PARENT: str(os.getpid())}


def check_imports() -> None:
    """Raises: RunFailedError: a worker of this machine could not import the package."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {PACKAGES}"],
        cwd=tempfile.gettempdir(),  # neutral: the packages must be found wherever a worker stands
        env=driver_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunFailedError(
            f"A worker cannot import Pairmill ({last}): install it for {sys.executable}, "
            "then give the same command."
        )


class Child:
    """A driver process, with what it says. Leaving the block ends all that is left of it."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.engines.driver", *argv],
            env=driver_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C on the terminal is ours to handle, not the driver's
        )
        self.pid = self._process.pid
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)  # memory only: the disk may be full
        self._seen: list[psutil.Process] = []
        self.lost_worker = ""  # how a local worker ended before its driver; empty: none did
        self._done = False
        self._reported: Report | None = None  # the first error: what follows are its effects
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        pipes = (self._process.stdout, self._process.stderr)
        self._drains = [threading.Thread(target=self._drain, args=(p,), daemon=True) for p in pipes]
        for drain in self._drains:
            drain.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the driver and all it started; a second Ctrl-C must not leave any of it."""
        try:
            self._end()
        except BaseException:
            self._end(grace_s=0)
            raise

    def processes(self) -> list[psutil.Process]:
        """The driver and its descendants; the last that were seen where it has ended."""
        if self._process.poll() is None:
            self._seen = tree(self.pid)
        return self._seen

    def wait(self, seconds: float) -> bool:
        """Whether the driver has ended, within `seconds`; all it said has then been read."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        for drain in self._drains:
            drain.join(seconds)  # a stray worker may hold the pipe open
        return True

    def raise_reported(self) -> None:
        """Raises: PairmillError: what the driver or a worker reported."""
        if self._reported is not None:
            raise self._reported.to_error()

    @property
    def done(self) -> bool:
        """Whether the driver has ended and said that the graph ran to its end."""
        return self._process.returncode == 0 and self._done

    def raise_ended(self) -> None:
        """Raises: RunFailedError: the driver has ended without a word."""
        code = self._process.returncode
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise self.failed(
            f"The Beam driver ended {how} before the graph did; the same command goes on where "
            "it stood."
        )

    def failed(self, sentence: str) -> RunFailedError:
        """The error, with the last output as its note, shown under --debug only."""
        error = RunFailedError(sentence)
        error.add_note("\n".join(self._tail))
        return error

    def last_error(self) -> str:
        """The last line of output that names an exception, of a worker if one is lost."""
        found = [line for line in self._tail if _EXCEPTION.match(line) and _BEAM_S not in line]
        return found[-1] if found else ""

    def _drain(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed under us at the end
            for line in iter(lambda: pipe.readline(MAX_LINE_BYTES), b""):
                self._take(line.decode(errors="replace").rstrip("\n"))

    def _take(self, line: str) -> None:
        report = read_report(line)
        if report is None:
            self._tail.append(line)
        elif report.kind == WORKER_LOST:
            self.lost_worker = self.lost_worker or report.error
        elif not report.error:
            self._done = True
        elif self._reported is None:
            self._reported = report

    def _end(self, grace_s: float = 3.0) -> None:
        """The tree, while parents still tell whose children they are; then who left the tree."""
        running = self._process.poll() is None
        end_processes(self.processes(), grace_s=grace_s)
        if running:  # once it has been waited for, its number may be another process's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for drain in self._drains:
            drain.join(1)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
