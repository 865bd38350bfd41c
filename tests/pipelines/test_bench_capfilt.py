"""The parts of `make bench-capfilt` that decide what counts as right."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.bench.capfilt import Judge, calibrate, curate, gain, interval, spoil
from pipelines.demo.pictures import Picture

_KINDS = ("dog", "cat", "horse", "child", "man", "woman", "bird", "boat", "car", "train")
_PLACES = ("on grass", "in snow", "by the sea", "in a room", "at night", "in the rain")


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Sixty, each with three captions that share most of their words."""
    return [
        Picture(
            name=f"{kind} {place}",
            source=Path("none"),
            captions=(
                f"a {kind} runs {place}",
                f"the {kind} is running {place}",
                f"a happy {kind} {place}",
            ),
            foreign=(),
        )
        for kind in _KINDS
        for place in _PLACES
    ]


def test_captions_are_spoilt_in_the_shares_that_are_told(pictures: list[Picture]) -> None:
    webs = spoil(pictures, seed=1)
    assert [web.picture for web in webs] == pictures
    assert [web.caption for web in webs] == [web.caption for web in spoil(pictures, seed=1)]
    assert [web.caption for web in webs] != [web.caption for web in spoil(pictures, seed=2)]
    said = {text for picture in pictures for text in picture.captions}
    swapped = [web for web in webs if web.caption in said and not web.right]
    noisy = [web for web in webs if web.caption not in said]
    assert (len(swapped), len(noisy)) == (30, 6)
    assert not any(web.right for web in noisy)
    assert all(web.caption in web.picture.captions for web in webs if web.right)


def test_the_judge_knows_a_photographs_caption_from_anothers(pictures: list[Picture]) -> None:
    judge = Judge(pictures)
    assert judge.right("a dog runs on grass", "dog on grass")  # by the two others
    assert judge.right("there is a dog on grass", "dog on grass")
    assert not judge.right("a dog runs on grass", "cat in snow")
    assert not judge.right("IMG_1234.JPG", "dog on grass")
    found = calibrate(pictures, judge, seed=0)
    assert found["judge_accepts_people"] > 0.75
    assert found["judge_accepts_strangers"] == 0


def test_a_caption_does_not_speak_for_itself() -> None:
    """What nobody else said of a photograph is not right because one person did."""
    alone = Picture(
        name="a", source=Path("none"), captions=("blue whale", "two red kites"), foreign=()
    )
    other = Picture(name="b", source=Path("none"), captions=("a green door",), foreign=())
    judge = Judge([alone, other])
    assert not judge.right("blue whale", "a")
    assert judge.right("a blue whale", "a")


def test_a_gain_is_the_lower_end_of_the_interval() -> None:
    runs = [{"a": 0.5, "b": 0.3}, {"a": 0.6, "b": 0.3}]
    assert interval([0.2, 0.3]) == pytest.approx(12.71 * 0.05, rel=1e-3)
    assert gain(runs, "a", "b") == pytest.approx(0.25 - 12.71 * 0.05, rel=1e-3)


def test_what_each_way_leaves_is_counted(pictures: list[Picture]) -> None:
    """With a filter that is always right, and candidates of which every other image has a right
    one, second of three."""
    webs, judge = spoil(pictures, seed=3), Judge(pictures)
    texts = [
        ["a blue kite", f"here a {web.picture.name}" if n % 2 else "a red kite", "a kite"]
        for n, web in enumerate(webs)
    ]
    own = [judge.right(web.caption, web.picture.name) for web in webs]
    right = [
        [judge.right(text, web.picture.name) for text in some]
        for web, some in zip(webs, texts, strict=True)
    ]
    assert [some for some in right if any(some)] == [[False, True, False]] * 30
    scores = {
        "score": [0.9 if one else 0.1 for one in own],
        "synthetic": [[0.8 if one else 0.2 for one in some] for some in right],
    }
    rows = pa.table(
        {"image": range(60), "caption": [web.caption for web in webs]}
        | {"captions-pocket.texts": texts}
        | {f"itm-pocket+pocket.{name}": column for name, column in scores.items()}
        | {f"clip-pocket+pocket.{name}": column for name, column in scores.items()}
    )
    found = curate(webs, rows, 0.5, judge)
    raw = sum(own) / 60
    assert found["raw_images"] == found["raw_texts"] == pytest.approx(raw)
    assert (
        found["clip_images"] == found["capfilt_images"] == pytest.approx(raw)
    )  # first ones: wrong
    assert found["clip_texts"] == found["capfilt_texts"] == 1
    either = sum(one or any(some) for one, some in zip(own, right, strict=True)) / 60
    assert raw < either == pytest.approx(found["topk_images"])
    told = (sum(own) + 30) / 120  # two texts each
    assert found["topk_texts"] == pytest.approx(told)
    known = [web.right for web in webs]
    both = sum(a and b for a, b in zip(own, known, strict=True))
    assert found["itm_recall"] == pytest.approx(both / sum(known))
    assert found["itm_precision"] == pytest.approx(both / sum(own))
