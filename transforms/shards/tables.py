"""Read the tables of committed units, and only as they were committed."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import RunFailedError
from transforms.shards.commit import read_manifest

T = TypeVar("T")


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables one after the other; a column that is all null in one has its type from another.

    Raises: RunFailedError: a column holds one kind of values here and another kind there."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as err:
        why = str(err).partition("\n")[0]
        raise RunFailedError(
            f"Shards disagree on what a measure holds ({why}): a function must give values of one"
            " kind in every column."
        ) from err


def read_committed(manifest: Path, name: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The parquet file `name` beside the manifest that vouches for it.

    Raises: RunFailedError: the unit is not committed, or the file's bytes are not those that were.
    """
    return _read(manifest, name, lambda data: pq.read_table(data, columns=columns))


def read_committed_array(manifest: Path, name: str) -> npt.NDArray[Any]:
    """The .npy file `name` beside the manifest that vouches for it. Raises: as `read_committed`."""
    return _read(manifest, name, lambda data: np.load(data, allow_pickle=False))


def _read(manifest: Path, name: str, load: Callable[[pa.BufferReader], T]) -> T:
    """What `load` makes of the very bytes that were checked."""
    path, facts = manifest.parent / name, read_manifest(manifest)
    if facts is None or name not in facts["files"]:
        raise RunFailedError(f"{path} is not committed: run again to make it.")
    try:
        with pa.memory_map(str(path)) as file:
            data = file.read_buffer()
            if hashlib.sha256(data).hexdigest() == facts["files"][name]["sha256"]:
                return load(pa.BufferReader(data))
            why = "it has other bytes than when it was committed"
    except (pa.ArrowException, OSError) as err:
        why = str(err).partition("\n")[0].rstrip(".")
    raise RunFailedError(f"{path} cannot be read ({why}): delete it and run again to make it anew.")
