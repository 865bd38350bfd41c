import json
import os
from pathlib import Path

from pipelines.engines.journals import Journals
from transforms.shards.work import JOURNALS, at_work


def test_a_unit_is_in_hand_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    assert journals.read() is False
    with at_work(tmp_path, "fetch", "00000"):
        assert journals.read() is True
        assert journals.in_hand() == [("fetch", "00000")]
    with at_work(tmp_path, "score", "00000"):
        journals.read()
        assert journals.in_hand() == [("score", "00000")]
    journals.read()
    assert journals.in_hand() == []


def test_a_beat_is_a_sign_of_life(tmp_path: Path) -> None:
    """A worker touches its journal while a unit goes on, and writes nothing."""
    journals = Journals(tmp_path)
    with at_work(tmp_path, "fetch", "00000"):
        assert journals.read() is True
        assert journals.read() is False
        (journal,) = (tmp_path / JOURNALS).iterdir()
        os.utime(journal, ns=(1, 1))
        assert journals.read() is True
        assert journals.read() is False


def test_a_half_written_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal = tmp_path / JOURNALS / "host-1.jsonl"
    journal.parent.mkdir()
    journals = Journals(tmp_path)
    line = json.dumps({"event": "begin", "stage": "fetch", "unit": "00003"}) + "\n"
    journal.write_text("torn by a full disk\n" + line[:20])
    journals.read()
    assert journals.in_hand() == []
    with journal.open("a") as file:
        file.write(line[20:])
    journals.read()
    assert journals.in_hand() == [("fetch", "00003")]


def test_a_unit_lost_by_one_worker_and_ended_by_another_is_not_in_hand(tmp_path: Path) -> None:
    folder = tmp_path / JOURNALS
    folder.mkdir()
    begin = json.dumps({"event": "begin", "stage": "fetch", "unit": "00003"}) + "\n"
    (folder / "host-1.jsonl").write_text(begin)
    end = json.dumps({"event": "end", "stage": "fetch", "unit": "00003", "images": 2}) + "\n"
    (folder / "host-2.jsonl").write_text(begin + end)
    journals = Journals(tmp_path)
    journals.read()
    assert journals.in_hand() == []


def test_clear_forgets_an_earlier_run(tmp_path: Path) -> None:
    with at_work(tmp_path, "fetch", "00000"):
        pass
    journals = Journals(tmp_path)
    journals.clear()
    assert journals.read() is False
