"""A worker's journal: what it is at, what it has done, and that it is alive.

Each process that does units keeps RUN/.workers/HOST-PID.jsonl: a line when a unit begins and one
when it ends; while a unit is in hand a thread touches the file every BEAT_S seconds. Whoever
supervises a run reads these files and nothing of the engine's, so that the watch over dead
workers is the same on every engine.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BEAT_S = 2.0
JOURNALS = ".workers"


@dataclass(slots=True)
class Work:
    """The unit in hand; set `images` to the number of images that went through it."""

    stage: str
    unit: str
    images: int = 0
    began_s: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began_s


@contextlib.contextmanager
def at_work(run: Path, stage: str, unit: str) -> Iterator[Work]:
    """Say in the journal that this process is at `unit` of `stage`, from now to the block's end."""
    journal = run / JOURNALS / f"{socket.gethostname()}-{os.getpid()}.jsonl"
    work = Work(stage=stage, unit=unit)
    _note(journal, {"event": "begin", "stage": stage, "unit": unit})
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(journal, ended), daemon=True)
    beat.start()
    event = "failed"
    try:
        yield work
        event = "end"
    finally:
        ended.set()
        beat.join()
        _note(journal, {"event": event, "stage": stage, "unit": unit})


def _beat(journal: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(journal)


def _note(journal: Path, line: dict[str, str]) -> None:
    """Append one line. A full disk must not end a unit here: its own writes will say so."""
    with contextlib.suppress(OSError):
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("a") as file:
            file.write(json.dumps(line) + "\n")
