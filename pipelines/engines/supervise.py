"""Starts a driver, watches it and its workers, and ends all of them when one is lost.

Beam alone hangs for ever when a worker is killed or cannot import the package. Imports neither
Beam nor torch, so that a command starts at once.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from pipelines.engines.child import Child, check_imports
from pipelines.engines.flags import runner_of
from pipelines.engines.journals import Journals, Unit
from schemas.errors import RunFailedError

POLL_S = 0.5
PATIENCE_S = 30.0
IDLE_FACTOR = 1.5  # nobody at work: 45 s, since an engine may need 17 s to place a job (Flink)
EXIT_GRACE_S = 10.0  # from a worker's end to its driver's: Beam closes its servers in 5 s
REPORT_GRACE_S = 1.5
WAITING_LOOKS = 4  # an idle process is seen awake now and then, hardly so often in a row
BUSY_SHARE = 0.2  # of a core; a driver and two workers with nothing to do use under 0.05
RESUMES = "the same command goes on where it stood"


def supervise(
    *,
    run: Path,
    graph: str,
    job: Path,
    flags: Sequence[str],
    on_look: Callable[[Sequence[Unit]], None],
    patience_s: float = PATIENCE_S,
) -> None:
    """Run `graph` (MODULE:FUNCTION) on `job` under the Beam `flags`, to its end.

    The caller holds `run_lock(run)`. `on_look` is called twice a second with the units in hand, and
    once at the end. On any end but success the driver and all it started are ended; a job
    service's own workers and an external worker pool are not ours to end.

    Raises: BadInputError: the flags cannot be used. RunFailedError, or what a unit raised of
    schemas/errors.py: the run stopped. KeyboardInterrupt.
    """
    runner_of(flags)  # refuses what is not offered, before anything starts
    check_imports()
    journals = Journals(run)
    journals.clear()
    watch = _Watch(journals, patience_s=patience_s)
    with _sigterm_raises(), Child(["--graph", graph, "--job", str(job), "--", *flags]) as driver:
        while not driver.wait(POLL_S):
            moved = journals.read()
            on_look(journals.in_hand())
            driver.raise_reported()  # a worker says so before the driver hears of it
            watch.look(driver, moved=moved)
        journals.read()
        driver.raise_reported()
        if not driver.done:
            watch.raise_lost(driver)
            driver.raise_ended()
    on_look(journals.in_hand())


class _Watch:
    """What must go on for a run to count as alive. Times are this machine's monotonic seconds."""

    def __init__(self, journals: Journals, *, patience_s: float) -> None:
        self._journals = journals
        self._patience_s = patience_s
        self._lost_at_s = 0.0
        self._alive_at_s = self._looked_at_s = time.monotonic()
        self._cpu_s: dict[int, float] = {}
        self._waiting: dict[int, int] = {}  # for how many looks in a row

    def look(self, driver: Child, *, moved: bool) -> None:
        """Raises: RunFailedError: a worker was lost, or nobody has been at work for too long."""
        now_s = time.monotonic()
        self._raise_lost_in_time(driver, now_s)
        if self._busy(driver.processes(), now_s) or moved:
            self._alive_at_s = now_s
        quiet_s = now_s - self._alive_at_s
        in_hand = self._journals.in_hand()
        if in_hand and quiet_s > self._patience_s:
            raise RunFailedError(
                f"A worker was lost at {_place(in_hand)}: it has given no sign of life for "
                f"{quiet_s:.0f} s (was it killed for want of memory?); {RESUMES}."
            )
        if quiet_s > self._patience_s * IDLE_FACTOR:
            raise driver.failed(
                f"The Beam engine hangs: no worker has been at work for {quiet_s:.0f} s (was one "
                f"killed, or can it not import the package?); {RESUMES}."
            )

    def raise_lost(self, driver: Child) -> None:
        """Raises: RunFailedError: a worker ended before its driver."""
        if not driver.lost_worker:
            return
        in_hand = self._journals.in_hand()
        units = f"; in hand: {_place(in_hand)}" if in_hand else ""
        raise driver.failed(
            f"A worker process ended {driver.lost_worker} ({_why(driver)}){units}; {RESUMES}."
        )

    def _raise_lost_in_time(self, driver: Child, now_s: float) -> None:
        """A worker may end a little before its driver; and a report may still be on its way."""
        if not driver.lost_worker:
            return
        self._lost_at_s = self._lost_at_s or now_s
        grace_s = REPORT_GRACE_S if self._journals.in_hand() else EXIT_GRACE_S
        if now_s - self._lost_at_s > min(grace_s, self._patience_s):
            self.raise_lost(driver)

    def _busy(self, processes: Sequence[psutil.Process], now_s: float) -> bool:
        """Whether the driver and its local workers compute: importing torch is no hang."""
        before, self._cpu_s = self._cpu_s, {}
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._cpu_s[process.pid] = times.user + times.system
        used_s = sum(s - before.get(pid, 0.0) for pid, s in self._cpu_s.items())
        looked_at_s, self._looked_at_s = self._looked_at_s, now_s
        return used_s > BUSY_SHARE * (now_s - looked_at_s) or self._waits_for_a_core(processes)

    def _waits_for_a_core(self, processes: Sequence[psutil.Process]) -> bool:
        """Whether one of them was about to run at each of the last looks: on a machine that is
        full of other work it gets too little of a core to count as busy, and is not idle."""
        before, self._waiting = self._waiting, {}
        for process in processes:
            with contextlib.suppress(psutil.Error):
                if process.status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP):
                    self._waiting[process.pid] = before.get(process.pid, 0) + 1
        return any(looks >= WAITING_LOOKS for looks in self._waiting.values())


def _why(driver: Child) -> str:
    if driver.lost_worker.startswith("with exit code"):
        return driver.last_error() or "it said nothing"
    return "was it killed for want of memory?"


def _place(in_hand: Sequence[Unit]) -> str:
    units = [f"unit {unit} of stage {stage}" for stage, unit in in_hand[:3]]
    return ", ".join([*units, f"{len(in_hand) - 3} more"] if len(in_hand) > 3 else units)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let a SIGTERM to this process end the driver's tree on its way out, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; the driver notices our death by itself
        return

    def stop(*_: object) -> None:
        raise RunFailedError(f"The run was stopped by SIGTERM (from outside); {RESUMES}.")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
