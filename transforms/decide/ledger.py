"""What a decision leaves: one outcome a row, the selection, the surviving texts, and the funnel."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.layout import shard_name
from schemas.outcome import Stage
from transforms.decide.screen import Screened, Step
from transforms.shards.commit import Draft
from transforms.shards.measures import read_measure

UID_DTYPE = np.dtype("u8,u8")  # DataComp's subset file

TEXTS_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("text", pa.int32()),  # 0: the web caption
        ("row", pa.int64()),
        ("image", pa.int64()),
        ("shard", pa.int32()),  # of the pool
        ("place", pa.int32()),  # position among the pool shard's rows
        ("clip_score", pa.float32()),  # of the recipe's last CLIP rule; null without one
    ]
)


def kept_texts(screened: Screened, shard: int, steps: Sequence[Step]) -> pa.Table:
    """TEXTS_SCHEMA: each kept row of a shard with where to find it."""
    rows, places = screened.kept_rows(), np.flatnonzero(screened.kept)
    columns = {
        "uid": rows["uid"],
        "text": np.zeros(len(places), np.int32),
        "row": rows["row"],
        "image": rows["image"],
        "shard": np.full(len(places), shard, np.int32),
        "place": places.astype(np.int32),
        "clip_score": _clip_scores(rows, shard, steps),
    }
    return pa.table(columns, schema=TEXTS_SCHEMA)


def write_decision(ledgers: Path, shards: Iterable[int], draft: Draft) -> None:
    """Selection, texts and funnel from the ledgers of all shards, into a draft."""
    names = [shard_name(shard) for shard in shards]
    tables = [pq.read_table(ledgers / f"{name}.kept.parquet") for name in names]
    texts = pa.concat_tables(tables).sort_by([("image", "ascending"), ("row", "ascending")])
    pq.write_table(texts, draft.path("texts.parquet"))
    with draft.path("selection.npy").open("wb") as file:
        np.save(file, selection(texts["uid"].to_pylist()))
    funnel = count_funnel(pq.read_table(ledgers / f"{name}.parquet") for name in names)
    funnel["images"] = len(np.unique(texts["image"].to_numpy()))
    draft.path("funnel.json").write_text(json.dumps(funnel, indent=1) + "\n")


def selection(uids: Sequence[str]) -> npt.NDArray[np.void]:
    """Sorted (N,) array of dtype u8,u8: the high and low halves of the uids, DataComp's form."""
    halves = [(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids]
    return np.sort(np.array(halves, dtype=UID_DTYPE))


def count_funnel(ledgers: Iterable[pa.Table]) -> dict[str, Any]:
    """Rows in, kept, and dropped by stage and reason in the funnel's order, from the ledgers."""
    frames = [ledger.select(["kept", "stage", "reason"]).to_pandas() for ledger in ledgers]
    lines = pd.concat(frames)
    counts = lines[~lines["kept"]].groupby(["stage", "reason"]).size()
    dropped: dict[str, dict[str, int]] = {}
    for stage in Stage:
        if stage.value in counts.index.get_level_values(0):
            reasons = counts.loc[stage.value].sort_values(ascending=False, kind="stable")
            dropped[stage.value] = {str(reason): int(n) for reason, n in reasons.items()}
    return {"input_rows": len(lines), "kept": int(lines["kept"].sum()), "dropped": dropped}


def _clip_scores(rows: pa.Table, shard: int, steps: Sequence[Step]) -> pa.Array:
    folders = [step.measure for step in steps if step.measure and step.rule.stage == Stage.CLIP]
    if not folders or not rows.num_rows:
        return pa.nulls(rows.num_rows, pa.float32())
    values = read_measure(folders[-1], shard)
    return pa.array(
        values.to_pandas().set_index("uid")["score"].reindex(rows["uid"].to_pylist()), pa.float32()
    )
