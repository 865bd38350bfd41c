"""Stage two of the ITM: right captions told from wrong ones, the tower learning along.

As in BLIP (Li et al. 2022), a contrastive loss aligns pictures and texts, and finds the hard
negatives on which the head for matching learns."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BlipForImageTextRetrieval

from pipelines.pocket.batches import normal
from pipelines.pocket.blip.lessons import Lesson, Lessons, Pace, draw_lesson, tower_group, trimmed
from pipelines.pocket.blip.muon import Group, Optimizers
from pipelines.pocket.blip.tower import Copier, copy_loss
from pipelines.pocket.losses import Scale, contrast
from pipelines.pocket.metrics import auc

_COPYING = 0.3
_HARD = 0.5  # the share of negatives that are hard; the others are any


def fit_itm(
    model: BlipForImageTextRetrieval,
    copier: Copier,
    lessons: Lessons,
    pace: Pace,
    *,
    say: Callable[[str], None],
    keep: Callable[[], None],
) -> list[float]:
    """Train in place, calling `keep` at each check; gives each step's loss.

    Args: copier: the model's own tower, with the heads that go on copying the teacher."""
    scale = Scale()
    heads = [model.text_encoder, model.vision_proj, model.text_proj, model.itm_head, scale]
    text = Group(
        layers=model.text_encoder.encoder,
        others=[p for head in heads for p in head.parameters()],
        matrix_rate=pace.matrix_rate,
        rate=pace.rate,
    )
    optimizers, losses = Optimizers([text, tower_group(copier, pace)], pace.steps), []
    model.train()
    for step in range(pace.steps):
        lesson = draw_lesson(lessons, pace, wordings=1)
        seen = model.vision_model(lesson.images).last_hidden_state
        loss = _loss(model, scale, seen, lesson)
        loss = loss + _COPYING * copy_loss(copier, seen[: pace.photos], lesson.taught)
        optimizers.step(loss)
        losses.append(loss.item())
        if (step + 1) % max(1, pace.steps // 10) == 0:
            found = f"loss {np.mean(losses[-50:]):.3f}, dev AUC {_on_dev(model, lessons):.4f}"
            say(f"ITM {step + 1}/{pace.steps}: {found}")
            keep()
    return losses


def _loss(model: BlipForImageTextRetrieval, scale: Scale, seen: Tensor, lesson: Lesson) -> Tensor:
    tokens = lesson.tokens[:, 0]
    attention = (tokens != 0).long()
    alone = model.text_encoder(tokens, attention_mask=attention).last_hidden_state
    image = F.normalize(model.vision_proj(seen[:, 0]), dim=-1)
    text = F.normalize(model.text_proj(alone[:, 0]), dim=-1)
    with torch.no_grad():
        likeness = scale.log_scale.exp() * image @ text.T
        same = (tokens[:, None] == tokens[None]).all(dim=-1)
        others, shown = _negatives(likeness, same), _negatives(likeness.T, same)
    own = torch.arange(len(tokens))
    pictures, texts = torch.cat([own, own, shown]), torch.cat([own, others, own])
    logits = match(model, seen[pictures], tokens[texts], attention[texts])
    right = (torch.arange(len(texts)) < len(tokens)).long()
    matching = F.cross_entropy(logits, right, weight=torch.tensor([1.0, 2.0]))
    return contrast(image, text, scale) + matching


def match(
    model: BlipForImageTextRetrieval, seen: Tensor, tokens: Tensor, attention: Tensor
) -> Tensor:
    """(N, 2) logits, the second that text and picture match, from what the tower gave."""
    read = model.text_encoder(tokens, attention_mask=attention, encoder_hidden_states=seen)
    return model.itm_head(read.last_hidden_state[:, 0])


def _negatives(likeness: Tensor, same: Tensor) -> Tensor:
    """(N,): for each row another column, by chance weighted by likeness or by chance alone."""
    hard = torch.rand(len(likeness), 1) < _HARD
    weights = torch.where(hard, likeness, torch.zeros(())).softmax(dim=1)
    return (weights + 1e-6).masked_fill(same, 0).multinomial(1).flatten()


@torch.no_grad()
def _on_dev(model: BlipForImageTextRetrieval, lessons: Lessons) -> float:
    """AUC of whole photographs with each of their captions against the next one's."""
    model.eval()
    right, wrong = [], []
    for some in lessons.dev.split(32):
        images = normal(lessons.views[0].pixels[some.numpy()])
        seen = model.vision_model(images).last_hidden_state
        tokens = trimmed(lessons.tokens[some])
        seen = seen.repeat_interleave(tokens.shape[1], 0)
        for found, shown in ((right, tokens), (wrong, tokens.roll(1, dims=0))):
            flat = shown.flatten(0, 1)
            logits = match(model, seen, flat, (flat != 0).long())
            found.append((logits[:, 1] - logits[:, 0]).numpy())
    model.train()
    return auc(np.concatenate(right), np.concatenate(wrong))
