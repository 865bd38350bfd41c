"""Write one pool shard as img2dataset lays it out: tar, parquet, and the stats' facts.

Images wait in a spool on disk until all of them are there: the tar has them in the order of
the rows, whatever order they came in, and memory holds one at a time.
"""

import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.pair import POOL_SCHEMA, Status, image_key
from transforms.fetch.records import Decoded, Failed, ImageFacts
from transforms.shards.tar import Span, read_span, sample_writer

_FACTS = tuple(field.name for field in fields(ImageFacts))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolImage:
    """A distinct image of a unit: what its first row says of it."""

    key: str
    url: str
    caption: str
    uid: str


class Spool:
    """What came of each image, by its index; the JPEGs lie in a file that has no name."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._spans: dict[int, Span] = {}
        self.facts: dict[int, ImageFacts] = {}

    def put(self, index: int, result: Decoded | Failed) -> None:
        """Keep one result. Raises OSError where the disk is full."""
        self.facts[index] = ImageFacts.of(result)
        if isinstance(result, Decoded):
            offset = self._file.seek(0, 2)
            self._file.write(result.jpeg)
            self._file.flush()  # it is read past Python's buffer
            self._spans[index] = Span(offset, len(result.jpeg))

    def jpeg(self, index: int) -> bytes:
        return read_span(self._file, self._spans[index])


@contextlib.contextmanager
def open_spool(folder: Path) -> Iterator[Spool]:
    """A spool on the disk of `folder`. The kernel frees it when its process dies."""
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Spool(file)


def distinct_images(rows: pa.Table, shard: int) -> list[PoolImage]:
    """The images of a unit, in the order of its rows; rows of one image are adjacent.

    Raises: ValueError: the rows of an image are apart."""
    firsts: dict[int, PoolImage] = {}
    last = None
    for row in rows.select(["image", "url", "caption", "uid"]).to_pylist():
        image = row.pop("image")
        if image != last and image in firsts:
            raise ValueError(f"the rows of image {image} are not adjacent")
        if image not in firsts:
            firsts[image] = PoolImage(key=image_key(shard, len(firsts)), **row)
        last = image
    return list(firsts.values())


def write_tar(path: Path, images: Sequence[PoolImage], spool: Spool) -> None:
    """KEY.jpg, KEY.txt and KEY.json of every image that succeeded."""
    with sample_writer(path) as writer:
        for index, image in enumerate(images):
            facts = spool.facts[index]
            if facts.status == Status.SUCCESS:
                members = {
                    "jpg": spool.jpeg(index),
                    "txt": image.caption.encode(),
                    "json": _sample_json(image, facts),
                }
                writer.write(image.key, members)


def pool_table(rows: pa.Table, keys: Sequence[str], facts: Sequence[ImageFacts]) -> pa.Table:
    """Input rows as POOL_SCHEMA; `keys` and `facts` have one entry for each row."""
    columns: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    columns["key"] = list(keys)
    columns |= {name: [getattr(fact, name) for fact in facts] for name in _FACTS}
    return pa.table({name: columns[name] for name in POOL_SCHEMA.names}, schema=POOL_SCHEMA)


def write_parquet(path: Path, table: pa.Table) -> None:
    """The shard's parquet; equal rows give equal bytes."""
    pq.write_table(table, path, compression="zstd")


def stats(table: pa.Table, began_s: float, ended_s: float) -> Mapping[str, Any]:
    """img2dataset's stats of a shard, counted in rows; times are seconds since 1970.

    `status_dict` counts failure classes where img2dataset counts messages."""
    status = Counter(table["status"].to_pylist())
    endings = Counter(failure or Status.SUCCESS for failure in table["failure"].to_pylist())
    return {
        "count": table.num_rows,
        "successes": status[Status.SUCCESS],
        "failed_to_download": status[Status.NOT_DOWNLOADED],
        "failed_to_resize": status[Status.NOT_RESIZED],
        "duration": ended_s - began_s,
        "start_time": began_s,
        "end_time": ended_s,
        "status_dict": dict(sorted(endings.items())),
        "seconds": ended_s - began_s,
    }


def _sample_json(image: PoolImage, facts: ImageFacts) -> bytes:
    """img2dataset's fields in its order, then ours."""
    said = asdict(facts)
    del said["failure"]
    content = {"url": image.url, "caption": image.caption, "key": image.key, **said}
    return json.dumps({**content, "uid": image.uid}, ensure_ascii=False).encode()
