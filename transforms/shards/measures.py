"""Measures on disk: parts of rows, each committed once and never written again.

Part 0 holds what the first run needed, part 1 the newcomers of a later run, and so on. A row is
measured once for ever.
"""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from schemas.layout import shard_name
from transforms.shards.commit import committed
from transforms.shards.tables import joined, read_committed


def measure_parts(measure: Path, shard: int) -> list[Path]:
    """Manifests of a shard's committed parts, in the order of their numbers."""
    found = [path for path in measure.glob(f"{shard_name(shard)}-*.json") if committed(path)]
    return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))


def part_manifest(measure: Path, shard: int, part: int) -> Path:
    return measure / f"{shard_name(shard)}-{part}.json"


def free_part(measure: Path, shard: int) -> Path:
    """The manifest of the first part that is not committed: one that was lost is made anew."""
    parts = (part_manifest(measure, shard, part) for part in itertools.count())
    return next(manifest for manifest in parts if not committed(manifest))


def read_measure(measure: Path, shard: int) -> pa.Table:
    """All measured rows of a shard. An empty table with a `uid` column where there are none.

    Raises: RunFailedError: a part has other bytes than when it was committed."""
    parts = measure_parts(measure, shard)
    tables = [read_committed(part, part.with_suffix(".parquet").name) for part in parts]
    if not tables:
        return pa.table({"uid": pa.array([], pa.string())})
    return joined(tables)


def places_of(uids: pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> pa.Array:
    """(rows,): the place of each uid among others, such as those of a measure; null for none."""
    asked, there = (
        column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        for column in (uids, among)
    )
    return pc.index_in(asked, value_set=there)


def newcomers(rows: pa.Table, measure: Path, shard: int) -> pa.Table:
    """The rows that the measure does not hold yet, in their order."""
    measured = read_measure(measure, shard)["uid"].combine_chunks()
    return rows.filter(~pc.field("uid").isin(measured))
