"""Walk the rows of a shard through the recipe's rules: the first rule that drops a row is its end.

Nothing is kept between calls but what is committed on disk (pool, measures, outcomes), so a
screen can be done again at any time, on any worker, and ends the same.
"""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from schemas.errors import RunFailedError
from schemas.layout import OUTCOME_FILE, outcome_manifest
from schemas.outcome import Reason, Stage
from transforms.decide.rule import Mask, Rule, Vectors
from transforms.decide.screened import Drop, Places, Screened
from transforms.shards.measures import places_of, read_measure
from transforms.shards.ordered import among
from transforms.shards.pool import read_pool
from transforms.shards.tables import read_committed
from transforms.shards.vectors import read_all_vectors

_CLIP_SCORE = re.compile(r"clip-[^+]+\.score")
Lacking = Callable[[Mask, Path], None]  # told which rows a measure lacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A rule at its place in the recipe, with the folders of what it reads."""

    name: str  # rules.PLACE.RULE
    rule: Rule
    measures: tuple[Path, ...] = ()  # RUN/measures/NAME/FINGERPRINT, one for each of the rule's
    outcome: Path | None = None  # RUN/outcomes/NAME/FINGERPRINT
    finder: "Step | None" = None  # what finds the only images that the rule looks at


def screen(pool: Path, shard: int, steps: Sequence[Step]) -> Screened:
    """Rows of a pool shard after `steps`: the pool's own failures come first."""
    screened = arrive(read_pool(pool, shard))
    for step in steps:
        if screened.kept.any():
            asked = looked_at(screened, _found(step.finder))
            rows = measured_rows(step, shard, screened.rows.filter(asked), _must_be_measured)
            carry_out(step, rows, np.flatnonzero(asked), _outcome(step), screened)
    return screened


def gather(pool: Path, shard: int, before: Sequence[Step], step: Step) -> pa.Table:
    """What a whole-pool rule needs of the rows of a shard that are kept at its place."""
    rows = rows_for(pool, shard, before, step.finder)
    return measured_rows(step, shard, rows, _must_be_measured).select(step.rule.gathers)


def rows_for(pool: Path, shard: int, before: Sequence[Step], finder: Step | None) -> pa.Table:
    """The rows of a shard that a step looks at: those still kept at its place or, where another
    finds what it is about, those of the images found."""
    screened = screen(pool, shard, before)
    return screened.rows.filter(looked_at(screened, _found(finder)))


def looked_at(screened: Screened, found: pa.Table | None) -> Mask:
    """(rows,): which of those still kept a step looks at: of the images found, or else all."""
    if found is None:
        return screened.kept
    return screened.kept & among(screened.rows["image"].to_numpy(), found["image"].to_numpy())


def arrive(rows: pa.Table) -> Screened:
    """Rows as they come from the pool, with its own failures as the first drops."""
    screened = Screened(rows)
    repeated = np.flatnonzero(rows["repeated"].to_numpy())
    told = ["an earlier row has the same uid"] * len(repeated)
    screened.drop(Drop(places=repeated, stage=Stage.READ, reason=Reason.REPEATED_ROW, details=told))
    failures = rows["failure"].to_numpy()
    for failure in dict.fromkeys(failures[screened.kept & ~pd.isna(failures)]):
        places = np.flatnonzero(screened.kept & (failures == failure))
        errors = [error or "" for error in rows["error_message"].take(places).to_pylist()]
        screened.drop(Drop(places=places, stage=Stage.FETCH, reason=failure, details=errors))
    return screened


def carry_out(
    step: Step, rows: pa.Table, places: Places, outcome: pa.Table | None, screened: Screened
) -> None:
    """Drop what the step's rule drops of `rows`, which lie at `places` among the shard's.

    A row that two verdicts of the rule name ends with the first."""
    for column in step.rule.measured:
        if _CLIP_SCORE.fullmatch(column):
            _note_scores(
                screened,
                places,
                rows[column].to_numpy(),
                counts=step.rule.stage is not Stage.DEDUPE,
            )
    for verdict in step.rule.judge(rows, outcome):
        fallen = np.flatnonzero(verdict.dropped & screened.kept[places])
        drop = Drop(
            places=places[fallen],
            stage=step.rule.stage,
            reason=verdict.reason,
            details=[verdict.detail(i) for i in fallen.tolist()],
            rule=step.name,
            values=_at(verdict.value, fallen),
            limits=_at(verdict.limit, fallen),
            given_to=_at(verdict.given_to, fallen),
        )
        screened.drop(drop)
        if verdict.chosen is not None:
            screened.choose(verdict.chosen, places)


def _note_scores(
    screened: Screened, places: Places, scores: npt.NDArray[np.float32], *, counts: bool
) -> None:
    """Those of the last CLIP rule count; where there was none yet, those that chose keepers."""
    before = screened.clip_score[places]
    screened.clip_score[places] = scores if counts else np.where(np.isnan(before), scores, before)


def measured_rows(step: Step, shard: int, rows: pa.Table, lacking: Lacking) -> pa.Table:
    """The rows that have all measures of a step, with these as columns MEASURE.COLUMN.

    `lacking` is told the others, by a mask over the rows that were still there, and may raise."""
    for measure in step.measures:
        values = read_measure(measure, shard)
        places = places_of(rows["uid"], values["uid"])
        if places.null_count:
            lacking(places.is_null().to_numpy(zero_copy_only=False), measure)
            rows, places = rows.filter(places.is_valid()), places.drop_null()
        rows = _joined(rows, values, places, measure.parent.name, step.rule)
    return rows


def _joined(
    rows: pa.Table, values: pa.Table, places: pa.Array, measure: str, rule: Rule
) -> pa.Table:
    """Rows with the columns of a measure that the rule reads. One that a function named in no row
    of the shard is null here; where nothing of the shard was measured there are none."""
    if values.column_names == ["uid"]:
        return rows
    for column in rule.measured:
        owner, _, name = column.partition(".")
        if owner == measure:
            there = name in values.column_names
            found = values[name].take(places) if there else pa.nulls(rows.num_rows)
            rows = rows.append_column(column, found)
    return rows


def vectors_of(step: Step) -> Vectors:
    """How a step's rule reads the embeddings of its measures."""
    folders = {measure.parent.name: measure for measure in step.measures}
    return lambda name: read_all_vectors(folders[name], "image")


def _must_be_measured(lacking: Mask, measure: Path) -> None:
    raise RunFailedError(
        f"{lacking.sum()} rows have no {measure.parent.name} measure, though a rule needs it:"
        f" delete {measure} and run again."
    )


def _found(finder: Step | None) -> pa.Table | None:
    return None if finder is None else _outcome(finder)


def _outcome(step: Step) -> pa.Table | None:
    if step.outcome is None:
        return None
    return read_committed(outcome_manifest(step.outcome), OUTCOME_FILE)


def _at(numbers: float | npt.NDArray | None, places: npt.NDArray[np.intp]) -> npt.NDArray | None:
    if numbers is None:
        return None
    return numbers[places] if isinstance(numbers, np.ndarray) else np.full(places.shape, numbers)
