"""Search against brute force: exact, ties by the lowest row, whatever the order of arrival."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadInputError
from transforms.search.nearest import (
    Block,
    cut_by_shard,
    mix,
    nearest,
    one_a_picture,
)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _brute_force(vectors: np.ndarray, rows: np.ndarray, query: np.ndarray, top: int) -> list[int]:
    """Rows by descending product in float64, equal vectors by row."""
    scores = (vectors.astype(np.float64) @ query.astype(np.float64)).round(9)
    return rows[np.lexsort((rows, -scores))][:top].tolist()


def _blocks(rows: np.ndarray, vectors: np.ndarray, count: int) -> list[Block]:
    cuts = zip(np.array_split(rows, count), np.array_split(vectors, count), strict=True)
    return [(rows, vectors) for rows, vectors in cuts if len(rows)]


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 300),
    distinct=st.integers(1, 40),
    dims=st.sampled_from([3, 8, 64]),
    top=st.integers(1, 400),
)
def test_it_finds_what_brute_force_finds_also_among_copies(
    seed: int, count: int, distinct: int, dims: int, top: int
) -> None:
    rng = np.random.default_rng(seed)
    originals = _unit(rng.normal(size=(distinct, dims))).astype(np.float16)
    vectors = originals[rng.integers(distinct, size=count)]
    rows = rng.permutation(10 * count)[:count]
    query = _unit(rng.normal(size=dims))
    expected = _brute_force(vectors, rows, query, top)
    assert nearest(_blocks(rows, vectors, 2), query, top)[0].tolist() == expected
    other = rng.permutation(count)
    turned = _blocks(rows[other], vectors[other], 5)
    assert nearest(turned, query, top)[0].tolist() == expected


def test_scores_are_the_cosines() -> None:
    rng = np.random.default_rng(0)
    vectors, query = _unit(rng.normal(size=(500, 64))), _unit(rng.normal(size=64))
    halves = vectors.astype(np.float16)
    rows, scores = nearest(_blocks(np.arange(500), halves, 3), query, 500)
    assert (np.diff(scores) <= 0).all()
    assert scores == pytest.approx((vectors @ query)[rows], abs=1e-3)
    assert scores == pytest.approx(halves.astype(np.float64)[rows] @ query, abs=1e-6)


def test_the_lowest_rows_come_first_where_top_cuts_through_many_equals() -> None:
    """faiss by itself gives the highest of them here."""
    vectors = np.tile(np.array([[0.6, 0.8]], np.float16), (1000, 1))
    vectors[500] = [1, 0]
    rows = np.arange(1000)[::-1].copy()
    for count in (1, 7):
        found, _ = nearest(_blocks(rows, vectors, count), np.array([1, 0], np.float32), 4)
        assert found.tolist() == [499, 0, 1, 2]


def test_a_vector_that_is_no_number_is_never_found() -> None:
    vectors = np.array([[1, 0], [np.nan, 0], [0, 1]], np.float16)
    for top in (1, 2, 3, 9):
        found, _ = nearest([(np.array([5, 6, 7]), vectors)], np.array([1, 0], np.float32), top)
        assert found.tolist() == [5, 7][:top]


def test_where_there_is_nothing_nothing_is_found() -> None:
    rows, scores = nearest([], np.array([1, 0], np.float32), 3)
    assert (rows.tolist(), scores.tolist()) == ([], [])


def test_a_mix_lies_between_its_ends() -> None:
    text, image = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    assert mix(text, None, 0.0).tolist() == [1, 0]
    assert mix(None, image, 1.0).tolist() == [0, 1]
    assert mix(text, image, 1.0).tolist() == [1, 0]
    assert mix(text, image, 0.0).tolist() == [0, 1]
    assert mix(text, image, 0.75).tolist() == pytest.approx([0.9487, 0.3162], abs=1e-4)
    with pytest.raises(BadInputError, match="cancel each other out"):
        mix(text, -text, 0.5)


def test_a_picture_is_its_lowest_kept_row_else_its_lowest() -> None:
    rows = pa.table(
        {"row": [9, 3, 4, 1, 2, 5], "image": [3, 3, 4, 1, 1, 1], "shard": [1, 1, 1, 0, 0, 2]}
    )
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 2, 0]):
        told = one_a_picture(rows.take(order), np.array([2, 5, 9])).to_pylist()
        assert [(line["row"], line["image"]) for line in told] == [(2, 1), (4, 4), (9, 3)]
        undecided = one_a_picture(rows.take(order), None)
        assert undecided["row"].to_pylist() == [1, 3, 4]
    assert one_a_picture(rows, np.zeros(0, np.int64))["row"].to_pylist() == [1, 3, 4]


def test_a_table_is_cut_where_the_shard_changes() -> None:
    table = pa.table({"shard": [0, 0, 2], "row": [1, 2, 3]})
    cut = [(shard, part["row"].to_pylist()) for shard, part in cut_by_shard(table)]
    assert cut == [(0, [1, 2]), (2, [3])]
    assert [len(part) for _, part in cut_by_shard(table.slice(0, 0))] == [0]
