"""`make bench-decide`: seconds and memory that deciding over many measured rows takes.

The pool is drawn, not fetched: rows, languages and scores have the shapes and the disorder of real
ones, and there are no images, which deciding never reads. Each run is the command itself, start
and import included, on a RUN that has no decision yet.
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import typer
import yaml

from pipelines.bench.machine import Mark, print_marks
from pipelines.job import Job
from pipelines.recipe_file import load_recipe
from schemas.layout import Layout, pool_manifest, shard_name
from schemas.pair import POOL_SCHEMA
from transforms.shards.commit import Draft, write_atomically
from transforms.shards.measures import part_manifest

RUNS = 5
ROWS_PER_SHARD = 10_000
MOST_S = {1_000_000: 5.0, 10_000_000: 60.0}
MOST_BYTES = {1_000_000: 1e9}
RECIPE: dict[str, Any] = {
    "input": {"list": "list.parquet"},
    "rules": [
        {"caption": {"min_words": 3, "min_chars": 6}},
        {"shorter_side": {"at_least_px": 200}},
        {"aspect": {"at_most": 3.0}},
        {"exact_duplicate": {}},
        {"language": {"keep": ["en"]}},
        {"clip_score": {"top_fraction": 0.3}},
    ],
}
WORDS = [
    "a",
    "the",
    "dog",
    "runs",
    "on",
    "green",
    "grass",
    "red",
    "car",
    "two",
    "people",
    "at",
    "beach",
    "photo",
    "of",
    "my",
    "new",
    "house",
]
LANGUAGES = ("en", "de", "fr", "es", "zh-cn")
Rng = np.random.Generator


def main(
    rows: Annotated[
        list[int] | None, typer.Option(min=1, help="Rows of the drawn pool; smaller ones first.")
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, help="How often to decide; the median counts.")
    ] = RUNS,
    folder: Annotated[
        Path | None, typer.Option(help="Draw the pools here, keep them, and use them again.")
    ] = None,
) -> None:
    """Draw pools, decide over each, and print how long it took."""
    with tempfile.TemporaryDirectory() as made:
        place = folder or Path(made)
        marks = [mark for size in sorted(rows or MOST_S) for mark in _measure(size, runs, place)]
    print_marks("decide", marks)


def _measure(rows: int, runs: int, folder: Path) -> list[Mark]:
    """The marks of one pool. Memory is that of the largest command so far."""
    run, recipe = folder / str(rows) / "run", folder / str(rows) / "recipe.yaml"
    if not recipe.exists():  # written last
        made = recipe.with_name("made.yaml")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(yaml.safe_dump(RECIPE))
        _draw_run(run, made, rows)
        made.rename(recipe)
    spent = [_decide(run, recipe) for _ in range(runs)]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    said = f"{rows:,} rows, {len(RECIPE['rules'])} rules"
    return [
        _mark(f"s for {said}", statistics.median(spent), MOST_S.get(rows)),
        _mark(f"GB for {said}", peak / 1e9, MOST_BYTES.get(rows, 0) / 1e9 or None),
    ]


def _mark(name: str, value: float, most: float | None) -> Mark:
    return Mark(name=name, value=value, mark=most, holds=most is None or value <= most)


def _decide(run: Path, recipe: Path) -> float:
    """Seconds of one `pairmill decide` from its start to its end."""
    for name in ("decisions", "outcomes"):
        shutil.rmtree(run / name, ignore_errors=True)
    command = "from pipelines.cli import main; main()"
    began_s = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", command, "decide", str(run), str(recipe), "--json"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - began_s


def _draw_run(run: Path, recipe: Path, rows: int) -> None:
    job = Job(
        run=run,
        recipe=load_recipe(recipe),
        pool_identity="drawn",
        shards=-(-rows // ROWS_PER_SHARD),
    )
    record = {"input": {"sha256": "drawn"}, "fetch": job.recipe.fetch.identity()}
    write_atomically(Layout(run).identity, json.dumps(record).encode())
    write_atomically(Layout(run).job, job.save().encode())
    rng = np.random.default_rng(0)
    for shard in range(job.shards):
        begin = shard * ROWS_PER_SHARD
        _draw_shard(job, shard, np.arange(begin, min(begin + ROWS_PER_SHARD, rows)), rng)


def _draw_shard(job: Job, shard: int, numbers: npt.NDArray[np.int64], rng: Rng) -> None:
    table = _pool_rows(numbers, rng)
    with Draft(pool_manifest(job.layout.pool, shard)) as draft:
        pq.write_table(table, draft.path(f"{shard_name(shard)}.parquet"), compression="zstd")
        draft.facts["tar"] = "none"
    order = rng.permutation(len(numbers))
    uids = table["uid"].take(order)
    kind = pa.map_(pa.string(), pa.float32())
    guesses = [[(LANGUAGES[n], 0.9), (LANGUAGES[n - 1], 0.1)] for n in _skewed(rng, len(numbers))]
    scores = rng.normal(0.25, 0.06, len(numbers)).astype(np.float32)
    measures = {
        "language": {"uid": uids, "languages": pa.array(guesses, kind)},
        "clip-pocket": {"uid": uids, "score": scores},
    }
    for name in job.measure_names():
        manifest = part_manifest(job.measure(name), shard, 0)
        with Draft(manifest) as draft:
            pq.write_table(pa.table(measures[name]), draft.path(f"{manifest.stem}.parquet"))


def _skewed(rng: Rng, count: int) -> list[int]:
    """Numbers below 5, most of them 0."""
    return np.minimum(rng.geometric(0.6, count) - 1, len(LANGUAGES) - 1).tolist()


def _pool_rows(numbers: npt.NDArray[np.int64], rng: Rng) -> pa.Table:
    """POOL_SCHEMA: one row in five was not fetched, one in twenty has the bytes of another."""
    count = len(numbers)
    failed = rng.random(count) < 0.2
    lengths = rng.integers(1, 14, count)
    words = rng.integers(0, len(WORDS), (count, 14))
    captions = [" ".join(WORDS[w] for w in row[:n]) for row, n in zip(words, lengths, strict=True)]
    bytes_of = np.where(
        rng.random(count) < 0.05, rng.integers(0, 1 << 20, count), numbers + (1 << 20)
    )
    columns: dict[str, Any] = {
        "url": [f"https://host{n % 977}.test/images/{n}.jpg" for n in numbers.tolist()],
        "caption": captions,
        "key": [f"{n:09d}" for n in numbers.tolist()],
        "status": np.where(failed, "failed_to_download", "success"),
        "error_message": _where(failed, "HTTP Error 404"),
        "width": np.full(count, 256, np.int32),
        "height": np.full(count, 256, np.int32),
        "original_width": rng.integers(60, 1200, count).astype(np.int32),
        "original_height": rng.integers(60, 1200, count).astype(np.int32),
        "exif": ["{}"] * count,
        "sha256": [f"{n:064x}" for n in bytes_of.tolist()],
        "row": numbers,
        "uid": [f"{n * 0x9E3779B97F4A7C15 % (1 << 64):032x}" for n in numbers.tolist()],
        "image": numbers,
        "repeated": np.zeros(count, dtype=np.bool_),
        "failure": _where(failed, "not_found"),
    }
    return pa.table(columns, schema=POOL_SCHEMA)


def _where(chosen: npt.NDArray[np.bool_], text: str) -> list[str | None]:
    return [text if one else None for one in chosen.tolist()]


if __name__ == "__main__":
    typer.run(main)
