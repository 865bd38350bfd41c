"""Read a committed pool shard: its rows, and its images by reference."""

import functools
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import CorruptPoolError
from schemas.layout import pool_manifest, shard_name
from transforms.shards.commit import committed
from transforms.shards.tar import Span, index_tar, read_span

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")


def read_pool(pool: Path, shard: int) -> pa.Table:
    """The rows of a pool shard (POOL_SCHEMA), in its order.

    Raises: CorruptPoolError: not committed, or its parquet cannot be read."""
    name = shard_name(shard)
    path = pool / f"{name}.parquet"
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as err:
        raise CorruptPoolError(
            f"Pool shard {path} cannot be read: delete the files {name}* beside it and run again"
            " to make it anew."
        ) from err


def pool_tar(pool: Path, shard: int) -> Path:
    """The tar of a pool shard: beside its rows, or where an adopted pool has it."""
    manifest = committed(pool_manifest(pool, shard))
    if manifest is None:
        raise CorruptPoolError(f"Pool shard {shard_name(shard)} in {pool} is not committed.")
    return pool / manifest["tar"]


class PoolImages:
    """The encoded images of one pool shard, by key. Close it, or use it as a context manager."""

    def __init__(self, pool: Path, shard: int) -> None:
        self.shard = shard
        self.path = pool_tar(pool, shard)
        self._spans = _index(self.path)
        self._file: BinaryIO = self.path.open("rb")

    def __enter__(self) -> "PoolImages":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def read(self, key: str) -> tuple[str, bytes]:
        """Extension and encoded bytes of an image.

        Raises: CorruptPoolError: the tar has no such image."""
        members = self._spans.get(key, {})
        for extension in IMAGE_EXTENSIONS:
            if extension in members:
                return extension, read_span(self._file, members[extension])
        raise CorruptPoolError(
            f"Pool shard {self.path} has no image {key}: delete the files {self.path.stem}*"
            " beside it and run again to make it anew."
        )


@functools.lru_cache(maxsize=4)
def _index(path: Path) -> dict[str, dict[str, Span]]:
    return index_tar(path)
