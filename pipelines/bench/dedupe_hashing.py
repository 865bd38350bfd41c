"""How long a hash takes from a decoded picture: ours, imagehash, imagededup, pdqhash.

Also what the parts of `make bench-dedupe` share: contestants take turns, and figures get marks.
"""

import random
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.bench.contest import (
    Ask,
    at_least,
    at_most,
    in_turn,
    ratio,
    say,
    timed,
)
from pipelines.bench.machine import Mark
from pipelines.demo.pictures import drawn_pictures, original_bytes
from transforms.dedupe.pdq import pdq_grey, pdqs
from transforms.dedupe.phash import U64, phashes, small_grey

MOST_MS = 0.15
OURS, OUR_PDQ = "Pairmill phash", "Pairmill pdq"
PEERS = {"imagehash phash": "imagehash", "imagededup PHash": "imagededup", "pdqhash": "pdqhash"}


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
