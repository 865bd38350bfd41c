"""Embeddings of any number of images and texts, a batch at a time, by whatever encodes them."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Item = TypeVar("Item")


def embed_all(
    items: Iterable[Item], encode: Callable[[Sequence[Item]], F32], batch_size: int
) -> F32:
    """(N, D), one row an item, in order; (0, 0) of none. Items are drawn as they are needed.

    Args: encode: gives (n, D) of n <= batch_size items, rows of norm 1."""
    stream = iter(items)
    rows = []
    while batch := list(itertools.islice(stream, batch_size)):
        rows.append(encode(batch))
    return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)
