"""Stage two of the captioner: pictures to captions.

Labels are not smoothed, as BLIP's are: that puts a tenth of the chance on words at random, which
nucleus sampling with p = 0.9 then draws."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BlipForConditionalGeneration

from pipelines.pocket.batches import normal
from pipelines.pocket.blip.learn import Study
from pipelines.pocket.blip.lessons import Lesson, Lessons, Pace, trimmed
from pipelines.pocket.blip.muon import Group
from pipelines.pocket.blip.shape import DECODE, SIDE, SPECIAL

_WORDINGS = 3  # the picture is encoded once for all


def captioner_study(model: BlipForConditionalGeneration, lessons: Lessons, pace: Pace) -> Study:
    """How the captioner learns."""
    return Study(
        model=model,
        text=Group(
            layers=model.text_decoder.bert.encoder,
            others=model.text_decoder.parameters(),
            matrix_rate=pace.matrix_rate,
            rate=pace.rate,
        ),
        wordings=_WORDINGS,
        shown=SIDE**2,
        loss=lambda seen, lesson: _loss(model, seen, lesson),
        check=lambda: f"dev {_on_dev(model, lessons):.3f} a word",
    )


def _loss(model: BlipForConditionalGeneration, seen: Tensor, lesson: Lesson) -> Tensor:
    wordings = lesson.tokens.shape[1]
    logits, wanted = _read(model, seen.repeat_interleave(wordings, 0), lesson.tokens.flatten(0, 1))
    return F.cross_entropy(logits, wanted, ignore_index=0)


def _read(model: BlipForConditionalGeneration, seen: Tensor, tokens: Tensor):
    """Logits of each next word, (words, VOCAB_SIZE), and those words: (words,), 0 for none."""
    tokens = tokens.clone()
    tokens[:, 0] = SPECIAL.index(DECODE)
    logits = model.text_decoder(tokens[:, :-1], encoder_hidden_states=seen).logits
    return logits.flatten(0, 1), tokens[:, 1:].flatten()


@torch.no_grad()
def _on_dev(model: BlipForConditionalGeneration, lessons: Lessons) -> float:
    """Mean cross-entropy of a word of the first caption of whole photographs not learnt from."""
    told: list[float] = []
    for some in lessons.dev.split(64):
        images = normal(lessons.views[0].pixels[some.numpy()])
        seen = model.vision_model(images).last_hidden_state
        logits, wanted = _read(model, seen, trimmed(lessons.tokens[some, 0]))
        told.append(F.cross_entropy(logits, wanted, ignore_index=0).item())
    return float(np.mean(told))
