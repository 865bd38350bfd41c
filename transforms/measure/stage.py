"""Wire the measures into the graph: each is made just before the rule that needs it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.layout import Layout, shard_name
from transforms.decide.screen import Step, rows_for
from transforms.shards.commit import Draft
from transforms.shards.measures import free_part, measure_parts, newcomers
from transforms.shards.work import at_work


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one shard that are to be measured, and the draft that takes what was found."""

    rows: pa.Table  # POOL_SCHEMA; may be empty
    pool: Path
    shard: int
    draft: Draft
    measure: str
    name: str  # of the part's files, without ending

    def write(self, columns: pa.Table) -> None:
        """The part's parquet: uid, then what was found for each row."""
        table = columns.add_column(0, "uid", self.rows["uid"])
        pq.write_table(table, self.draft.path(f"{self.name}.parquet"))


Measurer = Callable[[Part], int]  # returns the number of images it looked at


@dataclass(eq=False)
class Measure(beam.PTransform):
    """Measure the rows that `before` keeps, or those of the images that `about` found, and that
    have not been measured yet; shards go on."""

    run: Path
    measure: Path
    before: Sequence[Step]
    measurer: Measurer
    finder: Step | None = None

    def expand(self, input_or_inputs):
        return input_or_inputs | beam.Map(
            measure_shard, self.run, self.measure, self.before, self.measurer, self.finder
        )


def measure_shard(
    shard: int,
    run: Path,
    measure: Path,
    before: Sequence[Step],
    measurer: Measurer,
    finder: Step | None = None,
) -> int:
    """Commit one more part of `measure`, if rows of the shard lack it. Returns the shard."""
    with at_work(run, measure.parent.name, shard_name(shard)) as work:
        pool = Layout(run).pool
        # The part before newcomers: a racing worker's commit between the two must win, not double.
        manifest, is_first = free_part(measure, shard), not measure_parts(measure, shard)
        rows = newcomers(rows_for(pool, shard, before, finder), measure, shard)
        if rows.num_rows or is_first:
            began_s = time.perf_counter()
            with Draft(manifest) as draft:
                work.images = measurer(
                    Part(rows, pool, shard, draft, measure.parent.name, manifest.stem)
                )
                draft.facts["rows"] = rows.num_rows
                draft.facts["images"] = work.images
                draft.facts["seconds"] = time.perf_counter() - began_s
    return shard
