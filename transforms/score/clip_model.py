"""A CLIP model by open_clip: any architecture and weights it knows, or a folder of its own kind."""

import functools
import hashlib
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydantic import BaseModel, Field
from safetensors import SafetensorError

from schemas.errors import BadInputError
from schemas.fingerprint import Json

F32 = npt.NDArray[np.float32]

LOCAL_DIR = "local-dir:"
# What open_clip may read from such a folder: configuration, weights, tokenizer.
MODEL_FILES = frozenset({".json", ".safetensors", ".bin", ".pth", ".txt", ".model"})
# What torch, pickle and safetensors raise of a file that is no checkpoint, and what open_clip
# raises of names, settings and shapes that do not fit.
NO_CHECKPOINT = (pickle.UnpicklingError, EOFError, StopIteration, AttributeError, SafetensorError)
NO_MODEL = (RuntimeError, OSError, ValueError, KeyError, TypeError, AssertionError)


class ClipPolicy(BaseModel, extra="forbid", frozen=True):
    """Which CLIP model scores, and how its batches are cut."""

    architecture: str = Field(
        ..., description="open_clip's name, e.g. ViT-B-32; `pocket`; or local-dir:FOLDER."
    )
    pretrained: str | None = Field(
        default=None,
        description="open_clip's tag, or a checkpoint file; needed unless a folder is given.",
    )
    batch_size: int = Field(
        default=64, ge=1, le=4096, description="Every batch is padded to this size."
    )
    threads: int = Field(
        default=1, ge=1, description="Torch threads of a worker; part of the numbers."
    )
    device: str = Field(default="cpu", description="torch's name of the device.")


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
        tensors = [self.preprocess(image) for image in images]
        blank = [torch.zeros_like(tensors[0])] * (self.policy.batch_size - len(images))
        batch = torch.stack(tensors + blank).to(self.policy.device)
        return _rows(self.model.encode_image(batch, normalize=True), len(images))  # pyright: ignore

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> F32:
        """(N, D) float32 of norm 1, N <= batch_size. A short batch is padded with empty texts."""
        tokens = self.tokenizer([*texts, *[""] * (self.policy.batch_size - len(texts))])
        return _rows(
            self.model.encode_text(tokens.to(self.policy.device), normalize=True),  # pyright: ignore
            len(texts),
        )


def model_identity(policy: ClipPolicy) -> Json:
    """What makes two models the same: names, and for weights on this disk their sha256.

    Where such weights lie, and on which device they run, is no part of it.
    """
    files = _weight_files(policy)
    settings = policy.model_dump(exclude={"device"})
    for name in ("architecture", "pretrained"):
        if files and Path(str(settings[name]).removeprefix(LOCAL_DIR)).exists():
            del settings[name]
    return {**settings, "sha256": {path.name: _digest(path) for path in files}}


@functools.lru_cache(maxsize=2)
def load_clip(policy: ClipPolicy) -> Clip:
    """Load the model once for a process, in evaluation mode and float32.

    Raises: BadInputError: unknown name or tag, weights that are missing or of another shape."""
    torch.set_num_threads(policy.threads)
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


def _rows(embeddings: torch.Tensor, count: int) -> F32:
    return embeddings[:count].float().cpu().numpy()


def _check_weights_named(policy: ClipPolicy) -> None:
    """open_clip gives random weights where none are named; a score of those means nothing."""
    if policy.pretrained is None and not policy.architecture.startswith((LOCAL_DIR, "hf-hub:")):
        raise BadInputError(
            f"The CLIP model {policy.architecture} has no weights: set `pretrained` to a tag"
            " of open_clip's or to a checkpoint file."
        )


def _weight_files(policy: ClipPolicy) -> list[Path]:
    if policy.architecture.startswith(LOCAL_DIR):
        folder = Path(policy.architecture.removeprefix(LOCAL_DIR))
        return sorted(p for p in folder.glob("*") if p.suffix in MODEL_FILES)
    path = Path(policy.pretrained or "")
    return [path] if path.is_file() else []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cannot_load(policy: ClipPolicy, err: Exception) -> str:
    name = " ".join(filter(None, (policy.architecture, policy.pretrained)))
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    why = next((line for line in lines if "size mismatch" in line), (lines or [repr(err)])[0])
    if isinstance(err, NO_CHECKPOINT):
        why = f"its file of weights is no checkpoint ({why.split('. ')[0]})"
    elif "loading state_dict" in str(err) or isinstance(err, AssertionError):
        why = f"its weights are of another shape or architecture ({why})"
    return f"The CLIP model {name} cannot be loaded: {why.rstrip('.')}."
