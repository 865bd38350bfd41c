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

from schemas.errors import RunFailedError
from schemas.layout import FUNNEL_FILE, TEXTS_FILE, ledger_manifest, shard_name
from schemas.outcome import Stage
from transforms.decide.screen import Screened, Step
from transforms.shards.commit import Draft
from transforms.shards.measures import read_measure
from transforms.shards.tables import read_committed

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


def write_ledger(screened: Screened, shard: int, steps: Sequence[Step], draft: Draft) -> None:
    """A shard's ledger, and the references to what it keeps, into a draft."""
    pq.write_table(screened.ledger(), draft.path(f"{shard_name(shard)}.parquet"))
    kept = kept_texts(screened, shard, steps)
    pq.write_table(kept, draft.path(f"{shard_name(shard)}.kept.parquet"))


def write_decision(
    decision: Path, shards: Iterable[int], steps: Sequence[Step], draft: Draft
) -> None:
    """Selection, texts and funnel from the ledgers of all shards, into a draft."""
    manifests = {shard_name(shard): ledger_manifest(decision, shard) for shard in shards}
    tables = [read_committed(path, f"{name}.kept.parquet") for name, path in manifests.items()]
    texts = pa.concat_tables(tables).sort_by([("image", "ascending"), ("row", "ascending")])
    pq.write_table(texts, draft.path(TEXTS_FILE))
    with draft.path("selection.npy").open("wb") as file:
        np.save(file, selection(texts["uid"].to_pylist()))
    ledgers = (read_committed(path, f"{name}.parquet") for name, path in manifests.items())
    funnel = count_funnel(ledgers, [step.rule.stage for step in steps])
    funnel["images"] = len(np.unique(texts["image"].to_numpy()))
    draft.path(FUNNEL_FILE).write_text(json.dumps(funnel, indent=1) + "\n")


def read_funnel(decision: Path) -> dict[str, Any]:
    """What `count_funnel` found, and the number of images, of a committed decision.

    Raises: RunFailedError: the file is damaged."""
    path = decision / FUNNEL_FILE
    try:
        return json.loads(path.read_bytes())
    except (ValueError, OSError) as err:
        raise RunFailedError(
            f"{path} cannot be read ({err}): delete it and run again to make it anew."
        ) from err


def selection(uids: Sequence[str]) -> npt.NDArray[np.void]:
    """Sorted (N,) array of dtype u8,u8: the high and low halves of the uids, DataComp's form."""
    halves = [(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids]
    return np.sort(np.array(halves, dtype=UID_DTYPE))


def count_funnel(ledgers: Iterable[pa.Table], stages: Sequence[Stage]) -> dict[str, Any]:
    """Rows in, kept, and dropped by stage and reason, from the ledgers.

    `stages` are those of the recipe's rules; all of them are named, in the order in which rows
    meet them, a stage that dropped nothing too."""
    frames = [ledger.select(["kept", "stage", "reason"]).to_pandas() for ledger in ledgers]
    lines = pd.concat(frames)
    counts = lines[~lines["kept"]].groupby(["stage", "reason"]).size()
    dropped: dict[str, dict[str, int]] = {}
    for stage in dict.fromkeys([Stage.READ, Stage.FETCH, *stages]):
        there = stage.value in counts.index.get_level_values(0)
        reasons = counts.loc[stage.value] if there else counts.iloc[:0]
        ordered = reasons.sort_values(ascending=False, kind="stable")
        dropped[stage.value] = {str(reason): int(n) for reason, n in ordered.items()}
    return {"input_rows": len(lines), "kept": int(lines["kept"].sum()), "dropped": dropped}


def _clip_scores(rows: pa.Table, shard: int, steps: Sequence[Step]) -> pa.Array:
    folders = [step.measure for step in steps if step.measure and step.rule.stage == Stage.CLIP]
    if not folders or not rows.num_rows:
        return pa.nulls(rows.num_rows, pa.float32())
    values = read_measure(folders[-1], shard)
    return pa.array(
        values.to_pandas().set_index("uid")["score"].reindex(rows["uid"].to_pylist()), pa.float32()
    )
