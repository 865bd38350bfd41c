"""What both models learn from, and their batches: photographs with captions, and drawn scenes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.pocket.batches import lit, normal, some_of
from pipelines.pocket.blip.space import Space
from pipelines.pocket.blip.tower import draw_views
from pipelines.pocket.photos import U8
from pipelines.pocket.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """N photographs in some views with K captions, M drawn scenes with C captions."""

    views: Sequence[View]  # plain ones, of which the captions are true
    tokens: Tensor  # (N, K, L)
    drawn: U8  # (M, px, px, 3)
    drawn_tokens: Tensor  # (M, C, L)
    space: Space | None  # of these views and captions; None: they alone are learnt from
    train: Tensor  # indexes of the photographs to learn from
    dev: Tensor  # indexes of those to choose by


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and in how large steps to learn."""

    steps: int
    photos: int  # in a batch
    scenes: int  # in a batch
    rate: float = 2e-3
    matrix_rate: float = 0.03  # of the layers' matrices, which Muon moves
    tower_share: float = 0.4  # of these rates, for the tower, which is taught already


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One step's worth: photographs first, then scenes."""

    images: Tensor  # (B, 3, px, px)
    tokens: Tensor  # (B, W, L): W wordings of each, without columns of pads
    taught: Tensor | None  # (photos, SIDE**2, MAP_WIDTH): what the teacher sees of the photographs
    pictures: Tensor | None  # (photos, D): where the space has them
    captions: Tensor | None  # (photos, W, D): and their wordings


def draw_lesson(lessons: Lessons, pace: Pace, wordings: int) -> Lesson:
    """Photographs and scenes by chance, each with some of its captions."""
    photos = lessons.train[some_of(len(lessons.train), pace.photos)]
    scenes = some_of(len(lessons.drawn), pace.scenes)
    views = some_of(len(lessons.views), pace.photos)
    said = _some_wordings(lessons.tokens[photos], wordings)
    told = _some_wordings(lessons.drawn_tokens[scenes], wordings)
    images, taught = draw_views(lessons.views, views, photos)  # captions hardly ever tell left
    drawn = lit(normal(lessons.drawn[scenes.numpy()]))
    tokens = torch.cat(
        [lessons.tokens[photos[:, None], said], lessons.drawn_tokens[scenes[:, None], told]]
    )
    space = lessons.space
    return Lesson(
        images=torch.cat([images, drawn]),
        tokens=trimmed(tokens),
        taught=taught,
        pictures=None if space is None else space.pictures[views, photos],
        captions=None if space is None else space.captions[photos[:, None], said],
    )


def _some_wordings(tokens: Tensor, count: int) -> Tensor:
    """(N, count): `count` of the K wordings of each of N, by chance; again where there are fewer.

    Args: tokens: (N, K, L)."""
    order = torch.rand(tokens.shape[:2]).argsort(dim=1)
    return order.repeat(1, -(-count // tokens.shape[1]))[:, :count]


def trimmed(tokens: Tensor) -> Tensor:
    """Without the columns at the end that hold pads (id 0) only."""
    used = (tokens != 0).flatten(0, -2).any(dim=0)
    return tokens[..., : int(used.sum())]
