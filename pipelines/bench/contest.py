"""Contestants take turns on one machine; each gives its seconds, and some their peak of memory."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.bench.machine import Mark

Ask = Callable[..., dict[str, Any]]  # a task for the peers' own interpreter, by keywords
Contest = Mapping[str, Callable[[], float]]  # a contestant gives its seconds


def in_turn(contest: Contest, runs: int) -> dict[str, list[float]]:
    """Seconds of each contestant, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contest}
    for number in range(runs):
        for name, run in contest.items():
            say(f"round {number + 1} of {runs}: {name}")
            seconds[name].append(run())
    return seconds


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    """Median of the ratios within a round."""
    pairs = zip(seconds[above], seconds[below], strict=True)
    return statistics.median(a / b for a, b in pairs)


def timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def say(what: str) -> None:
    Console(stderr=True).print(what, style="dim")


def at_most(name: str, value: float, mark: float | None = None) -> Mark:
    holds = mark is None or bool(value <= mark)
    return Mark(name=name, value=float(value), mark=mark, holds=holds)


def at_least(name: str, value: float, mark: float | None = None) -> Mark:
    holds = mark is None or bool(value >= mark)
    return Mark(name=name, value=float(value), mark=mark, holds=holds)


def in_child(module: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a module prints for FACTS, in a process of its own, and the most memory it held."""
    command = [sys.executable, "-m", module, json.dumps(asked)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def print_with_peak(facts: dict[str, Any], input_bytes: int) -> None:
    """The facts as a line of JSON, with the largest memory of this process but the input."""
    print(json.dumps({**facts, "peak_bytes": peak_bytes() - input_bytes}))


def peak_bytes() -> int:
    """The most that this process has held. Linux gives a child its parent's `ru_maxrss` to begin
    with, so its own is read where it stands."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    lines = status.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
