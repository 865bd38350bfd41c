"""The search for equal values finds, in parts or at once, what a plain count finds."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, settled

from transforms.decide.rule import FinderRule, as_found
from transforms.dedupe.equal import PARTS, EqualFinder, codes_of

BYTES = EqualFinder(column="sha256")
PIXELS = EqualFinder(column="image_hash.pixels")
ROWS = EqualFinder(column="caption_hash.caption", of_rows=True)
KINDS = {
    BYTES: pa.string(),
    PIXELS: pa.binary(32),
    ROWS: pa.binary(16),
}
few_examples = settings(max_examples=20)  # of each kind
for_every_finder = pytest.mark.parametrize("finder", KINDS, ids=lambda finder: finder.column)
# Of each row its image, and its digest: few, so that they meet, or none.
DRAWN = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 6) | st.none()), max_size=20)
Rows = Sequence[tuple[int, int | None]]


def digest(number: int | None, kind: pa.DataType) -> Any:
    """Its first bytes differ, or are the same with others after them."""
    if number is None:
        return None
    if pa.types.is_string(kind):
        return f"{'0a9f'[number % 4]}{number:063x}"
    return bytes([255 - number % 4, *[number] * (kind.byte_width - 1)])


def table(finder: EqualFinder, rows: Rows) -> pa.Table:
    kind = KINDS[finder]
    return pa.table(
        {
            "row": pa.array(range(7, 7 + len(rows)), pa.int64()),
            "image": pa.array([image for image, _ in rows], pa.int64()),
            finder.column: pa.array([digest(number, kind) for _, number in rows], kind),
        }
    )


def by_hand(finder: EqualFinder, rows: Rows) -> list[int]:
    """The images of which another image, or another row, has the same digest."""
    units: defaultdict[int, set[int]] = defaultdict(set)
    for row, (image, number) in enumerate(rows):
        if number is not None:
            units[number].add(row if finder.of_rows else image)
    return sorted(
        {image for image, number in rows if number is not None and len(units[number]) > 1}
    )


def found(finder: FinderRule, rows: pa.Table) -> list[int]:
    outcome = settled(finder, rows)
    assert outcome is not None
    return outcome["image"].to_pylist()


def found_in_parts(finder: FinderRule, shards: Sequence[pa.Table]) -> list[int]:
    """As a pool is searched: what shards send under one key comes together."""
    together: defaultdict[str, list[pa.Table]] = defaultdict(list)
    for shard in shards:
        for key, part in finder.scatter(shard.select(finder.gathers)):
            together[key].append(part)
    each = [finder.find(pa.concat_tables(parts)) for parts in together.values()]
    return as_found(each)["image"].to_pylist()


@few_examples
@for_every_finder
@given(DRAWN)
def test_it_finds_what_one_finds_by_hand(finder: EqualFinder, rows: Rows) -> None:
    assert found(finder, table(finder, rows)) == by_hand(finder, rows)


@few_examples
@for_every_finder
@given(DRAWN, st.integers(0, 20))
def test_parts_find_together_what_is_found_at_once(
    finder: EqualFinder, rows: Rows, cut: int
) -> None:
    whole = table(finder, rows)
    shards = [whole.slice(0, cut), whole.slice(cut)]
    assert found_in_parts(finder, shards) == found(finder, whole)


@few_examples
@for_every_finder
@given(DRAWN, st.integers(0, 3))
def test_the_order_of_rows_changes_nothing(finder: EqualFinder, rows: Rows, seed: int) -> None:
    check_pieces(finder, table(finder, rows), seed)


@few_examples
@for_every_finder
@given(DRAWN)
def test_every_row_comes_under_one_key(finder: EqualFinder, rows: Rows) -> None:
    parts = list(finder.scatter(table(finder, rows).select(finder.gathers)))
    assert sorted(row for _, part in parts for row in part["row"].to_pylist()) == list(
        range(7, 7 + len(rows))
    )
    assert len({key for key, _ in parts}) == len(parts) <= PARTS


@for_every_finder
def test_of_nothing_and_of_one_row_nothing_is_found(finder: EqualFinder) -> None:
    assert found(finder, table(finder, [])) == found_in_parts(finder, [table(finder, [])]) == []
    assert found(finder, table(finder, [(3, 0)])) == []


@for_every_finder
def test_what_is_null_is_like_nothing(finder: EqualFinder) -> None:
    rows = table(finder, [(image, None) for image in range(9)])
    assert found(finder, rows) == found_in_parts(finder, [rows]) == []


@for_every_finder
def test_a_finder_drops_nothing(finder: EqualFinder) -> None:
    assert ends(finder, table(finder, [(0, 1), (1, 1)])) == [None, None]


def test_rows_of_one_image_count_once_unless_rows_are_compared() -> None:
    rows = [(4, 1), (4, 1), (5, 2)]
    assert found(BYTES, table(BYTES, rows)) == found(PIXELS, table(PIXELS, rows)) == []
    assert found(ROWS, table(ROWS, rows)) == [4]


def test_only_what_is_compared_is_gathered() -> None:
    assert BYTES.gathers == ("row", "image", "sha256")
    assert (BYTES.columns, BYTES.measured) == (("sha256",), ())
    assert (PIXELS.columns, PIXELS.measured) == ((), ("image_hash.pixels",))


VALUES = st.lists(st.lists(st.sampled_from(["a", "b", "", None]), max_size=5), max_size=4)


@given(VALUES)
def test_codes_are_equal_where_values_are_whatever_the_chunks(chunks: list[list[Any]]) -> None:
    column = pa.chunked_array(chunks, pa.string())
    values, codes = column.to_pylist(), codes_of(column)
    assert codes.shape == (len(values),)
    for i, one in enumerate(values):
        for j, other in enumerate(values):
            assert (codes[i] == codes[j]) == (i == j or (one == other and one is not None))


@given(st.lists(st.lists(st.integers(-5, 5), max_size=5), max_size=4))
def test_an_outcome_has_each_image_once_in_order(parts: list[list[int]]) -> None:
    outcome = as_found(np.array(part, np.int64) for part in parts)
    assert outcome["image"].type == pa.int64()
    assert outcome["image"].to_pylist() == sorted({image for part in parts for image in part})
