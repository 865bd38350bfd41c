"""Two selections against each other: what each keeps that the other drops, and how they shift."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from pipelines.decide import decision_of
from pipelines.job import Job
from pipelines.steps import LANGUAGES
from schemas.layout import ledger_manifest, shard_name
from transforms.measure.concepts import read_entries
from transforms.measure.language import LanguagePolicy, likeliest
from transforms.measure.policy import ConceptsPolicy
from transforms.measure.stop_words import STOP_WORDS
from transforms.shards.measures import read_measure
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed

CONCEPTS = 12  # that shift most
QUARTILES = (0.25, 0.5, 0.75)
_PUNCTUATION = ".,;:!?\"'()[]{}…。，、！？「」«»"
_SIZES = ("shorter side px", "caption characters")
_POOL = ["caption", "url", "original_width", "original_height"]


class Shift(BaseModel):
    """A share, or a quantile, among what A keeps and among what B keeps."""

    name: str
    a: float
    b: float


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


@dataclass
class _Kept:
    """What is counted of the rows that one selection keeps."""

    rows: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    concepts: Counter[str] = field(default_factory=Counter)
    sizes: list[npt.NDArray[np.float64]] = field(default_factory=list)  # (2, rows) each


def diff(run: Path, a: str, b: str, samples: int = 5) -> Difference:
    """Compare two selections of one pool: recipes, decisions made before, or selection files.

    A recipe or a file is decided first, as `pairmill decide` does.

    Raises: BadInputError: RUN is none, or A or B names no selection."""
    folders = [decision_of(run, what) for what in (a, b)]
    job = Job.open(run)
    sides, kept = ([], []), (_Kept(), _Kept())
    rows = both = 0
    for shard in range(job.shards):
        ledgers = [_ledger(folder, shard) for folder in folders]
        in_a, in_b = (ledger["kept"].to_numpy() for ledger in ledgers)
        pool = read_pool(job.layout.pool, shard, columns=_POOL)
        rows, both = rows + len(in_a), both + int((in_a & in_b).sum())
        for place, mine, other in ((0, in_a, in_b), (1, in_b, in_a)):
            facts = pool.filter(pa.array(mine & ~other))
            sides[place].append(_with_facts(ledgers[1 - place], facts, mine & ~other))
            _count(kept[place], job, shard, ledgers[place], pool, mine)
    only = [_one_side(pd.concat(frames), samples) for frames in sides]
    return Difference(
        a=str(folders[0]),
        b=str(folders[1]),
        input_rows=rows,
        both=both,
        neither=rows - both - only[0].rows - only[1].rows,
        only_a=only[0],
        only_b=only[1],
        language=_shares("languages", *kept),
        concepts=_shares("concepts", *kept)[:CONCEPTS],
        size=_quartiles(*kept),
    )


def _ledger(decision: Path, shard: int) -> pa.Table:
    return read_committed(ledger_manifest(decision, shard), f"{shard_name(shard)}.parquet")


def _with_facts(ledger: pa.Table, facts: pa.Table, chosen: npt.NDArray[np.bool_]) -> pd.DataFrame:
    lines = ledger.filter(pa.array(chosen)).drop_columns(["kept"]).to_pandas()
    lines["url"], lines["caption"] = facts["url"].to_pylist(), facts["caption"].to_pylist()
    return lines


def _one_side(lines: pd.DataFrame, samples: int) -> OneSide:
    named = lines["rule"].fillna(lines["stage"]) + ": " + lines["reason"]
    counts = named.value_counts()
    # How near is told in the spread of each rule's own numbers: pixels are no cosines.
    far = (lines["value"] - lines["limit"]).abs().to_numpy(np.float64)
    spread = lines.groupby("rule", dropna=False)["value"].transform("std").to_numpy(np.float64)
    order = np.lexsort((lines["row"].to_numpy(), far / np.where(spread > 0, spread, 1.0)))
    nearest = lines.iloc[order[:samples]].astype(object)
    nearest = nearest.where(nearest.notna(), None)
    return OneSide(
        rows=len(lines),
        reasons={str(name): int(count) for name, count in counts.items()},
        samples=[Sample.model_validate(line) for line in nearest.to_dict("records")],
    )


def _count(
    kept: _Kept,
    job: Job,
    shard: int,
    ledger: pa.Table,
    pool: pa.Table,
    mine: npt.NDArray[np.bool_],
) -> None:
    """Add what a selection keeps of one shard."""
    uids = ledger["uid"].filter(pa.array(mine)).combine_chunks()
    rows = pool.filter(pa.array(mine))
    kept.rows += rows.num_rows
    for name in job.measure_names():
        policy = job.recipe.policy(name)
        if isinstance(policy, LanguagePolicy):
            found = _values(job.measure(name), shard, uids, LANGUAGES)
            kept.languages.update(likeliest(found))
            break
    kept.concepts.update(_concepts(job, shard, uids, rows["caption"]))
    sides = np.minimum(rows["original_width"].to_numpy(), rows["original_height"].to_numpy())
    chars = pc.utf8_length(rows["caption"]).to_numpy()
    kept.sizes.append(np.stack([sides.astype(np.float64), chars.astype(np.float64)]))


def _concepts(job: Job, shard: int, uids: pa.Array, captions: pa.ChunkedArray) -> Counter[str]:
    """Captions that name each entry of the recipe's list of concepts, else each word."""
    for name in job.measure_names():
        policy = job.recipe.policy(name)
        if isinstance(policy, ConceptsPolicy):
            entries = read_entries(policy.list)
            found = _values(job.measure(name), shard, uids, "entries")
            return Counter(entries[n] for n in pc.list_flatten(found).to_pylist())
    words = pc.utf8_split_whitespace(pc.utf8_lower(captions))
    return Counter(word for some in words.to_pylist() for word in _content_words(some))


def _content_words(words: Iterable[str]) -> Iterator[str]:
    """Each once, without punctuation around it; English function words tell nothing."""
    bare = dict.fromkeys(word.strip(_PUNCTUATION) for word in words)
    return (word for word in bare if word and word not in STOP_WORDS)


def _values(measure: Path, shard: int, uids: pa.Array, column: str) -> pa.ChunkedArray:
    """A column of a measure for those of the rows that have it."""
    values = read_measure(measure, shard)
    if column not in values.column_names:
        return pa.chunked_array([], pa.map_(pa.string(), pa.float32()))
    places = pc.index_in(uids, value_set=values["uid"].combine_chunks()).drop_null()
    return values[column].take(places)


def _shares(counted: str, a: _Kept, b: _Kept) -> list[Shift]:
    """Shares among the rows of each, those that differ most first."""
    ours, theirs = getattr(a, counted), getattr(b, counted)
    shifts = [
        Shift(name=name, a=ours[name] / max(a.rows, 1), b=theirs[name] / max(b.rows, 1))
        for name in ours | theirs
    ]
    return sorted(shifts, key=lambda shift: (-abs(shift.a - shift.b), shift.name))


def _quartiles(a: _Kept, b: _Kept) -> list[Shift]:
    ours, theirs = (np.concatenate([np.zeros((2, 0)), *kept.sizes], axis=1) for kept in (a, b))
    if not ours.size or not theirs.size:
        return []
    found = [np.quantile(sizes, QUARTILES, axis=1) for sizes in (ours, theirs)]
    return [
        Shift(name=f"{name}, {share:.0%} below", a=found[0][i, n], b=found[1][i, n])
        for n, name in enumerate(_SIZES)
        for i, share in enumerate(QUARTILES)
    ]
