"""The parts of `make bench-capfilt` that decide what counts as right."""

from pathlib import Path

import pytest

from pipelines.bench.capfilt import Judge, calibrate, gain, interval, spoil
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
