"""What both models learn from, and their batches: photographs with captions, and drawn scenes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.pocket.batches import lit, normal, some_of
from pipelines.pocket.blip.muon import Group
from pipelines.pocket.blip.tower import Copier, draw_views, group_of
from pipelines.pocket.photos import U8
from pipelines.pocket.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """N photographs in some views with K captions, M drawn scenes with C captions."""

    views: Sequence[View]
    tokens: Tensor  # (N, K, L)
    drawn: U8  # (M, px, px, 3)
    drawn_tokens: Tensor  # (M, C, L)
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


def tower_group(copier: Copier, pace: Pace) -> Group:
    """The tower that learns along, for the optimisers."""
    return group_of(copier, pace.tower_share * pace.matrix_rate, pace.tower_share * pace.rate)


def draw_lesson(lessons: Lessons, pace: Pace, wordings: int) -> Lesson:
    """Photographs in views of which their captions are true, each with some of its captions."""
    plain = [view for view in lessons.views if not view.mixed]
    photos = lessons.train[some_of(len(lessons.train), pace.photos)]
    scenes = some_of(len(lessons.drawn), pace.scenes)
    images, taught = draw_views(plain, photos)  # mirrored: captions hardly ever tell left
    drawn = lit(normal(lessons.drawn[scenes.numpy()]))
    tokens = torch.cat(
        [
            _some_wordings(lessons.tokens[photos], wordings),
            _some_wordings(lessons.drawn_tokens[scenes], wordings),
        ]
    )
    return Lesson(images=torch.cat([images, drawn]), tokens=trimmed(tokens), taught=taught)


def _some_wordings(tokens: Tensor, count: int) -> Tensor:
    """(N, K, L) to (N, count, L): `count` of the K of each, by chance."""
    order = torch.rand(tokens.shape[:2]).argsort(dim=1)
    repeated = order.repeat(1, -(-count // tokens.shape[1]))[:, :count]
    return tokens.gather(1, repeated[..., None].expand(-1, -1, tokens.shape[2]))


def trimmed(tokens: Tensor) -> Tensor:
    """Without the columns at the end that hold pads (id 0) only."""
    used = (tokens != 0).flatten(0, -2).any(dim=0)
    return tokens[..., : int(used.sum())]
