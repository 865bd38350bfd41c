"""DataComp's basic filter, against its rule in plain Python."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import check_pieces, ends, kept, languages

from transforms.decide.datacomp import DataCompBasicRule

CAPTION = st.text("ab \t\n\u00a0\u3000é中", max_size=9) | st.text(max_size=12)
SIDE = st.integers(195, 205) | st.integers(590, 620) | st.integers(1, 2000)
CODE = st.sampled_from(["en", "en", "en", "de", "eng", "EN", None])
DRAWN = st.lists(st.tuples(CAPTION, SIDE, SIDE, CODE), max_size=12)


def _rows(drawn: list[tuple[str, int, int, str | None]], name: str = "fasttext") -> pa.Table:
    captions, widths, heights, codes = zip(*drawn, strict=True) if drawn else [()] * 4
    return pa.table(
        {
            "caption": pa.array(captions, pa.string()),
            "original_width": pa.array(widths, pa.int32()),
            "original_height": pa.array(heights, pa.int32()),
            f"{name}.languages": languages(list(codes)),
        }
    )


def _datacomp_keeps(caption: str, width: int, height: int, code: str | None) -> bool:
    """baselines/apply_filter.py, load_uids_with_basic_filter_helper."""
    shorter, longer = min(width, height), max(width, height)
    is_captioned = len(caption.split()) > 2 and len(caption) > 5
    return code == "en" and is_captioned and shorter >= 200 and longer / shorter <= 3.0


@given(DRAWN)
def test_the_filter_keeps_what_datacomps_keeps(
    drawn: list[tuple[str, int, int, str | None]],
) -> None:
    assert kept(DataCompBasicRule(), _rows(drawn)) == [_datacomp_keeps(*one) for one in drawn]


@pytest.mark.parametrize(
    ("caption", "width", "height", "code", "told"),
    [
        ("a b cde", 200, 600, "en", None),
        ("a b c ", 200, 200, "en", None),  # six characters with the space that ends it
        ("\na b c", 600, 200, "en", None),
        ("a b c", 200, 200, "en", ("short_caption", 5, 6, "5 characters, limit 6")),
        ("abc defg", 200, 200, "en", ("short_caption", 2, 3, "2 words, limit 3")),
        ("      ", 200, 200, "en", ("short_caption", 0, 3, "0 words, limit 3")),
        ("", 200, 200, "en", ("short_caption", 0, 3, "0 words, limit 3")),
        ("a b cde", 199, 500, "en", ("small_image", 199, 200, "shorter side 199 px, limit 200 px")),
        ("a b cde", 601, 200, "en", ("extreme_aspect", 3.005, 3, "aspect 3.005, limit 3")),
        ("a b cde", 200, 200, "de", ("other_language", None, None, "de, en wanted")),
        ("a b cde", 200, 200, None, ("other_language", None, None, "und, en wanted")),
        ("", 1, 9, "fr", ("other_language", None, None, "fr, en wanted")),
    ],
)
def test_the_first_fault_tells_its_value_and_limit(
    caption: str, width: int, height: int, code: str | None, told: tuple | None
) -> None:
    (end,) = ends(DataCompBasicRule(), _rows([(caption, width, height, code)]))
    assert (end and (end.reason, end.value, end.limit, end.detail)) == told


@settings(max_examples=20)
@given(DRAWN, st.integers(0, 3))
def test_the_filter_does_not_depend_on_order_or_shards(
    drawn: list[tuple[str, int, int, str | None]], seed: int
) -> None:
    check_pieces(DataCompBasicRule(language="mine"), _rows(drawn, "mine"), seed)
