from typing import Any

import pyarrow as pa
import pytest
from judging import ends, kept

from schemas.texts import CHOSEN_SCHEMA
from transforms.capfilt.rules import CapFiltRule, CaptionsRule, RecaptionRule, TopCaptionsRule

ITM, CLIP, TEXTS = "itm-pocket+pocket", "clip-pocket+pocket", "captions-pocket.texts"
Row = dict[str, Any]


def _row(
    image: int,
    caption: str,
    texts: list[str],
    *,
    itm: tuple[float | None, list[float]] = (None, []),
    clip: tuple[float | None, list[float]] = (None, []),
) -> Row:
    scores = {f"{ITM}.score": itm[0], f"{ITM}.synthetic": itm[1]}
    scores |= {f"{CLIP}.score": clip[0], f"{CLIP}.synthetic": clip[1]}
    return {"image": image, "caption": caption, TEXTS: texts} | scores


def _table(rows: list[Row]) -> pa.Table:
    one, many = pa.float32(), pa.list_(pa.float32())
    columns = [("image", pa.int64()), ("caption", pa.string()), (TEXTS, pa.list_(pa.string()))]
    scores = [
        (f"{m}.{c}", k) for m in (ITM, CLIP) for c, k in (("score", one), ("synthetic", many))
    ]
    return pa.Table.from_pylist(rows, pa.schema([*columns, *scores]))


def _chosen(rule: CaptionsRule, rows: list[Row]) -> list[tuple[int, int, int | None]]:
    """(place, text, rank) of each text that survives."""
    (verdict,) = rule.judge(_table(rows), None)
    assert verdict.chosen is not None
    assert verdict.chosen.schema == CHOSEN_SCHEMA
    lines = verdict.chosen.to_pylist()
    assert [line["caption"] is None for line in lines] == [line["text"] == 0 for line in lines]
    return [(line["place"], line["text"], line["rank"]) for line in lines]


@pytest.mark.parametrize(
    ("web", "synthetic", "left"),
    [
        (0.9, 0.8, [0, 1]),
        (0.5, 0.4999, [0]),  # the limit itself is kept
        (0.1, 0.7, [1]),
        (0.1, 0.2, []),
        (None, 0.7, [1]),  # what could not be judged is not kept
    ],
)
def test_capfilt_keeps_both_one_or_neither(
    web: float | None, synthetic: float, left: list[int]
) -> None:
    rows = [_row(4, "a web caption", ["a synthetic one"], itm=(web, [synthetic]))]
    assert [text for _, text, _ in _chosen(CapFiltRule(), rows)] == left
    assert kept(CapFiltRule(), _table(rows)) == [bool(left)]


def test_a_dropped_row_tells_its_best_text() -> None:
    rows = [_row(1, "web", ["one", "two"], itm=(0.1, [0.3, 0.2]))]
    (end,) = ends(CapFiltRule(), _table(rows))
    assert end is not None
    assert (end.reason, end.limit) == ("low_itm", 0.5)
    assert end.value == pytest.approx(0.3)
    assert end.detail == "itm-pocket 0.3000 for the best text it bears, limit 0.5"


def test_candidates_belong_to_the_first_row_of_an_image() -> None:
    texts, synthetic = ["one", "two"], [0.9, 0.1]
    rows = [
        _row(7, "wrong", texts, itm=(0.1, synthetic)),
        _row(7, "right", texts, itm=(0.8, synthetic)),
        _row(7, "wrong too", texts, itm=(0.2, synthetic)),
        _row(3, "another image", [], itm=(0.6, [])),
    ]
    assert sorted(_chosen(CapFiltRule(), rows)) == [(0, 1, None), (1, 0, None), (3, 0, None)]
    assert kept(CapFiltRule(), _table(rows)) == [True, True, False, True]


def test_empty_and_equal_texts_count_once() -> None:
    texts = ["a dog", "", "  ", "a dog ", "a cat"]
    rows = [_row(1, "a cat", texts, itm=(0.9, [0.9] * 5))]
    assert [text for _, text, _ in _chosen(CapFiltRule(), rows)] == [0, 1]


def test_where_captioning_failed_the_web_caption_is_judged_alone() -> None:
    rows = [
        _row(1, "good", [], itm=(0.9, [])),
        _row(2, "bad", [], itm=(0.2, [])),
        _row(3, "not matched", ["one"], itm=(None, [])),  # the filter failed at this image
    ]
    assert kept(CapFiltRule(), _table(rows)) == [True, False, False]


def test_top_captions_are_ranked_by_clip() -> None:
    rows = [
        _row(1, "web", ["one", "two", "three"], clip=(0.2, [0.1, 0.3, 0.25])),
        _row(2, "web", ["one"], clip=(0.2, [0.1])),
        _row(5, "web", ["one", "one", "two"], clip=(0.1, [0.3, 0.3, 0.3])),  # the earlier of a tie
    ]
    found = _chosen(TopCaptionsRule(), rows)
    assert sorted(found) == [(0, 2, 1), (0, 3, 2), (1, 0, 1), (1, 1, 2), (2, 1, 1), (2, 3, 2)]
    assert kept(TopCaptionsRule(), _table(rows)) == [True, True, True]


def test_a_row_whose_caption_is_not_among_the_top_ends() -> None:
    texts, scores = ["one", "two"], [0.5, 0.4]
    rows = [
        _row(1, "web", texts, clip=(0.1, scores)),
        _row(1, "other", texts, clip=(0.2, scores)),
        _row(2, "unscored", [], clip=(None, [])),
    ]
    first, second, third = ends(TopCaptionsRule(), _table(rows))
    assert first is None
    assert second is not None
    assert (second.reason, second.value) == ("no_top_caption", pytest.approx(0.2))
    assert third is not None
    assert third.detail == "none of its texts has a score"


@pytest.mark.parametrize(
    ("web", "synthetic", "left"),
    [
        ([0.9], [0.99, 0.8], [(0, 0, None)]),
        ([0.1], [0.6, 0.8, 0.7], [(0, 2, None)]),
        ([0.1], [0.4], []),
        ([0.1, 0.7], [0.9], [(1, 0, None)]),  # one of the image's web captions is right
        ([0.1, 0.2], [0.9], [(0, 1, None)]),
    ],
)
def test_recaption_replaces_what_fails(
    web: list[float], synthetic: list[float], left: list[tuple[int, int, None]]
) -> None:
    texts = [f"candidate {n}" for n in range(len(synthetic))]
    rows = [_row(1, f"web {n}", texts, itm=(score, synthetic)) for n, score in enumerate(web)]
    assert _chosen(RecaptionRule(), rows) == left


def test_equal_matches_are_told_apart_by_clip() -> None:
    rows = [_row(1, "web", ["one", "two"], itm=(0.1, [0.8, 0.8]), clip=(0.1, [0.2, 0.3]))]
    rule = RecaptionRule().with_default_clip("pocket")
    assert _chosen(rule, rows) == [(0, 2, None)]


def test_no_rows_are_no_texts() -> None:
    for rule in (CapFiltRule(), TopCaptionsRule(), RecaptionRule()):
        assert _chosen(rule, []) == []
