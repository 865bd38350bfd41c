"""Stage two: the image tower learns to put each view where the teacher's head puts it.

In the same batches it learns the drawn scenes together with the text tower, which the teacher knows
nothing of; photographs' captions stay where stage one put them.
"""

from collections.abc import Callable

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.pocket.batches import Batch, Course, Pace, draw_batch, normal, some_of
from pipelines.pocket.losses import Scale, contrast, drop_words, optimizer, warm_cosine
from pipelines.pocket.model import encode_texts
from pipelines.pocket.text import describe, encode_captions

_TEXT_SHARE, _DECAY = 0.33, 0.05  # the taught text tower moves more slowly
_COPYING, _SCORING, _CAPTIONS = 10.0, 50.0, 0.3  # weights of the losses of photographs
_DRAWN, _STAYING = 1.0, 10.0  # of drawn scenes, and of what captions move
_SCORED = 512  # captions whose scores are copied, a batch
_TEXT_DROPOUT, _WORD_DROPOUT = 0.1, 0.15


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
    adam, losses = _optimizer(model, scale, course, pace.rate), []
    rates = warm_cosine(adam, pace.steps)
    model.train()
    for step in range(pace.steps):
        loss = _loss(model, scale, course, draw_batch(course, pace))
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


def _optimizer(
    model: open_clip.CLIP, scale: Scale, course: Course, rate: float
) -> torch.optim.AdamW:
    text = [p for name, p in model.named_parameters() if not name.startswith("visual.")]
    text_rate = rate if course.places is None else rate * _TEXT_SHARE
    groups = [(model.visual.parameters(), rate), ([*text, *scale.parameters()], text_rate)]
    return optimizer(groups, _DECAY)


def _keep_scale(model: open_clip.CLIP, scale: Scale) -> None:
    with torch.no_grad():
        model.logit_scale.copy_(scale.log_scale)
        if model.logit_bias is not None:
            model.logit_bias.copy_(scale.bias)


def _loss(model: open_clip.CLIP, scale: Scale, course: Course, batch: Batch) -> Tensor:
    photos = 2 * len(batch.shown)
    caption = some_of(course.tokens.shape[1], len(batch.shown))
    wording = some_of(course.drawn_tokens.shape[1], len(batch.scenes))
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
    off = (image - targets) @ flat[some_of(len(flat), _SCORED)].T
    return _COPYING * _distance(image, targets) + _SCORING * off.square().mean()


def _distance(rows: Tensor, targets: Tensor) -> Tensor:
    """The mean of 1 - cosine."""
    return (1 - (rows * targets).sum(dim=-1)).mean()


@torch.no_grad()
def _on_dev(model: open_clip.CLIP, course: Course) -> str:
    if len(course.dev) < 2:
        return "no photographs to check on"
    model.eval()
    images = normal(course.pixels[0][course.dev.numpy()]).split(64)
    image = torch.cat([F.normalize(model.visual(some), dim=-1) for some in images]).numpy()
    text = encode_captions(model, course.tokens[course.dev])
    model.train()
    return describe(image, text)
