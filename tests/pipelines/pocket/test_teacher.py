from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.pocket.photos import Photo
from pipelines.pocket.teacher import FEATURE_WIDTH, Teacher
from pipelines.pocket.views import VIEW_PX, teach
from schemas.errors import BadInputError


def _photos(count: int) -> list[Photo]:
    rng = np.random.default_rng(7)
    return [
        Photo(uid=f"{n:032x}", pixels=rng.integers(0, 256, (60, 90, 3), np.uint8), captions=("x",))
        for n in range(count)
    ]


def test_features_are_those_of_the_pooled_layers(teacher_folder: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    teacher = Teacher(teacher_folder)
    images = [Image.fromarray(photo.pixels) for photo in _photos(2)]
    features = teacher.features_of(images, threads=2)
    assert features.shape == (2, FEATURE_WIDTH)
    assert features.min() >= 0
    np.testing.assert_array_equal(features[0], teacher.features(images[0]))


def test_a_missing_teacher_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the teacher lacks mobilenet_v1"):
        Teacher(tmp_path)


def test_views_are_the_same_for_ever_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    first = teach(_photos(3), None, tmp_path / "a", views=4, threads=1, say=said.append)
    other = teach(_photos(3), None, tmp_path / "b", views=4, threads=1, say=said.append)
    assert [view.mixed for view in first] == [False, False, False, True]
    for a, b in zip(first, other, strict=True):
        assert a.pixels.shape == (3, VIEW_PX, VIEW_PX, 3)
        np.testing.assert_array_equal(a.pixels, b.pixels)
    teach(_photos(3), None, tmp_path / "a", views=4, threads=1, say=said.append)
    assert len(said) == 8  # the third call drew none
