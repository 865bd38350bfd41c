import random
from dataclasses import replace

import numpy as np
import pytest

from pipelines.demo.languages import foreign_captions
from pipelines.demo.scenes import (
    BACKGROUNDS,
    COLOURS,
    OPPOSITE,
    SHAPES,
    Scene,
    Thing,
    captions,
    draw,
    is_held_out,
    mirrored,
    sample_scene,
    says_true,
    share_a_thing,
)

RED_CIRCLE = Thing(colour="red", shape="circle")
BLUE_SQUARE = Thing(colour="blue", shape="square")


def scene(relation: str = "left of", jitter: int = 7) -> Scene:
    return Scene(
        first=RED_CIRCLE, relation=relation, second=BLUE_SQUARE, background="white", jitter=jitter
    )


def centre_of(colour: str, picture: np.ndarray) -> tuple[float, float]:
    """Mean (x, y) of the pixels nearest to a colour, in shares of the picture's side."""
    gaps = np.abs(picture.astype(int) - np.array(COLOURS[colour])).sum(axis=2)
    ys, xs = np.nonzero(gaps < 90)
    assert len(xs) > 100
    return xs.mean() / picture.shape[1], ys.mean() / picture.shape[0]


def test_the_plain_caption_comes_first_and_its_mirror_second():
    assert captions(scene())[:2] == [
        "a red circle to the left of a blue square",
        "a blue square to the right of a red circle",
    ]


def test_wordings_differ_and_name_both_things():
    wordings = captions(scene("above"))
    assert len(set(wordings)) == len(wordings) >= 6
    assert all("red circle" in w and "blue square" in w for w in wordings)


def test_an_article_fits_its_vowel():
    orange = replace(scene(), first=Thing(colour="orange", shape="star"))
    assert captions(orange)[0].startswith("an orange star")


@pytest.mark.parametrize("relation", OPPOSITE)
def test_the_picture_shows_the_relation(relation: str):
    for jitter in range(20):
        picture = np.asarray(draw(scene(relation, jitter)))
        (ax, ay), (bx, by) = centre_of("red", picture), centre_of("blue", picture)
        shown = {"left of": bx - ax, "right of": ax - bx, "above": by - ay, "below": ay - by}
        assert max(shown, key=lambda name: shown[name]) == relation


def test_a_mirrored_scene_is_the_same_picture_with_the_same_captions():
    assert draw(mirrored(scene())).tobytes() == draw(scene()).tobytes()
    assert set(captions(mirrored(scene()))) == set(captions(scene()))
    assert foreign_captions(mirrored(scene())) == foreign_captions(scene())


def test_a_drawing_depends_on_its_scene_only():
    assert draw(scene(), 96).size == (96, 96)
    assert draw(scene()).tobytes() == draw(scene()).tobytes()
    assert draw(scene()).tobytes() != draw(scene(jitter=8)).tobytes()


def test_every_shape_and_background_can_be_drawn():
    looks = {
        draw(
            replace(scene(), first=Thing(colour="green", shape=shape), background=background)
        ).tobytes()
        for shape in SHAPES
        for background in BACKGROUNDS
    }
    assert len(looks) == len(SHAPES) * len(BACKGROUNDS)


def test_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="no shape 'blob'"):
        draw(replace(scene(), first=Thing(colour="red", shape="blob")))


def test_held_out_is_a_fifth_and_blind_to_wording_and_looks():
    rng = random.Random(3)
    scenes = [sample_scene(rng, held_out) for held_out in (True, False) for _ in range(200)]
    assert [is_held_out(s) for s in scenes] == [True] * 200 + [False] * 200
    for s in scenes:
        assert is_held_out(mirrored(s)) == is_held_out(s)
        assert is_held_out(replace(s, background="grey", jitter=0)) == is_held_out(s)
        assert s.first != s.second
    things = [Thing(colour=c, shape=s) for c in COLOURS for s in SHAPES]
    every = [replace(scene(), first=a, second=b) for a in things for b in things if a != b]
    assert 0.17 < sum(map(is_held_out, every)) / len(every) < 0.23


def test_a_caption_is_true_of_its_layout_only():
    assert says_true(mirrored(scene()), scene(jitter=1))
    assert not says_true(scene("right of"), scene())
    assert not says_true(replace(scene(), second=RED_CIRCLE, first=BLUE_SQUARE), scene())


def test_sharing_a_thing_needs_its_colour_and_its_shape():
    other = replace(
        scene(),
        first=Thing(colour="red", shape="star"),
        second=Thing(colour="green", shape="circle"),
    )
    assert not share_a_thing(scene(), other)
    assert share_a_thing(scene(), replace(other, second=RED_CIRCLE))


def test_other_languages_say_where_things_are():
    assert foreign_captions(scene("below")) == {
        "zh": "图的上面有一个蓝色的正方形\uff0c下面有一个红色的圆形。",
        "de": "Oben ist ein blaues Quadrat und unten ein roter Kreis.",
        "fr": "En haut de l'image il y a un carré bleu et en bas un cercle rouge.",
        "cs": "Na obrázku je nahoře modrý čtverec a dole červený kruh.",
    }


def test_every_scene_can_be_said_in_every_language():
    for colour in COLOURS:
        for shape in SHAPES:
            said = foreign_captions(replace(scene(), first=Thing(colour=colour, shape=shape)))
            assert all(said.values())
            assert len(said) == 4
