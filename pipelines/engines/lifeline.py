"""Processes that end together: a child with its parent, and a whole tree at once."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable

import psutil

PARENT = "PAIRMILL_PARENT_PID"  # environment variable: whose death ends us too
POLL_S = 0.5
GRACE_S = 3.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int, end: Callable[[], None], *, sent: signal.Signals) -> None:
    """Call `end` when the process `parent`, which must be ours, is gone.

    A thread asks for the parent twice a second. On Linux the kernel also sends us the signal
    `sent` on its death: at once, and with SIGKILL even where the interpreter is busy in C code.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(sent))
    if os.getppid() != parent:  # it died before we could ask
        end()
    threading.Thread(target=_watch, args=(parent, end), daemon=True).start()


def _watch(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    end()


def end_group() -> None:
    """End this process and every one of its process group, which it must lead."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def tree(pid: int) -> list[psutil.Process]:
    """The process `pid` and all its descendants, parents first; empty where it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def end_processes(processes: Iterable[psutil.Process], *, grace_s: float = GRACE_S) -> None:
    """TERM to each, then KILL to those and to what they started that outlive `grace_s`."""
    doomed = {process.pid: process for process in processes}
    for process in list(doomed.values()):
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(list(doomed.values()), timeout=grace_s)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=grace_s)
