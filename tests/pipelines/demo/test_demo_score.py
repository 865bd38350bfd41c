import pandas as pd
import pytest

from pipelines.demo.kinds import Kind
from pipelines.demo.score import DemoScore, score
from schemas.report import Good, Planted

Row = tuple[Kind, str, str, bool, bool]  # kind, url, image, caption_right, kept


def scored(*rows: Row) -> DemoScore:
    truth = pd.DataFrame(
        [(n, url, kind.value, image, right) for n, (kind, url, image, right, _) in enumerate(rows)],
        columns=pd.Index(["row", "url", "kind", "image", "caption_right"]),
    )
    ledger = pd.DataFrame(
        {
            "row": range(len(rows)),
            "kept": [row[4] for row in rows],
            "stage": [None if row[4] else "clip" for row in rows],
        }
    )
    return score(truth, ledger.iloc[::-1])  # a ledger's order means nothing


def good(image: str = "a", *, kept: bool) -> Row:
    return Kind.GOOD, f"http://{image}", image, True, kept


def copy(url: str, kind: Kind = Kind.EXACT_COPY, image: str = "a", *, kept: bool) -> Row:
    return kind, url, image, True, kept


@pytest.mark.parametrize("kind", [Kind.WRONG_CAPTION, Kind.TRUNCATED, Kind.TINY, Kind.SLOW])
def test_a_planted_row_is_caught_if_dropped(kind: Kind):
    done = scored((kind, "u", "a", False, False), (kind, "v", "b", False, True))
    assert done.planted == {kind: Planted(planted=2, caught=1)}
    assert done.good == Good(rows=0, lost=0)


@pytest.mark.parametrize("original_first", [True, False])
@pytest.mark.parametrize("keep_original", [True, False])
def test_one_of_a_picture_and_its_copies_may_stay(original_first: bool, keep_original: bool):
    rows = [good(kept=keep_original), copy("c1", kept=not keep_original), copy("c2", kept=False)]
    done = scored(*(rows if original_first else rows[::-1]))
    assert done.planted == {Kind.EXACT_COPY: Planted(planted=2, caught=2)}
    assert done.good == Good(rows=1, lost=0)


@pytest.mark.parametrize(
    ("kept", "caught", "lost"),
    [
        ((True, True, True), 0, 0),
        ((True, True, False), 1, 0),
        ((False, True, True), 1, 0),
        ((False, False, False), 2, 1),
    ],
)
def test_each_copy_beyond_the_first_is_one_not_caught(kept: list[bool], caught: int, lost: int):
    done = scored(good(kept=kept[0]), copy("c1", kept=kept[1]), copy("c2", kept=kept[2]))
    assert done.planted[Kind.EXACT_COPY] == Planted(planted=2, caught=caught)
    assert done.good == Good(rows=1, lost=lost)


def test_copies_of_two_pictures_are_counted_apart():
    done = scored(
        good("a", kept=True),
        copy("c1", image="a", kept=False),
        good("b", kept=True),
        copy("c2", image="b", kept=True),
    )
    assert done.planted[Kind.EXACT_COPY] == Planted(planted=2, caught=1)


def test_two_captions_of_one_url_are_one_file():
    second: Row = (Kind.SAME_URL, "http://a", "a", True, True)
    done = scored(good(kept=True), second, copy("c1", kept=False))
    assert done.planted == {Kind.EXACT_COPY: Planted(planted=1, caught=1)}
    assert done.good == Good(rows=2, lost=0)


def test_a_second_caption_that_stays_saves_its_picture():
    second: Row = (Kind.SAME_URL, "http://a", "a", True, True)
    assert scored(good(kept=False), second).good == Good(rows=2, lost=0)


def test_reencoded_copies_are_counted_by_themselves():
    done = scored(
        good(kept=True),
        copy("exact", kept=True),
        copy("small", Kind.REENCODED_COPY, kept=True),
        copy("smaller", Kind.REENCODED_COPY, kept=False),
    )
    assert done.planted[Kind.EXACT_COPY] == Planted(planted=1, caught=0)
    assert done.planted[Kind.REENCODED_COPY] == Planted(planted=2, caught=1)


def test_a_reencoded_copy_may_be_the_one_that_stays():
    done = scored(good(kept=False), copy("small", Kind.REENCODED_COPY, kept=True))
    assert done.planted[Kind.REENCODED_COPY] == Planted(planted=1, caught=1)
    assert done.good == Good(rows=1, lost=0)


@pytest.mark.parametrize("kind", [Kind.TINY, Kind.EXTREME_ASPECT, Kind.OTHER_LANGUAGE])
def test_what_should_be_dropped_does_not_save_a_picture(kind: Kind):
    done = scored(good(kept=False), (kind, "u", "a", True, True))
    assert done.good == Good(rows=1, lost=1)


def test_a_redirect_that_is_dropped_is_lost():
    assert scored((Kind.REDIRECT, "u", "a", True, False)).good == Good(rows=1, lost=1)


def test_a_ledger_of_other_rows_is_refused():
    truth = pd.DataFrame({"row": [0, 1]})
    with pytest.raises(ValueError, match="same rows"):
        score(truth, pd.DataFrame({"row": [0, 0], "kept": [True, True]}))
