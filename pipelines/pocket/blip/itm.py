"""Stage two of the ITM: right captions told from wrong ones, the tower learning along.

As in BLIP (Li et al. 2022), a contrastive loss aligns pictures and texts, and finds the hard
negatives on which the head for matching learns. What `space` says of each pair is copied besides.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BlipForImageTextRetrieval

from pipelines.pocket.batches import normal
from pipelines.pocket.blip.learn import Study
from pipelines.pocket.blip.lessons import Lesson, Lessons, Pace, trimmed
from pipelines.pocket.blip.muon import Group
from pipelines.pocket.blip.shape import MASK, SIDE, SPECIAL, WIDTH
from pipelines.pocket.blip.space import Space
from pipelines.pocket.losses import Scale, contrast
from pipelines.pocket.metrics import auc

_PLACING, _SCORING = 2.0, 20.0  # of where pictures and captions lie, and of their cosines
# Few photographs are learnt by heart soon: of each only a part is shown, and words are hidden.
_SHOWN, _HIDDEN = SIDE**2 * 5 // 8, 0.15
_HARD = 0.5  # the share of negatives that are hard; the others are any


def itm_study(model: BlipForImageTextRetrieval, lessons: Lessons, pace: Pace) -> Study:
    """How the ITM learns."""
    scale, placer = Scale(), Placer(lessons.space)
    heads = [model.text_encoder, model.vision_proj, model.text_proj, model.itm_head, scale, placer]
    return Study(
        model=model,
        text=Group(
            layers=model.text_encoder.encoder,
            others=[p for head in heads for p in head.parameters()],
            matrix_rate=pace.matrix_rate,
            rate=pace.rate,
        ),
        wordings=1,
        shown=_SHOWN,
        loss=lambda seen, lesson: _loss(model, scale, placer, seen, lesson),
        check=lambda: f"dev AUC {_on_dev(model, lessons):.4f}",
    )


class Placer(nn.Module):
    """Heads that put pictures and texts into a space, for as long as it is learnt from."""

    def __init__(self, space: Space | None) -> None:
        super().__init__()
        self.space = space
        width = WIDTH if space is None else space.pictures.shape[-1]
        self.picture, self.text = nn.Linear(WIDTH, width), nn.Linear(WIDTH, width)

    def distance(self, seen: Tensor, read: Tensor, lesson: Lesson) -> Tensor:
        """How far pictures, texts and their cosines lie from where the space has them.

        Args: seen, read: (N, WIDTH), of pictures and of texts; the photographs come first."""
        if lesson.pictures is None or lesson.captions is None:
            return torch.zeros(())
        pictures, texts = lesson.pictures, lesson.captions[:, 0]
        image = F.normalize(self.picture(seen[: len(pictures)]), dim=-1)
        text = F.normalize(self.text(read[: len(texts)]), dim=-1)
        off = (2 - (image * pictures).sum(dim=-1) - (text * texts).sum(dim=-1)).mean()
        scores = (image @ texts.T - pictures @ texts.T).square().mean()
        return _PLACING * off + _SCORING * scores

    def chances(self, lesson: Lesson) -> Tensor:
        """(N, N): how likely the text of a column is true of the picture of a row.

        Of photographs the space has half of the say: another's caption is sometimes true, and a
        crop may not show what its own tells."""
        chances = torch.eye(len(lesson.images))
        if self.space is None or lesson.pictures is None or lesson.captions is None:
            return chances
        cosines = lesson.pictures @ lesson.captions[:, 0].T
        thought = torch.sigmoid(self.space.slope * (cosines - self.space.middle))
        photos = len(thought)
        chances[:photos, :photos] = (chances[:photos, :photos] + thought) / 2
        return chances


def _loss(
    model: BlipForImageTextRetrieval, scale: Scale, placer: Placer, seen: Tensor, lesson: Lesson
) -> Tensor:
    told = lesson.tokens[:, 0]
    tokens, attention = _hide(told), (told != 0).long()
    alone = model.text_encoder(tokens, attention_mask=attention).last_hidden_state
    image = F.normalize(model.vision_proj(seen[:, 0]), dim=-1)
    text = F.normalize(model.text_proj(alone[:, 0]), dim=-1)
    with torch.no_grad():
        likeness = scale.log_scale.exp() * image @ text.T
        same = (told[:, None] == told[None]).all(dim=-1)
        others, shown = _negatives(likeness, same), _negatives(likeness.T, same)
    own = torch.arange(len(tokens))
    pictures, texts = torch.cat([own, own, shown]), torch.cat([own, others, own])
    logits = match(model, seen[pictures], tokens[texts], attention[texts])
    chances = placer.chances(lesson)[pictures, texts]
    weights = torch.where(pictures == texts, 2.0, 1.0)  # one is right, two are wrong
    matching = F.binary_cross_entropy_with_logits(
        logits[:, 1] - logits[:, 0], chances, weights, reduction="sum"
    )
    placing = placer.distance(seen[:, 0], alone[:, 0], lesson)
    return contrast(image, text, scale) + matching / weights.sum() + placing


def _hide(tokens: Tensor) -> Tensor:
    """With a share of the words masked, so that no single one carries a caption."""
    hidden = (torch.rand(tokens.shape) < _HIDDEN) & (tokens >= len(SPECIAL))
    return tokens.masked_fill(hidden, SPECIAL.index(MASK))


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
    return auc(np.concatenate(right), np.concatenate(wrong))
