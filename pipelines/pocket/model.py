"""The pocket CLIP itself: its shape, and the folder it lives in, which open_clip loads."""

import json
from pathlib import Path
from typing import Any, Protocol, cast

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipelines.pocket.tokenizer import EOS_ID, PAD_ID, save_tokenizer
from pipelines.pocket.views import VIEW_PX
from schemas.errors import BadInputError

MODEL_DIR = Path(__file__).parent / "clip"
IMAGE_PX = VIEW_PX
EMBED_DIM = 256
CONTEXT_LENGTH = 32
VOCAB_SIZE = 6144
MEAN, STD = (0.45, 0.45, 0.43), (0.27, 0.26, 0.28)  # of the training photographs, of 1

MODEL_CFG: dict[str, Any] = {
    "embed_dim": EMBED_DIM,
    "init_logit_bias": -8.0,
    "vision_cfg": {
        "timm_model_name": "fasternet_t0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "",  # its own last layer; FasterNet's width before it is not as timm says
        "image_size": IMAGE_PX,
    },
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": VOCAB_SIZE,
        "hf_tokenizer_name": "pocket",  # the model's own folder, for a model in a local folder
        "tokenizer_kwargs": {"clean": "whitespace"},
        "width": 192,
        "heads": 6,
        "layers": 2,
        "pool_type": "eos",
        "pad_id": PAD_ID,
        "eos_id": EOS_ID,
    },
}
PREPROCESS_CFG: dict[str, Any] = {
    "size": IMAGE_PX,
    "mode": "RGB",
    "mean": list(MEAN),
    "std": list(STD),
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


class TextTower(Protocol):
    """The parts of open_clip.CLIP that read a text."""

    token_embedding: torch.nn.Embedding
    positional_embedding: torch.Tensor
    transformer: torch.nn.Module
    ln_final: torch.nn.Module
    text_projection: torch.Tensor
    attn_mask: torch.Tensor


def build_model() -> open_clip.CLIP:
    """The model with fresh weights, as a start for training."""
    cfg = json.loads(json.dumps(MODEL_CFG))
    return open_clip.CLIP(**cfg)


def encode_texts(model: open_clip.CLIP, tokens: torch.Tensor, dropout: float = 0) -> torch.Tensor:
    """What model.encode_text gives, normalised, reading no further than the longest text.

    Args:    tokens: (N, L) with pads at the end. The mask is causal, so pads change nothing.
    Returns: (N, EMBED_DIM), of norm 1."""
    tower = cast(TextTower, model)
    end = (tokens == EOS_ID).int().argmax(dim=1)
    length = int(end.max()) + 1
    x = tower.token_embedding(tokens[:, :length]) + tower.positional_embedding[:length]
    x = F.dropout(x, dropout, training=dropout > 0)
    with sdpa_kernel(SDPBackend.MATH):  # on short texts its gradient is far the fastest on a CPU
        x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = F.dropout(tower.ln_final(x[torch.arange(len(x)), end]), dropout, training=dropout > 0)
    return F.normalize((x @ tower.text_projection).float(), dim=-1)


def save_model(model: open_clip.CLIP, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder that open_clip loads as `local-dir:`; the weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_tokenizer(tokenizer, folder, CONTEXT_LENGTH)
    weights = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    file = folder / "open_clip_model.safetensors"
    save_file(weights, file, metadata={"format": "pt"})
    file.chmod(0o644)


def load_model(folder: Path) -> tuple[open_clip.CLIP, Any, Any]:
    """The model in float32 for evaluation, its preprocessing, and its tokenizer.

    Raises: BadInputError: the folder holds no model."""
    if not (folder / "open_clip_config.json").is_file():
        raise BadInputError(f"{folder}: no model is there; train one first")
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    return cast(open_clip.CLIP, model.eval()), preprocess, open_clip.get_tokenizer(name)
