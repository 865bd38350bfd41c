"""Use an img2dataset output folder (webdataset format) as a pool, unchanged where it lies.

What is written is a parquet in POOL_SCHEMA and a manifest that names the foreign tar. Rows stay
in the source's order with the source's keys; the tar is read where rows are decided and built, and
must then be the one that was adopted.
"""

import hashlib
import io
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from schemas.errors import BadInputError, CorruptPoolError
from schemas.fingerprint import file_sha256
from schemas.layout import pool_manifest, shard_name
from schemas.pair import POOL_SCHEMA, Failure, Status
from transforms.fetch.decode import DECODER_ERRORS, FORMATS
from transforms.fetch.messages import failed_as_told
from transforms.fetch.pool import pool_table, stats, write_parquet
from transforms.fetch.records import Failed, ImageFacts
from transforms.shards.commit import Draft, Manifest, committed
from transforms.shards.pool import IMAGE_EXTENSIONS
from transforms.shards.tar import Span, index_tar, read_span

_SAID = ("width", "height", "original_width", "original_height", "exif", "sha256")
_READ = ("key", "status", "error_message", "url", "caption", "uid", *_SAID)

Samples = dict[str, dict[str, Span]]


def list_pool_shards(folder: Path) -> list[Path]:
    """The folder's tars in order of their numbers, each with a parquet beside it.

    Raises: BadInputError: no folder, no tar, or a tar without its parquet."""
    if not folder.is_dir():
        raise BadInputError(f"The pool {folder} does not exist or is no folder.")
    found = (tar for tar in folder.glob("*.tar") if tar.is_file())
    tars = sorted(found, key=lambda tar: (len(tar.name), tar.name))
    if not tars:
        raise BadInputError(
            f"The pool {folder} has no .tar files: give an output folder of img2dataset in"
            " webdataset format."
        )
    alone = next((tar for tar in tars if not tar.with_suffix(".parquet").is_file()), None)
    if alone is not None:
        raise BadInputError(
            f"The pool's {alone} has no {alone.stem}.parquet beside it: its shard was never"
            " finished, so make it anew with img2dataset or remove it."
        )
    return tars


def read_pool_columns(source_tar: Path) -> pa.Table:
    """Columns url, caption, image and, where the source has one, uid; only a uid can be null.

    Where the source has no URLs the sample's place stands for it: 00000.tar/000000012. A source
    without captions has empty ones. Rows of one URL have the same `image` only where the source's
    sha256 says so: each was fetched by itself, and may have got another picture.

    Raises: CorruptPoolError: the parquet cannot be read."""
    return _pool_columns(_read_source(source_tar), source_tar)


def _pool_columns(source: pa.Table, source_tar: Path) -> pa.Table:
    keys = source["key"].to_pylist()
    places = [f"{source_tar.name}/{key}" for key in keys]
    columns: dict[str, Sequence[str | None]] = {
        "url": _texts(source, "url", places),
        "caption": _texts(source, "caption", [""] * len(keys)),
    }
    named = zip(_texts(source, "sha256", places), columns["url"], strict=True)
    columns["image"] = [f"{sha256} {url}" for sha256, url in named]
    if "uid" in source.column_names:
        own = source["uid"].to_pylist()
        columns["uid"] = [None if uid is None else str(uid) for uid in own]
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))


def adopt_shard(source_tar: Path, rows: pa.Table, shard: int, pool: Path) -> Manifest:
    """Commit pool shard `shard` as a view of a foreign one, unless it is; returns its manifest.

    Args:   rows: ROWS_SCHEMA, one row for each of the source's parquet, in its order.
    Raises: CorruptPoolError: the source cannot be read, or has other rows than it had."""
    manifest = pool_manifest(pool, shard)
    if (done := committed(manifest)) is not None:
        return done
    began_s = time.time()
    source = _read_source(source_tar)
    if _pool_columns(source, source_tar)["url"].to_pylist() != rows["url"].to_pylist():
        raise CorruptPoolError(
            f"The pool shard {source_tar} has other rows than when this run began: restore it,"
            " or run the recipe with another --out."
        )
    facts = _facts_of_rows(source_tar, source)
    table = pool_table(rows, source["key"].to_pylist(), facts)
    with Draft(manifest) as draft:
        write_parquet(draft.path(f"{shard_name(shard)}.parquet"), table)
        tar = str(source_tar.resolve())
        draft.facts |= {"images": len(facts), "tar": tar, "tar_sha256": file_sha256(source_tar)}
        draft.facts |= stats(table, began_s, time.time())
    return committed(manifest) or {}


def _read_source(source_tar: Path) -> pa.Table:
    path = source_tar.with_suffix(".parquet")
    try:
        there = pq.read_schema(path).names
        source = pq.read_table(path, columns=[name for name in _READ if name in there])
    except (pa.ArrowException, OSError) as err:
        raise CorruptPoolError(_broken(path, str(err).partition("\n")[0])) from err
    if missing := [name for name in ("key", "status") if name not in source.column_names]:
        raise CorruptPoolError(_broken(path, f"it has no column {missing[0]!r}"))
    typed = pa.table({name: _typed(source, name, path) for name in source.column_names})
    if (twice := _ambiguous_key(typed)) is not None:
        raise CorruptPoolError(_broken(path, f"the key {twice!r} comes twice, for other images"))
    return typed


def _ambiguous_key(source: pa.Table) -> str | None:
    """A key whose rows are not all of one image; captions of one image may share its key."""
    named = [name for name in ("key", "url", "sha256") if name in source.column_names]
    images = source.group_by(named).aggregate([])["key"].to_pylist()
    return next((key for key, count in Counter(images).items() if count > 1), None)


def _typed(source: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """A column as the pool has it; a NaN, which pandas writes for a missing number, is null."""
    column, wanted = source[name], POOL_SCHEMA.field(name).type
    try:
        if pa.types.is_floating(column.type):
            column = pa.chunked_array([pa.array(column.to_numpy(), from_pandas=True)])
        return column.cast(wanted)
    except pa.ArrowException as err:
        raise CorruptPoolError(_broken(path, f"its {name!r} is {column.type}")) from err


def _facts_of_rows(source_tar: Path, source: pa.Table) -> list[ImageFacts]:
    try:
        samples = index_tar(source_tar)
    except CorruptPoolError as err:
        raise CorruptPoolError(_broken(source_tar, "it is cut short or no tar")) from err
    with source_tar.open("rb") as file:
        return [_facts(row, samples, file) for row in source.to_pylist()]


def _facts(row: dict[str, Any], samples: Samples, file: BinaryIO) -> ImageFacts:
    if row["status"] != Status.SUCCESS:
        return ImageFacts.of(failed_as_told(row["status"], row.get("error_message")))
    members = samples.get(row["key"], {})
    span = next((members[name] for name in IMAGE_EXTENSIONS if name in members), None)
    if span is None:
        detail = f"{row['key']} is listed as a success and is not in the tar"
        return ImageFacts.of(Failed(failure=Failure.OTHER, detail=detail))
    seen = _look_at(read_span(file, span))
    if seen is None:
        detail = f"{row['key']} is listed as a success and cannot be decoded"
        return ImageFacts.of(Failed(failure=Failure.BROKEN_IMAGE, detail=detail))
    said = {name: row.get(name) for name in _SAID}
    said = {name: seen.get(name) if value is None else value for name, value in said.items()}
    said["sha256"] = said["sha256"].lower()  # as ours are, to be compared with
    return ImageFacts(status=Status.SUCCESS, **said)


def _look_at(stored: bytes) -> dict[str, Any] | None:
    """What the stored bytes themselves say, for a source that does not; None: no image.

    They are decoded whole: a stage that comes later need not fear them."""
    try:
        with Image.open(io.BytesIO(stored), formats=FORMATS) as image:
            image.load()
            width_px, height_px = image.size
    except DECODER_ERRORS:
        return None
    return {
        "width": width_px,
        "height": height_px,
        "original_width": width_px,
        "original_height": height_px,
        "sha256": hashlib.sha256(stored).hexdigest(),
    }


def _texts(source: pa.Table, name: str, otherwise: list[str]) -> list[str]:
    if name not in source.column_names:
        return otherwise
    pairs = zip(source[name].to_pylist(), otherwise, strict=True)
    return [instead if text is None else str(text) for text, instead in pairs]


def _broken(path: Path, why: str) -> str:
    return (
        f"The pool shard {path} cannot be read ({why}): make it anew with img2dataset, or remove"
        f" the files {path.stem}* beside it and run with another --out."
    )
