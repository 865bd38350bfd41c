"""The texts that survive a decision, with what the pool knows of their rows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.texts import WEB
from transforms.shards.pool import read_pool

Row = dict[str, Any]
PoolRows = dict[tuple[int, int], Row]  # a pool row by (shard, place)


def pool_rows(texts: pa.Table, pool: Path) -> PoolRows:
    """The pool's rows that texts point to, by (shard, place)."""
    found: PoolRows = {}
    shards, places = texts["shard"].to_numpy(), texts["place"].to_numpy()
    for shard in np.unique(shards).tolist():
        here = places[shards == shard].tolist()
        rows = read_pool(pool, shard).take(here).to_pylist()
        found |= {(shard, place): row for place, row in zip(here, rows, strict=True)}
    return found


def text_of(row: Row, found: PoolRows) -> str:
    """A candidate's or a given caption, or the row's own, which is in the pool."""
    own = row["given_by"] is None and row["text"] == WEB
    return (found[row["shard"], row["place"]]["caption"] if own else row["caption"]).strip()


def best_first(row: Row) -> tuple[float, float, float, bool, bool, int, int]:
    """By rank, then by ITM, then by CLIP score, where there are; web captions first, and an image's
    own; then by input row."""
    rank = math.inf if row["rank"] is None else row["rank"]
    is_given, is_web = row["given_by"] is not None, row["text"] == WEB
    itm, clip_score = (
        math.inf if row[name] is None else -row[name] for name in ("itm", "clip_score")
    )
    return rank, itm, clip_score, not is_web, is_given, row["row"], row["text"]
