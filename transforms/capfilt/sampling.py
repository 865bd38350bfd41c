"""Nucleus sampling where every caption has a generator of its own.

What is drawn for one caption depends on its logits and its seed, never on what shares the batch. It
is what torch.multinomial draws for a single row after torch.manual_seed(seed), so the plain loop
over single pictures with transformers' `generate` gives the same captions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

_LIKELIEST = 256


class Draws:
    """One generator a sequence, on the CPU whatever the model runs on."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(self, logits: Tensor) -> Tensor:
        """(N,): the next token of each sequence.

        Args: logits: (N, V), where what is ruled out is -inf; one row a seed, in their order."""
        probabilities = logits.float().cpu().softmax(dim=-1)
        noise = torch.empty_like(probabilities)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        # Exponential races: as torch.multinomial draws one of a row.
        return (probabilities / noise).argmax(dim=-1).to(logits.device)


class DrawnToken(LogitsProcessor):
    """For `generate` without sampling: leaves only the token that was drawn."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        drawn = self._draws.draw(scores)
        alone = torch.full_like(scores, float("-inf"))
        return alone.scatter_(1, drawn[:, None], 0.0)


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """The logits with all but the likeliest tokens, which together reach `top_p`, at -inf.

    Looks at the likeliest few hundred first: to sort a whole vocabulary for each token takes longer
    than to read an image's caption on. Source: Holtzman et al. 2020."""
    if top_p >= 1:
        return logits
    some = min(_LIKELIEST, logits.shape[-1])
    total = logits.logsumexp(dim=-1, keepdim=True)
    best, tokens = logits.topk(some, dim=-1)
    reached = (best - total).exp().cumsum(dim=-1)
    if bool((reached[:, -1] < top_p).any()):
        best, tokens = logits.sort(dim=-1, descending=True)
        reached = (best - total).exp().cumsum(dim=-1)
    before = torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], dim=-1)
    alone = torch.full_like(logits, float("-inf"))
    return alone.scatter_(-1, tokens, best.masked_fill(before >= top_p, float("-inf")))
