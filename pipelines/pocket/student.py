"""Stage two: the image tower learns to put each view where the teacher's head puts it.

In the same batches it learns the drawn scenes together with the text tower, which the teacher knows
nothing of; photographs' captions stay where stage one put them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.pocket.losses import Scale, contrast, drop_words, optimizer, warm_cosine
from pipelines.pocket.model import MEAN, STD, encode_texts
from pipelines.pocket.photos import U8
from pipelines.pocket.text import describe, encode_captions

_IMAGE_RATE, _TEXT_RATE, _DECAY = 1.2e-3, 4e-4, 0.05
_COPYING, _SCORING, _CAPTIONS = 10.0, 50.0, 0.3  # weights of the losses of photographs
_DRAWN, _STAYING = 1.0, 10.0  # of drawn scenes, and of what captions move
_SCORED = 512  # captions whose scores are copied, a batch
_TEXT_DROPOUT, _WORD_DROPOUT = 0.1, 0.15


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

    steps: int
    photos: int  # in a batch
    scenes: int  # in a batch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    images: Tensor  # (photos + scenes, 3, px, px)
    targets: Tensor | None  # (photos, D), of norm 1
    shown: Tensor  # (photos / 2,): the photographs in the second half, which have captions
    scenes: Tensor  # (scenes,): which scenes come after the photographs


def fit_student(
    model: open_clip.CLIP,
    course: Course,
    pace: Pace,
    *,
    say: Callable[[str], None],
    keep: Callable[[], None],
) -> list[float]:
    """Train the whole model in place, calling `keep` at each check; gives each step's loss."""
    model.visual.to(memory_format=torch.channels_last)
    scale = Scale()
    adam, losses = _optimizer(model, scale, course), []
    rates = warm_cosine(adam, pace.steps)
    model.train()
    for step in range(pace.steps):
        loss = _loss(model, scale, course, _draw_batch(course, pace))
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
        losses.append(loss.item())
        if (step + 1) % max(1, pace.steps // 16) == 0:
            found = _on_dev(model, course)
            say(f"student {step + 1}/{pace.steps}: loss {_recent(losses):.3f}, {found}")
            _keep_scale(model, scale)
            keep()
    _keep_scale(model, scale)
    return losses


def _recent(losses: list[float]) -> float:
    return float(np.mean(losses[-50:]))


def _optimizer(model: open_clip.CLIP, scale: Scale, course: Course) -> torch.optim.AdamW:
    text = [p for name, p in model.named_parameters() if not name.startswith("visual.")]
    text_rate = _IMAGE_RATE if course.places is None else _TEXT_RATE
    groups = [(model.visual.parameters(), _IMAGE_RATE), ([*text, *scale.parameters()], text_rate)]
    return optimizer(groups, _DECAY)


def _keep_scale(model: open_clip.CLIP, scale: Scale) -> None:
    with torch.no_grad():
        model.logit_scale.copy_(scale.log_scale)
        if model.logit_bias is not None:
            model.logit_bias.copy_(scale.bias)


def _draw_batch(course: Course, pace: Pace) -> _Batch:
    """Photographs first: one half in any view, the other in plain ones; then drawn scenes."""
    half = pace.photos // 2
    plain = [v for v, mixed in enumerate(course.mixed) if not mixed]
    views = torch.cat([_any(len(course.mixed), half), torch.tensor(plain)[_any(len(plain), half)]])
    photos = course.train[_any(len(course.train), 2 * half)]
    scenes = _any(len(course.drawn_pixels), pace.scenes)
    images = _mirrored(_normal(_pick(course.pixels, views, photos)))
    targets = None if course.targets is None else course.targets[views, photos]
    drawn = _normal(course.drawn_pixels[scenes.numpy()])
    images = _lit(torch.cat([images, drawn])).contiguous(memory_format=torch.channels_last)
    return _Batch(images=images, targets=targets, shown=photos[half:], scenes=scenes)


def _any(below: int, count: int) -> Tensor:
    return torch.randint(below, (count,))


def _pick(pixels: Sequence[U8], views: Tensor, photos: Tensor) -> U8:
    return np.stack([pixels[v][n] for v, n in zip(views.tolist(), photos.tolist(), strict=True)])


def _normal(pixels: U8) -> Tensor:
    """(N, px, px, 3) bytes to (N, 3, px, px), as the model's preprocessing scales them."""
    levels = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (levels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def _mirrored(images: Tensor) -> Tensor:
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)


def _lit(images: Tensor) -> Tensor:
    """A little more or less light and contrast."""
    gain = 1 + 0.1 * torch.randn(len(images), 1, 1, 1)
    return images * gain + 0.1 * torch.randn(len(images), 1, 1, 1)


def _loss(model: open_clip.CLIP, scale: Scale, course: Course, batch: _Batch) -> Tensor:
    photos = 2 * len(batch.shown)
    caption = _any(course.tokens.shape[1], len(batch.shown))
    wording = _any(course.drawn_tokens.shape[1], len(batch.scenes))
    tokens = torch.cat(
        [
            drop_words(course.tokens[batch.shown, caption], _WORD_DROPOUT),
            course.drawn_tokens[batch.scenes, wording],
        ]
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = F.normalize(model.visual(batch.images).float(), dim=-1)
        text = encode_texts(model, tokens, _TEXT_DROPOUT)
    shown, drawn = text.split([len(batch.shown), len(batch.scenes)])
    loss = _DRAWN * contrast(image[photos:], drawn, scale)
    if batch.targets is None or course.places is None:
        return loss + contrast(image[photos // 2 : photos], shown, scale)
    loss = loss + _CAPTIONS * contrast(image[photos // 2 : photos], shown, scale)
    loss = loss + _STAYING * _distance(shown, course.places[batch.shown, caption])
    return loss + _copying(image[:photos], batch.targets, course.places)


def _copying(image: Tensor, targets: Tensor, places: Tensor) -> Tensor:
    """How far images lie from their targets, and their scores with some captions from theirs."""
    flat = places.flatten(0, 1)
    off = (image - targets) @ flat[_any(len(flat), _SCORED)].T
    return _COPYING * _distance(image, targets) + _SCORING * off.square().mean()


def _distance(rows: Tensor, targets: Tensor) -> Tensor:
    """The mean of 1 - cosine."""
    return (1 - (rows * targets).sum(dim=-1)).mean()


@torch.no_grad()
def _on_dev(model: open_clip.CLIP, course: Course) -> str:
    if len(course.dev) < 2:
        return "no photographs to check on"
    model.eval()
    images = _normal(course.pixels[0][course.dev.numpy()]).split(64)
    image = torch.cat([F.normalize(model.visual(some), dim=-1) for some in images]).numpy()
    text = encode_captions(model, course.tokens[course.dev])
    model.train()
    return describe(image, text)
