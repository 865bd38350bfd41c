"""How much each threshold of a measure keeps: in all, by language and by source."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.decided import open_decided
from pipelines.job import Job
from pipelines.look.groups import hosts_of, language_measure, languages_of
from pipelines.recipe import is_clip
from schemas.errors import BadInputError
from schemas.layout import (
    OUTCOME_FILE,
    outcome_manifest,
)
from transforms.decide.ledger import read_ledger
from transforms.decide.limit import ALL, ThresholdRule, numbers
from transforms.decide.rule import F64, Mask, Rule
from transforms.decide.thresholds import (
    even_thresholds,
    fraction_thresholds,
    kept_by_group,
    kept_counts,
)
from transforms.shards.measures import places_of, read_measure
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed

OTHER = "other"
THREADS = 4  # reading waits for the disk
_FRACTIONS = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What each threshold keeps of the rows that reached a measure. `kept` runs along
    `thresholds`; `of` has how many rows with a number each group has."""

    measure: str  # MEASURE.COLUMN
    rows: int  # that have a finite number
    without: int  # that reached the measure, and have none
    thresholds: list[float]  # ascending; a row is kept that reaches it
    kept: dict[str, Any]  # all: counts; language, source: counts by name, largest group first
    of: dict[str, dict[str, int]]
    fractions: dict[str, dict[str, float]]  # "0.3": {threshold, kept}, as DataComp's top fraction
    limit: float | None  # that of the recipe's last rule on this number


def draw_curve(
    run: Path, *, measure: str = "clip", by_top: int = 5, decision: str | None = None
) -> Curve:
    """Count what thresholds keep among the rows that reached the measure in the recipe that ran
    last: rows that earlier rules dropped do not count, those of later rules do.

    Args:
        measure: MEASURE.COLUMN; MEASURE alone is its column `value`; `clip` is the score of the
            model that the recipe's rules go by last.
        by_top: so many languages and sources are counted each, and the rest as "other".
        decision: another than the last recipe's, by the beginning of its fingerprint.
    Raises: BadInputError: RUN has no decision, or no such number was measured in it."""
    if by_top < 1:
        raise BadInputError(f"by-top is {by_top}: at least 1 is wanted.")
    job = open_decided(run, decision)
    column = _column(job, measure)
    if column.partition(".")[0] not in job.measure_names():
        raise _not_measured(job, column)
    found = _gather(job, column)
    valued = np.isfinite(found["value"].to_numpy())
    if not valued.any():
        raise _not_measured(job, column)
    rows = found.filter(pa.array(valued))
    return _count(rows, column, int((~valued).sum()), by_top, _limit(job, column))


def _column(job: Job, wanted: str) -> str:
    """MEASURE.COLUMN of what was asked for."""
    names = job.measure_names()
    if wanted == "clip" and wanted not in names:
        read = [column for step in job.recipe.rules for column in step.rule.measured]
        scores = [column for column in read if is_clip(column.partition(".")[0])]
        clips = [f"{name}.score" for name in names if is_clip(name)]
        if scores or len(clips) == 1:
            return (scores or clips)[-1]
    return wanted if "." in wanted else f"{wanted}.value"


def _not_measured(job: Job, column: str) -> BadInputError:
    """The error that says what the recipe that ran last has measured instead."""
    there = {name: _columns(job.measure(name), job.shards) for name in job.measure_names()}
    measure, _, name = column.partition(".")
    if name in there.get(measure, []):
        return BadInputError(f"No row of {job.run} has a number in {column}.")
    lines = [f"{one} ({', '.join(columns)})" for one, columns in there.items()]
    return BadInputError(
        f"The recipe that ran last in {job.run} measured no {column}; it measured:"
        f" {'; '.join(lines) or 'nothing'}."
    )


def _columns(measure: Path, shards: int) -> list[str]:
    """What a measure has for some row at least."""
    names = [name for n in range(shards) for name in read_measure(measure, n).column_names]
    return [name for name in dict.fromkeys(names) if name != "uid"]


def _gather(job: Job, column: str) -> pa.Table:
    """All rows that reached the measure: value, source and, where it is known, language."""
    measure, _, name = column.partition(".")
    # Once for all shards: to find a folder is to read the model's file.
    folder, languages, first = job.measure(measure), language_measure(job), _first(job, measure)

    def gather(shard: int) -> pa.Table:
        ledger = read_ledger(job.decision, shard, ["uid", "kept", "rule"])
        reached = pa.array(_reached(ledger, first))
        uids = ledger["uid"].filter(reached)
        urls = read_pool(job.layout.pool, shard, columns=["url"])["url"].filter(reached)
        columns = {"value": _values(folder, shard, name, uids)}
        if languages is not None:
            columns["language"] = languages_of(uids, languages, shard).dictionary_encode()
        columns["source"] = hosts_of(urls).dictionary_encode()
        return pa.table(columns)

    with ThreadPoolExecutor(THREADS) as threads:
        return pa.concat_tables(threads.map(gather, range(job.shards))).unify_dictionaries()


def _first(job: Job, measure: str) -> int:
    """Place of the first rule that reads the measure, or one that is made from it."""
    reads = [
        {need for one in step.rule.measures for need in job.with_needs(one)}
        for step in job.recipe.rules
    ]
    return next(place for place, names in enumerate(reads) if measure in names)


def _reached(ledger: pa.Table, first: int) -> Mask:
    """(rows,): whether a row came as far as the rule at this place."""
    # The ledger names a rule as rules.PLACE.NAME; rows that were not fetched have none.
    late = [name for name in ledger["rule"].unique().to_pylist() if name and _place(name) >= first]
    came = pc.or_(ledger["kept"], pc.is_in(ledger["rule"], value_set=pa.array(late, pa.string())))
    return came.to_numpy()


def _place(rule: str) -> int:
    return int(rule.split(".")[1])


def _values(measure: Path, shard: int, name: str, uids: pa.ChunkedArray) -> F64:
    """(rows,): NaN where a row has no number. Raises: BadInputError: the column holds others."""
    measured = read_measure(measure, shard)
    if name not in measured.column_names:  # no row of this shard has it
        return np.full(len(uids), np.nan)
    places = places_of(uids, measured["uid"])
    column = f"{measure.parent.name}.{name}"
    return numbers(pa.table({column: measured[name].take(places)}), column)


def _limit(job: Job, column: str) -> float | None:
    """The least value that the recipe's last rule on this number keeps; what a top fraction came
    to, where it is one."""
    found: float | None = None
    for number, step in enumerate(job.recipe.rules):
        for _, rule in step.leaves(f"rules.{number}"):
            if isinstance(rule, ThresholdRule) and rule.number == column:
                own = _settled(job, number, rule) if rule.at_least is None else rule.at_least
                found = found if own is None else own
    return found


def _settled(job: Job, place: int, rule: Rule) -> float | None:
    """What the top fraction of the rule at this place came to; None where it has none, has one
    for each language, or is joined with other rules."""
    outcome = job.steps[place].outcome
    if outcome is None or job.steps[place].rule is not rule:
        return None
    limits = read_committed(outcome_manifest(outcome), OUTCOME_FILE).to_pylist()
    return next((line["at_least"] for line in limits if line["group"] == ALL), None)


def _count(rows: pa.Table, column: str, without: int, by_top: int, limit: float | None) -> Curve:
    values = rows["value"].to_numpy()
    ordered = np.sort(values)
    thresholds = even_thresholds(ordered)
    if limit is not None:
        thresholds = np.unique([*thresholds, limit])
    kept: dict[str, Any] = {"all": kept_counts(ordered, thresholds).tolist()}
    of: dict[str, dict[str, int]] = {}
    for by in [name for name in ("language", "source") if name in rows.column_names]:
        kept[by], of[by] = _grouped(values, rows[by].combine_chunks(), thresholds, by_top)
        rest = np.array(kept["all"]) - np.sum([*kept[by].values()], axis=0)
        if left := len(values) - sum(of[by].values()):
            kept[by][OTHER], of[by][OTHER] = rest.tolist(), left
    tops = fraction_thresholds(ordered, _FRACTIONS)
    pairs = zip(_FRACTIONS, tops, kept_counts(ordered, tops), strict=True)
    return Curve(
        measure=column,
        rows=len(values),
        without=without,
        thresholds=thresholds.tolist(),
        kept=kept,
        of=of,
        fractions={str(f): {"threshold": float(t), "kept": int(k)} for f, t, k in pairs},
        limit=limit,
    )


def _grouped(
    values: F64, groups: pa.DictionaryArray, thresholds: F64, by_top: int
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """What thresholds keep of each of the largest groups, and how large these are."""
    codes = groups.indices.to_numpy()
    sizes = np.bincount(codes)
    largest, counts = kept_by_group(values, codes, thresholds, by_top)
    names = [groups.dictionary[code].as_py() for code in largest]
    found = [line for line in zip(names, largest, counts, strict=True) if line[0] != OTHER]
    kept = {name: count.tolist() for name, _, count in found}
    return kept, {name: int(sizes[code]) for name, code, _ in found}
