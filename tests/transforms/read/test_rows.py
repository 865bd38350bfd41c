"""Units of work: every row once, every image in one unit."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.pair import ROWS_SCHEMA, make_uid
from transforms.read.policy import InputPolicy
from transforms.read.rows import cut_by_image, number_rows

PAIRS = st.lists(
    st.tuples(st.sampled_from([*"abcdefg", "", "图"]), st.sampled_from("xyz")),
    min_size=1,
    max_size=30,
)


def _rows(pairs: list[tuple[str, str]], chunk: int = 4) -> pa.Table:
    """Numbered rows, from columns in several chunks as a list of files gives them."""
    pieces = [pairs[begin : begin + chunk] for begin in range(0, len(pairs), chunk)]
    urls = pa.chunked_array([[url for url, _ in piece] for piece in pieces])
    captions = pa.chunked_array([[caption for _, caption in piece] for piece in pieces])
    return number_rows(pa.table({"url": urls, "caption": captions}))


@given(PAIRS)
def test_rows_are_numbered_and_know_their_image_and_repetition(
    pairs: list[tuple[str, str]],
) -> None:
    rows = _rows(pairs)
    assert rows.schema.equals(ROWS_SCHEMA)
    urls = [url for url, _ in pairs]
    assert rows["row"].to_pylist() == list(range(len(pairs)))
    assert rows["uid"].to_pylist() == [make_uid(url, caption) for url, caption in pairs]
    assert rows["image"].to_pylist() == [urls.index(url) for url in urls]
    repeated = [pair in pairs[:row] for row, pair in enumerate(pairs)]
    assert rows["repeated"].to_pylist() == repeated


@given(PAIRS, st.integers(1, 9))
def test_units_hold_every_row_once_and_an_image_whole(
    pairs: list[tuple[str, str]], images_per_shard: int
) -> None:
    rows = _rows(pairs)
    units = [unit.to_pylist() for unit in cut_by_image(rows, images_per_shard)]
    flat = [row for unit in units for row in unit]
    assert sorted(flat, key=lambda row: row["row"]) == rows.to_pylist()
    assert flat == sorted(flat, key=lambda row: (row["image"], row["row"]))
    images = [{row["image"] for row in unit} for unit in units]
    assert sum(map(len, images)) == len({url for url, _ in pairs})
    assert all(len(found) == images_per_shard for found in images[:-1])
    assert 1 <= len(images[-1]) <= images_per_shard


@given(PAIRS)
def test_uids_of_their_own_decide_what_is_repeated(pairs: list[tuple[str, str]]) -> None:
    urls, captions = (pa.chunked_array([list(column)]) for column in zip(*pairs, strict=True))
    uids = [f"{ord(caption):032x}" for _, caption in pairs]
    rows = number_rows(pa.table({"url": urls, "caption": captions, "uid": uids}))
    assert rows["uid"].to_pylist() == uids
    assert rows["repeated"].to_pylist() == [uid in uids[:row] for row, uid in enumerate(uids)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"list": "a", "pool": "b"},
        {"list": "a", "images_per_shard": 0},
        {"list": "a", "images_per_shard": 10_001},
        {"list": "a", "images": 3},
    ],
)
def test_an_input_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InputPolicy(**settings)  # pyright: ignore[reportArgumentType]


def test_either_source_will_do() -> None:
    assert InputPolicy(list=Path("a")).pool is None
    assert InputPolicy(pool=Path("b")).list is None
