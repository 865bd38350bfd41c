"""The space that the ITM copies: made of the pocket CLIP's captions and a teacher's features."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.demo.scenes import captions, draw, sample_scene
from pipelines.pocket.blip.itm import Placer
from pipelines.pocket.blip.lessons import Lesson
from pipelines.pocket.blip.shape import WIDTH
from pipelines.pocket.blip.space import Space, fit_space
from pipelines.pocket.model import EMBED_DIM
from pipelines.pocket.views import VIEW_PX, View

TRAIN, DEV = torch.arange(48), torch.arange(48, 60)


def _view(pixels: np.ndarray, features: np.ndarray | None) -> View:
    return View(pixels=pixels, features=features, maps=None, mixed=False)


@pytest.fixture(scope="module")
def scenes() -> tuple[list[View], list[list[str]]]:
    """Sixty pictures; a teacher that sees their colours in places."""
    rng = random.Random(5)
    asked = [sample_scene(rng, held_out=False) for _ in range(60)]
    pixels = np.stack([np.asarray(draw(scene, VIEW_PX)) for scene in asked])
    features = pixels[:, 8::16, 8::16].reshape(len(asked), -1).astype(np.float16) / 64
    return [_view(pixels, features)] * 2, [captions(scene)[:3] for scene in asked]


def test_pictures_lie_by_their_captions(scenes: tuple[list[View], list[list[str]]]) -> None:
    views, texts = scenes
    torch.manual_seed(0)
    told: list[str] = []
    space = fit_space(views, texts, TRAIN, DEV, say=told.append)
    assert space is not None
    assert space.pictures.shape == (2, 60, EMBED_DIM)
    assert space.captions.shape == (60, 3, EMBED_DIM)
    assert torch.allclose(space.pictures.norm(dim=-1), torch.ones(2, 60), atol=1e-3)
    cosines = torch.einsum("nd,md->nm", space.pictures[0, TRAIN], space.captions[TRAIN, 0])
    assert (cosines.argmax(dim=1) == TRAIN).float().mean() > 0.8
    assert space.slope > 0
    assert "AUC" in told[0]


def test_without_a_teacher_there_is_none(scenes: tuple[list[View], list[list[str]]]) -> None:
    views, texts = scenes
    untaught = [_view(view.pixels, None) for view in views]
    assert fit_space(untaught, texts, TRAIN, DEV, say=_mute) is None


def _lesson(space: Space, photos: int, scenes: int) -> Lesson:
    return Lesson(
        images=torch.zeros(photos + scenes, 3, 2, 2),
        tokens=torch.zeros(photos + scenes, 1, 3, dtype=torch.long),
        taught=None,
        pictures=space.pictures[0, :photos],
        captions=space.captions[:photos],
    )


def _flat_space() -> Space:
    """The second caption is half true of the first picture."""
    pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    captions = torch.tensor([[[1.0, 0.0]], [[0.6, 0.8]]])
    return Space(pictures=pictures[None], captions=captions, slope=10.0, middle=0.6)


def test_what_others_captions_are_worth() -> None:
    """A scene's caption is its own alone; of a photograph the space has half of the say."""
    placer = Placer(_flat_space())
    chances = placer.chances(_lesson(_flat_space(), photos=2, scenes=1))
    assert chances.shape == (3, 3)
    assert chances[0, 1] == pytest.approx(0.25)  # at the middle: an even chance, halved
    assert chances[1, 0] == pytest.approx(0.5 / (1 + np.exp(6)), rel=1e-3)
    assert chances[1, 1] > 0.9
    assert chances[2].tolist() == [0, 0, 1]
    assert chances[:2, 2].tolist() == [0, 0]


def test_the_distance_is_none_where_all_lies_in_its_place() -> None:
    space = _flat_space()
    placer, lesson = Placer(space), _lesson(space, photos=2, scenes=1)
    for head in (placer.picture, placer.text):
        with torch.no_grad():
            head.weight.copy_(torch.eye(2, WIDTH))
            head.bias.zero_()
    rest = torch.zeros(3, WIDTH - 2)
    seen = torch.cat([torch.cat([space.pictures[0], torch.ones(1, 2)]), rest], dim=1)
    read = torch.cat([torch.cat([space.captions[:, 0], torch.ones(1, 2)]), rest], dim=1)
    assert placer.distance(seen, read, lesson).item() == pytest.approx(0, abs=1e-5)
    assert placer.distance(read, seen, lesson).item() > 0.1
    assert placer.distance(read, seen, replace(lesson, pictures=None)).item() == 0


def _mute(_: str) -> None: ...
