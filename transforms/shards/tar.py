"""Plain USTAR tars: written so that equal samples give equal bytes, read by reference.

A reference is (tar, offset, length): whoever needs a member's bytes reads just that range.
"""

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from schemas.errors import CorruptPoolError

BLOCK_BYTES = 512


class Span(NamedTuple):
    """Where the bytes of a member lie in its tar."""

    offset: int
    length: int


class SampleWriter:
    """Write samples, each as contiguous members KEY.ext, in the order given."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Add one sample; `members` maps an extension without its dot to the bytes."""
        for extension, data in members.items():
            info = tarfile.TarInfo(f"{key}.{extension}")  # mtime, uid and gid are 0
            info.size = len(data)
            info.mode = 0o444
            self._tar.addfile(info, io.BytesIO(data))

    def close(self) -> None:
        self._tar.close()


@contextlib.contextmanager
def sample_writer(path: Path) -> Iterator[SampleWriter]:
    """A SampleWriter onto a new file, closed at the end of the block."""
    with path.open("wb") as file:
        writer = SampleWriter(file)
        yield writer
        writer.close()


def index_tar(path: Path) -> dict[str, dict[str, Span]]:
    """Key to extension to the place of its bytes, in the tar's order.

    Key and extension part at the first dot of the member's name, as loaders have it.

    Raises: CorruptPoolError: no tar, one that ends early, or with a name twice; says only what is
    wrong, since what to do depends on whose tar it is."""
    size = _size_of(path)
    samples: dict[str, dict[str, Span]] = {}
    try:
        with tarfile.open(path, mode="r:") as tar:
            for member in tar:
                if member.isfile():
                    key, _, extension = member.name.rpartition("/")[2].partition(".")
                    span = Span(member.offset_data, member.size)
                    if extension in samples.setdefault(key, {}):
                        raise CorruptPoolError(f"it has {key}.{extension} twice")
                    samples[key][extension] = span
                    if span.offset + span.length > size:
                        raise CorruptPoolError(f"{member.name} is cut short")
            end = tar.offset  # of the first block that is no member
    except (tarfile.TarError, EOFError) as err:
        raise CorruptPoolError(str(err)) from err
    if not _ends_in_zeros(path, end):
        raise CorruptPoolError("its end is missing")
    return samples


def read_span(file: BinaryIO, span: Span) -> bytes:
    """The bytes of one member, as the disk has them. Threads may share the file: its position is
    not used.

    Raises: OSError: the file ends before the member does."""
    data = os.pread(file.fileno(), span.length, span.offset)
    if len(data) != span.length:
        raise OSError(f"{span.length} bytes wanted at {span.offset}, {len(data)} are there")
    return data


def _ends_in_zeros(path: Path, end: int) -> bool:
    """Two blocks of zeros follow the last member; not where the tar was cut or a header damaged."""
    with path.open("rb") as file:
        file.seek(end)
        return file.read(2 * BLOCK_BYTES) == bytes(2 * BLOCK_BYTES)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as err:
        raise CorruptPoolError(err.strerror or str(err)) from err
