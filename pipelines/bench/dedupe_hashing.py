"""How long a hash takes from a decoded picture: ours, imagehash, imagededup, pdqhash.

Also what the parts of `make bench-dedupe` share: contestants take turns, and figures get marks.
"""

import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from pipelines.bench.machine import Mark
from pipelines.demo.pictures import drawn_pictures, original_bytes
from transforms.dedupe.pdq import pdq_grey, pdqs
from transforms.dedupe.phash import U64, phashes, small_grey

MOST_MS = 0.15
OURS, OUR_PDQ = "Pairmill phash", "Pairmill pdq"
PEERS = {"imagehash phash": "imagehash", "imagededup PHash": "imagededup", "pdqhash": "pdqhash"}

Ask = Callable[..., dict[str, Any]]  # a task for the peers' own interpreter, by keywords
Contest = Mapping[str, Callable[[], float]]  # a contestant gives its seconds


def measure_hashing(ask: Ask, photos: Path, count: int, runs: int, folder: Path) -> list[Mark]:
    """Milliseconds an image of each contestant, and whether ours have the values of theirs."""
    files = _pictures(photos, count, folder)
    images = [Image.open(file).convert("RGB") for file in files]
    names = [str(file) for file in files]
    hashes = {
        name: ask(task="hash", who=who, photos=names)["hashes"] for name, who in PEERS.items()
    }
    contest: dict[str, Callable[[], float]] = {
        OURS: lambda: timed(lambda: _phashes(images)),
        OUR_PDQ: lambda: timed(lambda: _pdqs(images)),
    }
    for name, who in PEERS.items():
        contest[name] = lambda who=who: ask(task="hash", who=who, photos=names)["seconds"]
    ours, our_pdq = _phashes(images), _pdqs(images)  # and what is slow only once
    seconds = in_turn(contest, runs)
    marks = [
        at_most(
            f"{name}, {len(images)} RGB pictures: ms an image",
            1000 * statistics.median(seconds[name]) / len(images),
            MOST_MS if name == OURS else None,
        )
        for name in contest
    ]
    return [
        *marks,
        at_most("Pairmill phash / imagehash, time", ratio(seconds, OURS, "imagehash phash")),
        at_most("Pairmill pdq / pdqhash, time", ratio(seconds, OUR_PDQ, "pdqhash")),
        at_least("phash: share equal to imagehash's", _equal(ours, hashes["imagehash phash"]), 1.0),
        at_most("pdq: bits that differ from pdqhash's, mean", _apart(our_pdq, hashes["pdqhash"])),
    ]


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


def _pictures(photos: Path, count: int, folder: Path) -> list[Path]:
    """The first photographs of a folder, or drawn ones where it has none."""
    files = sorted((photos / "images").glob("*.jpg"))[:count]
    if files:
        return files
    say(f"no photographs in {photos}: drawn pictures instead")
    for number, picture in enumerate(drawn_pictures(count, random.Random(0))):
        files.append(folder / f"{number:05d}.jpg")
        files[-1].write_bytes(original_bytes(picture))
    return files


def _phashes(images: list[Image.Image]) -> U64:
    return phashes(np.stack([small_grey(image) for image in images]))


def _pdqs(images: list[Image.Image]) -> U64:
    return pdqs(np.stack([pdq_grey(image) for image in images]))


def _equal(ours: U64, theirs: list[str]) -> float:
    return float(np.mean([f"{one:016x}" == other for one, other in zip(ours, theirs, strict=True)]))


def _apart(ours: U64, theirs: list[str]) -> float:
    others = np.frombuffer(bytes.fromhex("".join(theirs)), ">u8").astype(np.uint64)
    return float(np.bitwise_count(ours ^ others.reshape(ours.shape)).sum(axis=1).mean())
