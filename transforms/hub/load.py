"""Loading that the models of transformers share: weights, processors, and how a call fails."""

import contextlib
import importlib.util
import json
import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging

from schemas.errors import BadInputError, RunFailedError
from transforms.hub.errors import ModelError, OutOfMemoryError
from transforms.hub.policy import ModelPolicy

# What transformers raises of names that lead nowhere and of settings and files that do not fit.
NO_MODEL = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError)
NO_WEIGHTS = (SafetensorError, pickle.UnpicklingError, EOFError, AssertionError)
# What the code of models and processors raises of pictures and texts that it cannot take.
FAULTS = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    OSError,
)
# Names of vision towers in transformers. Their shapes never change, so compiling them pays; the
# shapes of a decoder grow with every token.
TOWERS = ("vision_model", "vision_tower", "image_encoder", "visual")
ALLOCATOR = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


def load_model(kind: type[Any], policy: ModelPolicy) -> Any:
    """The policy's model in evaluation mode, on its device and in its precision.

    Weights come from safetensors where there are, else from torch.load that unpickles tensors only.

    Args:    kind: a model class of transformers, or one of its Auto classes.
    Raises:  BadInputError: nothing of that name, no weights for a part of the model, a device or a
        library that is not here."""
    _check_libraries(policy)
    # Else transformers asks a server of the hub's to convert weights that are no safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    with _quiet(), _loads(policy):
        model, info = kind.from_pretrained(
            _source(policy),
            revision=policy.revision or "main",
            trust_remote_code=policy.trust_remote_code,
            weights_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that _check_complete can name them
            dtype=torch.float32 if policy.precision in ("fp32", "int8") else torch.bfloat16,
            **_held(policy),
        )
        _check_complete(policy, info)
        model = model.eval().requires_grad_(False)
        if policy.precision not in ("8bit", "4bit"):  # these lie where they were loaded
            model = model.to(policy.device)
        if policy.precision == "int8":
            model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        if policy.compile:
            _compile_towers(model)
    return model


def load_processor(policy: ModelPolicy) -> Any:
    """What turns pictures and prompts into the model's inputs, from the model's own folder.

    Raises: BadInputError: nothing of that name, or files that do not fit."""
    with _quiet(), _loads(policy):
        return transformers.AutoProcessor.from_pretrained(
            _source(policy),
            revision=policy.revision or "main",
            trust_remote_code=policy.trust_remote_code,
        )


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Around a call of a model: whatever it raises becomes a ModelError.

    Raises: OutOfMemoryError, ModelError; RunFailedError: the GPU answers no more here."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as err:
        raise OutOfMemoryError(f"The batch does not fit in memory: {first_line(err)}.") from err
    except torch.AcceleratorError as err:
        raise RunFailedError(
            f"The GPU failed ({first_line(err)}); the same command goes on where the run stood."
        ) from err
    except FAULTS as err:
        if any(words in str(err) for words in ALLOCATOR):
            raise OutOfMemoryError(f"The batch does not fit in memory: {first_line(err)}.") from err
        kind = type(err).__name__
        raise ModelError(f"The model failed with {kind}: {first_line(err)}.") from err


def first_line(err: BaseException) -> str:
    """What an error says first, without its full stop, for use inside a sentence."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return (lines or [type(err).__name__])[0][:300].rstrip(".")


def vision_towers(model: nn.Module) -> list[nn.Module]:
    """The outermost modules that see pixels, by their names in transformers."""
    named = [(name, part) for name, part in model.named_modules() if _is_tower(name)]
    return [
        part
        for name, part in named
        if not any(name.startswith(f"{other}.") for other, _ in named if other != name)
    ]


def _is_tower(name: str) -> bool:
    return name.rpartition(".")[2] in TOWERS


def _compile_towers(model: nn.Module) -> None:
    for tower in vision_towers(model) or [model]:
        # Its forward alone: what a compiled call does with hooks is settled when it is traced.
        tower.forward = torch.compile(tower.forward)


def _source(policy: ModelPolicy) -> str:
    """A folder, or a name that may be on the hub: NAME or OWNER/NAME."""
    name = policy.model
    if Path(name).is_dir():
        if not Path(name, "config.json").is_file():  # transformers would go by its defaults
            raise BadInputError(f"The folder {name} holds no model: it has no config.json.")
        return name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise BadInputError(f"There is no folder {name} to load a model from.")
    return name


def _held(policy: ModelPolicy) -> dict[str, Any]:
    """How from_pretrained is to quantise, if so."""
    if policy.precision not in ("8bit", "4bit"):
        return {}
    if policy.precision == "8bit":
        config = transformers.BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return {"quantization_config": config, "device_map": {"": policy.device}}


def _check_libraries(policy: ModelPolicy) -> None:
    if policy.precision not in ("8bit", "4bit"):
        return
    for name in ("bitsandbytes", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise BadInputError(
                f"Precision {policy.precision} needs {name}, which is not installed:"
                " pip install bitsandbytes accelerate."
            )


def _check_complete(policy: ModelPolicy, info: dict[str, Any]) -> None:
    """transformers fills what a checkpoint lacks with random numbers; a caption of those means
    nothing. Tied weights are not among the missing."""
    missing = set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}
    if missing:
        name, more = min(missing), len(missing) - 1
        raise BadInputError(
            f"The weights of the model {policy.model} do not fit its architecture: {name}"
            f"{f' and {more} more' if more else ''} are missing or of another shape."
        )


@contextlib.contextmanager
def _loads(policy: ModelPolicy) -> Iterator[None]:
    """Turn what loading may raise into one sentence that names the model."""
    try:
        yield
    except json.JSONDecodeError as err:
        raise BadInputError(_cannot_load(policy, f"a file of it is no JSON ({err})")) from err
    except NO_WEIGHTS as err:
        why = f"its file of weights is no checkpoint ({first_line(err)})"
        raise BadInputError(_cannot_load(policy, why)) from err
    except (torch.OutOfMemoryError, MemoryError) as err:
        raise BadInputError(
            _cannot_load(policy, f"it does not fit in the memory of {policy.device}")
        ) from err
    except NO_MODEL as err:
        raise BadInputError(_cannot_load(policy, _why(policy, err))) from err


def _why(policy: ModelPolicy, err: Exception) -> str:
    if "trust_remote_code" in str(err):
        return "it brings code of its own, which runs only with `trust_remote_code: true`"
    if isinstance(err, OSError) and not Path(policy.model).is_dir():
        return "it is no folder here, and the model hub did not give it"
    if "weights_only" in str(err) or "WeightsUnpickler" in str(err):
        return "its file of weights holds more than weights, and no code of a file is run"
    return first_line(err)


def _cannot_load(policy: ModelPolicy, why: str) -> str:
    return f"The model {policy.model} cannot be loaded: {why.rstrip('.')}."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, reports and hints, and libraries' deprecations."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
