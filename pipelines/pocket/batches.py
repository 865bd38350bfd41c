"""Batches for stage two: photographs in any view, photographs with captions, drawn scenes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.pocket.model import MEAN, STD
from pipelines.pocket.photos import U8


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What stage two learns from: N photographs in V views with K captions, M drawn scenes.

    Without a teacher there are no targets, and photographs are learnt by their captions alone."""

    pixels: Sequence[U8]  # V of (N, px, px, 3); view 0 shows whole photographs
    mixed: Sequence[bool]  # V; captions are not true of a mixed view
    targets: Tensor | None  # (V, N, D): where the teacher's head puts the views
    tokens: Tensor  # (N, K, L)
    places: Tensor | None  # (N, K, D): where stage one puts the captions
    drawn_pixels: U8  # (M, px, px, 3)
    drawn_tokens: Tensor  # (M, C, L)
    train: Tensor  # indexes of the photographs to learn from
    dev: Tensor  # indexes of those to choose by


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and in how large steps to learn."""

    rate: float  # of the image tower
    steps: int
    photos: int  # in a batch
    scenes: int  # in a batch
    blend: float = 0.0  # up to what share another photograph shows through the first half


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step's worth."""

    images: Tensor  # (photos + scenes, 3, px, px)
    targets: Tensor | None  # (photos, D), of norm 1
    shown: Tensor  # (photos / 2,): the photographs in the second half, which have captions
    scenes: Tensor  # (scenes,): which scenes come after the photographs


def draw_batch(course: Course, pace: Pace) -> Batch:
    """Photographs first: one half in any view, the other in plain ones; then drawn scenes."""
    half = pace.photos // 2
    plain = [v for v, mixed in enumerate(course.mixed) if not mixed]
    views = torch.cat(
        [some_of(len(course.mixed), half), torch.tensor(plain)[some_of(len(plain), half)]]
    )
    photos = course.train[some_of(len(course.train), 2 * half)]
    scenes = some_of(len(course.drawn_pixels), pace.scenes)
    images = _mirrored(normal(_pick(course.pixels, views, photos)))
    targets = None if course.targets is None else course.targets[views, photos]
    if pace.blend:
        share = 1 - pace.blend * torch.rand(half)
        images[:half] = _blended(images[:half], share)
        if targets is not None:
            targets[:half] = F.normalize(_blended(targets[:half], share), dim=-1)
    drawn = normal(course.drawn_pixels[scenes.numpy()])
    images = lit(torch.cat([images, drawn])).contiguous(memory_format=torch.channels_last)
    return Batch(images=images, targets=targets, shown=photos[half:], scenes=scenes)


def some_of(below: int, count: int) -> Tensor:
    """`count` indexes below `below`, by chance, some maybe twice."""
    return torch.randint(below, (count,))


def _pick(pixels: Sequence[U8], views: Tensor, photos: Tensor) -> U8:
    return np.stack([pixels[v][n] for v, n in zip(views.tolist(), photos.tolist(), strict=True)])


def normal(pixels: U8) -> Tensor:
    """(N, px, px, 3) bytes to (N, 3, px, px), as the model's preprocessing scales them."""
    levels = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (levels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def _mirrored(images: Tensor) -> Tensor:
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)


def _blended(rows: Tensor, share: Tensor) -> Tensor:
    """Each row with a part of the next (mixup, Zhang et al. 2018)."""
    share = share.view(-1, *[1] * (rows.ndim - 1))
    return share * rows + (1 - share) * rows.roll(1, dims=0)


def lit(images: Tensor) -> Tensor:
    """A little more or less light and contrast."""
    gain = 1 + 0.1 * torch.randn(len(images), 1, 1, 1)
    return images * gain + 0.1 * torch.randn(len(images), 1, 1, 1)
