"""What the tests of whole runs share: the command as a process, and a run's bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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


def demo(out: Path, *words: str, rows: int = ROWS) -> dict[str, Any]:
    """Run a demo that must succeed; gives its --json report."""
    done = pairmill("demo", "--out", out, "--rows", str(rows), "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def demo_killed_after(out: Path, seconds: float, rows: int = ROWS) -> bool:
    """Start a demo and kill -9 its whole tree at a moment; False if it had ended before."""
    process = subprocess.Popen(
        [*PAIRMILL, "demo", "--out", str(out), "--rows", str(rows)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def wait_for(path: Path, pattern: str, timeout_s: float = 60) -> None:
    """Wait until a file of this pattern lies below `path`."""
    until = time.monotonic() + timeout_s
    while not any(path.glob(pattern)):
        assert time.monotonic() < until, f"no {pattern} below {path}"
        time.sleep(0.02)


def corpus_bytes(report: dict[str, Any]) -> dict[str, bytes]:
    """Every file that a reader of the run's corpora sees."""
    return {
        f"{name}/{path.name}": path.read_bytes()
        for name, folder in report["corpora"].items()
        for path in sorted(Path(folder).iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def stamps(folder: Path) -> dict[str, int]:
    """When each committed file below a folder was written, in ns."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
