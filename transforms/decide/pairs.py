"""Rows and what they name, as one long table of pairs: entries of a list, or noun phrases."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

from transforms.decide.rule import F64
from transforms.shards.uids import U64, draws_of, mixed

Ints = npt.NDArray[np.int64]


class Pairs(NamedTuple):
    """The entries of all rows, one line for each row and entry."""

    rows: Ints  # position of the row
    entries: npt.NDArray[np.int32]  # numbers of entries, or of phrases
    keys: U64  # of the entries, whatever the order of shards


def pairs_of(lists: pa.ChunkedArray) -> Pairs:
    """From the list that each row has: of numbers of entries, or of phrases."""
    begins = np.cumsum([0, *map(len, lists.chunks)])
    owners, entries = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for begin, chunk in zip(begins, lists.chunks, strict=False):
        owners.append(begin + pc.list_parent_indices(chunk).to_numpy(zero_copy_only=False))
    flat = pc.list_flatten(lists)
    named = None
    if not pa.types.is_integer(flat.type):  # phrases: their places in one dictionary
        coded = flat.dictionary_encode().chunks
        flat = pa.chunked_array([chunk.indices for chunk in coded], pa.int32())
        named = coded[0].dictionary.to_numpy(zero_copy_only=False) if coded else np.empty(0, object)
    entries += [chunk.to_numpy(zero_copy_only=False) for chunk in flat.chunks]
    numbers = np.concatenate(entries)
    # A phrase's key comes from its text: its place depends on the order of shards.
    if named is None:
        keys = draws_of(numbers, "entry")
    else:
        keys = np.asarray(hash_array(named), np.uint64)[numbers]  # pyright: ignore
    return Pairs(np.concatenate(owners), numbers, keys)


def pair_draws(of_rows: U64, pairs: Pairs) -> U64:
    """A number for each row and entry, evenly spread over 64 bits."""
    return mixed(of_rows[pairs.rows] ^ pairs.keys)


def least_of(rows: Ints, values: npt.NDArray, size: int) -> F64:
    """(size,): the least value of each row's pairs, 0 where it has none."""
    least = np.full(size, np.inf)
    np.minimum.at(least, rows, values.astype(np.float64))  # of one kind, or it is slow
    least[np.isinf(least)] = 0.0
    return least
