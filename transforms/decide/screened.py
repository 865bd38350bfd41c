"""A shard's rows and how far each came: what is still kept, and how the others ended."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcome import LEDGER_SCHEMA, Stage
from transforms.decide.rule import Mask

Places = npt.NDArray[np.intp]  # positions among a shard's rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Rows that ended at one stage for one reason."""

    places: Places
    stage: Stage
    reason: str  # a Reason or a Failure
    details: Sequence[str] | pa.Array  # one for each place
    rule: str | None = None
    values: npt.NDArray[Any] | None = None  # one for each place
    limits: npt.NDArray[Any] | None = None
    given_to: npt.NDArray[Any] | None = None  # the images that take their captions, or -1


class Screened:
    """All rows of a shard, with those dropped so far. Details are held as Arrow text, not as
    Python's: ten million of them are a tenth of the size."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows  # POOL_SCHEMA, or those of its columns that the rules read
        self.kept: Mask = np.ones(rows.num_rows, dtype=np.bool_)
        self.clip_score = np.full(rows.num_rows, np.nan, np.float32)  # of the last CLIP rule
        self.given_to = np.full(rows.num_rows, -1)  # the image that takes a dropped row's caption
        self._drops: list[Drop] = []
        self._given: list[tuple[Places, pa.ChunkedArray]] = []  # places and their captions
        self.chosen: pa.Table | None = None  # CHOSEN_SCHEMA, with places in the shard

    def drop(self, drop: Drop) -> None:
        """End some rows, all of which are still kept."""
        if len(drop.places):
            self.kept[drop.places] = False
            if drop.given_to is not None:
                self.given_to[drop.places] = drop.given_to
                self._given.append((drop.places, self.rows["caption"].take(drop.places)))
            details = pa.array(drop.details, pa.string())
            self._drops.append(replace(drop, reason=str(drop.reason), details=details))

    def choose(self, chosen: pa.Table, places: Places) -> None:
        """Note which texts survive. Args: chosen: CHOSEN_SCHEMA, of rows that lie at `places`."""
        in_shard = pa.array(places[chosen["place"].to_numpy()], pa.int64())
        self.chosen = chosen.set_column(0, "place", in_shard)

    def narrow(self, columns: Collection[str]) -> None:
        """Let go of the columns that nothing reads from now on."""
        self.rows = self.rows.select([name for name in self.rows.column_names if name in columns])

    def kept_rows(self) -> pa.Table:
        return self.rows.filter(pa.array(self.kept))

    def given_captions(self, places: Places) -> pa.Array:
        """(places,): the captions of those that were given to another image; null for others."""
        there = np.concatenate([np.zeros(0, np.intp), *(found for found, _ in self._given)])
        captions = [chunk for _, given in self._given for chunk in given.chunks]
        wanted = pc.index_in(pa.array(places), value_set=pa.array(there))
        return pa.chunked_array(captions, pa.string()).take(wanted).combine_chunks()

    def count(self, reason: str) -> int:
        """How many rows ended for this reason."""
        return sum(len(drop.places) for drop in self._drops if drop.reason == reason)

    def ledger(self) -> pa.Table:
        """LEDGER_SCHEMA, one line for every row, in the pool's order."""
        columns = {"row": self.rows["row"], "uid": self.rows["uid"], "kept": pa.array(self.kept)}
        order = np.full(len(self.kept), -1)  # the place of each row among all drops
        order[np.concatenate([np.zeros(0, np.intp), *(drop.places for drop in self._drops)])] = (
            np.arange(sum(len(drop.places) for drop in self._drops))
        )
        lines = pa.array(order, mask=order < 0)
        return pa.table(
            columns | {name: column.take(lines) for name, column in self._ends().items()},
            schema=LEDGER_SCHEMA,
        )

    def _ends(self) -> dict[str, pa.ChunkedArray]:
        """The ledger's columns of all rows dropped, in the order in which they were."""
        ends: dict[str, list[pa.Array]] = {
            name: [pa.array([], LEDGER_SCHEMA.field(name).type)]
            for name in ("stage", "reason", "rule", "value", "limit", "detail")
        }
        for drop in self._drops:
            size = len(drop.places)
            ends["stage"].append(pa.repeat(drop.stage.value, size))
            ends["reason"].append(pa.repeat(drop.reason, size))
            ends["rule"].append(pa.repeat(pa.scalar(drop.rule, pa.string()), size))
            ends["value"].append(_numbers(drop.values, size))
            ends["limit"].append(_numbers(drop.limits, size))
            ends["detail"].append(drop.details)
        return {name: pa.chunked_array(chunks) for name, chunks in ends.items()}


def _numbers(numbers: npt.NDArray[Any] | None, size: int) -> pa.Array:
    if numbers is None:
        return pa.nulls(size, pa.float64())
    return pa.array(np.asarray(numbers, np.float64), from_pandas=True)  # NaN is no number
