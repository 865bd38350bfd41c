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
from transforms.score.pixels import Pixels, make_pixels
from transforms.score.policy import LOCAL_DIR, ClipPolicy

F32 = npt.NDArray[np.float32]

# What torch, pickle and safetensors raise of a file that is no checkpoint, and what open_clip
# raises of names, settings and shapes that do not fit.
NO_CHECKPOINT = (pickle.UnpicklingError, EOFError, StopIteration, AttributeError, SafetensorError)
NO_MODEL = (RuntimeError, OSError, ValueError, KeyError, TypeError, AssertionError)

# open_clip's names. Its other, mixed bf16 keeps LayerNorms in fp32: no nearer to fp32, and slower.
PRECISIONS = {"fp32": "fp32", "bf16": "pure_bf16"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A loaded model. Encoders take a whole batch and return rows of norm 1."""

    policy: ClipPolicy
    model: torch.nn.Module
    pixels: Pixels
    tokenizer: Callable[[Sequence[str]], torch.Tensor]

    def embed_images(self, images: Sequence[Image.Image]) -> F32:
        """(N, D) float32 of norm 1, N <= batch_size. A short batch is padded with blank pixels."""
        batch = self.new_batch()
        for row, image in zip(batch, images, strict=False):
            self.pixels.fill(row, image)
        return self.encode_pixels(batch).cpu().numpy()[: len(images)]

    def embed_texts(self, texts: Sequence[str]) -> F32:
        """(N, D) float32 of norm 1, N <= batch_size. A short batch is padded with empty texts."""
        return self.encode_tokens(self.tokens(texts)).cpu().numpy()[: len(texts)]

    def new_batch(self) -> torch.Tensor:
        """Blank pixels of a whole batch, where a GPU can copy them from while it computes."""
        return self.pixels.blank(self.policy.batch_size, pinned=self._on_gpu)

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """(batch_size, context length)."""
        return self.tokenizer([*texts, *[""] * (self.policy.batch_size - len(texts))])

    @torch.inference_mode()
    def encode_pixels(self, batch: torch.Tensor) -> torch.Tensor:
        """(batch_size, D) float32 of norm 1, on the model's device, perhaps not computed yet."""
        torch.set_num_threads(self.policy.threads)
        batch = batch.to(self.policy.device, non_blocking=True)
        if self._on_gpu:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return _normal(self.model.encode_image(batch, normalize=True))  # pyright: ignore

    @torch.inference_mode()
    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch_size, D) float32 of norm 1, as encode_pixels."""
        torch.set_num_threads(self.policy.threads)
        length = text_length(self.model, tokens)
        tokens = tokens.to(self.policy.device, non_blocking=True)
        return _normal(encode_texts(self.model, tokens, length))

    @property
    def _on_gpu(self) -> bool:
        return torch.device(self.policy.device).type == "cuda"


@functools.lru_cache(maxsize=2)
def load_clip(policy: ClipPolicy) -> Clip:
    """Load the model once for a process, in evaluation mode and the policy's precision.

    Raises: BadInputError: unknown name or tag, weights that are missing or of another shape."""
    _check_weights_named(policy)
    import open_clip  # slow to import, and only workers that score need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # open_clip's hints on activation names
            # Unlike create_model_and_transforms, it refuses to go on with random weights.
            model, preprocess = open_clip.create_model_from_pretrained(  # pyright: ignore
                policy.architecture,
                pretrained=policy.pretrained,
                device=policy.device,
                precision=PRECISIONS[policy.precision],
            )
            tokenizer = open_clip.get_tokenizer(policy.architecture)
    except (*NO_CHECKPOINT, *NO_MODEL) as err:
        raise BadInputError(_cannot_load(policy, err)) from err
    dtype = torch.bfloat16 if policy.precision == "bf16" else torch.float32
    parts: dict[str, Any] = {"pixels": make_pixels(preprocess, dtype), "tokenizer": tokenizer}
    return Clip(policy=policy, model=model.eval(), **parts)


def text_length(model: Any, tokens: torch.Tensor) -> int:
    """Tokens up to the end of the batch's longest text, where nothing after that is looked at.

    So it is where attention is causal and the end-of-text token is what is pooled. Other text
    towers need whole rows.
    """
    pools = getattr(model, "text_pool_type", None)
    if pools not in ("argmax", "eos") or getattr(model, "attn_mask", None) is None:
        return tokens.shape[1]
    ends = tokens == model.text_eos_id if pools == "eos" else tokens
    return int(ends.int().argmax(dim=-1).max()) + 1


def encode_texts(model: Any, tokens: torch.Tensor, length: int) -> torch.Tensor:
    """Embeddings of norm 1, computed on the first `length` tokens."""
    if length == tokens.shape[1]:
        return model.encode_text(tokens, normalize=True)
    cut = {
        "positional_embedding": model.positional_embedding[:length],
        "attn_mask": model.attn_mask[:length, :length],
    }
    words = {"text": tokens[:, :length]}
    found = torch.func.functional_call(model, cut, (), words)
    return found["text_features"] if isinstance(found, dict) else found[1]


def _normal(embeddings: torch.Tensor) -> torch.Tensor:
    """In float32; a norm that was divided by in bfloat16 is off by up to 0.4 %."""
    if embeddings.dtype == torch.float32:
        return embeddings
    return torch.nn.functional.normalize(embeddings.float(), dim=-1)


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
