"""How long it takes to find all near pairs of hashes: ours, faiss, imagededup, usearch.

Hashes are drawn, 64 bits each; one in ten is another one with one to three bits flipped. Whatever
grows with the square of the rows is measured on fewer of them, and its time is scaled, as its name
says. `python -m pipelines.bench.dedupe_search FACTS` is one of our searches alone in a process,
so that its memory can be told.
"""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from pipelines.bench.contest import (
    Ask,
    at_least,
    at_most,
    in_turn,
    print_with_peak,
    ratio,
    say,
    timed,
)
from pipelines.bench.machine import Mark
from transforms.dedupe.hamming import Hashes, Pairs, near_pairs

LIMIT = 3
CHECKED = 20_000  # hashes that are compared each with each
MULTI = ((4, 16, 0), (3, 21, 1), (2, 20, 1), (2, 24, 1))  # bands, bits, flips: all are exact
Found = npt.NDArray[np.int64]  # (P,) sorted: left * rows + right


class Peer(NamedTuple):
    """A library's search, at how many rows it is measured, and with which power of these it is
    scaled where the others search more."""

    name: str
    most_rows: int
    power: int
    search: Callable[[Hashes], tuple[float, Found]]


def measure_search(ask: Ask, rows: int, runs: int, folder: Path) -> list[Mark]:
    """Seconds and recall of each, and how many times the fastest exact library takes ours."""
    hashes = draw_hashes(rows)
    ours = near_pairs(hashes, LIMIT)
    known = _coded(ours.left, ours.right, rows)
    marks = [at_least("near search: ours as brute force has it", _is_exact(hashes, ours), 1.0)]
    setting, found = _best_multi_hash(hashes)
    name = f"faiss IndexBinaryMultiHash {'x'.join(map(str, setting))}"
    contest = {
        "Pairmill": lambda: timed(lambda: near_pairs(hashes, LIMIT)),
        name: lambda: _multi_hash(hashes, setting)[0],
    }
    took = in_turn(contest, runs)
    marks += [
        at_most(f"near search within {LIMIT}, {rows:,} rows: {who}, s", statistics.median(spent))
        for who, spent in took.items()
    ]
    recall = np.isin(known, found).mean()
    marks.append(at_most(f"near search: {name}, recall", recall))
    missed = (~np.isin(found, known)).sum()
    marks.append(at_most("near search: pairs that faiss finds and ours does not", missed, 0.0))
    exact = {name: ratio(took, name, "Pairmill")} if recall == 1.0 else {}
    for peer in _peers(ask, folder):
        spent, recall, told = _measure_peer(peer, rows)
        marks += told
        if recall == 1.0:
            exact[peer.name] = spent / statistics.median(took["Pairmill"])
    marks.append(
        at_least(
            "near search: fastest exact library / ours", min(exact.values(), default=0.0), 10.0
        )
    )
    return marks


def draw_hashes(count: int, seed: int = 0) -> Hashes:
    """Random ones; the last tenth are others among them with 1 to 3 bits flipped."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 64, count, dtype=np.uint64)
    planted = count // 10
    sources = rng.integers(0, count - planted, planted)
    flips = rng.integers(1, LIMIT + 1, planted)
    masks = np.zeros(planted, np.uint64)
    for number in range(LIMIT):
        bits = np.uint64(1) << rng.integers(0, 64, planted, dtype=np.uint64)
        masks |= np.where(flips > number, bits, np.uint64(0))
    hashes[count - planted :] = hashes[sources] ^ masks
    return hashes


def _coded(left: npt.NDArray[Any], right: npt.NDArray[Any], rows: int) -> Found:
    return np.unique(left.astype(np.int64) * rows + right.astype(np.int64))


def _is_exact(hashes: Hashes, ours: Pairs) -> float:
    """1 where among CHECKED hashes, half of them of pairs, brute force finds the same pairs."""
    rng = np.random.default_rng(1)
    some = np.concatenate([ours.left[: CHECKED // 4], ours.right[: CHECKED // 4]])
    others = rng.integers(0, len(hashes), CHECKED - len(some))
    places = np.unique(np.concatenate([some, others]))
    within = np.isin(ours.left, places) & np.isin(ours.right, places)
    expected = _coded(ours.left[within], ours.right[within], len(hashes))
    found = []
    for row, place in enumerate(places[:-1]):
        differing = np.bitwise_count(hashes[places[row + 1 :]] ^ hashes[place])
        near = places[row + 1 :][differing <= LIMIT]
        found.append(place * len(hashes) + near)
    return float(np.array_equal(np.unique(np.concatenate(found)), expected))


def _best_multi_hash(hashes: Hashes) -> tuple[tuple[int, int, int], Found]:
    """The setting that is fastest here, and the pairs that it finds."""
    tried = {}
    for setting in MULTI:
        say(f"faiss IndexBinaryMultiHash {setting}")
        tried[setting] = _multi_hash(hashes, setting)
    best = min(MULTI, key=lambda setting: tried[setting][0])
    return best, tried[best][1]


def _multi_hash(hashes: Hashes, setting: tuple[int, int, int]) -> tuple[float, Found]:
    index = faiss.IndexBinaryMultiHash(64, *setting[:2])
    index.nflip = setting[2]
    return _by_faiss(index, hashes)


def _binary_hash(hashes: Hashes) -> tuple[float, Found]:
    index = faiss.IndexBinaryHash(64, 12 if len(hashes) < 500_000 else 16)
    index.nflip = LIMIT  # all that may differ may do so in the bits that are hashed
    return _by_faiss(index, hashes)


def _by_faiss(index: Any, hashes: Hashes) -> tuple[float, Found]:
    """Seconds of filling and of searching, and the pairs."""
    octets = hashes.view(np.uint8).reshape(-1, 8)
    found: list[Any] = []

    def run() -> None:
        index.add(octets)
        found.extend(index.range_search(octets, LIMIT + 1))  # what is under the radius

    seconds = timed(run)
    limits, _, others = found
    ones = np.repeat(np.arange(len(hashes)), np.diff(limits).astype(np.int64))
    forth = ones < others
    return seconds, _coded(ones[forth], others[forth], len(hashes))


def _peers(ask: Ask, folder: Path) -> list[Peer]:
    def elsewhere(who: str) -> Callable[[Hashes], tuple[float, Found]]:
        def search(hashes: Hashes) -> tuple[float, Found]:
            given, pairs = folder / "hashes.npy", folder / "pairs.npy"
            np.save(given, hashes)
            facts = ask(task="search", who=who, hashes=str(given), limit=LIMIT, pairs=str(pairs))
            left, right = np.load(pairs).T
            return facts["seconds"], _coded(left, right, len(hashes))

        return search

    return [
        Peer("faiss IndexBinaryHash", 100_000, 1, _binary_hash),
        Peer(
            "faiss IndexBinaryFlat",
            CHECKED,
            2,
            lambda hashes: _by_faiss(faiss.IndexBinaryFlat(64), hashes),
        ),
        Peer("imagededup bktree", 2_000, 2, elsewhere("bktree")),
        Peer("imagededup brute_force_cython", 2_000, 2, elsewhere("brute_force_cython")),
        Peer("usearch b1 hamming", 100_000, 1, elsewhere("usearch")),
    ]


def _measure_peer(peer: Peer, rows: int) -> tuple[float, float, list[Mark]]:
    """Its seconds for all rows, its recall, and both as figures."""
    say(peer.name)
    size = min(rows, peer.most_rows)
    hashes = draw_hashes(size)
    ours = near_pairs(hashes, LIMIT)
    known = _coded(ours.left, ours.right, size)
    seconds, found = peer.search(hashes)
    recall = np.isin(known, found).mean()
    scaled = seconds * (rows / size) ** peer.power
    said = f"near search, {size:,} rows: {peer.name}"
    marks = [at_most(f"{said}, s", seconds), at_most(f"{said}, recall", recall)]
    if size < rows:
        how = "by the square" if peer.power == 2 else "in proportion, so at least this"
        marks.append(at_most(f"{peer.name}, scaled to {rows:,} rows {how}, s", scaled))
    return scaled, float(recall), marks


def main(asked: str) -> None:
    """Our search, alone in this process: the median of its seconds, and its memory."""
    wanted = json.loads(asked)
    hashes = draw_hashes(wanted["rows"])
    near_pairs(hashes[:1000], wanted["limit"])  # what is slow only once
    spent = [timed(lambda: near_pairs(hashes, wanted["limit"])) for _ in range(wanted["runs"])]
    print_with_peak({"seconds": statistics.median(spent)}, hashes.nbytes)


if __name__ == "__main__":
    main(sys.argv[1])
