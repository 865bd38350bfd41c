"""Read the embeddings of a CLIP measure: fp16 files beside its parquet, in the same row order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.layout import shard_name
from transforms.shards.tables import read_committed, read_committed_array

F16 = npt.NDArray[np.float16]
Kind = Literal["image", "text"]


def read_vectors(measure: Path, shard: int, kind: Kind) -> tuple[pa.Array, F16]:
    """The uids and the embeddings of all measured rows of a shard, over all of its parts.

    Unlike `read_measure`, which leaves out a part that lost a file since it is made anew by the
    next run, this refuses it: a search that silently misses rows looks like one that found none.

    Returns: (N,) strings, and (N, D) of norm 1; (0, 0) where no row was measured.
    Raises: RunFailedError: a file is missing or has other bytes than when it was committed."""
    parts = [_read_part(manifest, kind) for manifest in _manifests(measure, shard)]
    filled = [(uids, vectors) for uids, vectors in parts if len(uids)]
    if not filled:
        return pa.array([], pa.string()), np.zeros((0, 0), np.float16)
    if len(filled) == 1:  # spares a copy
        return filled[0]
    uids = pa.concat_arrays([uids for uids, _ in filled])
    return uids, np.concatenate([vectors for _, vectors in filled])


def read_all_vectors(measure: Path, kind: Kind) -> Iterator[tuple[pa.Array, F16]]:
    """The same of every shard that was measured, one at a time, in the shards' order."""
    shards = {int(path.stem.partition("-")[0]) for path in measure.glob("*-*.json")}
    return (read_vectors(measure, shard, kind) for shard in sorted(shards))


def _manifests(measure: Path, shard: int) -> list[Path]:
    """Of every part that was ever committed, in the order of their numbers."""
    found = measure.glob(f"{shard_name(shard)}-*.json")
    return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))


def _read_part(manifest: Path, kind: Kind) -> tuple[pa.Array, F16]:
    table = read_committed(manifest, f"{manifest.stem}.parquet", columns=["uid"])
    uids = table["uid"].combine_chunks()
    if not len(uids):  # a part without rows has no embeddings
        return uids, np.zeros((0, 0), np.float16)
    return uids, read_committed_array(manifest, f"{manifest.stem}.{kind}.npy")
