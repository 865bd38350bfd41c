"""Load the models that a recipe names, by their backends."""

import functools
import math
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from schemas.errors import BadInputError
from transforms.capfilt.models import Captioner, Matcher
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy
from transforms.hub.policy import ModelPolicy, model_digest

if TYPE_CHECKING:
    import torch

Policy = TypeVar("Policy", bound=ModelPolicy)
_COMPARED = 64  # numbers of each matrix: that many alike are no chance


@functools.lru_cache(maxsize=2)
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


@functools.lru_cache(maxsize=2)
def load_matcher(policy: ItmPolicy) -> Matcher:
    """Once for a process.

    Raises: BadInputError: there is no such model, or its weights do not fit."""
    if policy.backend == "blip":
        from transforms.capfilt.blip import load_blip_matcher  # slow to import

        return load_blip_matcher(policy)
    from transforms.capfilt.blip2_itm import load_blip2_matcher

    return load_blip2_matcher(policy)


def forget_models() -> None:
    """Let go of what was loaded here: workers load their own."""
    load_captioner.cache_clear()
    load_matcher.cache_clear()


def weights_of(policy: CaptionerPolicy, captioner: Captioner) -> str | None:
    """What tells the weights: of a folder a digest of its files, of a hub's model its commit, of a
    server's nothing."""
    config = getattr(getattr(captioner, "model", None), "config", None)
    return model_digest(policy) or getattr(config, "_commit_hash", None)


def unpacked(policy: Policy) -> Policy:
    """The same model with weights that are numbers, to be compared: int8 packs them."""
    return policy.model_copy(update={"precision": "fp32"} if policy.precision == "int8" else {})


def refuse_same_weights(captioner: Captioner, matcher: Matcher, named: str) -> None:
    """Weights are compared by their numbers: a copy under another name, or in another precision,
    is no other model. What is packed (see `unpacked`; bitsandbytes' too) is not looked into.
    Vision towers do not count: all of BLIP-2's models have one that is frozen.

    Raises: BadInputError: over half of the filter's other weights are the captioner's."""
    written, judging = (_matrices(getattr(model, "model", None)) for model in (captioner, matcher))
    shared = sum(one.size for one in judging if any(_same(one, other) for other in written))
    if shared * 2 > sum(one.size for one in judging) > 0:
        raise BadInputError(
            f"{named} have mostly the same weights, and would approve of their own captions: take"
            " two models."
        )


class _Matrix(NamedTuple):
    """By these numbers a matrix is known again."""

    shape: tuple[int, ...]
    size: int
    some: tuple[float, ...]


def _same(a: _Matrix, b: _Matrix) -> bool:
    close = (
        math.isclose(x, y, rel_tol=0.02, abs_tol=1e-4) for x, y in zip(a.some, b.some, strict=False)
    )
    return a.shape == b.shape and len({*a.some}) > 1 and all(close)


def _matrices(model: object) -> list[_Matrix]:
    """The matrices of a model beside its vision tower's; none of a server's."""
    import torch

    from transforms.hub.load import TOWERS

    if not isinstance(model, torch.nn.Module):
        return []
    return [
        _Matrix(tuple(weights.shape), weights.numel(), tuple(_some(weights)))
        for name, weights in model.state_dict().items()
        if isinstance(weights, torch.Tensor) and weights.ndim > 1 and not weights.is_quantized
        if not {*TOWERS} & {*name.split(".")}
    ]


def _some(weights: "torch.Tensor") -> list[float]:
    """Numbers from all over a matrix: a first row is often a pad's, which is 0 in any model."""
    flat = weights.detach().flatten()
    return flat[:: max(1, len(flat) // _COMPARED)][:_COMPARED].float().cpu().tolist()
