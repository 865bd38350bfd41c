"""How long SemDeDup takes beside faiss's own k-means and search, and how much memory.

Embeddings are drawn: around random directions of uneven shares, with a variance along the n-th axis
that falls as 1 / n (that of the pocket CLIP's over flickr8k falls faster), and one in ten is a near
copy of another. Both begin with the same float16 array, each in a process of its own:
`python -m pipelines.bench.dedupe_semantic FACTS`.
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from pipelines.bench.contest import (
    at_least,
    at_most,
    in_child,
    in_turn,
    print_with_peak,
    ratio,
    say,
    timed,
)
from pipelines.bench.machine import Mark
from transforms.dedupe.clusters import F16
from transforms.dedupe.semantic import SemanticDuplicateRule

DIMENSIONS = 512
DIRECTIONS = 2000
SPREAD = 1.0  # length of what is added to a direction: a cosine of 0.5 between two around it
SPECTRUM = np.arange(1, DIMENSIONS + 1, dtype=np.float32) ** -0.5  # standard deviations
COPY_SPREAD = (0.05, 0.25)  # cosines of 0.999 to 0.97
EPS, ITERATIONS, POINTS = 0.05, 20, 256
BLOCK = 10_000
OURS, PEER = "Pairmill", "faiss k-means and search"
MOST_BYTES = 5e9


def measure_semantic(count: int, clusters: int, rounds: int, folder: Path) -> list[Mark]:
    """Seconds and memory of both, and their ratio."""
    file = folder / "vectors.npy"
    say(f"drawing {count:,} embeddings")
    draw_vectors(file, count)
    facts: dict[str, list[dict[str, Any]]] = {OURS: [], PEER: []}

    def run(who: str) -> float:
        facts[who].append(_alone(who, file, clusters))
        return facts[who][-1]["seconds"]

    seconds = in_turn({who: lambda who=who: run(who) for who in facts}, rounds)
    said = f"SemDeDup, {count:,} x {DIMENSIONS}, k {clusters}, {ITERATIONS} iterations, {POINTS}"
    said += " points a cluster"
    marks = [at_most(f"{said}: {who}, s", statistics.median(seconds[who])) for who in facts]
    marks.append(
        at_most("SemDeDup / faiss k-means and search, time", ratio(seconds, OURS, PEER), 1.0)
    )
    conversion = statistics.median(one["conversion_s"] for one in facts[PEER])
    marks.append(at_most("of faiss's seconds, making float32 of the array", conversion))
    for who, found in facts.items():
        most = MOST_BYTES / 1e9 if who == OURS else None
        peak = max(one["peak_bytes"] for one in found) / 1e9
        marks.append(at_most(f"SemDeDup, {who}: GB, the embeddings among them", peak, most))
    dropped = facts[OURS][0]["dropped"] / (count // 10)
    return [*marks, at_least("SemDeDup: dropped, as a share of the planted copies", dropped)]


def draw_vectors(file: Path, count: int) -> None:
    """(count, DIMENSIONS) of float16 and norm 1; the last tenth are near copies of others."""
    rng = np.random.default_rng(0)
    planted = count // 10
    shares = rng.lognormal(0, 1, DIRECTIONS)
    directions = _drawn(rng, DIRECTIONS)
    vectors = np.lib.format.open_memmap(file, "w+", np.float16, (count, DIMENSIONS))
    for begin in range(0, count - planted, BLOCK):
        size = min(BLOCK, count - planted - begin)
        around = directions[rng.choice(DIRECTIONS, size, p=shares / shares.sum())]
        vectors[begin : begin + size] = _moved(around, np.full(size, SPREAD), rng)
    for begin in range(count - planted, count, BLOCK):
        size = min(BLOCK, count - begin)
        sources = vectors[np.sort(rng.integers(0, count - planted, size))].astype(np.float32)
        vectors[begin : begin + size] = _moved(sources, rng.uniform(*COPY_SPREAD, size), rng)
    vectors.flush()


def _moved(vectors: Any, lengths: Any, rng: np.random.Generator) -> Any:
    aside = _drawn(rng, len(vectors))
    return _unit(vectors + lengths[:, None].astype(np.float32) * aside)


def _drawn(rng: np.random.Generator, count: int) -> Any:
    return _unit(rng.standard_normal((count, DIMENSIONS), np.float32) * SPECTRUM)


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _alone(who: str, file: Path, clusters: int) -> dict[str, Any]:
    asked = {"who": who, "file": str(file), "clusters": clusters}
    return in_child("pipelines.bench.dedupe_semantic", asked)


def run_ours(vectors: F16, clusters: int) -> dict[str, Any]:
    """Seconds from the array to what is kept instead of each image."""
    rule = SemanticDuplicateRule(
        eps=EPS, clusters=clusters, iterations=ITERATIONS, points_per_cluster=POINTS
    )
    kept: list[Any] = []
    rank = np.arange(len(vectors))
    seconds = timed(lambda: kept.append(rule.kept_of(vectors, rank).keeper))
    return {"seconds": seconds, "dropped": int((kept[0] != rank).sum())}


def run_faiss(vectors: F16, clusters: int) -> dict[str, Any]:
    """Seconds of k-means and of finding the nearest centroid of all; no comparing in clusters."""
    whole: list[Any] = []
    kmeans = faiss.Kmeans(
        DIMENSIONS,
        clusters,
        niter=ITERATIONS,
        spherical=True,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS,
    )

    def run() -> None:
        kmeans.train(whole[0])
        assert kmeans.index is not None
        kmeans.index.search(whole[0], 1)

    conversion_s = timed(lambda: whole.append(vectors.astype(np.float32)))
    return {"seconds": conversion_s + timed(run), "conversion_s": conversion_s}


def main(asked: str) -> None:
    """One run of one of both, alone in this process."""
    wanted = json.loads(asked)
    vectors = np.load(wanted["file"])
    run = run_ours if wanted["who"] == OURS else run_faiss
    print_with_peak(run(vectors, wanted["clusters"]), 0)


if __name__ == "__main__":
    main(sys.argv[1])
