"""Exact duplicates against a plain reading of the rule."""

import random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.dedupe.exact import ExactDuplicateRule

RULE = ExactDuplicateRule()
Row = tuple[int, int, str]  # row, image, sha256


def _table(rows: list[Row]) -> pa.Table:
    return pa.table(
        {
            "row": pa.array([row for row, _, _ in rows], pa.int64()),
            "uid": pa.array([f"uid{row}" for row, _, _ in rows], pa.string()),
            "image": pa.array([image for _, image, _ in rows], pa.int64()),
            "sha256": pa.array([sha for _, _, sha in rows], pa.string()),
        }
    )


def _dropped(rows: list[Row]) -> dict[int, int]:
    """Dropped row to its keeper's row."""
    outcome = RULE.settle(_table(rows))
    return dict(zip(outcome["row"].to_pylist(), outcome["keeper_row"].to_pylist(), strict=True))


def _by_hand(rows: list[Row]) -> dict[int, int]:
    dropped = {}
    for row, image, sha in rows:
        keeper = min(row2 for row2, _, sha2 in rows if sha2 == sha)
        keepers_image = next(image2 for row2, image2, _ in rows if row2 == keeper)
        if image != keepers_image:
            dropped[row] = keeper
    return dropped


def test_the_lowest_row_is_the_keeper() -> None:
    rows = [(5, 5, "x"), (2, 2, "x"), (9, 9, "x"), (3, 3, "y")]
    assert _dropped(rows) == {5: 2, 9: 2}


def test_rows_of_one_url_are_never_each_others_duplicates() -> None:
    assert _dropped([(0, 0, "x"), (4, 0, "x"), (7, 0, "x")]) == {}
    assert _dropped([(0, 0, "x"), (4, 0, "x"), (2, 2, "x"), (3, 2, "x")]) == {2: 0, 3: 0}


def test_an_image_whose_first_row_fell_before_yields_to_an_earlier_row() -> None:
    """Image 0 lives on only in row 5, so row 3 is the lowest with these bytes."""
    assert _dropped([(5, 0, "x"), (3, 3, "x")]) == {5: 3}


@st.composite
def _lists(draw: st.DrawFn) -> list[Row]:
    """Rows as a pool has them: one image has one sha256, and is named by one of its rows."""
    images = draw(st.lists(st.integers(0, 5), min_size=1, max_size=12))
    shas = draw(st.lists(st.sampled_from("xyz"), min_size=6, max_size=6))
    return [(row, images.index(image), shas[image]) for row, image in enumerate(images)]


@given(_lists(), st.randoms(use_true_random=False))
def test_it_drops_what_one_drops_by_hand_in_any_order(rows: list[Row], rng: random.Random) -> None:
    assert _dropped(rows) == _by_hand(rows)
    shuffled = rng.sample(rows, len(rows))
    assert RULE.settle(_table(shuffled)).equals(RULE.settle(_table(rows)))


@given(_lists(), st.integers(0, 11))
def test_judging_in_pieces_drops_the_same_and_names_the_keeper(rows: list[Row], cut: int) -> None:
    outcome = RULE.settle(_table(rows))
    expected = _by_hand(rows)
    for piece in (rows[:cut], rows[cut:]):
        (verdict,) = RULE.judge(_table(piece), outcome)
        assert verdict.reason == "exact_duplicate"
        for i, (row, _, _) in enumerate(piece):
            assert bool(verdict.dropped[i]) == (row in expected)
            if row in expected:
                keeper = expected[row]
                assert verdict.detail(i) == f"same bytes as row {keeper}, uid{keeper}"


def test_of_no_rows_none_is_dropped() -> None:
    assert RULE.settle(_table([])).num_rows == 0


def test_only_small_columns_are_gathered() -> None:
    assert RULE.gathers == ("row", "uid", "image", "sha256")
