"""Duplicates by equality: the same bytes, the same pixels, the same caption."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decide.rule import I64, FinderRule
from transforms.dedupe.duplicates import DuplicateRule, Kept, Nodes

PARTS = 16  # into which a pool is cut


class EqualFinder(FinderRule):
    """Find the images whose value in a column another image, or another row, has as well."""

    column: str  # of the pool, or MEASURE.COLUMN: digests, as hex digits or bytes
    of_rows: bool = False  # whether rows are compared, rather than images

    @property
    def columns(self) -> tuple[str, ...]:
        return () if "." in self.column else (self.column,)

    @property
    def measured(self) -> tuple[str, ...]:
        return (self.column,) if "." in self.column else ()

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("row", "image", self.column)

    def scatter(self, gathered: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        parts = _parts(gathered[self.column])
        for part in np.unique(parts).tolist():
            yield f"{part:02d}", gathered.filter(pa.array(parts == part))

    def find(self, together: pa.Table) -> I64:
        images = together["image"].to_numpy()
        units = together["row"].to_numpy() if self.of_rows else images
        codes = codes_of(together[self.column])
        order = np.lexsort((units, codes))
        is_first = np.append(True, np.diff(codes[order]) | np.diff(units[order]) != 0)[: len(order)]
        distinct = np.bincount(codes[order][is_first], minlength=codes.max(initial=-1) + 1)
        return np.unique(images[distinct[codes] > 1])


class EqualRule(DuplicateRule):
    """Base of the rules whose duplicates have one value in a column."""

    @property
    def finder(self) -> EqualFinder:
        return EqualFinder(column=self.same[0], of_rows=self.of_rows)

    def keepers(self, gathered: pa.Table, nodes: Nodes) -> Kept:
        codes = codes_of(gathered[self.same[0]])[nodes.best_row]
        return Kept(_first_of_equal(codes, nodes.rank), None)


def codes_of(column: pa.ChunkedArray) -> I64:
    """(rows,): one number for all that are equal. What is null is like nothing else."""
    encoded = column.dictionary_encode()  # one dictionary for all chunks
    chunks = [chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks]
    codes = np.concatenate([np.zeros(0, np.int64), *chunks])
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
    return codes


def _parts(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """(rows,): a number under PARTS from the first byte, or hex digit, of each; 0 for null."""
    firsts = pc.binary_slice(column.cast(pa.binary()), 0, 1).fill_null(b"0")
    found = np.frombuffer(b"".join(firsts.to_pylist()), np.uint8)
    if pa.types.is_string(column.type):
        return np.where(found >= ord("A"), found % 32 + 9, found % 16).astype(np.uint8)
    return found % PARTS


def _first_of_equal(groups: I64, rank: I64) -> I64:
    """(N,): for each node the one of lowest rank in its group."""
    order = np.lexsort((rank, groups))
    begins = np.flatnonzero(np.diff(groups[order], prepend=-1))
    keeper = np.empty(len(groups), np.int64)
    keeper[order] = np.repeat(order[begins], np.diff(begins, append=len(order)))
    return keeper
