"""Seeded samples and equal languages: sizes, nesting, and what does not change them."""

import math
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept, languages, uid
from pydantic import ValidationError

from transforms.decide.sample import EqualLanguagesRule, SampleRule

SIZE = st.integers(0, 30)
SEED = st.integers(0, 3)
CODES = ["en", "de", "zh-cn", "zh-tw", None]
GROUPS = (("en",), ("zh-cn", "zh-tw"))


def _rows(images: list[int]) -> pa.Table:
    """A row for each image named: a repeated one has several captions."""
    numbers = range(len(images))
    return pa.table(
        {
            "row": pa.array(numbers, pa.int64()),
            "uid": pa.array([uid(number) for number in numbers], pa.string()),
            "image": pa.array(images, pa.int64()),
        }
    )


def _spoken(codes: Sequence[str | None], name: str = "language") -> pa.Table:
    return _rows(list(range(len(codes)))).append_column(f"{name}.languages", languages(codes))


@given(SIZE, SIZE, SEED)
def test_a_sample_of_rows_has_its_size_and_holds_every_smaller_one(
    rows: int, size: int, seed: int
) -> None:
    table = _rows(list(range(rows)))
    smaller, larger = (kept(SampleRule(rows=n, seed=seed), table) for n in (size // 2, size))
    assert (sum(smaller), sum(larger)) == (min(size // 2, rows), min(size, rows))
    assert all(b for a, b in zip(smaller, larger, strict=True) if a)


@given(SIZE, st.floats(0.01, 1.0))
def test_a_fraction_is_one_of_the_rows_rounded_down(rows: int, fraction: float) -> None:
    found = kept(SampleRule(fraction=fraction), _rows(list(range(rows))))
    assert sum(found) == math.floor(rows * fraction)


@given(st.lists(st.integers(0, 8), max_size=30), st.integers(0, 10), SEED)
def test_a_sample_of_images_keeps_all_their_captions(
    images: list[int], size: int, seed: int
) -> None:
    found = kept(SampleRule(images=size, seed=seed), _rows(images))
    chosen = {image for image, stays in zip(images, found, strict=True) if stays}
    assert found == [image in chosen for image in images]
    assert len(chosen) == min(size, len(set(images)))


def test_rows_that_come_later_change_no_order() -> None:
    before, after = _rows(list(range(100))), _rows(list(range(200)))
    of_the_first = kept(SampleRule(rows=60), after)[:100]
    assert kept(SampleRule(rows=sum(of_the_first)), before) == of_the_first
    assert 10 < sum(of_the_first) < 50


def test_another_seed_draws_another_sample_and_shares_the_expected_part() -> None:
    """Of 1,000 drawn from 2,000 twice, 500 are shared on average, standard deviation 11."""
    table = _rows(list(range(2000)))
    one, two = (kept(SampleRule(rows=1000, seed=seed), table) for seed in (0, 1))
    assert abs(sum(a and b for a, b in zip(one, two, strict=True)) - 500) < 70


@settings(max_examples=20)
@pytest.mark.parametrize("size", [{"rows": 4}, {"rows": 0}, {"images": 3}, {"fraction": 0.5}])
@given(st.lists(st.integers(0, 5), max_size=12), SEED)
def test_a_sample_does_not_depend_on_order_or_shards(
    size: dict[str, float], images: list[int], seed: int
) -> None:
    check_pieces(SampleRule(**size, seed=seed), _rows(images), seed)  # pyright: ignore[reportArgumentType]


def test_a_drop_tells_the_size_drawn() -> None:
    (one, two) = ends(SampleRule(rows=1, seed=3), _rows([0, 1]))
    end = one or two
    assert end is not None
    assert (one is None) != (two is None)
    assert (end.reason, end.detail) == (
        "over_budget",
        "not among the 1 of 2 rows drawn with seed 3",
    )


@pytest.mark.parametrize(
    "given_settings",
    [
        {},
        {"rows": 1, "images": 1},
        {"rows": 1, "fraction": 0.5},
        {"rows": -1},
        {"rows": 1.0},
        {"fraction": 0},
        {"fraction": 1.1},
        {"fraction": float("nan")},
        {"rows": True},
    ],
)
def test_a_sample_without_one_size_is_refused(given_settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SampleRule(**given_settings)  # pyright: ignore[reportArgumentType]


@given(st.lists(st.sampled_from(CODES), max_size=40), SEED)
def test_languages_are_equal_and_the_smallest_stays_whole(
    codes: list[str | None], seed: int
) -> None:
    found = kept(EqualLanguagesRule(groups=GROUPS, seed=seed), _spoken(codes))
    named = [next((n for n, group in enumerate(GROUPS) if code in group), None) for code in codes]
    counts = Counter(name for name, stays in zip(named, found, strict=True) if stays)
    smallest = min(named.count(0), named.count(1))
    assert counts == Counter({n: smallest for n in (0, 1) if smallest})


@settings(max_examples=20)
@given(st.lists(st.sampled_from(CODES), max_size=20), SEED)
def test_equal_languages_do_not_depend_on_order_or_shards(
    codes: list[str | None], seed: int
) -> None:
    check_pieces(EqualLanguagesRule(groups=GROUPS, seed=seed), _spoken(codes), seed)


def test_a_group_that_has_no_caption_leaves_none_of_any() -> None:
    rule = EqualLanguagesRule(groups=(("en",), ("und",), ("cs",)), language="mine")
    one, two, three = ends(rule, _spoken(["en", None, "de"], "mine"))
    assert one is not None
    assert (one.reason, one.value, one.limit) == ("language_surplus", 1, 0)
    assert (one.detail or "").startswith("1 rows in en, 0 of each are kept, as many as ")
    assert two is not None
    assert (two.detail or "").startswith("1 rows in und, 0 of each are kept, as many as ")
    assert three is not None
    assert (three.reason, three.detail) == ("other_language", "de, one of en, und, cs wanted")


def test_surplus_tells_how_many_there_were_and_how_many_stay() -> None:
    found = ends(EqualLanguagesRule(groups=GROUPS), _spoken(["en"] * 5 + ["zh-cn", "zh-tw"]))
    assert found[5:] == [None, None]
    dropped = [end for end in found[:5] if end is not None]
    assert len(dropped) == 3
    assert {end.detail for end in dropped} == {
        "5 rows in en, 2 of each are kept, as many as zh-cn+zh-tw has"
    }
    assert {(end.value, end.limit) for end in dropped} == {(5, 2)}


@pytest.mark.parametrize("groups", [[["en"]], [["en"], []], [["en"], ["de", "en"]], [["en", "en"]]])
def test_groups_that_overlap_or_are_empty_are_refused(groups: list[list[str]]) -> None:
    with pytest.raises(ValidationError):
        EqualLanguagesRule(groups=groups)  # pyright: ignore[reportArgumentType]
