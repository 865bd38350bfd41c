"""The captions that survive of rows that are kept, where a rule chose among web captions and
candidates."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.job import Job
from schemas.layout import TEXTS_FILE, decision_manifest
from schemas.texts import WEB
from transforms.shards.tables import read_committed

_ORDER = [("row", "ascending"), ("rank", "ascending"), ("itm", "descending")]
_ORDER += [("clip_score", "descending"), ("text", "ascending")]
_SHOWN = ("source", "itm", "clip_score", "rank")
Text = dict[str, Any]


def chosen_texts(job: Job, rows: Collection[int] | None = None) -> pa.Table:
    """TEXTS_SCHEMA of all rows or some, each row's best first; of none where no rule chose."""
    texts = read_committed(decision_manifest(job.decision), TEXTS_FILE)
    if not any(step.rule.chooses_texts for step in job.steps):
        return texts.slice(0, 0)
    if rows is not None:
        texts = texts.filter(pa.array(np.isin(texts["row"].to_numpy(), list(rows))))
    return texts.sort_by(_ORDER)


def texts_of(job: Job, web: dict[int, str]) -> dict[int, list[Text]]:
    """The surviving captions of some rows, best first, with source and scores, as a corpus's
    records have them.

    Args: web: each row's own caption."""
    found: dict[int, list[Text]] = {}
    for text in chosen_texts(job, web).to_pylist():
        is_web = text["text"] == WEB
        said = web[text["row"]] if is_web else text["caption"]
        number = {} if is_web else {"candidate": text["text"]}
        scores = {name: text[name] for name in _SHOWN if text[name] is not None}
        found.setdefault(text["row"], []).append({"text": said, **number, **scores})
    return found
