"""Evaluation sets as hashes: from folders and tars of images, or from lists made before.

A list is a table with a column `sha256` (64 hex digits, of the file's bytes), `phash` (16 hex
digits, or a whole number), or both, and maybe `pixels` (hex, or 32 bytes) and `name`. A `.txt` has
a hash a line, of either kind, and maybe a name after it.
"""

import hashlib
import io
import os
import tarfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from schemas.errors import BadInputError
from schemas.fingerprint import Json, file_sha256
from transforms.dedupe.hashes import image_hashes
from transforms.shards.commit import write_atomically
from transforms.shards.pictures import DECODER_ERRORS, ENDINGS, FORMATS, to_rgb

LIST_ENDINGS = (".parquet", ".csv", ".txt")

HASH_LIST_SCHEMA = pa.schema(
    [
        ("name", pa.string()),  # of the evaluation image, as the ledger gives it
        ("sha256", pa.string()),  # of its file, in hex; null if not known
        ("pixels", pa.binary(32)),  # as `image_hash.pixels`; null if not known or not decoded
        ("phash", pa.uint64()),  # likewise
    ]
)


class File(NamedTuple):
    """An image of an evaluation set, not read yet."""

    name: str
    read: Callable[[], bytes]


def read_hashes(path: Path) -> pa.Table:
    """HASH_LIST_SCHEMA of all images of a folder or tar, or of a list.

    Raises: BadInputError: it cannot be read, or has no image or hash in it."""
    if not path.exists():
        raise BadInputError(f"The evaluation set {path} does not exist.")
    is_list = path.suffix in LIST_ENDINGS and not path.is_dir()
    try:
        table = _read_list(path) if is_list else _hashed(images_of(path))
    except (OSError, tarfile.TarError, pa.ArrowException, ValueError, LookupError) as err:
        raise BadInputError(f"The evaluation set {path} cannot be read: {_in_short(err)}.") from err
    if all(table[name].null_count == table.num_rows for name in ("sha256", "phash")):
        raise BadInputError(f"The evaluation set {path} has no image or hash in it.")
    return table


def check_hashes(path: Path) -> None:
    """Raises: BadInputError: a list cannot be used, or a folder or tar has no image in it; whether
    images can be decoded is seen when they are hashed."""
    if not path.exists() or (path.suffix in LIST_ENDINGS and not path.is_dir()):
        read_hashes(path)
        return
    try:
        is_empty = next(images_of(path), None) is None
    except (OSError, tarfile.TarError) as err:
        raise BadInputError(f"The evaluation set {path} cannot be read: {_in_short(err)}.") from err
    if is_empty:
        raise BadInputError(f"The evaluation set {path} has no image or hash in it.")


def _in_short(err: Exception) -> str:
    """What went wrong, without what a library adds to it."""
    why = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
    return " ".join(why.split()).partition(". ")[0].rstrip(".")


def write_hashes(source: Path, out: Path) -> int:
    """Make a list of a folder or tar, whole or not at all; gives the number of its images.

    Raises: BadInputError: the source cannot be read, or `out` is no .parquet file."""
    if out.suffix != ".parquet":
        raise BadInputError(f"{out}: a list of hashes is a .parquet file.")
    table = read_hashes(source)
    content = io.BytesIO()
    pq.write_table(table, content)
    write_atomically(out, content.getvalue())
    return table.num_rows


def digest_of(path: Path) -> Json:
    """What makes two evaluation sets the same: the bytes and names of their files.

    Raises: BadInputError: they cannot be read."""
    try:
        if not path.is_dir():
            return [path.suffix, file_sha256(path)]
        return [[name, hashlib.sha256(read()).hexdigest()] for name, read in _in_folder(path)]
    except OSError as err:
        why = err.strerror or str(err)
        raise BadInputError(f"The evaluation set {path} cannot be read: {why}.") from err


def images_of(path: Path) -> Iterator[File]:
    """The images of a folder, with all below it, or of a tar, in the order of their names."""
    return _in_folder(path) if path.is_dir() else _in_tar(path)


def _in_folder(folder: Path) -> Iterator[File]:
    files = (
        Path(at) / name for at, _, names in os.walk(folder, followlinks=True) for name in names
    )
    for file in sorted(file for file in files if file.suffix.lower() in ENDINGS):
        yield File(file.relative_to(folder).as_posix(), file.read_bytes)


def _in_tar(path: Path) -> Iterator[File]:
    with tarfile.open(path) as tar:
        members = (member for member in tar if member.isfile())
        images = [m for m in members if Path(m.name).suffix.lower() in ENDINGS]
        for member in sorted(images, key=lambda member: member.name):
            yield File(member.name, lambda member=member: _bytes_of(tar, member))


def _bytes_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _hashed(files: Iterable[File]) -> pa.Table:
    """One that cannot be decoded is still known by its bytes."""
    lines = [_line(file) for file in files]
    return pa.Table.from_pylist(lines, schema=HASH_LIST_SCHEMA)


def _line(file: File) -> dict[str, Any]:
    data = file.read()
    line = {"name": file.name, "sha256": hashlib.sha256(data).hexdigest()}
    picture = _decoded(data)
    return line if picture is None else line | image_hashes([picture]).to_pylist()[0]


def _decoded(data: bytes) -> Image.Image | None:
    """As the pool holds a picture: upright, RGB, transparent parts white."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                image.load()
                return to_rgb(ImageOps.exif_transpose(image))
        except DECODER_ERRORS:
            return None


def _read_list(path: Path) -> pa.Table:
    """HASH_LIST_SCHEMA of a list's lines."""
    match path.suffix:
        case ".parquet":
            table = pq.read_table(path)
        case ".csv":
            table = _read_csv(path)
        case _:
            lines = [line for line in path.read_text().splitlines() if line.strip()]
            texts = pa.schema([(name, pa.string()) for name in ("name", "sha256", "phash")])
            table = pa.Table.from_pylist([_from_line(line) for line in lines], schema=texts)
    if not {"sha256", "phash"} & {*table.column_names}:
        raise ValueError("it has neither a column sha256 nor a column phash")
    hashes = [_hashes_of(table, HASH_LIST_SCHEMA.field(name)) for name in _DIGITS]
    return pa.table([_names(table, hashes[0], hashes[-1]), *hashes], schema=HASH_LIST_SCHEMA)


_DIGITS = {"sha256": 64, "pixels": 64, "phash": 16}  # in the schema's order


def _read_csv(path: Path) -> pa.Table:
    as_text = dict.fromkeys(HASH_LIST_SCHEMA.names, pa.string())
    options = pa_csv.ConvertOptions(
        column_types=as_text, null_values=[""], strings_can_be_null=True
    )
    return pa_csv.read_csv(path, convert_options=options)


def _from_line(line: str) -> dict[str, str | None]:
    digits, _, name = line.strip().partition(" ")
    kind = {64: "sha256", 16: "phash"}.get(len(digits))
    if kind is None:
        raise ValueError(f"{digits[:80]!r} is neither 64 nor 16 hex digits")
    return {kind: digits, "name": name.strip() or None}


def _hashes_of(table: pa.Table, field: pa.Field) -> pa.Array:
    """A column of a list in its own type, from hex digits or as it is; null where there is none."""
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    values = _plain(table[field.name])
    if not pa.types.is_string(values.type):
        if field.name == "phash" and not pa.types.is_integer(values.type):
            raise ValueError(f"its phash is {values.type}, neither hex digits nor whole numbers")
        return values.cast(field.type)
    hexes = [value and _checked(value.lower(), _DIGITS[field.name]) for value in values.to_pylist()]
    of_digits = {"sha256": str, "pixels": bytes.fromhex, "phash": lambda value: int(value, 16)}
    return pa.array([value and of_digits[field.name](value) for value in hexes], field.type)


def _names(table: pa.Table, sha256: pa.Array, phash: pa.Array) -> pa.Array:
    """(rows,): names as listed; where there is none, the digits of a hash."""
    there = "name" in table.column_names
    names = _plain(table["name"]).to_pylist() if there else [None] * table.num_rows
    numbers = [number if number is None else f"{number:016x}" for number in phash.to_pylist()]
    found = zip(names, sha256.to_pylist(), numbers, strict=True)
    return pa.array([name or digits or number for name, digits, number in found], pa.string())


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """The same with text as plain strings, however a file holds it."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return column.cast(pa.string() if is_text else kind).combine_chunks()


def _checked(value: str, digits: int) -> str:
    if len(value) != digits or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{value[:80]!r} is not {digits} hex digits")
    return value
