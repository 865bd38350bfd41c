import json
import os
from pathlib import Path

import pytest

from transforms.shards import work
from transforms.shards.work import JOURNALS, at_work


def _lines(run: Path) -> list[dict[str, object]]:
    (journal,) = (run / JOURNALS).iterdir()
    assert journal.stem.endswith(f"-{os.getpid()}")
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_a_unit_is_noted_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    with at_work(tmp_path, "fetch", "00003") as unit:
        assert _lines(tmp_path) == [{"event": "begin", "stage": "fetch", "unit": "00003"}]
    end = {"event": "end", "stage": "fetch", "unit": "00003"}
    assert _lines(tmp_path)[1:] == [end]
    assert unit.seconds >= 0


def test_a_unit_that_failed_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), at_work(tmp_path, "clip", "00000"):
        raise ValueError("no")
    assert [line["event"] for line in _lines(tmp_path)] == ["begin", "failed"]


def test_the_journal_is_touched_while_the_unit_is_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BEAT_S", 0.001)
    with at_work(tmp_path, "clip", "00000"):
        (journal,) = (tmp_path / JOURNALS).iterdir()
        os.utime(journal, ns=(0, 0))
        while journal.stat().st_mtime_ns == 0:
            pass


def test_a_journal_that_cannot_be_written_ends_no_unit(tmp_path: Path) -> None:
    (tmp_path / JOURNALS).write_text("a file where the folder should be")
    with at_work(tmp_path, "fetch", "00000") as unit:
        unit.images = 1
