"""Read the embeddings of a CLIP measure: fp16 files beside its parquet, in the same row order."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import RunFailedError
from schemas.layout import shard_name
from transforms.shards.commit import read_manifest
from transforms.shards.tables import read_committed

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


def _manifests(measure: Path, shard: int) -> list[Path]:
    """Of every part that was ever committed, in the order of their numbers."""
    found = measure.glob(f"{shard_name(shard)}-*.json")
    return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))


def _read_part(manifest: Path, kind: Kind) -> tuple[pa.Array, F16]:
    table = read_committed(manifest, f"{manifest.stem}.parquet", columns=["uid"])
    uids = table["uid"].combine_chunks()
    if not len(uids):  # a part without rows has no embeddings
        return uids, np.zeros((0, 0), np.float16)
    return uids, _read_array(manifest, f"{manifest.stem}.{kind}.npy")


def _read_array(manifest: Path, name: str) -> F16:
    """The array in the file `name`, from the very bytes that were checked."""
    path, facts = manifest.parent / name, read_manifest(manifest)
    if facts is None or name not in facts["files"]:
        raise RunFailedError(f"{path} is not committed: run again to make it.")
    try:
        with pa.memory_map(str(path)) as file:
            data = file.read_buffer()
            if hashlib.sha256(data).hexdigest() == facts["files"][name]["sha256"]:
                return np.load(pa.BufferReader(data), allow_pickle=False)
            why = "it has other bytes than when it was committed"
    except (pa.ArrowException, OSError) as err:
        why = str(err).partition("\n")[0]
    raise RunFailedError(
        f"{path} cannot be read ({why.rstrip('.')}): delete it and run again to make it anew."
    )
