"""Cut the input into units of work: one table of rows for each pool shard.

Rows that share a URL are one image with several captions. They are put into one unit, so that
the image is fetched once.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas.pair import ROWS_SCHEMA, make_uid


def number_rows(
    urls: pa.ChunkedArray,
    captions: pa.ChunkedArray,
    uids: Sequence[str],
    names: pa.ChunkedArray | None = None,
) -> pa.Table:
    """Rows as ROWS_SCHEMA, in input order: numbered, their image and repetition told.

    Rows of one name are one image; the name is the URL unless `names` are given."""
    codes, first_rows = _images(urls if names is None else names)
    repeated = pd.Series(uids, dtype="str").duplicated().to_numpy()
    return pa.table(
        {
            "row": np.arange(len(urls)),
            "uid": uids,
            "url": urls,
            "caption": captions,
            "image": first_rows[codes],
            "repeated": repeated,
        },
        schema=ROWS_SCHEMA,
    )


def make_uids(urls: pa.ChunkedArray, captions: pa.ChunkedArray) -> list[str]:
    """The uid of every row (schemas.pair.make_uid)."""
    pairs = zip(urls.to_pylist(), captions.to_pylist(), strict=True)
    return [make_uid(url, caption) for url, caption in pairs]


def cut_by_image(rows: pa.Table, images_per_shard: int) -> Iterator[pa.Table]:
    """Units of `images_per_shard` images, in the order in which images first appear.

    Within a unit rows are ordered by image, then by row.
    """
    _, ordinal = np.unique(rows["image"].to_numpy(), return_inverse=True)
    order = np.argsort(ordinal, kind="stable")
    bounds = np.searchsorted(
        ordinal[order], np.arange(0, ordinal.max() + 1 + images_per_shard, images_per_shard)
    )
    for begin, end in itertools.pairwise(bounds):
        if begin < end:
            yield rows.take(pa.array(order[begin:end]))


def _images(names: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the number of its name, and for each of those numbers its first row."""
    codes, _ = pd.factorize(names.to_numpy())
    _, first_rows = np.unique(codes, return_index=True)
    return codes, first_rows
