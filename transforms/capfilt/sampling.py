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

    def draw(self, logits: Tensor, tokens: Tensor | None = None, words: int = 0) -> Tensor:
        """(N,): the next token of each sequence.

        Args: logits: (N, V), where what is ruled out is -inf; one row a seed, in their order.
            tokens, words: where `logits` are those of a few tokens only, (N, K): which, and of how
            many words. What is drawn is the same."""
        found = logits.float().cpu().softmax(dim=-1)
        noise = torch.empty(len(found), words or found.shape[1])
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        # Exponential races: as torch.multinomial draws one of a row.
        if tokens is None:
            return (found / noise).argmax(dim=-1).to(logits.device)
        places = (found / noise.gather(1, tokens.cpu())).argmax(dim=-1, keepdim=True)
        return tokens.gather(1, places.to(tokens.device))[:, 0]


class DrawnToken(LogitsProcessor):
    """For `generate`: leaves only the token that was drawn, whatever it would draw itself."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        drawn = self._draws.draw(scores)
        alone = torch.full_like(scores, float("-inf"))
        return alone.scatter_(1, drawn[:, None], 0.0)


def nucleus(logits: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens, which together reach `top_p`: (N, K) logits and tokens, likeliest
    first, those of a row with fewer at -inf.

    Looks at the likeliest few hundred first: to sort a whole vocabulary for each token takes longer
    than to read an image's caption on. Source: Holtzman et al. 2020."""
    total = logits.logsumexp(dim=-1, keepdim=True)
    best, tokens = logits.topk(min(_LIKELIEST, logits.shape[-1]), dim=-1)
    reached = (best - total).exp().cumsum(dim=-1)
    if bool((reached[:, -1] < top_p).any()):
        best, tokens = logits.sort(dim=-1, descending=True)
        reached = (best - total).exp().cumsum(dim=-1)
    before = torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], dim=-1)
    outside = before >= top_p if top_p < 1 else torch.zeros_like(before, dtype=torch.bool)
    return best.masked_fill(outside, float("-inf")), tokens
