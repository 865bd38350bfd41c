"""Stage one: the text tower, taught against the teacher's features.

A linear head over the teacher's features and the text tower learn one space from the photographs'
captions. The head is thrown away later: where it puts a view is what the student learns to give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.pocket.losses import Scale, contrast, drop_words, optimizer, warm_cosine
from pipelines.pocket.metrics import recall_at, right_and_wrong, separation
from pipelines.pocket.model import EMBED_DIM, encode_texts

_BATCH = 512
_RATE, _DECAY = 1e-3, 0.1
_FEATURE_DROPOUT, _TEXT_DROPOUT, _WORD_DROPOUT = 0.3, 0.1, 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What stage one learns from: N photographs, V views of them, K captions each."""

    features: Sequence[Tensor]  # V of (N, FEATURE_WIDTH), float16; view 0 shows whole photographs
    mixed: Sequence[bool]  # V; captions are not true of a mixed view
    tokens: Tensor  # (N, K, L)
    train: Tensor  # indexes of the photographs to learn from
    dev: Tensor  # indexes of those to choose by


class Head(nn.Module):
    """From the teacher's features to the shared space."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        seen = _flattened(features)
        self.register_buffer("mean", seen.mean(dim=0))
        self.register_buffer("deviation", seen.std(dim=0) + 1e-3)
        self.drop = nn.Dropout(_FEATURE_DROPOUT)
        self.out = nn.Linear(features.shape[1], EMBED_DIM)

    def forward(self, features: Tensor) -> Tensor:
        """(N, FEATURE_WIDTH) to (N, EMBED_DIM), of norm 1."""
        seen = (_flattened(features) - self.mean) / self.deviation
        return F.normalize(self.out(self.drop(seen)).float(), dim=-1)


def _flattened(features: Tensor) -> Tensor:
    """The square root tames the long tail of features after a ReLU."""
    return features.float().clamp_min(0).sqrt()


def fit_text(
    model: open_clip.CLIP, lessons: Lessons, *, epochs: int, say: Callable[[str], None]
) -> Head:
    """Train the model's text tower in place, and the head that is returned."""
    head, scale = Head(lessons.features[0][lessons.train]), Scale()
    text = [p for name, p in model.named_parameters() if not name.startswith("visual.")]
    adam = optimizer([([*text, *head.parameters(), *scale.parameters()], _RATE)], _DECAY)
    steps = max(1, epochs * len(lessons.train) // _BATCH)
    rates = warm_cosine(adam, steps)
    for step in range(steps):
        chosen = lessons.train[torch.randperm(len(lessons.train))[:_BATCH]]
        loss = _loss(model, head, scale, lessons, chosen)
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
        if (step + 1) % max(1, steps // 8) == 0:
            say(f"text {step + 1}/{steps}: loss {loss.item():.3f}, {_on_dev(model, head, lessons)}")
    return head.eval()


def _loss(
    model: open_clip.CLIP, head: Head, scale: Scale, lessons: Lessons, chosen: Tensor
) -> Tensor:
    plain = [f for f, mixed in zip(lessons.features, lessons.mixed, strict=True) if not mixed]
    which = torch.randint(len(plain), (len(chosen),))
    seen = torch.stack([plain[int(v)][int(n)] for v, n in zip(which, chosen, strict=True)])
    caption = torch.randint(lessons.tokens.shape[1], (len(chosen),))
    tokens = drop_words(lessons.tokens[chosen, caption], _WORD_DROPOUT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image, text = head(seen), encode_texts(model, tokens, _TEXT_DROPOUT)
    return contrast(image, text, scale)


@torch.no_grad()
def _on_dev(model: open_clip.CLIP, head: Head, lessons: Lessons) -> str:
    if len(lessons.dev) < 2:
        return "no photographs to check on"
    head.eval()
    image = head(lessons.features[0][lessons.dev]).numpy()
    head.train()
    return describe(image, encode_captions(model, lessons.tokens[lessons.dev]))


@torch.no_grad()
def encode_captions(model: open_clip.CLIP, tokens: Tensor) -> np.ndarray:
    """(N, K, L) token ids to (N, K, EMBED_DIM), of norm 1."""
    rows = tokens.flatten(0, 1).split(1024)
    return (
        torch.cat([encode_texts(model, some) for some in rows])
        .numpy()
        .reshape(*tokens.shape[:2], -1)
    )


def describe(image: np.ndarray, text: np.ndarray) -> str:
    """One line about paired embeddings: image (N, D), text (N, K, D)."""
    found = separation(*right_and_wrong(image, text))
    return (
        f"dev AUC {found.auc:.4f}, wrong dropped at 10 % loss {found.wrong_dropped_at_10:.3f}"
        f" (threshold {found.threshold_at_10:.3f}), R@10 {recall_at(image, text):.3f}"
        f" of {len(image)}"
    )
