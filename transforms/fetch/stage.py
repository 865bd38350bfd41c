"""Wire fetch into the graph: a shard number goes in, its pool shard is committed, it goes on."""

import functools
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam

from schemas.layout import Layout, shard_name
from transforms.fetch.adopt import adopt_shard, list_pool_shards
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.shard import make_pool_shard
from transforms.shards.tables import read_committed
from transforms.shards.work import at_work


@dataclass(eq=False)
class Fetch(beam.PTransform):
    """Make each shard's part of the pool: fetch its images, or adopt them where they lie."""

    run: Path
    policy: FetchPolicy
    adopted: Path | None  # an img2dataset output folder

    def expand(self, input_or_inputs):
        return input_or_inputs | beam.Map(fetch_shard, self.run, self.policy, self.adopted)


def fetch_shard(shard: int, run: Path, policy: FetchPolicy, adopted: Path | None) -> int:
    """Commit one pool shard, unless it is. Returns its number."""
    layout = Layout(run)
    with at_work(run, "fetch", shard_name(shard)) as work:
        rows = read_committed(layout.rows_manifest, f"{shard_name(shard)}.parquet")
        if adopted is None:
            manifest = make_pool_shard(rows, shard, layout.pool, policy)
        else:
            manifest = adopt_shard(_sources(adopted)[shard], rows, shard, layout.pool)
        work.images = manifest["images"]
    return shard


@functools.cache
def _sources(adopted: Path) -> list[Path]:
    return list_pool_shards(adopted)
