"""Wire the measures into the graph: each is made just before the rule that needs it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.layout import Layout, shard_name
from transforms.decide.screen import Step, screen
from transforms.score.clip import measure_clip
from transforms.score.clip_model import load_clip
from transforms.score.language import measure_languages
from transforms.score.policy import ClipPolicy
from transforms.shards.commit import Draft
from transforms.shards.measures import free_part, measure_parts, newcomers
from transforms.shards.pool import PoolImages
from transforms.shards.work import at_work


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one shard that are to be measured, and the draft that takes what was found."""

    rows: pa.Table  # POOL_SCHEMA; may be empty
    pool: Path
    shard: int
    draft: Draft
    name: str  # of the part's files, without ending


Measurer = Callable[[Part], int]  # returns the number of images it looked at


@dataclass(eq=False)
class Measure(beam.PTransform):
    """Measure the rows that `before` keeps and that have not been measured yet; shards go on."""

    run: Path
    measure: Path
    before: Sequence[Step]
    measurer: Measurer

    def expand(self, input_or_inputs):
        return input_or_inputs | beam.Map(
            measure_shard, self.run, self.measure, self.before, self.measurer
        )


def measure_shard(
    shard: int, run: Path, measure: Path, before: Sequence[Step], measurer: Measurer
) -> int:
    """Commit one more part of `measure`, if rows of the shard lack it. Returns the shard."""
    with at_work(run, measure.parent.name, shard_name(shard)) as work:
        pool = Layout(run).pool
        # The part before newcomers: a racing worker's commit between the two must win, not double.
        manifest, is_first = free_part(measure, shard), not measure_parts(measure, shard)
        rows = newcomers(screen(pool, shard, before).kept_rows(), measure, shard)
        if rows.num_rows or is_first:
            began_s = time.perf_counter()
            with Draft(manifest) as draft:
                work.images = measurer(Part(rows, pool, shard, draft, manifest.stem))
                draft.facts["rows"] = rows.num_rows
                draft.facts["images"] = work.images
                draft.facts["seconds"] = time.perf_counter() - began_s
    return shard


def measure_part_languages(part: Part) -> int:
    """Parquet with columns uid, languages."""
    languages = measure_languages(part.rows["caption"].to_pylist())
    table = pa.table({"uid": part.rows["uid"], "languages": languages})
    pq.write_table(table, part.draft.path(f"{part.name}.parquet"))
    return 0


def measure_part_clip(part: Part, *, policy: ClipPolicy) -> int:
    """Parquet with columns uid, text, score; beside it NAME.image.npy and NAME.text.npy (fp16)."""
    if part.rows.num_rows == 0:
        empty = {"uid": pa.string(), "text": pa.int32(), "score": pa.float32()}
        table = pa.schema(list(empty.items())).empty_table()
        pq.write_table(table, part.draft.path(f"{part.name}.parquet"))
        return 0
    with PoolImages(part.pool, part.shard) as images:
        measured = measure_clip(part.rows, images, load_clip(policy))
    pq.write_table(measured.table, part.draft.path(f"{part.name}.parquet"))
    for kind, vectors in (("image", measured.images), ("text", measured.texts)):
        with part.draft.path(f"{part.name}.{kind}.npy").open("wb") as file:
            np.save(file, vectors.astype(np.float16))
    return measured.images_seen
