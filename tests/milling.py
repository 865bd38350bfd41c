"""What the tests of whole runs share: the command as a process, and a run's bytes."""

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from pipelines.cli import run_words

ROWS = 120
PAIRMILL = [str(Path(sys.executable).with_name("pairmill"))]


def pairmill(*words: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*PAIRMILL, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def told(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What the command says where it ends before it starts a process: from within this one, which
    is quicker."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_words([str(word) for word in words])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def demo(out: Path, *words: str, rows: int = ROWS) -> dict[str, Any]:
    """Run a demo that must succeed; gives its --json report."""
    done = pairmill("demo", "--out", out, "--rows", str(rows), "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run(recipe: Path, out: Path, *words: str | Path) -> dict[str, Any]:
    """Run a recipe that must succeed; gives its --json report."""
    done = pairmill("run", recipe, "--out", out, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run_killed(
    recipe: Path, out: Path, *, when: Callable[[], bool], later_s: float, alone: bool
) -> bool:
    """Start a run and kill -9 it `later_s` after `when` holds; False if it had ended before.

    With `alone` the command is killed and its driver and workers are left to notice; else all
    of its processes are killed at once, as when a machine dies.
    """
    command = [*PAIRMILL, "run", str(recipe), "--out", str(out)]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not when():
        time.sleep(0.05)
    time.sleep(later_s)
    hit = process.poll() is None
    others = [] if alone or not hit else process.children(recursive=True)
    for victim in (process, *others):
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()
    return hit


def corpus_bytes(report: dict[str, Any]) -> dict[str, bytes]:
    """Every file that a reader of the run's corpora sees."""
    return {
        f"{name}/{path.name}": path.read_bytes()
        for name, folder in report["corpora"].items()
        for path in sorted(Path(folder).iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def run_bytes(out: Path) -> dict[str, bytes]:
    """Every file of a RUN that does not tell when it was made: decisions and corpora."""
    patterns = ("decisions/*/*.npy", "decisions/*/*.parquet", "decisions/*/funnel.json")
    patterns += ("decisions/*/ledger/*.parquet", "corpora/*/*/*.*")
    found = {path for pattern in patterns for path in out.glob(pattern)}
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(found)}


def stamps(folder: Path) -> dict[str, int]:
    """When each committed file below a folder was written, in ns."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
