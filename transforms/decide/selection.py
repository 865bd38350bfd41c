"""A selection made elsewhere as a rule: keep the rows that it names."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import csv
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, PrivateAttr

from schemas.errors import BadInputError, RunFailedError
from schemas.fingerprint import Json, file_sha256
from schemas.outcome import Reason, Stage
from transforms.decide.rule import Mask, Rule, Verdict
from transforms.shards.uids import U64, halves

UID_DTYPE = np.dtype("u8,u8")  # DataComp's subset file
SELECTION_ENDINGS = (".npy", ".csv", ".txt", ".parquet")
Halves = tuple[U64, U64]  # sorted by the first, then the second


class SelectionRule(Rule):
    """Keep rows whose uid a file names: DataComp's subset npy, or a csv, text or parquet of uids.

    A table needs a column `uid`; a csv of one column may go without a header."""

    stage = Stage.SELECT
    file: Path = Field(..., description="A .npy, .csv, .txt or .parquet file.")
    _sha256: str | None = PrivateAttr(default=None)  # what a pinned rule reads, and nothing else

    def identity(self) -> Json:
        return {"file": self._sha256 or _sha256(self.file), "form": self.file.suffix}

    def pinned(self, identity: Json) -> Self:
        assert isinstance(identity, Mapping)
        rule = self.model_copy()
        rule._sha256 = str(identity["file"])
        return rule

    def check(self) -> None:
        _cached(self.file, _sha256(self.file))

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        now = _sha256(self.file)
        if self._sha256 not in (None, now):
            raise RunFailedError(
                f"The selection {self.file} was edited while it was being applied: start again."
            )
        dropped = ~is_selected(halves(rows["uid"]), _cached(self.file, now))
        where = ("in", "not in")
        return [
            Verdict(
                reason=Reason.NOT_SELECTED,
                dropped=dropped,
                detail=lambda i: f"{where[int(dropped[i])]} {self.file.name}",
            )
        ]


def is_selected(uids: Halves, selection: Halves) -> Mask:
    """(rows,): which uids a selection holds."""
    (high, low), (highs, lows) = uids, selection
    begins, ends = np.searchsorted(highs, high), np.searchsorted(highs, high, side="right")
    found = np.zeros(len(high), np.bool_)
    # Among equal first halves, which made-up uids have, by bisection: each turn halves the ranges.
    while len(open_ := np.flatnonzero(begins < ends)):
        middles = (begins[open_] + ends[open_]) // 2
        found[open_] |= lows[middles] == low[open_]
        under = lows[middles] < low[open_]
        begins[open_] = np.where(under, middles + 1, begins[open_])
        ends[open_] = np.where(under, ends[open_], middles)
    return found


def as_selection(high: U64, low: U64) -> np.ndarray:
    """Sorted (N,) array of dtype u8,u8, DataComp's form."""
    order = np.lexsort((low, high))
    selection = np.empty(len(high), UID_DTYPE)
    selection["f0"], selection["f1"] = high[order], low[order]
    return selection


def read_selection(path: Path) -> Halves:
    """The uids that a file names, sorted.

    Raises: BadInputError: it cannot be read, or names no uids."""
    try:
        high, low = _read_npy(path) if path.suffix == ".npy" else halves(_read_table(path))
    except (OSError, ValueError, MemoryError, pa.ArrowException) as err:
        raise _unreadable(path, err) from err
    order = np.lexsort((low, high))
    return high[order], low[order]


def _unreadable(path: Path, err: Exception) -> BadInputError:
    why = err.strerror if isinstance(err, OSError) and err.strerror else " ".join(str(err).split())
    return BadInputError(f"The selection {path} cannot be read: {why.rstrip('.')}.")


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as err:
        raise _unreadable(path, err) from err


@functools.lru_cache(maxsize=4)
def _cached(path: Path, _content: str) -> Halves:
    return read_selection(path)


def _read_npy(path: Path) -> Halves:
    with path.open("rb") as file:  # np.load would take a zip or a pickle too
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype != UID_DTYPE or array.ndim != 1:
        raise ValueError(f"it has {array.ndim} axes of {array.dtype}, one of u8,u8 wanted")
    return array["f0"].astype(np.uint64), array["f1"].astype(np.uint64)


def _read_table(path: Path) -> pa.ChunkedArray:
    if path.suffix == ".parquet":
        _must_have_uids(pq.read_schema(path).names)
        uids = pq.read_table(path, columns=["uid"])["uid"]
    elif path.suffix in (".csv", ".txt"):
        uids = _read_csv(path)
    else:
        raise ValueError(f"a file that ends in {', '.join(SELECTION_ENDINGS)} wanted")
    return pc.utf8_trim_whitespace(uids.cast(pa.string()))


def _read_csv(path: Path) -> pa.ChunkedArray:
    """Strictly: Arrow takes all that follows an unclosed quotation mark for one field, and loses
    rows without a word."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            lines = [line for line in reader if line]
        except csv.Error as err:
            raise ValueError(f"line {reader.line_num}: {err}") from err
    if not lines:
        raise ValueError("it is empty")
    names = [name.strip() for name in lines[0]]
    if len(names) > 1:
        _must_have_uids(names)
    place = names.index("uid") if "uid" in names else 0
    if short := [line for line in lines if len(line) != len(names)]:
        raise ValueError(f"a line has {len(short[0])} fields where the first has {len(names)}")
    uids = [line[place] for line in (lines[1:] if "uid" in names else lines)]
    return pa.chunked_array([pa.array(uids, pa.string())])


def _must_have_uids(columns: Sequence[str]) -> None:
    if "uid" not in columns:
        raise ValueError(f"it has no column uid, but {', '.join(columns)}")
