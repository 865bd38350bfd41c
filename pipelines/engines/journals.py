"""The workers' journals (transforms/shards/work.py), read as they grow."""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from transforms.shards.work import JOURNALS

Unit = tuple[str, str]  # stage, unit


@dataclass(slots=True)
class _Journal:
    read_bytes: int = 0
    mtime_ns: int = 0
    in_hand: set[Unit] = field(default_factory=set)


class Journals:
    """All journals of a run; `read` takes up only what was appended since it was last called."""

    def __init__(self, run: Path) -> None:
        self._folder = run / JOURNALS
        self._journals: dict[Path, _Journal] = {}
        self._ended: set[Unit] = set()

    def clear(self) -> None:
        """Forget an earlier run's workers. The caller holds the run's lock."""
        for path in self._folder.glob("*.jsonl"):
            path.unlink(missing_ok=True)

    def read(self) -> bool:
        """Take up what is new; True where some worker gave a sign of life: a line or a beat."""
        moved = False
        for path in sorted(self._folder.glob("*.jsonl")):
            with contextlib.suppress(OSError):  # cleared by another run, or not yet readable
                moved |= self._read_one(path, self._journals.setdefault(path, _Journal()))
        return moved

    def in_hand(self) -> list[Unit]:
        """Units begun by some worker and not ended by any."""
        begun = {unit for journal in self._journals.values() for unit in journal.in_hand}
        return sorted(begun - self._ended)

    def _read_one(self, path: Path, journal: _Journal) -> bool:
        stat = path.stat()
        if stat.st_mtime_ns == journal.mtime_ns and stat.st_size == journal.read_bytes:
            return False
        journal.mtime_ns = stat.st_mtime_ns
        with path.open("rb") as file:
            file.seek(journal.read_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]  # a line may be half written
        journal.read_bytes += len(whole)
        for line in whole.splitlines():
            self._take(line, journal)
        return True

    def _take(self, line: bytes, journal: _Journal) -> None:
        try:
            note = json.loads(line)
            unit, event = (str(note["stage"]), str(note["unit"])), note["event"]
        except (ValueError, TypeError, KeyError):  # torn by a full disk
            return
        if event == "begin":
            journal.in_hand.add(unit)
            return
        journal.in_hand.discard(unit)
        if event == "end":
            self._ended.add(unit)
