"""Losses of paired embeddings, and the small regularisers of both training stages."""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.pocket.tokenizer import UNK_ID

SIGMOID_SHARE = 0.3


class Scale(nn.Module):
    """The learnt scale and bias that turn cosines into logits."""

    def __init__(self, scale: float = 20.0, bias: float = -8.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(bias))


def contrast(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    """Softmax (Radford et al. 2021) mixed with sigmoid loss (Zhai et al. 2023) of a batch.

    The softmax ranks captions for one image; the sigmoid makes one threshold fit all images,
    which is what a filter needs.

    Args: image, text: (N, D), of norm 1; row i of both is a pair, all others are not."""
    logits = scale.log_scale.exp() * image @ text.T
    own = torch.arange(len(image))
    softmax = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    signs = 2 * torch.eye(len(image)) - 1
    sigmoid = -F.logsigmoid(signs * (logits + scale.bias)).sum() / len(image)
    return (1 - SIGMOID_SHARE) * softmax + SIGMOID_SHARE * sigmoid


def drop_words(tokens: Tensor, share: float) -> Tensor:
    """Replace a share of the words by <unk>, so that no single word carries a caption."""
    dropped = (torch.rand(tokens.shape) < share) & (tokens > UNK_ID)
    return torch.where(dropped, UNK_ID, tokens)


def optimizer(
    groups: Iterable[tuple[Iterable[nn.Parameter], float]], decay: float
) -> torch.optim.AdamW:
    """AdamW over groups of parameters with a rate each; decay on matrices only."""
    settings = [
        {"params": some, "lr": rate, "weight_decay": decay if matrices else 0.0}
        for params, rate in ((list(params), rate) for params, rate in groups)
        for matrices in (True, False)
        if (some := [p for p in params if (p.ndim > 1) == matrices])
    ]
    return torch.optim.AdamW(settings, betas=(0.9, 0.98))


def warm_cosine(adam: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A linear start over 5 % of the steps, then half a cosine to zero."""
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return torch.optim.lr_scheduler.LambdaLR(adam, factor)
