"""Stage two of the captioner: pictures to captions, the tower learning along."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BlipForConditionalGeneration

from pipelines.pocket.batches import normal
from pipelines.pocket.blip.lessons import Lesson, Lessons, Pace, draw_lesson, tower_group, trimmed
from pipelines.pocket.blip.muon import Group, Optimizers
from pipelines.pocket.blip.shape import DECODE, SPECIAL
from pipelines.pocket.blip.tower import Copier, copy_loss

_WORDINGS = 3  # captions of each picture in a batch: the picture is encoded once for all
_SMOOTHING, _COPYING = 0.1, 0.3


def fit_captioner(
    model: BlipForConditionalGeneration,
    copier: Copier,
    lessons: Lessons,
    pace: Pace,
    *,
    say: Callable[[str], None],
    keep: Callable[[], None],
) -> list[float]:
    """Train in place, calling `keep` at each check; gives each step's loss.

    Args: copier: the model's own tower, with the heads that go on copying the teacher."""
    text = Group(
        layers=model.text_decoder.bert.encoder,
        others=model.text_decoder.parameters(),
        matrix_rate=pace.matrix_rate,
        rate=pace.rate,
    )
    optimizers, losses = Optimizers([text, tower_group(copier, pace)], pace.steps), []
    model.train()
    for step in range(pace.steps):
        lesson = draw_lesson(lessons, pace, _WORDINGS)
        seen = model.vision_model(lesson.images).last_hidden_state
        loss = _caption_loss(model, seen, lesson)
        loss = loss + _COPYING * copy_loss(copier, seen[: pace.photos], lesson.taught)
        optimizers.step(loss)
        losses.append(loss.item())
        if (step + 1) % max(1, pace.steps // 10) == 0:
            found = f"loss {np.mean(losses[-50:]):.3f}, dev {_on_dev(model, lessons):.3f} a word"
            say(f"captioner {step + 1}/{pace.steps}: {found}")
            keep()
    return losses


def _caption_loss(model: BlipForConditionalGeneration, seen: Tensor, lesson: Lesson) -> Tensor:
    wordings = lesson.tokens.shape[1]
    logits, wanted = _read(model, seen.repeat_interleave(wordings, 0), lesson.tokens.flatten(0, 1))
    return F.cross_entropy(logits, wanted, ignore_index=0, label_smoothing=_SMOOTHING)


def _read(model: BlipForConditionalGeneration, seen: Tensor, tokens: Tensor):
    """Logits of each next word, (words, VOCAB_SIZE), and those words: (words,), 0 for none."""
    tokens = tokens.clone()
    tokens[:, 0] = SPECIAL.index(DECODE)
    logits = model.text_decoder(tokens[:, :-1], encoder_hidden_states=seen).logits
    return logits.flatten(0, 1), tokens[:, 1:].flatten()


@torch.no_grad()
def _on_dev(model: BlipForConditionalGeneration, lessons: Lessons) -> float:
    """Mean cross-entropy of a word of the first caption of whole photographs not learnt from."""
    model.eval()
    told: list[float] = []
    for some in lessons.dev.split(64):
        images = normal(lessons.views[0].pixels[some.numpy()])
        seen = model.vision_model(images).last_hidden_state
        logits, wanted = _read(model, seen, trimmed(lessons.tokens[some, 0]))
        told.append(F.cross_entropy(logits, wanted, ignore_index=0).item())
    model.train()
    return float(np.mean(told))
