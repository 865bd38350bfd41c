"""Read a committed pool shard: its rows, and its images by reference."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from PIL import Image

from schemas.errors import CorruptPoolError
from schemas.fingerprint import file_sha256
from schemas.layout import pool_manifest, shard_name
from transforms.shards.commit import Manifest, committed
from transforms.shards.pictures import to_rgb
from transforms.shards.tables import read_committed
from transforms.shards.tar import Span, index_tar, read_span

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")


def read_pool(pool: Path, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a pool shard (POOL_SCHEMA, or some of its columns), in its order.

    Raises: RunFailedError: not committed, or its parquet has other bytes than it had then."""
    return read_committed(
        pool_manifest(pool, shard), f"{shard_name(shard)}.parquet", columns=columns
    )


def _committed(pool: Path, shard: int) -> Manifest:
    manifest = committed(pool_manifest(pool, shard))
    if manifest is None:
        raise CorruptPoolError(f"Pool shard {shard_name(shard)} in {pool} is not committed.")
    return manifest


class PoolImages:
    """The encoded images of one pool shard, by key. Close it, or use it as a context manager.

    Raises: CorruptPoolError: its tar cannot be read."""

    def __init__(self, pool: Path, shard: int) -> None:
        self.shard = shard
        manifest = _committed(pool, shard)
        self.path = pool / manifest["tar"]  # beside its rows, or where an adopted pool has it
        self._is_ours = self.path.name in manifest["files"]
        try:
            facts = self.path.stat()
            self._spans, sha256 = _index(self.path, facts.st_size, facts.st_mtime_ns)
            if sha256 != _sha256(manifest, self.path.name):
                raise CorruptPoolError("it has other bytes than when it was committed")
            self._file: BinaryIO = self.path.open("rb")
        except (CorruptPoolError, OSError) as err:
            raise self.broken(str(err)) from err

    def __enter__(self) -> "PoolImages":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def read(self, key: str) -> tuple[str, bytes]:
        """Extension and encoded bytes of an image.

        Raises: CorruptPoolError: the tar has no such image, or can no longer be read."""
        members = self._spans.get(key, {})
        for extension in IMAGE_EXTENSIONS:
            if extension in members:
                try:
                    return extension, read_span(self._file, members[extension])
                except OSError as err:
                    raise self.broken(str(err)) from err
        raise self.broken(f"it has no image {key}")

    def picture(self, key: str) -> Image.Image:
        """An image, decoded, in RGB: fetch could decode it, so where that fails now, the pool's
        bytes have changed.

        Raises: CorruptPoolError: the tar has no such image, or it is damaged."""
        try:
            return to_rgb(Image.open(io.BytesIO(self.read(key)[1])))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as err:
            raise self.broken(f"its image {key} is damaged") from err

    def broken(self, why: str) -> CorruptPoolError:
        """The error for this shard, with what to do: an adopted tar is not ours to make anew."""
        cure = (
            f"delete the files {self.path.stem}* beside it and run again to make it anew"
            if self._is_ours
            else "restore it, or adopt the pool again with another --out"
        )
        return CorruptPoolError(f"Pool shard {self.path} cannot be read ({why}): {cure}.")


class PoolShards:
    """The images of a pool; the shard that was asked for last is open. Close it, or use it as a
    context manager."""

    def __init__(self, pool: Path) -> None:
        self._pool = pool
        self._open: PoolImages | None = None

    def __enter__(self) -> "PoolShards":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def images(self, shard: int) -> PoolImages:
        """Those of one shard, until another is asked for. Raises: CorruptPoolError: as these."""
        if self._open is None or self._open.shard != shard:
            self.close()
            self._open = PoolImages(self._pool, shard)
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()


def readable(extension: str, data: bytes) -> tuple[str, bytes]:
    """Bytes as they are, by reference; only webp, which many loaders cannot read, becomes JPEG."""
    if extension != "webp":
        return ("jpg" if extension == "jpeg" else extension), data
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(out, "JPEG", quality=95)
    return "jpg", out.getvalue()


def _sha256(manifest: Manifest, tar: str) -> str:
    ours = manifest["files"].get(tar)
    return manifest["tar_sha256"] if ours is None else ours["sha256"]


@functools.lru_cache(maxsize=4)
def _index(path: Path, _size: int, _mtime_ns: int) -> tuple[dict[str, dict[str, Span]], str]:
    """Members and sha256 of the tar as it is now: another size or time is another tar."""
    return index_tar(path), file_sha256(path)
