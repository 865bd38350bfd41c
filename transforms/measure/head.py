"""Linear heads on CLIP image embeddings, as LAION's aesthetic models are.

A file holds one linear layer ({"weight": (K, D), "bias": (K,)}), or several that follow each
other with nothing but dropout between (LAION's improved aesthetic predictor: layers.0.weight,
layers.2.weight, ...); those are one linear map, and are multiplied out. A state dict does not say
what lies between its layers, so whoever names such a file must: LAION's NSFW heads have
activations there, and are not linear.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from schemas.errors import BadInputError
from schemas.fingerprint import Json, file_sha256
from transforms.measure.policy import HeadPolicy

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Activation = Literal["none", "sigmoid", "softmax"]
Between = Literal["nothing"]
Layer = tuple[F64, F64]  # weight (K, D), bias (K,)

# What torch, safetensors and pickle raise of a file that holds something else, or is cut short.
_NO_WEIGHTS = (
    pickle.UnpicklingError,
    SafetensorError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One linear map: vectors (N, D) @ weight.T + bias."""

    file: Path
    weight: F32  # (K, D), finite
    bias: F32  # (K,), finite


def load_head(file: Path, between: Between | None = None) -> Head:
    """Read a head from .safetensors, .pth or .pt; no code in the file is ever run.

    Raises: BadInputError: no such file, not weights alone, no chain of finite linear layers, or
        several of them and nothing said of what lies `between`.
    """
    layers = _layers(_tensors(file), file)
    if len(layers) > 1 and between is None:
        raise BadInputError(
            f"The head {file} has {len(layers)} layers: say `between: nothing` if no activation"
            " lies between them; with one it is not linear."
        )
    weight, bias = layers[0]
    # A width that overflows is told below as not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        for next_weight, next_bias in layers[1:]:
            if next_weight.shape[1] != len(weight):
                sizes = f"{len(weight)} numbers to a layer that takes {next_weight.shape[1]}"
                raise BadInputError(f"The head {file} has layers that do not fit: {sizes}.")
            weight, bias = next_weight @ weight, next_weight @ bias + next_bias
        head = Head(file, weight.astype(np.float32), bias.astype(np.float32))
    if not (np.isfinite(head.weight).all() and np.isfinite(head.bias).all()):
        raise BadInputError(f"The head {file} has weights that are not finite numbers.")
    return head


def apply_head(
    head: Head, vectors: npt.NDArray[np.float16] | F32, activation: Activation = "none"
) -> F32:
    """(N,) float32 of embeddings (N, D), which are brought to norm 1 first (fp16 is rounded).

    `none` and `sigmoid` need a head of one output; `softmax` one of several, and gives the last.
    Raises: BadInputError: the head takes vectors of another length, or has other outputs.
    """
    outputs, width = head.weight.shape
    if vectors.shape[1] != width:
        sizes = f"takes vectors of {width} numbers, and the CLIP model gives {vectors.shape[1]}"
        raise BadInputError(f"The head {head.file} {sizes}.")
    if (outputs > 1) != (activation == "softmax"):
        raise BadInputError(f"The head {head.file} has {outputs} outputs: not for {activation!r}.")
    rows = vectors.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    # In float64, so that a row's value does not change with the rows it is multiplied with.
    logits = rows.astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
    return _activated(logits, activation).astype(np.float32)


def head_identity(policy: HeadPolicy) -> Json:
    """What makes two heads the same: the file's bytes and what follows the last layer.

    Raises: BadInputError: the file cannot be read.
    """
    try:
        return {"sha256": file_sha256(policy.file), "activation": policy.activation}
    except (OSError, ValueError) as error:
        raise BadInputError(f"The head {policy.file} cannot be read: {error}.") from error


def _activated(logits: F64, activation: Activation) -> F64:
    if activation == "softmax":
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return shifted[:, -1] / shifted.sum(axis=1)
    # exp of a log: neither overflows, and small values keep their digits.
    return np.exp(-np.logaddexp(0, -logits[:, 0])) if activation == "sigmoid" else logits[:, 0]


def _tensors(file: Path) -> dict[str, F64]:
    """Every tensor of the file by its name, in float64."""
    kind = file.suffix.lower()
    if kind not in {".safetensors", ".pth", ".pt"}:
        raise BadInputError(f"The head {file} is neither a .safetensors nor a .pth or .pt file.")
    if not file.is_file():
        raise BadInputError(f"The head {file} is no file.")
    try:
        return _read_safetensors(file) if kind == ".safetensors" else _read_torch(file)
    except _NO_WEIGHTS as error:
        # torch's own message advises to load such a file with its code: not repeated here.
        raise BadInputError(f"The head {file} holds no state dict of weights alone.") from error


def _read_safetensors(file: Path) -> dict[str, F64]:
    import safetensors.torch  # numpy has no bfloat16

    return _as_float64(safetensors.torch.load_file(file))


def _read_torch(file: Path) -> dict[str, F64]:
    import torch  # slow to import

    with warnings.catch_warnings():
        # torch warns of old pickles and sparse tensors; what cannot be used is refused below.
        warnings.simplefilter("ignore")
        return _as_float64(torch.load(file, map_location="cpu", weights_only=True))


def _as_float64(tensors: Mapping[str, Any]) -> dict[str, F64]:
    """Raises: TypeError, AttributeError: not a mapping from names to tensors of real numbers."""
    found: dict[str, F64] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(f"{name} is not of real numbers")
        found[name] = tensor.detach().double().numpy()
    return found


def _layers(tensors: Mapping[str, F64], file: Path) -> list[Layer]:
    """The linear layers in the order of the numbers in their names."""
    names = [name.removesuffix("weight") for name in tensors if name.endswith("weight")]
    bare = {re.sub(r"\d+", "#", name) for name in names}
    rest = tensors.keys() - {f"{name}{end}" for name in names for end in ("weight", "bias")}
    if not names or rest or len(bare) > 1:
        why = f"and {min(rest)}" if rest else "in an order that their names tell"
        raise BadInputError(f"The head {file} is not made of linear layers {why}.")
    return [_layer(tensors, name, file) for name in sorted(names, key=_numbers)]


def _layer(tensors: Mapping[str, F64], name: str, file: Path) -> Layer:
    weight = tensors[f"{name}weight"]
    if weight.ndim != 2 or 0 in weight.shape:
        shape = f"{name}weight is of shape {weight.shape}"
        raise BadInputError(f"The head {file} is not linear: {shape}, not (outputs, inputs).")
    bias = tensors.get(f"{name}bias", np.zeros(len(weight)))
    if bias.shape != (len(weight),):
        shapes = f"{name}bias is of shape {bias.shape}, its weight of {weight.shape}"
        raise BadInputError(f"The head {file} has layers that do not fit: {shapes}.")
    return weight, bias


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]
