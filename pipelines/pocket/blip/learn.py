"""Stage two, which both models go through: the text part learns, and the tower learns along."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval

from pipelines.pocket.blip.lessons import Lesson, Lessons, Pace, draw_lesson
from pipelines.pocket.blip.muon import Group, Optimizers
from pipelines.pocket.blip.tower import (
    Copier,
    copy_loss,
    group_of,
    place_loss,
    see,
    some_places,
)

_COPYING, _PLACING = 0.3, 10.0  # weights of what the tower goes on learning
_CHECKS, _RECENT = 10, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """How one of the models learns."""

    model: BlipForConditionalGeneration | BlipForImageTextRetrieval
    text: Group  # all that is not the tower
    wordings: int  # captions of each picture in a batch
    shown: int  # patches of each picture that the tower is shown, by chance
    loss: Callable[[Tensor, Lesson], Tensor]  # from what the tower gave, (B, 1 + shown, WIDTH)
    check: Callable[[], str]  # how good the model is by now


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is told and kept while a model learns."""

    say: Callable[[str], None]
    keep: Callable[[], None]  # called at each check


def learn(
    study: Study, copier: Copier, lessons: Lessons, pace: Pace, progress: Progress
) -> list[float]:
    """Train the model in place; gives each step's loss.

    Args: copier: the model's own tower, with the heads that go on copying the teacher."""
    model, losses = study.model, list[float]()
    share = pace.tower_share
    tower = group_of(copier, share * pace.matrix_rate, share * pace.rate)
    optimizers = Optimizers([study.text, tower], pace.steps)
    model.train()
    for step in range(pace.steps):
        lesson = draw_lesson(lessons, pace, study.wordings)
        places = some_places(len(lesson.images), study.shown)
        seen = see(model.vision_model, lesson.images, places)
        copied = copy_loss(copier, seen[: pace.photos], lesson.taught, places[: pace.photos])
        placed = place_loss(seen, places)
        loss = study.loss(seen, lesson) + _COPYING * copied + _PLACING * placed
        optimizers.step(loss)
        losses.append(loss.item())
        if (step + 1) % max(1, pace.steps // _CHECKS) == 0:
            model.eval()
            found = study.check()
            model.train()
            progress.say(f"{step + 1}/{pace.steps}: loss {_recent(losses):.3f}, {found}")
            progress.keep()
    return losses


def _recent(losses: Sequence[float]) -> float:
    return float(np.mean(losses[-_RECENT:]))
