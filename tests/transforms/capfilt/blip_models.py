"""Tiny BLIP models with seeded weights, saved as transformers saves them: for mechanics only."""

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    BlipProcessor,
)

WORDS = (
    *("a", "the", "red", "green", "blue", "cat", "dog", "ball", "box", "tree", "man"),
    *("sits", "runs", "on", "under", "near", "with", "and", "of"),
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
SIDE_PX = 32


def save_captioner(folder: Path, seed: int = 0) -> Path:
    """A captioner whose words depend on the picture."""
    torch.manual_seed(seed)
    return _save(BlipForConditionalGeneration(_config()), folder)


def save_itm(folder: Path, seed: int = 1) -> Path:
    """A filter whose answers depend on picture and text."""
    torch.manual_seed(seed)
    return _save(BlipForImageTextRetrieval(_config()), folder)


def _save(model: torch.nn.Module, folder: Path) -> Path:
    with torch.no_grad():  # small random weights answer all pictures alike
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.normal_(std=0.3)
    model.save_pretrained(str(folder))  # pyright: ignore
    words = {word: place for place, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = BertTokenizer(vocab=words, bos_token="[DEC]")
    images = BlipImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX})
    BlipProcessor(images, tokenizer).save_pretrained(str(folder))
    return folder


def _config() -> BlipConfig:
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    size["num_attention_heads"] = 4
    text = {
        **size,
        "vocab_size": len(SPECIAL) + len(WORDS),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 48,
        "bos_token_id": 5,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    vision = {**size, "image_size": SIDE_PX, "patch_size": 8, "initializer_range": 0.02}
    return BlipConfig(
        text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16
    )
