"""Limits on any column: by a number, by a top fraction, and for languages apart."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept, languages
from pydantic import ValidationError

from schemas.errors import BadInputError
from transforms.decide.limit import LimitRule

# Few values, so that ties are the rule; None is a null, NaN what a broken model gives.
VALUE = st.sampled_from([-1.0, 0.0, 0.5, 0.75, 2.0, math.nan, None])
CODE = st.sampled_from(["en", "de", "fr", None])
DRAWN = st.lists(st.tuples(VALUE, CODE), max_size=25)
LIMIT = st.none() | st.sampled_from([-1.0, 0.25, 0.5, 2.0])
FRACTION = st.sampled_from([0.01, 0.3, 0.5, 0.9, 1.0])


def _rows(values: list, codes: list[str | None] | None = None, kind: pa.DataType | None = None):
    columns = {"own.value": pa.array(values, kind or pa.float64(), from_pandas=False)}
    if codes is not None:
        columns["language.languages"] = languages(codes)
    return pa.table(columns)


def _split(drawn: list[tuple[float | None, str | None]]) -> pa.Table:
    return _rows([value for value, _ in drawn], [code for _, code in drawn])


def _is_none(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _datacomp(values: list[float | None], fraction: float) -> float:
    """baselines/apply_filter.py: -np.sort(-scores)[int(n * f)]. What is no number ranks last; the
    whole has no row after its last."""
    best_first = sorted((-math.inf if _is_none(value) else value for value in values), reverse=True)  # pyright: ignore[reportArgumentType]
    return best_first[min(int(len(values) * fraction), len(values) - 1)]


@given(st.lists(VALUE, max_size=20), LIMIT, LIMIT)
def test_what_lies_within_the_limits_stays(
    values: list[float | None], least: float | None, most: float | None
) -> None:
    if least is most is None:
        with pytest.raises(ValidationError, match="give `at_least`, `at_most` or `top_fraction`"):
            LimitRule(value="own")
        return
    found = ends(LimitRule(value="own", at_least=least, at_most=most), _rows(values))
    for value, end in zip(values, found, strict=True):
        if value is None or math.isnan(value):
            told = ("no_value", None, None, "own has no value")
        elif least is not None and value < least:
            told = ("under_limit", value, least, f"own {value:g}, limit {least:g}")
        elif most is not None and value > most:
            told = ("over_limit", value, most, f"own {value:g}, limit {most:g}")
        else:
            told = None
        assert (end and (end.reason, end.value, end.limit, end.detail)) == told


@given(DRAWN, FRACTION, FRACTION)
def test_a_language_may_have_a_fraction_of_its_own(
    drawn: list[tuple[float | None, str | None]], rest: float, german: float
) -> None:
    """Those without one are ranked together."""
    rule = LimitRule(value="own", top_fraction=rest, by_language={"de": german, "cs": 0.5})
    found = kept(rule, _split(drawn))
    groups = {True: german, False: rest}
    limits = {
        is_german: _datacomp(its, fraction)
        for is_german, fraction in groups.items()
        if (its := [value for value, code in drawn if (code == "de") == is_german])
    }
    assert found == [
        not _is_none(value) and value >= limits[code == "de"]  # pyright: ignore[reportOptionalOperand]
        for value, code in drawn
    ]


@given(DRAWN, FRACTION, FRACTION)
def test_each_language_may_be_ranked_by_itself(
    drawn: list[tuple[float | None, str | None]], rest: float, german: float
) -> None:
    rule = LimitRule(value="own", top_fraction=rest, each_language=True, by_language={"de": german})
    found = ends(rule, _split(drawn))
    for (value, code), end in zip(drawn, found, strict=True):
        its = [other for other, others in drawn if others == code]
        limit = _datacomp(its, german if code == "de" else rest)
        assert (end is None) == (not _is_none(value) and value >= limit)  # pyright: ignore[reportOptionalOperand]
        if end is not None and end.reason != "no_value":
            assert (end.reason, end.value, end.limit) == ("under_limit", value, limit)


@given(DRAWN)
def test_a_language_may_have_a_number_of_its_own(
    drawn: list[tuple[float | None, str | None]],
) -> None:
    rule = LimitRule(value="own", at_least=0.5, by_language={"de": 0.0})
    assert kept(rule, _split(drawn)) == [
        not _is_none(value) and value >= (0.0 if code == "de" else 0.5)  # pyright: ignore[reportOptionalOperand]
        for value, code in drawn
    ]


@settings(max_examples=20)
@given(DRAWN, FRACTION, st.booleans(), st.integers(0, 5))
def test_limits_do_not_depend_on_order_or_shards(
    drawn: list[tuple[float | None, str | None]], fraction: float, each: bool, seed: int
) -> None:
    rule = LimitRule(
        value="own", top_fraction=fraction, each_language=each, by_language={"fr": 0.5}, at_most=1
    )
    check_pieces(rule, _split(drawn), seed)


@pytest.mark.parametrize(
    ("kind", "values", "stays"),
    [
        (pa.bool_(), [True, False, None], [True, False, False]),
        (pa.int64(), [1, 0, None], [True, False, False]),
        (pa.int64(), [2**60 + 1, -(2**60) - 1], [True, False]),
        (pa.uint8(), [255, 0], [True, False]),
        (pa.float32(), [1.0, np.nextafter(np.float32(1), np.float32(0))], [True, False]),
        (pa.float16(), [np.float16(1), np.float16(0.5)], [True, False]),
        (pa.null(), [None, None], [False, False]),
    ],
)
def test_any_kind_of_number_can_be_limited(
    kind: pa.DataType, values: list, stays: list[bool]
) -> None:
    assert kept(LimitRule(value="own", at_least=1), _rows(values, kind=kind)) == stays


def test_nothing_but_no_values_keeps_nothing() -> None:
    rows = _rows([math.nan, None], ["en", "de"])
    for each in (False, True):
        rule = LimitRule(value="own", top_fraction=1.0, each_language=each)
        assert [end and end.reason for end in ends(rule, rows)] == ["no_value"] * 2


def test_a_column_of_text_cannot_be_limited() -> None:
    rows = pa.table({"own.value": ["a"]})
    told = r"^own\.value holds no numbers, but string: a limit cannot be set on it\.$"
    with pytest.raises(BadInputError, match=told):
        LimitRule(value="own", at_least=1).judge(rows, None)
    with pytest.raises(BadInputError, match=told):
        LimitRule(value="own", top_fraction=0.5).settle(rows)


def test_a_measure_alone_means_its_column_value() -> None:
    assert LimitRule(value="own", at_least=1).measured == ("own.value",)
    rule = LimitRule(value="text.words", top_fraction=0.5, each_language=True, language="fast")
    assert rule.measured == rule.gathers == ("text.words", "fast.languages")
    assert rule.measures == ("text", "fast")


@pytest.mark.parametrize(
    "given_settings",
    [
        {"at_least": 1.0, "top_fraction": 0.5},
        {"by_language": {"en": 1.0}},
        {"at_least": math.nan},
        {"at_most": math.inf},
        {"top_fraction": 0.0},
        {"top_fraction": 1.5},
        {"top_fraction": 0.5, "by_language": {"de": 0.0}},
        {"top_fraction": 0.5, "by_language": {"de": 1.2}},
        {"top_fraction": 0.5, "by_language": {"de": math.nan}},
        {"at_least": 0.5, "by_language": {"de": math.nan}},
        {"at_least": 1.0, "each_language": True},
        {"at_least": 1.0, "value": "a.b.c"},
        {"at_least": 1.0, "value": ""},
        {"at_least": "1"},
    ],
)
def test_impossible_limits_are_refused(given_settings: dict) -> None:
    with pytest.raises(ValidationError):
        LimitRule(**{"value": "own", **given_settings})
