"""Cut the input into units of work: one table of rows for each pool shard.

Rows that share a URL are one image with several captions. They are put into one unit, so that
the image is fetched once.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas.pair import ROWS_SCHEMA, make_uid


def number_rows(table: pa.Table) -> pa.Table:
    """Rows as ROWS_SCHEMA, in input order: numbered, their image and repetition told.

    Args: table: url, caption and, where they are there, uid (a null one is made) and image: rows
    of one image name are one image; else those of one URL."""
    names = table["image"] if "image" in table.column_names else table["url"]
    uids, (codes, first_rows) = _uids(table), _images(names)
    repeated = pd.Series(uids, dtype="str").duplicated().to_numpy()
    return pa.table(
        {
            "row": np.arange(table.num_rows),
            "uid": uids,
            "url": table["url"],
            "caption": table["caption"],
            "image": first_rows[codes],
            "repeated": repeated,
        },
        schema=ROWS_SCHEMA,
    )


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


def _uids(table: pa.Table) -> list[str]:
    """A row's own, or made of its URL and caption."""
    count = table.num_rows
    own = table["uid"].to_pylist() if "uid" in table.column_names else [None] * count
    pairs = zip(own, table["url"].to_pylist(), table["caption"].to_pylist(), strict=True)
    return [uid or make_uid(url, caption) for uid, url, caption in pairs]


def _images(names: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the number of its name, and for each of those numbers its first row."""
    codes, _ = pd.factorize(names.to_numpy())
    _, first_rows = np.unique(codes, return_index=True)
    return codes, first_rows
