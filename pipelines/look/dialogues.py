"""The dialogues about a row's image: what each came from, and why it was kept or dropped."""

from typing import Any

import pyarrow.compute as pc

from pipelines.job import Job
from schemas.dialogue import dialogue_id
from schemas.layout import dialogues_manifest
from transforms.instruct.ledger import read_ledger
from transforms.shards.commit import committed
from transforms.shards.measures import read_measure

_MADE = ("backend", "model", "source", "prompt")
Line = dict[str, Any]


def dialogues_of(job: Job, shard: int, uid: str) -> list[Line]:
    """A line for each dialogue of the recipe that ran last, in the order of its ledgers.

    They are about the image of the row with this uid; of several rows of one image it is the first
    kept one that bears them."""
    lines: list[Line] = []
    for name in job.recipe.instruct:
        place = job.dialogues(name)
        if committed(dialogues_manifest(place.folder, shard)) is None:
            continue
        ledger = read_ledger(place.folder, shard).filter(pc.field("uid") == uid)
        made = read_measure(place.measure, shard).filter(pc.field("uid") == uid).to_pylist()
        latest = {dialogue_id(uid, row["kind"], row["number"]): row for row in made}
        lines += [_line(name, told, latest[told["id"]]) for told in ledger.to_pylist()]
    return lines


def _line(name: str, told: Line, made: Line) -> Line:
    ending = "kept" if told["kept"] else f"dropped: {told['reason']} ({told['detail']})"
    how = {key: made["made"][key] for key in _MADE}
    return {"id": told["id"], "of": name, "outcome": ending, **how, "turns": made["turns"]}
