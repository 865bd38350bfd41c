"""Two selections against each other: what each keeps that the other drops, and how they shift."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from pipelines.decide import decision_of
from pipelines.job import Job
from pipelines.look.kept import Counting, Kept, Shift, concept_shifts, language_shifts, size_shifts
from schemas.layout import TEXTS_FILE, decision_manifest
from transforms.decide.border import by_border
from transforms.decide.ledger import read_ledger
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed

_POOL = ["row", "caption", "url", "original_width", "original_height"]


class Sample(BaseModel):
    """A row that only one selection keeps, with why the other dropped it."""

    row: int
    uid: str
    url: str | None
    caption: str | None
    stage: str
    reason: str
    rule: str | None
    value: float | None
    limit: float | None
    detail: str


class OneSide(BaseModel):
    """Rows that this selection keeps and the other drops."""

    rows: int
    reasons: dict[str, int] = Field(description="{`rule: reason` of the other: rows}.")
    samples: list[Sample] = Field(description="Those nearest to the other's limit first.")


class Difference(BaseModel):
    """What `pairmill diff --json` prints."""

    a: str = Field(description="Folder of A's decision.")
    b: str
    input_rows: int
    both: int = Field(description="Rows that both keep.")
    neither: int
    only_a: OneSide
    only_b: OneSide
    language: list[Shift] = Field(description="Shares of the kept rows; empty if not measured.")
    concepts: list[Shift] = Field(description="Shares of the kept captions that name it.")
    size: list[Shift] = Field(description="Quartiles over the kept rows.")


def diff(run: Path, a: str, b: str, samples: int = 5) -> Difference:
    """Compare two selections of one pool: recipes, decisions made before, or selection files.

    A recipe or a file is decided first, as `pairmill decide` does.

    Raises: BadInputError: RUN is none, or A or B names no selection."""
    folders = [decision_of(run, what) for what in (a, b)]
    job = Job.open(run)
    sides, counting = ([], []), Counting(job)
    kept = (Kept(), Kept())
    texts = [_texts_of(folder) for folder in folders]
    rows = both = 0
    for shard in range(job.shards):
        ledgers = [read_ledger(folder, shard) for folder in folders]
        in_a, in_b = (ledger["kept"].to_numpy() for ledger in ledgers)
        pool = read_pool(job.layout.pool, shard, columns=_POOL)
        rows, both = rows + len(in_a), both + int((in_a & in_b).sum())
        for place, mine, other in ((0, in_a, in_b), (1, in_b, in_a)):
            facts = pool.filter(pa.array(mine & ~other))
            sides[place].append(_with_facts(ledgers[1 - place], facts, mine & ~other))
            said = texts[place].filter(pc.equal(texts[place]["shard"], shard))
            counting.add(kept[place], shard, ledgers[place]["uid"], pool, mine, said)
    only = [_one_side(pd.concat(frames), samples) for frames in sides]
    return Difference(
        a=str(folders[0]),
        b=str(folders[1]),
        input_rows=rows,
        both=both,
        neither=rows - both - only[0].rows - only[1].rows,
        only_a=only[0],
        only_b=only[1],
        language=language_shifts(*kept),
        concepts=concept_shifts(*kept),
        size=size_shifts(*kept),
    )


def _texts_of(decision: Path) -> pa.Table:
    """What survives of the kept rows: not what duplicates gave, which is of dropped ones."""
    columns = ["shard", "place", "text", "caption", "given_by"]
    texts = read_committed(decision_manifest(decision), TEXTS_FILE, columns=columns)
    return texts.filter(texts["given_by"].is_null())


def _with_facts(ledger: pa.Table, facts: pa.Table, chosen: npt.NDArray[np.bool_]) -> pd.DataFrame:
    lines = ledger.filter(pa.array(chosen)).drop_columns(["kept"]).to_pandas()
    lines["url"], lines["caption"] = facts["url"].to_pylist(), facts["caption"].to_pylist()
    return lines


def _one_side(lines: pd.DataFrame, samples: int) -> OneSide:
    named = lines["rule"].fillna(lines["stage"]) + ": " + lines["reason"]
    counts = named.value_counts()
    nearest = by_border(lines.sort_values("row")).head(samples).astype(object)
    nearest = nearest.where(nearest.notna(), None)
    return OneSide(
        rows=len(lines),
        reasons={str(name): int(count) for name, count in counts.items()},
        samples=[Sample.model_validate(line) for line in nearest.to_dict("records")],
    )
