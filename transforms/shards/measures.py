"""Measures on disk: parts of rows, each committed once and never written again.

Part 0 holds what the first run needed, part 1 the newcomers of a later run, and so on. A row is
measured once for ever.
"""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import RunFailedError
from schemas.layout import shard_name


def measure_parts(measure: Path, shard: int) -> list[Path]:
    """Manifests of a shard's committed parts, oldest first."""
    pattern = re.compile(rf"{shard_name(shard)}-(\d+)\.json")
    if not measure.is_dir():
        return []
    found = [(int(m[1]), path) for path in measure.iterdir() if (m := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def part_manifest(measure: Path, shard: int, part: int) -> Path:
    return measure / f"{shard_name(shard)}-{part}.json"


def read_measure(measure: Path, shard: int) -> pa.Table:
    """All measured rows of a shard. An empty table with a `uid` column where there are none."""
    parts = [manifest.with_suffix(".parquet") for manifest in measure_parts(measure, shard)]
    try:
        tables = [pq.read_table(part) for part in parts]
    except (pa.ArrowException, OSError) as err:
        raise RunFailedError(
            f"A measure of shard {shard_name(shard)} in {measure} cannot be read: delete the files"
            f" {shard_name(shard)}-* there and run again."
        ) from err
    return pa.concat_tables(tables) if tables else pa.table({"uid": pa.array([], pa.string())})


def newcomers(rows: pa.Table, measure: Path, shard: int) -> pa.Table:
    """The rows that the measure does not hold yet, in their order."""
    measured = read_measure(measure, shard)["uid"].combine_chunks()
    return rows.filter(~pc.field("uid").isin(measured))
