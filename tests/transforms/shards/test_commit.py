"""Commits: whole or not at all, once, whoever races and whoever is killed."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from schemas.errors import RunFailedError
from transforms.shards.commit import Draft, committed, file_facts, sweep, write_atomically

HELLO_SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"


def _visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def _write(manifest: Path, text: str) -> None:
    with Draft(manifest) as draft:
        draft.path("data.txt").write_text(text)
        draft.facts["rows"] = len(text)


def _stopped(manifest: Path, error: BaseException) -> None:
    with Draft(manifest) as draft:
        draft.path("data.txt").write_text("half of it")
        draft.path("never-written.txt")
        raise error


def test_a_draft_commits_its_files_and_a_manifest_that_names_them(tmp_path: Path) -> None:
    manifest = tmp_path / "deep" / "unit.json"
    assert committed(manifest) is None
    _write(manifest, "hello")
    assert committed(manifest) == {
        "rows": 5,
        "files": {"data.txt": {"bytes": 5, "sha256": HELLO_SHA256}},
    }
    assert (tmp_path / "deep" / "data.txt").read_text() == "hello"
    assert _visible(tmp_path / "deep") == {"unit.json", "data.txt"}


def test_files_may_lie_apart_from_their_manifest(tmp_path: Path) -> None:
    with Draft(tmp_path / "commits" / "unit.json", tmp_path / "files") as draft:
        draft.path("data.txt").write_text("hello")
    assert _visible(tmp_path / "files") == {"data.txt"}
    assert _visible(tmp_path / "commits") == {"unit.json"}


def test_equal_drafts_have_equal_manifests(tmp_path: Path) -> None:
    for name, order in (("a", ("x", "y")), ("b", ("y", "x"))):
        with Draft(tmp_path / name / "unit.json") as draft:
            for fact in order:
                draft.facts[fact] = 1
            draft.path("data.txt").write_text("hello")
    manifests = [(tmp_path / name / "unit.json").read_bytes() for name in ("a", "b")]
    assert manifests[0] == manifests[1]


def test_nothing_is_seen_before_the_block_ends(tmp_path: Path) -> None:
    with Draft(tmp_path / "unit.json") as draft:
        draft.path("data.txt").write_text("hello")
        assert committed(tmp_path / "unit.json") is None
        assert not (tmp_path / "data.txt").exists()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, RunFailedError])
def test_an_exception_leaves_nothing_and_passes(kind: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(kind, match="stop"):
        _stopped(tmp_path / "unit.json", kind("stop"))
    assert _visible(tmp_path) == set()


def test_the_first_writer_wins(tmp_path: Path) -> None:
    with Draft(tmp_path / "unit.json") as late:
        late.path("data.txt").write_text("the late one")
        _write(tmp_path / "unit.json", "first")
    assert (tmp_path / "data.txt").read_text() == "first"
    assert committed(tmp_path / "unit.json")["rows"] == 5  # pyright: ignore
    assert _visible(tmp_path) == {"unit.json", "data.txt"}


def test_of_racing_threads_one_wins_whole(tmp_path: Path) -> None:
    """Two files each: files of two writers must never lie under one manifest."""
    writers = 8
    together = threading.Barrier(writers)

    def race(number: int) -> None:
        with Draft(tmp_path / "unit.json") as draft:
            for name in ("one.txt", "two.txt"):
                draft.path(name).write_text(str(number))
            draft.facts["writer"] = number
            together.wait()

    threads = [threading.Thread(target=race, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _one_winner(tmp_path)


RACE = """
import sys
from pathlib import Path
from transforms.shards.commit import Draft
folder, number = Path(sys.argv[1]), int(sys.argv[2])
for unit in range(40):
    with Draft(folder / str(unit) / "unit.json") as draft:
        for name in ("one.txt", "two.txt"):
            draft.path(name).write_text(str(number))
        draft.facts["writer"] = number
"""


def test_of_racing_processes_one_wins_whole(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path), str(number)])
        for number in range(2)
    ]
    assert [racer.wait(timeout=60) for racer in racers] == [0, 0]
    for unit in range(40):
        _one_winner(tmp_path / str(unit))


def _one_winner(folder: Path) -> None:
    manifest = committed(folder / "unit.json")
    assert manifest is not None
    for name in ("one.txt", "two.txt"):
        assert (folder / name).read_text() == str(manifest["writer"])
        assert manifest["files"][name] == file_facts(folder / name)
    assert _visible(folder) == {"unit.json", "one.txt", "two.txt"}


# Dies in the commit, just before its N-th rename (0 data, 1 data, 2 the manifest), or for -N just
# after the N-th is done.
DIE = """
import os, sys
from pathlib import Path
from transforms.shards import commit
renames, real = [], os.replace
def replace(source, target):
    if len(renames) == int(sys.argv[2]):
        os._exit(9)
    renames.append(target)
    real(source, target)
    if len(renames) == -int(sys.argv[2]):
        os._exit(9)
os.replace = replace
with commit.Draft(Path(sys.argv[1]) / "unit.json") as draft:
    draft.path("one.txt").write_text("killed")
    draft.path("two.txt").write_text("killed")
"""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_killed_in_the_commit_it_is_not_committed_and_a_retry_is(
    renames: int, tmp_path: Path
) -> None:
    died = subprocess.run([sys.executable, "-c", DIE, str(tmp_path), str(renames)], check=False)
    assert died.returncode == 9
    assert committed(tmp_path / "unit.json") is None
    assert sum((tmp_path / name).exists() for name in ("one.txt", "two.txt")) == renames
    with Draft(tmp_path / "unit.json") as draft:
        draft.path("one.txt").write_text("retried")
        draft.path("two.txt").write_text("retried")
        draft.facts["writer"] = "retried"
    sweep(tmp_path)
    _one_winner(tmp_path)


def test_killed_after_the_manifest_it_is_committed(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIE, str(tmp_path), "-3"], check=False)
    assert died.returncode == 9
    assert committed(tmp_path / "unit.json") is not None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_nothing_is_committed(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    _write(tmp_path / "before.json", "hello")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFailedError, match=r"disk of .* is full: free some space and run again"):
        _write(tmp_path / "unit.json", "other")
    with pytest.raises(RunFailedError, match="is full"):
        write_atomically(tmp_path / "run.json", b"{}")
    assert _visible(tmp_path) == {"before.json", "data.txt"}
    assert (tmp_path / "data.txt").read_text() == "hello"


def test_a_full_disk_inside_the_block_is_told_alike(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="is full"):
        _stopped(tmp_path / "unit.json", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert _visible(tmp_path) == set()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunFailedError, match=r"Cannot write .*unit\.json"):
        _write(tmp_path / "file" / "unit.json", "hello")


def test_a_manifest_that_is_none_any_more_is_told(tmp_path: Path) -> None:
    (tmp_path / "unit.json").write_text('{"rows": ')
    with pytest.raises(RunFailedError, match="delete it and run again"):
        committed(tmp_path / "unit.json")


def test_write_atomically_replaces_and_leaves_no_trace(tmp_path: Path) -> None:
    for data in (b"one", b"two"):
        write_atomically(tmp_path / "new" / "run.json", data)
        assert (tmp_path / "new" / "run.json").read_bytes() == data
    assert _visible(tmp_path / "new") == {"run.json"}


def test_sweep_takes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    _write(tmp_path / ".commits" / "unit.json", "hello")
    left = Draft(tmp_path / ".commits" / "other.json").path("data.txt")
    left.write_text("half")
    theirs = [tmp_path / ".theirs.part", tmp_path / ".a.b" / ".x.part"]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_text("somebody else's")
    sweep(tmp_path)
    assert not left.exists()
    assert all(path.exists() for path in theirs)
    assert _visible(tmp_path / ".commits") == {"unit.json", "data.txt"}
    assert json.loads((tmp_path / ".commits" / "unit.json").read_text())["rows"] == 5
