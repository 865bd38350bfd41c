"""A CLIP model by open_clip: any architecture and weights it knows, or a folder of its own kind."""

import functools
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors import SafetensorError

from schemas.errors import BadInputError
from transforms.score.policy import LOCAL_DIR, ClipPolicy

F32 = npt.NDArray[np.float32]

# What torch, pickle and safetensors raise of a file that is no checkpoint, and what open_clip
# raises of names, settings and shapes that do not fit.
NO_CHECKPOINT = (pickle.UnpicklingError, EOFError, StopIteration, AttributeError, SafetensorError)
NO_MODEL = (RuntimeError, OSError, ValueError, KeyError, TypeError, AssertionError)


@dataclass(frozen=True, slots=True)
class Clip:
    """A loaded model. Encoders take a whole batch and return rows of norm 1."""

    policy: ClipPolicy
    model: torch.nn.Module
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenizer: Callable[[Sequence[str]], torch.Tensor]

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image.Image]) -> F32:
        """(N, D) float32 of norm 1, N <= batch_size. A short batch is padded with blank pixels."""
        torch.set_num_threads(self.policy.threads)
        tensors = [self.preprocess(image) for image in images]
        blank = [torch.zeros_like(tensors[0])] * (self.policy.batch_size - len(images))
        batch = torch.stack(tensors + blank).to(self.policy.device)
        return _rows(self.model.encode_image(batch, normalize=True), len(images))  # pyright: ignore

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> F32:
        """(N, D) float32 of norm 1, N <= batch_size. A short batch is padded with empty texts."""
        torch.set_num_threads(self.policy.threads)
        tokens = self.tokenizer([*texts, *[""] * (self.policy.batch_size - len(texts))])
        return _rows(_encode_texts(self.model, tokens.to(self.policy.device)), len(texts))


@functools.lru_cache(maxsize=2)
def load_clip(policy: ClipPolicy) -> Clip:
    """Load the model once for a process, in evaluation mode and float32.

    Raises: BadInputError: unknown name or tag, weights that are missing or of another shape."""
    _check_weights_named(policy)
    import open_clip  # slow to import, and only workers that score need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # open_clip's hints on activation names
            # Unlike create_model_and_transforms, it refuses to go on with random weights.
            model, preprocess = open_clip.create_model_from_pretrained(  # pyright: ignore
                policy.architecture, pretrained=policy.pretrained, device=policy.device
            )
            tokenizer = open_clip.get_tokenizer(policy.architecture)
    except (*NO_CHECKPOINT, *NO_MODEL) as err:
        raise BadInputError(_cannot_load(policy, err)) from err
    parts: dict[str, Any] = {"preprocess": preprocess, "tokenizer": tokenizer}
    return Clip(policy=policy, model=model.eval(), **parts)


def _encode_texts(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Embeddings of norm 1, computed on tokens cut to the batch's longest text.

    Exact where attention is causal and the end-of-text token is what is pooled: nothing that
    follows it is looked at. Other text towers get whole rows.
    """
    pools = getattr(model, "text_pool_type", None)
    if pools not in ("argmax", "eos") or getattr(model, "attn_mask", None) is None:
        return model.encode_text(tokens, normalize=True)
    ends = tokens == model.text_eos_id if pools == "eos" else tokens
    length = int(ends.int().argmax(dim=-1).max()) + 1
    cut = {
        "positional_embedding": model.positional_embedding[:length],
        "attn_mask": model.attn_mask[:length, :length],
    }
    words = {"text": tokens[:, :length]}
    found = torch.func.functional_call(model, cut, (), words)
    return found["text_features"] if isinstance(found, dict) else found[1]


def _rows(embeddings: torch.Tensor, count: int) -> F32:
    return embeddings[:count].float().cpu().numpy()


def _check_weights_named(policy: ClipPolicy) -> None:
    """open_clip gives random weights where none are named; a score of those means nothing."""
    if policy.pretrained is None and not policy.architecture.startswith((LOCAL_DIR, "hf-hub:")):
        raise BadInputError(
            f"The CLIP model {policy.architecture} has no weights: set `pretrained` to a tag"
            " of open_clip's or to a checkpoint file."
        )


def _cannot_load(policy: ClipPolicy, err: Exception) -> str:
    name = " ".join(filter(None, (policy.architecture, policy.pretrained)))
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    why = next((line for line in lines if "size mismatch" in line), (lines or [repr(err)])[0])
    if isinstance(err, NO_CHECKPOINT):
        why = f"its file of weights is no checkpoint ({why.split('. ')[0]})"
    elif "loading state_dict" in str(err) or isinstance(err, AssertionError):
        why = f"its weights are of another shape or architecture ({why})"
    return f"The CLIP model {name} cannot be loaded: {why.rstrip('.')}."
