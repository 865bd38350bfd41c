"""A space of pictures and captions that the ITM learns to score by.

The pocket CLIP's text tower puts captions there, and a head over the teacher's features puts views
there. Neither is seen at work: together they know more of which picture a caption fits than the
small image tower can learn from the captions alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipelines.pocket.batches import some_of
from pipelines.pocket.losses import Scale, contrast, optimizer, warm_cosine
from pipelines.pocket.model import MODEL_DIR, load_model
from pipelines.pocket.text import Head, describe, encode_captions
from pipelines.pocket.views import View

_STEPS, _BATCH, _RATE, _DECAY = 200, 512, 1e-3, 0.1
_READ = 1024  # captions cut into tokens at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """V views of N photographs with K captions each, as points of norm 1, and how to read them."""

    pictures: Tensor  # (V, N, D)
    captions: Tensor  # (N, K, D)
    slope: float  # slope * (cosine - middle) is the log-odds that a caption is a picture's own
    middle: float


def fit_space(
    views: Sequence[View],
    captions: Sequence[Sequence[str]],
    train: Tensor,
    dev: Tensor,
    *,
    say: Callable[[str], None],
    clip: Path = MODEL_DIR,
) -> Space | None:
    """Fit the head to the captions of `train`, and the log-odds to those of `dev`.

    Returns: None where no teacher saw the views.
    Raises: BadInputError: no pocket CLIP is in `clip`."""
    features = [torch.from_numpy(view.features) for view in views if view.features is not None]
    if not features:
        return None
    model, _, tokenizer = load_model(clip)
    most = max(map(len, captions))
    flat = [own[k % len(own)] for own in captions for k in range(most)]
    tokens = torch.cat([tokenizer(flat[n : n + _READ]) for n in range(0, len(flat), _READ)])
    told = torch.from_numpy(encode_captions(model, tokens.unflatten(0, (-1, most))))
    head = _fit_head(features, told, train)
    with torch.no_grad():
        pictures = torch.stack([head(some) for some in features])
    slope, middle = _odds(pictures[0, dev], told[dev])
    say(f"space: {describe(pictures[0, dev].numpy(), told[dev].numpy())}")
    return Space(pictures=pictures, captions=told, slope=slope, middle=middle)


def _fit_head(features: Sequence[Tensor], captions: Tensor, train: Tensor) -> Head:
    head, scale = Head(features[0][train]), Scale()
    adam = optimizer([([*head.parameters(), *scale.parameters()], _RATE)], _DECAY)
    rates = warm_cosine(adam, _STEPS)
    for _ in range(_STEPS):
        chosen = train[torch.randperm(len(train))[:_BATCH]]
        view, caption = int(some_of(len(features), 1)), some_of(captions.shape[1], len(chosen))
        loss = contrast(head(features[view][chosen]), captions[chosen, caption], scale)
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
    return head.eval()


def _odds(pictures: Tensor, captions: Tensor) -> tuple[float, float]:
    """Slope and middle, were the cosines of right and of wrong pairs two normal curves as wide.

    Args: pictures: (N, D); captions: (N, K, D)."""
    right = torch.einsum("nd,nkd->nk", pictures, captions).numpy()
    wrong = torch.einsum("nd,nkd->nk", pictures, captions.roll(1, dims=0)).numpy()
    spread = (np.var(right) + np.var(wrong)) / 2
    return float((right.mean() - wrong.mean()) / spread), float(right.mean() + wrong.mean()) / 2
