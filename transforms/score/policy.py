"""Which CLIP model scores: its settings and its identity, without torch."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, StrictInt

from schemas.fingerprint import Json, file_sha256

LOCAL_DIR = "local-dir:"
# What open_clip may read from such a folder: configuration, weights, tokenizer.
MODEL_FILES = frozenset({".json", ".safetensors", ".bin", ".pth", ".txt", ".model"})


class ClipPolicy(BaseModel, extra="forbid", frozen=True):
    """Which CLIP model scores, and how its batches are cut."""

    architecture: str = Field(
        ..., description="open_clip's name, e.g. ViT-B-32; `pocket`; or local-dir:FOLDER."
    )
    pretrained: str | None = Field(
        default=None,
        description="open_clip's tag, or a checkpoint file; needed unless a folder is given.",
    )
    batch_size: StrictInt = Field(
        default=64, ge=1, le=4096, description="Every batch is padded to this size."
    )
    threads: StrictInt = Field(
        default=1, ge=1, le=1024, description="Torch threads of a worker; part of the numbers."
    )
    device: str = Field(default="cpu", description="torch's name of the device.")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="Of weights and activations; bf16 is faster where the CPU or GPU computes in"
        " it, slower where not, and moves a score by up to about 0.003; part of the numbers.",
    )


def is_file(path: Path) -> bool:
    """Whether a file is there; no for what is too long to name one, as a tag may be."""
    try:
        return path.is_file()
    except OSError:
        return False


def model_identity(policy: ClipPolicy) -> Json:
    """What makes two models the same: names, and for weights on this disk their sha256.

    Where such weights lie, what a checkpoint is called, and on which device they run, is no part
    of it.
    """
    settings = policy.model_dump(exclude={"device"})
    if policy.precision == "fp32":
        del settings["precision"]  # what was measured before there was another stays measured
    if policy.architecture.startswith(LOCAL_DIR):
        folder = Path(settings.pop("architecture").removeprefix(LOCAL_DIR))
        files = sorted(path for path in folder.glob("*") if path.suffix in MODEL_FILES)
        return {**settings, "sha256": {path.name: file_sha256(path) for path in files}}
    checkpoint = Path(policy.pretrained or "")
    if is_file(checkpoint):
        settings["pretrained"] = file_sha256(checkpoint)
    return settings
