"""The pictures that are kept instead of dropped duplicates, to be looked at beside these."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pipelines.job import Job
from schemas.layout import OUTCOME_FILE, outcome_manifest
from transforms.dedupe.duplicates import DuplicateRule
from transforms.shards.commit import committed
from transforms.shards.ordered import among, find_in
from transforms.shards.pool import PoolImages, read_pool
from transforms.shards.tables import read_committed


def keeper_rows(job: Job, lines: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """From the row of each ledger line that ended as a duplicate to the row kept instead; none
    where the rule's outcome was not kept, as of a decision that waits for measures."""
    found: dict[int, int] = {}
    for step in job.steps:
        rows = np.array([line["row"] for line in lines if line["rule"] == step.name], np.int64)
        if not isinstance(step.rule, DuplicateRule) or not len(rows) or step.outcome is None:
            continue
        if committed(outcome_manifest(step.outcome)) is not None:
            outcome = read_committed(outcome_manifest(step.outcome), OUTCOME_FILE)
            there, places = find_in(rows, outcome["row"].to_numpy())
            keepers = outcome["keeper_row"].to_numpy()[places[there]]
            found |= dict(zip(rows[there].tolist(), keepers.tolist(), strict=True))
    return found


def pictures_of(job: Job, rows: Collection[int]) -> dict[int, Image.Image]:
    """The pictures of some rows of the pool, wherever they lie."""
    found: dict[int, Image.Image] = {}
    wanted = np.array(sorted(rows), np.int64)
    for shard in range(job.shards if len(wanted) else 0):
        pool = read_pool(job.layout.pool, shard, columns=["row", "key"])
        there = among(pool["row"].to_numpy(), wanted)
        if there.any():
            with PoolImages(job.layout.pool, shard) as images:
                for line in pool.take(np.flatnonzero(there)).to_pylist():
                    found[line["row"]] = images.picture(line["key"])
    return found
