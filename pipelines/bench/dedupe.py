"""`make bench-dedupe`: hashing, the search for near ones, SemDeDup and Beam's part, beside peers.

Peers are imagehash, imagededup, pdqhash and usearch, in an environment of their own, and faiss.
Theirs and ours take turns on one machine. `--only` names the parts wanted.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pipelines.bench import dedupe_peer_loop
from pipelines.bench.contest import Ask, at_most, in_child, say
from pipelines.bench.dedupe_beam import measure_beam
from pipelines.bench.dedupe_hashing import measure_hashing
from pipelines.bench.dedupe_search import LIMIT, measure_search
from pipelines.bench.dedupe_semantic import measure_semantic
from pipelines.bench.machine import Mark, print_marks
from pipelines.bench.peers import peer_python
from transforms.dedupe.bands import cost_ns, plan_bands

# Without dependencies, all of which are here: imagededup would bring torch for what is not used.
PEERS = (
    "--no-deps",
    "ImageHash==4.3.2",
    "imagededup==0.3.3.post2",
    "pdqhash==0.2.8",
    "usearch==2.26.6",
    "numkong==7.8.6",
    "numpy==2.4.6",
    "scipy==1.17.1",
    "pillow==12.3.0",
    "PyWavelets==1.9.0",
    "scikit-learn==1.9.1",
    "joblib==1.6.0",
    "cloudpickle==3.1.2",
    "loky==3.7.0",
    "threadpoolctl==3.8.0",
    "narwhals==2.29.0",
    "tqdm==4.70.1",
)
PARTS = ("hashing", "search", "semantic", "beam")
SIZES = [1_000_000, 3_000_000, 10_000_000]
FAR_LIMIT = 8
BILLION = 1_000_000_000
MOST_S = {(10_000_000, LIMIT): 5.0, (10_000_000, FAR_LIMIT): 30.0}
MOST_BYTES = {(10_000_000, LIMIT): 1e9}


def main(
    only: Annotated[str, typer.Option(help="The parts wanted.")] = ",".join(PARTS),
    photos: Annotated[Path, typer.Option(help="A folder with images/*.jpg to hash.")] = Path(
        "../shared/data/flickr8k"
    ),
    pictures: Annotated[int, typer.Option(min=1, help="Pictures to hash.")] = 200,
    rows: Annotated[int, typer.Option(min=1000, help="Hashes that all search.")] = 1_000_000,
    size: Annotated[
        list[int] | None, typer.Option(min=1000, help="Hashes that we search, and Beam carries.")
    ] = None,
    embeddings: Annotated[int, typer.Option(min=1000, help="For SemDeDup.")] = 1_000_000,
    clusters: Annotated[int, typer.Option(min=1, help="Of k-means.")] = 1000,
    semantic_pairs: Annotated[int, typer.Option(min=1, help="Rounds of ours and faiss.")] = 5,
    runs: Annotated[int, typer.Option(min=1, help="Rounds of all else; the median counts.")] = 5,
) -> None:
    """Print what each part takes, the ratios to peers, and how it grows."""
    wanted, sizes = only.split(","), sorted(size or SIZES)
    if not {*wanted} <= {*PARTS}:
        raise typer.BadParameter(f"--only: of {', '.join(PARTS)}, not {only}")
    marks: list[Mark] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if {*wanted} & {"hashing", "search"}:
            with peers(folder) as ask:
                if "hashing" in wanted:
                    marks += measure_hashing(ask, photos, pictures, runs, folder)
                if "search" in wanted:
                    marks += measure_search(ask, rows, runs, folder)
        if "search" in wanted:
            marks += measure_growth(sizes, runs)
        if "semantic" in wanted:
            marks += measure_semantic(embeddings, clusters, semantic_pairs, folder)
        if "beam" in wanted:
            marks += measure_beam(sizes, min(runs, 3), folder)
    print_marks("dedupe", marks)


@contextmanager
def peers(folder: Path) -> Iterator[Ask]:
    """Their loop in the interpreter of their own environment, asked by keywords."""
    command = [peer_python("dedupe", PEERS), dedupe_peer_loop.__file__]
    pipe = subprocess.PIPE
    with (
        open(folder / "peers.log", "w+") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True) as loop,
    ):

        def told() -> dict[str, Any]:
            assert loop.stdout is not None
            prefix = dedupe_peer_loop.PREFIX
            line = next((line for line in loop.stdout if line.startswith(prefix)), None)
            if line is None:
                said = Path(log.name).read_text()[-2000:]
                raise RuntimeError(f"the loop of the peers ended early:\n{said}")
            return json.loads(line.removeprefix(prefix))

        def ask(**task: object) -> dict[str, Any]:
            print(json.dumps(task), file=loop.stdin, flush=True)
            return told()

        told()
        yield ask


def measure_growth(sizes: Sequence[int], runs: int) -> list[Mark]:
    """Ours alone: seconds and memory by rows, and what they would be at a billion."""
    found = {rows: _alone(rows, LIMIT, runs) for rows in sizes}
    marks = [mark for rows, facts in found.items() for mark in _alone_marks(rows, LIMIT, facts)]
    largest = max(sizes)
    marks += _alone_marks(largest, FAR_LIMIT, _alone(largest, FAR_LIMIT, min(runs, 3)))
    return marks if len(sizes) == 1 else [*marks, *_at_a_billion(found)]


def _at_a_billion(found: Mapping[int, dict[str, Any]]) -> list[Mark]:
    """By the fitted growth of seconds and of memory; and by the bands planned for so many."""
    rows = np.array([*found])
    seconds, peaks = (
        [facts[name] for facts in found.values()] for name in ("seconds", "peak_bytes")
    )
    slope, start = np.polyfit(np.log(rows), np.log(seconds), 1)
    peak = float(np.polyval(np.polyfit(rows, peaks, 1), BILLION))
    planned_ns = cost_ns(plan_bands(BILLION, 64, LIMIT), BILLION) / (os.cpu_count() or 1)
    said = "a billion rows"
    return [
        at_most(f"growth within {LIMIT} bits, slope of log s by log rows", slope),
        at_most(f"{said}, if that slope goes on: s", np.exp(start + slope * np.log(BILLION))),
        at_most(f"{said}, by the cost of the bands planned for them: s", planned_ns / 1e9),
        at_most(f"{said}, if memory goes on in proportion: GB, without input", peak / 1e9),
    ]


def _alone(rows: int, limit: int, runs: int) -> dict[str, Any]:
    say(f"{rows:,} rows within {limit} bits")
    return in_child("pipelines.bench.dedupe_search", {"rows": rows, "limit": limit, "runs": runs})


def _alone_marks(rows: int, limit: int, facts: dict[str, Any]) -> list[Mark]:
    said, most = f"{rows:,} rows within {limit} bits", MOST_BYTES.get((rows, limit))
    return [
        at_most(f"ours, {said}: s", facts["seconds"], MOST_S.get((rows, limit))),
        at_most(f"ours, {said}: GB", facts["peak_bytes"] / 1e9, most and most / 1e9),
    ]


if __name__ == "__main__":
    typer.run(main)
