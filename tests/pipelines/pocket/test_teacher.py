from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.pocket.photos import Photo
from pipelines.pocket.projection import MAP_WIDTH
from pipelines.pocket.teacher import FEATURE_WIDTH, MAP_SIDE, TEACHER_PX, Teacher
from pipelines.pocket.views import VIEW_PX, teach
from schemas.errors import BadInputError


def _photos(count: int) -> list[Photo]:
    rng = np.random.default_rng(7)
    return [
        Photo(uid=f"{n:032x}", pixels=rng.integers(0, 256, (60, 90, 3), np.uint8), captions=("x",))
        for n in range(count)
    ]


def test_maps_tell_of_every_place(teacher_folder: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    teacher = Teacher(teacher_folder)
    images = [Image.fromarray(photo.pixels) for photo in _photos(2)]
    maps = teacher.maps_of(images, threads=2)
    assert maps.shape == (2, MAP_SIDE**2, FEATURE_WIDTH)
    assert maps.min() >= 0
    np.testing.assert_array_equal(maps[0], teacher.maps(images[0]))
    changed = np.asarray(images[0]).copy()
    changed[:20, :20] = 255  # a corner tells most of the places near it
    moved = np.abs(teacher.maps(Image.fromarray(changed)) - maps[0]).mean(axis=1)
    assert moved[0] > 3 * moved[-1]


def test_views_hold_the_mean_and_the_main_parts_of_the_maps(
    teacher_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    photos = _photos(12)
    (view,) = teach(photos, Teacher(teacher_folder), tmp_path, views=1, threads=2)
    assert view.maps is not None
    assert view.features is not None
    assert view.maps.shape == (12, MAP_SIDE**2, MAP_WIDTH)
    whole = Image.fromarray(photos[0].pixels).resize((TEACHER_PX, TEACHER_PX), 3)
    features = Teacher(teacher_folder).maps(whole)
    np.testing.assert_allclose(view.features[0], features.mean(axis=0), atol=2e-2)
    # Distances between places are largely kept by the main parts.
    apart, kept = _distances(features), _distances(view.maps[0].astype(np.float32))
    assert np.corrcoef(apart, kept)[0, 1] > 0.8


def _distances(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows[:, None] - rows[None], axis=-1)[np.triu_indices(len(rows), 1)]


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
