"""fetch.engine: img2dataset. Its own Downloader fetches a shard's images; the pool stays ours.

What differs from the native engine is img2dataset's: pixels are not turned upright, OpenCV takes
truncated JPEGs for whole ones, every failure is retried at once, and a server's X-Robots-Tag is
obeyed. Its memory, the bodies it holds and its time-outs are bounded (bounded_opener.py).
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import transforms
from schemas.errors import RunFailedError
from schemas.layout import shard_name
from schemas.pair import Failure, Status
from transforms.fetch.hosts import parse_url
from transforms.fetch.img2dataset_child import SHARD
from transforms.fetch.messages import failed_as_told
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Decoded, Failed
from transforms.shards.commit import TEMPORARY_SUFFIX
from transforms.shards.tar import index_tar, read_span

Put = Callable[[int, Decoded | Failed], None]


def fetch_by_img2dataset(urls: Sequence[str], policy: FetchPolicy, pool: Path, put: Put) -> None:
    """Hand (index, result) of every URL to `put`.

    Its folder lies in `pool` while it works; a killed process leaves it to commit.sweep.

    Raises: RunFailedError: img2dataset cannot be run, or did not do the whole shard."""
    good = {index: url for index, text in enumerate(urls) if (url := parse_url(text))}
    for index in set(range(len(urls))) - set(good):
        put(index, Failed(failure=Failure.BAD_URL, detail="not an http(s) URL with a host"))
    if not good:
        return
    folder = pool / f".img2dataset.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}"
    folder.mkdir()
    try:
        _run(folder, {index: str(url) for index, url in good.items()}, policy)
        for index, result in _results(folder):
            good.pop(index)
            put(index, result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if good:  # its writer prints errors and goes on
        raise RunFailedError(
            f"img2dataset lost {len(good)} images of a shard: see whether the disk of {pool} is"
            " full and run again."
        )


def _run(folder: Path, urls: dict[int, str], policy: FetchPolicy) -> None:
    listed = folder / "urls.feather"
    table = pa.table({"url": list(urls.values()), "image": list(urls)})
    with pa.OSFile(str(listed), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    job = {
        "policy": policy.model_dump(mode="json"),
        "folder": str(folder.resolve()),
        "urls": str(listed.resolve()),
    }
    errors = folder / "errors.txt"
    status = _run_child(json.dumps(job), errors, _limit_s(len(urls), policy))
    if status != 0:
        lines = errors.read_text(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), f"status {status}")
        raise RunFailedError(f"img2dataset could not do a shard: {said.strip()}")


def _limit_s(images: int, policy: FetchPolicy) -> float:
    """Longer than a shard can take whose every image misses every deadline."""
    rounds = -(-images // policy.concurrency) * (policy.retries + 1) * (policy.max_redirects + 1)
    return 60.0 + rounds * policy.timeout_s


def _run_child(job: str, errors: Path, limit_s: float) -> int:
    """Run the child to its end. Its stdin stays open meanwhile: closed, it tells of our death."""
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "transforms.fetch.img2dataset_child"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=_environment(),
        )
        with child:
            try:
                with contextlib.suppress(BrokenPipeError):  # it ended already; its status tells
                    assert child.stdin is not None
                    child.stdin.write(job.encode() + b"\n")
                return child.wait(limit_s)
            except subprocess.TimeoutExpired as err:
                raise RunFailedError(
                    f"img2dataset hangs: a shard is not done in {limit_s:.0f} s; run again."
                ) from err
            finally:
                child.kill()


def _environment() -> dict[str, str]:
    """Ours, but that it finds these packages and asks the network for nothing but images."""
    root = str(Path(transforms.__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(paths)}


def _results(folder: Path) -> Iterator[tuple[int, Decoded | Failed]]:
    tar = folder / f"{shard_name(SHARD)}.tar"
    samples = index_tar(tar)
    with tar.open("rb") as file:
        for row in pq.read_table(tar.with_suffix(".parquet")).to_pylist():
            if row["status"] == Status.SUCCESS:
                jpeg = read_span(file, samples[row["key"]]["jpg"])
                yield row["image"], _decoded(row, jpeg)
            else:
                yield row["image"], failed_as_told(row["status"], row["error_message"])


def _decoded(row: dict[str, Any], jpeg: bytes) -> Decoded:
    return Decoded(
        jpeg=jpeg,
        width_px=row["width"],
        height_px=row["height"],
        original_width_px=row["original_width"],
        original_height_px=row["original_height"],
        exif=row["exif"] or "{}",
        sha256=row["sha256"],
    )
