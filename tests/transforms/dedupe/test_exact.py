"""Exact duplicates, and what every measure of duplicates owes, against a plain reading."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept, settled, uid
from pydantic import ValidationError

from schemas.outcome import Stage
from transforms.dedupe.exact import ExactDuplicateRule

SCORE = "clip-pocket.score"
SEED = st.integers(0, 3)


class Drawn(NamedTuple):
    """A row, as far as the rule looks at it."""

    image: int
    sha256: str
    score: float | None = None
    sides: tuple[int | None, int | None] = (1, 1)


@st.composite
def pools(draw: st.DrawFn) -> list[Drawn]:
    """Rows as a pool has them: those of one image have its bytes and sides, each its own score."""
    images = draw(st.lists(st.integers(0, 5), max_size=12))
    shas = draw(st.lists(st.sampled_from("xyz"), min_size=6, max_size=6))
    side = st.sampled_from([None, 2, 3, 6])
    sides = draw(st.lists(st.tuples(side, side), min_size=6, max_size=6))
    scores = st.sampled_from([None, math.nan, -0.5, 0.0, 0.25, 0.5])
    return [Drawn(images.index(image), shas[image], draw(scores), sides[image]) for image in images]


RULES = [
    ExactDuplicateRule(),
    ExactDuplicateRule(keep="resolution", give_captions=True),
    ExactDuplicateRule(keep="first"),
    ExactDuplicateRule(keep="clip_score", give_captions=True),
]
few_examples = settings(max_examples=20)  # of each kind
for_every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.keep))


def table(rows: Sequence[Drawn], **columns: Any) -> pa.Table:
    """The n-th row has number n, and a uid that is in no order."""
    made = {
        "row": pa.array(range(len(rows)), pa.int64()),
        "uid": pa.array([uid(row) for row in range(len(rows))], pa.string()),
        "image": pa.array([row.image for row in rows], pa.int64()),
        "sha256": pa.array([row.sha256 for row in rows], pa.string()),
        SCORE: pa.array([row.score for row in rows], pa.float32()),
        "original_width": pa.array([row.sides[0] for row in rows], pa.int32()),
        "original_height": pa.array([row.sides[1] for row in rows], pa.int32()),
        "caption": pa.array([f"caption {row}" for row in range(len(rows))], pa.string()),
    }
    return pa.table(made | columns)


def worse(rule: ExactDuplicateRule, rows: Sequence[Drawn], row: int) -> tuple[float, str]:
    """The lower, the sooner a row is kept; ties go by uid."""
    one = rows[row]
    match rule.keep:
        case "first":
            first = float(row)
        case "clip_score":
            none = one.score is None or math.isnan(one.score)
            first = math.inf if none else -one.score
        case _:
            first = 0.0 if None in one.sides else -1.0 * one.sides[0] * one.sides[1]
    return first, uid(row)


def by_hand(rule: ExactDuplicateRule, rows: Sequence[Drawn]) -> dict[int, int]:
    """Dropped row to its keeper's row."""
    keepers = {
        sha: min(
            (row for row, other in enumerate(rows) if other.sha256 == sha),
            key=lambda row: worse(rule, rows, row),
        )
        for sha in {row.sha256 for row in rows}
    }
    return {
        row: keepers[one.sha256]
        for row, one in enumerate(rows)
        if one.image != rows[keepers[one.sha256]].image
    }


def dropped(rule: ExactDuplicateRule, rows: Sequence[Drawn]) -> dict[int, int]:
    """The same by the rule."""
    outcome = settled(rule, table(rows))
    assert outcome is not None
    return dict(zip(outcome["row"].to_pylist(), outcome["keeper_row"].to_pylist(), strict=True))


@few_examples
@for_every_rule
@given(pools())
def test_it_drops_what_one_drops_by_hand(rule: ExactDuplicateRule, rows: list[Drawn]) -> None:
    assert dropped(rule, rows) == by_hand(rule, rows)


@few_examples
@for_every_rule
@given(pools(), SEED)
def test_the_order_of_rows_and_how_they_are_cut_change_nothing(
    rule: ExactDuplicateRule, rows: list[Drawn], seed: int
) -> None:
    check_pieces(rule, table(rows), seed)


@few_examples
@for_every_rule
@given(pools())
def test_to_gather_only_what_the_finder_finds_changes_nothing(
    rule: ExactDuplicateRule, rows: list[Drawn]
) -> None:
    found = settled(rule.finder, table(rows))
    assert found is not None
    some = [row.image in found["image"].to_pylist() for row in rows]
    assert settled(rule, table(rows).filter(pa.array(some, pa.bool_()))) == settled(
        rule, table(rows)
    )


@few_examples
@for_every_rule
@given(pools())
def test_rows_of_one_url_stay_or_fall_together_and_each_cluster_keeps_one_image(
    rule: ExactDuplicateRule, rows: list[Drawn]
) -> None:
    stays = kept(rule, table(rows))
    for image in {row.image for row in rows}:
        assert len({stay for stay, row in zip(stays, rows, strict=True) if row.image == image}) == 1
    left = {(row.sha256, row.image) for stay, row in zip(stays, rows, strict=True) if stay}
    assert sorted(sha for sha, _ in left) == sorted({row.sha256 for row in rows})


@few_examples
@for_every_rule
@given(pools())
def test_the_ledger_names_row_and_uid_of_what_is_kept_instead(
    rule: ExactDuplicateRule, rows: list[Drawn]
) -> None:
    expected = by_hand(rule, rows)
    for row, end in enumerate(ends(rule, table(rows))):
        assert (end is not None) == (row in expected)
        if end is not None:
            keeper = expected[row]
            assert (end.reason, end.value, end.limit) == ("exact_duplicate", None, None)
            assert end.detail == f"same bytes as row {keeper}, {uid(keeper)}"


@given(pools())
def test_captions_are_given_to_the_image_kept_instead_and_only_by_dropped_rows(
    rows: list[Drawn],
) -> None:
    rule = RULES[1]
    assert rule.give_captions
    (verdict,) = rule.judge(table(rows), settled(rule, table(rows)))
    assert verdict.given_to is not None
    expected = [-1] * len(rows)
    for row, keeper in by_hand(rule, rows).items():
        expected[row] = rows[keeper].image
    assert verdict.given_to.tolist() == expected


def test_captions_are_given_only_where_that_was_asked_for() -> None:
    rows = table([Drawn(0, "x"), Drawn(1, "x")])
    rule = ExactDuplicateRule()
    (verdict,) = rule.judge(rows, settled(rule, rows))
    assert verdict.given_to is None
    assert "caption" not in rule.columns
    assert "caption" in RULES[1].columns


@pytest.mark.parametrize(
    ("keep", "rows", "keeper"),
    [
        ("first", [Drawn(0, "x"), Drawn(1, "x", 1.0, (9, 9))], 0),
        ("clip_score", [Drawn(0, "x", 0.1), Drawn(1, "x", 0.2)], 1),
        ("clip_score", [Drawn(0, "x", -9.0), Drawn(1, "x", math.nan)], 0),
        ("clip_score", [Drawn(0, "x", None), Drawn(1, "x", -9.0)], 1),
        ("resolution", [Drawn(0, "x", sides=(10, 10)), Drawn(1, "x", sides=(101, 1))], 1),
        ("resolution", [Drawn(0, "x", sides=(None, 99)), Drawn(1, "x", sides=(1, 1))], 1),
        ("resolution", [Drawn(0, "x", sides=(1, 1)), Drawn(1, "x", sides=(99, None))], 0),
    ],
)
def test_each_policy_keeps_what_it_says(keep: Any, rows: list[Drawn], keeper: int) -> None:
    assert dropped(ExactDuplicateRule(keep=keep), rows) == {1 - keeper: keeper}


def test_sides_too_large_for_a_product_of_32_bits_are_still_compared() -> None:
    rows = [Drawn(0, "x", sides=(65_536, 65_536)), Drawn(1, "x", sides=(2, 2))]
    assert dropped(ExactDuplicateRule(), rows) == {1: 0}


def test_the_best_row_stands_for_an_image_that_has_several() -> None:
    rows = [Drawn(0, "x", 0.1), Drawn(1, "x", 0.5), Drawn(0, "x", 0.9)]
    assert dropped(RULES[3], rows) == {1: 2}
    assert dropped(RULES[2], rows) == {1: 0}


@pytest.mark.parametrize("keep", ["clip_score", "resolution"])
def test_ties_go_by_uid(keep: Any) -> None:
    rows = [Drawn(row, "x", math.nan) for row in range(9)]
    keeper = min(range(9), key=uid)
    assert keeper != 0  # or this would not be told from going by row
    assert dropped(ExactDuplicateRule(keep=keep), rows) == {
        row: keeper for row in range(9) if row != keeper
    }


@for_every_rule
def test_of_no_rows_and_of_one_none_is_dropped(rule: ExactDuplicateRule) -> None:
    assert ends(rule, table([])) == []
    assert kept(rule, table([Drawn(0, "x")])) == [True]


@for_every_rule
def test_of_equal_images_one_is_kept_and_rows_of_one_url_all_are(rule: ExactDuplicateRule) -> None:
    assert sum(kept(rule, table([Drawn(row, "x") for row in range(9)]))) == 1
    assert all(kept(rule, table([Drawn(0, "x")] * 9)))


def test_equal_pixels_are_told_as_such() -> None:
    pixels = [b"p" * 32, b"q" * 32, b"p" * 32, None, None]
    rows = table(
        [Drawn(row, str(row)) for row in range(5)],
        **{"image_hash.pixels": pa.array(pixels, pa.binary(32))},
    )
    rule = ExactDuplicateRule(of="pixels", keep="first")
    (told,) = [end for end in ends(rule, rows) if end is not None]
    assert told.detail == f"same pixels as row 0, {uid(0)}"
    assert kept(rule, rows) == [True, True, False, True, True]
    check_pieces(rule, rows, 0)


READS: list[tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ({}, ("sha256", "original_width", "original_height"), ()),
    ({"keep": "first"}, ("sha256",), ()),
    ({"keep": "clip_score"}, ("sha256",), (SCORE,)),
    ({"keep": "clip_score", "clip": "other"}, ("sha256",), ("clip-other.score",)),
    ({"keep": "first", "of": "pixels"}, (), ("image_hash.pixels",)),
    ({"keep": "first", "give_captions": True}, ("sha256", "caption"), ()),
]


@pytest.mark.parametrize(("settings", "columns", "measured"), READS)
def test_only_the_columns_that_it_needs_are_read_and_gathered(
    settings: dict[str, Any], columns: tuple[str, ...], measured: tuple[str, ...]
) -> None:
    rule = ExactDuplicateRule(**settings)
    assert (rule.columns, rule.measured) == (columns, measured)
    gathered = {"row", "uid", "image", *columns, *measured} - {"caption"}
    assert sorted(rule.gathers) == sorted(gathered)


def test_a_recipe_with_a_clip_rule_keeps_by_its_score_unless_told_otherwise() -> None:
    by_default = ExactDuplicateRule().with_default_keep("big")
    assert (by_default.keep, by_default.score) == ("clip_score", ("clip-big.score",))
    told = ExactDuplicateRule(keep="resolution").with_default_keep("big")
    assert (told.keep, told.score) == ("resolution", ())
    named = ExactDuplicateRule(keep="clip_score", clip="own").with_default_keep("big")
    assert named.score == ("clip-own.score",)


@pytest.mark.parametrize("wrong", [{"keep": "best"}, {"of": "text"}, {"give_captions": 1}])
def test_what_it_does_not_know_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ExactDuplicateRule(**wrong)


def test_it_belongs_to_the_stage_of_duplicates_and_tells_why_a_row_was_kept() -> None:
    rows = table([Drawn(0, "x")])
    (verdict,) = RULES[0].judge(rows, settled(RULES[0], rows))
    tell: Callable[[int], str] = verdict.detail
    assert RULES[0].stage is Stage.DEDUPE
    assert tell(0) == "nothing that stays is like it"
