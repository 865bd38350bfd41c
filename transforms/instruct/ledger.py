"""What became of each dialogue: kept, or dropped for one reason."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.dialogue import DIALOGUE_LEDGER_SCHEMA, Dialogue, DialogueFault, dialogue_id
from schemas.errors import RunFailedError
from schemas.layout import dialogues_manifest, shard_name
from transforms.instruct.checks.judge import Fault, Known, judge
from transforms.instruct.making import Maker, as_dialogue
from transforms.instruct.subjects import Subject
from transforms.shards.commit import committed
from transforms.shards.tables import read_committed

COUNTS_FILE, COUNTS_MANIFEST = "counts.json", "dialogues.json"
Row = dict[str, Any]


def judge_made(
    rows: Sequence[Row], subjects: Mapping[str, Subject], maker: Maker
) -> tuple[pa.Table, list[Dialogue]]:
    """DIALOGUE_LEDGER_SCHEMA of all that was made, in its order, and the dialogues that are kept.

    Args: rows: MADE_SCHEMA, those of one image together."""
    lines: list[Row] = []
    kept: list[Dialogue] = []
    for uid, group in itertools.groupby(rows, key=itemgetter("uid")):
        made = list(group)
        known = Known(subjects[uid].context, maker.annotations.vocabulary, maker.policy.checks)
        for row, fault in zip(made, _faults(made, known), strict=True):
            lines.append(_line(row, fault))
            kept += [as_dialogue(row)] if fault is None else []
    return pa.Table.from_pylist(lines, schema=DIALOGUE_LEDGER_SCHEMA), kept


def count_ledgers(ledgers: Iterable[pa.Table]) -> dict[str, Any]:
    """{"made", "kept": {kind: dialogues}, "dropped": {reason: dialogues}}, counted from ledgers."""
    kept: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for ledger in ledgers:
        for row in ledger.select(["kind", "reason"]).to_pylist():
            if row["reason"] is None:
                kept[row["kind"]] += 1
            else:
                dropped[row["reason"]] += 1
    return {
        "made": kept.total() + dropped.total(),
        "kept": dict(sorted(kept.items())),
        "dropped": dict(sorted(dropped.items(), key=lambda one: (-one[1], one[0]))),
    }


def read_counts(folder: Path) -> dict[str, Any]:
    """What `count_ledgers` found. Raises: RunFailedError: not committed, or damaged."""
    path = folder / COUNTS_FILE
    try:
        if committed(folder / COUNTS_MANIFEST) is not None:
            return json.loads(path.read_bytes())
        why = "it is not committed"
    except (ValueError, OSError) as err:
        why = str(err)
    raise RunFailedError(f"{path} cannot be read ({why}): delete {folder} and run again.")


def read_ledger(folder: Path, shard: int) -> pa.Table:
    """DIALOGUE_LEDGER_SCHEMA of one pool shard. Raises: RunFailedError: it is not committed."""
    return read_committed(dialogues_manifest(folder, shard), f"{shard_name(shard)}.parquet")


def _faults(made: Sequence[Row], known: Known) -> list[Fault | None]:
    """In the order of what was made; what is no dialogue is not compared with what is."""
    there = [as_dialogue(row) for row in made if row["fault"] is None]
    judged = iter(judge(there, known))
    return [
        next(judged)
        if row["fault"] is None
        else Fault(DialogueFault(row["fault"]), row["detail"] or "")
        for row in made
    ]


def _line(row: Row, fault: Fault | None) -> Row:
    return {
        "id": dialogue_id(row["uid"], row["kind"], row["number"]),
        "uid": row["uid"],
        "kind": row["kind"],
        "number": row["number"],
        "context": row["context"],
        "kept": fault is None,
        "reason": None if fault is None else fault.reason.value,
        "detail": None if fault is None else fault.detail,
        "repaired": row["repaired"],
    }
