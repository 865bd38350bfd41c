"""Load the models that a recipe names, by their backends."""

import hashlib
from collections import Counter

from schemas.errors import BadInputError
from transforms.capfilt.models import Captioner, Matcher
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy


def load_captioner(policy: CaptionerPolicy) -> Captioner:
    """Once for a process.

    Raises: BadInputError: there is no such model, its weights do not fit, a key is not set."""
    match policy.backend:
        case "blip":
            from transforms.capfilt.blip import load_blip_captioner  # slow to import

            return load_blip_captioner(policy)
        case "endpoint":
            from transforms.capfilt.endpoint import load_endpoint

            return load_endpoint(policy)
        case _:
            from transforms.capfilt.generate import load_generator

            return load_generator(policy)


def load_matcher(policy: ItmPolicy) -> Matcher:
    """Once for a process.

    Raises: BadInputError: there is no such model, or its weights do not fit."""
    if policy.backend == "blip":
        from transforms.capfilt.blip import load_blip_matcher  # slow to import

        return load_blip_matcher(policy)
    from transforms.capfilt.blip2_itm import load_blip2_matcher

    return load_blip2_matcher(policy)


def refuse_same_weights(captioner: Captioner, matcher: Matcher, named: str) -> None:
    """Weights are compared by their numbers: a copy under another name is no other model.

    Raises: BadInputError: over half of the filter's weights are the captioner's."""
    written, judging = (_matrices(getattr(model, "model", None)) for model in (captioner, matcher))
    shared = sum(size for digest, size in judging.items() if digest in written)
    if shared * 2 > judging.total() > 0:
        raise BadInputError(
            f"{named} have mostly the same weights, and would approve of their own captions: take"
            " two models."
        )


def _matrices(model: object) -> Counter[str]:
    """sha256 of each matrix of a model to its size; none of a server's."""
    import torch

    if not isinstance(model, torch.nn.Module):
        return Counter()
    found: Counter[str] = Counter()
    for weights in model.state_dict().values():
        if isinstance(weights, torch.Tensor) and weights.ndim > 1 and not weights.is_quantized:
            data = weights.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
            found[hashlib.sha256(data).hexdigest()] += weights.numel()
    return found
