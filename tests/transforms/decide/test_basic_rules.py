"""The basic rules at their limits."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from transforms.decide.basic import (
    AspectRule,
    CaptionRule,
    ShorterSideRule,
    count_words_and_chars,
)
from transforms.decide.rule import Rule


def _ending(rule: Rule, **row: object) -> tuple[str | None, str]:
    """Reason and detail of one row under a rule; None where it is kept."""
    table = pa.table({name: [value] for name, value in row.items()})
    for verdict in rule.judge(table, None):
        if verdict.dropped[0]:
            return verdict.reason, verdict.detail(0)
    return None, ""


def _sides(width_px: int, height_px: int) -> dict[str, int]:
    return {"original_width": width_px, "original_height": height_px}


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("a dog runs", None),
        ("one two", "short_caption"),  # 2 words of 3
        ("a b c", "short_caption"),  # 5 characters of 6
        ("a b cd", None),
        ("  a b c  ", "short_caption"),  # white space around does not count
        ("a\u3000b\tcdé", None),  # any white space parts words
        ("", "empty_caption"),
        (" \n\t\u3000", "empty_caption"),
    ],
)
def test_caption_rule_has_datacomps_limits(caption: str, reason: str | None) -> None:
    assert _ending(CaptionRule(min_words=3, min_chars=6), caption=caption)[0] == reason


def test_caption_rule_tells_value_and_limit() -> None:
    _, detail = _ending(CaptionRule(min_words=3, min_chars=6), caption=" a bc ")
    assert detail == "2 words and 4 characters, at least 3 and 6 wanted"


def test_caption_rule_by_default_drops_only_the_empty() -> None:
    assert _ending(CaptionRule(), caption="狗")[0] is None
    assert _ending(CaptionRule(), caption=" ")[0] == "empty_caption"


@pytest.mark.parametrize(
    ("width_px", "height_px", "dropped"),
    [(200, 900, False), (900, 200, False), (199, 900, True), (900, 199, True)],
)
def test_shorter_side_rule_keeps_the_boundary(width_px: int, height_px: int, dropped: bool) -> None:
    reason, detail = _ending(ShorterSideRule(at_least_px=200), **_sides(width_px, height_px))
    assert reason == ("small_image" if dropped else None)
    assert detail == ("shorter side 199 px, limit 200 px" if dropped else "")


@pytest.mark.parametrize(
    ("width_px", "height_px", "dropped"),
    [(300, 100, False), (100, 300, False), (301, 100, True), (100, 301, True), (7, 7, False)],
)
def test_aspect_rule_keeps_the_boundary(width_px: int, height_px: int, dropped: bool) -> None:
    reason, detail = _ending(AspectRule(at_most=3.0), **_sides(width_px, height_px))
    assert reason == ("extreme_aspect" if dropped else None)
    assert detail == ("aspect 3.010, limit 3" if dropped else "")


@pytest.mark.parametrize(
    ("rule", "limits"),
    [
        (CaptionRule, {"min_words": 0}),
        (CaptionRule, {"min_chars": 0}),
        (ShorterSideRule, {"at_least_px": 0}),
        (ShorterSideRule, {}),
        (AspectRule, {"at_most": 0.99}),
        (AspectRule, {"at_most": float("inf")}),
        (AspectRule, {"at_most": float("nan")}),
        (AspectRule, {"at_most": 3, "at_least": 1}),
    ],
)
def test_impossible_limits_are_refused(rule: type[BaseModel], limits: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        rule(**limits)


def test_a_single_rows_rule_gathers_nothing() -> None:
    rule = CaptionRule()
    assert not rule.whole_pool
    assert rule.gathers == ()
    with pytest.raises(TypeError, match="CaptionRule"):
        rule.settle(pa.table({}))


@given(
    st.lists(
        st.text(
            alphabet=st.one_of(
                st.sampled_from(" \t\n\x0b\x1c\x1f\x85\xa0\u200b\u2028\u3000é狗a"),
                st.characters(codec="utf-8"),
            )
        ),
        min_size=1,
    )
)
def test_words_and_characters_are_counted_as_python_counts_them(captions: list[str]) -> None:
    words, chars = count_words_and_chars(pa.chunked_array([pa.array(captions, pa.string())]))
    assert words.tolist() == [len(caption.split()) for caption in captions]
    assert chars.tolist() == [len(caption.strip()) for caption in captions]
