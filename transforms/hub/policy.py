"""Which model of transformers, how it is held and run, and its identity, without torch."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, StrictBool, StrictInt, model_validator

from schemas.fingerprint import Json, file_sha256, fingerprint

# What transformers may read from a model's folder: configuration, weights, tokenizer, templates.
MODEL_FILES = frozenset({".json", ".safetensors", ".bin", ".pth", ".txt", ".model", ".jinja"})
WEIGHTS = frozenset({".safetensors", ".bin", ".pth"})


class ModelPolicy(BaseModel, extra="forbid", frozen=True):
    """Weights, and how they are held and run."""

    model: str = Field(
        ...,
        min_length=1,
        description="A name on the model hub, a folder, or `pocket`, which ships with Pairmill.",
    )
    revision: str | None = Field(default=None, description="Of the hub's model; part of it.")
    batch_size: StrictInt = Field(default=8, ge=1, le=4096, description="Images in a batch.")
    threads: StrictInt = Field(
        default=1, ge=1, le=1024, description="Torch threads of a worker; part of the numbers."
    )
    device: str = Field(default="cpu", min_length=1, description="torch's name of the device.")
    precision: Literal["fp32", "bf16", "int8", "8bit", "4bit"] = Field(
        default="fp32",
        description="int8: dynamic, of linear layers on a CPU; 8bit and 4bit: bitsandbytes, on a"
        " GPU. Part of the numbers.",
    )
    compile: StrictBool = Field(default=False, description="torch.compile; slow to start.")
    trust_remote_code: StrictBool = Field(
        default=False, description="Run code that comes with a hub's model. Never on by itself."
    )

    @model_validator(mode="after")
    def _fits_device(self) -> Self:
        on_cpu = self.device.partition(":")[0] == "cpu"
        if self.precision == "int8" and not on_cpu:
            raise ValueError("precision int8 is for a CPU; on a GPU take 8bit or 4bit")
        if self.precision in ("8bit", "4bit") and on_cpu:
            raise ValueError(f"precision {self.precision} is for a GPU; on a CPU take int8")
        return self

    @property
    def served(self) -> bool:
        """Whether a server runs it: `model` is then a name of the server's."""
        return False


def model_folder(policy: ModelPolicy) -> Path | None:
    """The folder that a model is read from; None for a hub's name, and for a server's, whatever
    lies about here."""
    folder = Path(policy.model)
    return folder if folder.is_dir() and not policy.served else None


def model_files(policy: ModelPolicy) -> dict[str, Json] | None:
    """The sha256 of each file of a model's folder; None for a hub's name or a server's."""
    folder = model_folder(policy)
    if folder is None:
        return None
    endings = {*MODEL_FILES, ".py"} if policy.trust_remote_code else MODEL_FILES
    files = sorted(path for path in folder.glob("*") if path.suffix in endings)
    return {path.name: file_sha256(path) for path in files}


def model_digest(policy: ModelPolicy) -> str | None:
    """One sha256 over the files of a model's folder; none for a hub's name or a server's."""
    files = model_files(policy)
    return None if files is None else fingerprint(files)


def weight_digests(policy: ModelPolicy) -> frozenset[str]:
    """sha256 of each file of weights in a model's folder; none for a hub's name."""
    folder = model_folder(policy)
    if folder is None:
        return frozenset()
    return frozenset(file_sha256(path) for path in folder.glob("*") if path.suffix in WEIGHTS)
