"""The shape of the pocket captioner and the pocket ITM: transformers' own BLIP classes, small."""

from typing import Any

from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipVisionConfig,
)

from pipelines.pocket.views import VIEW_PX

PATCH_PX = 16
SIDE = VIEW_PX // PATCH_PX  # patches along each side of a picture
WIDTH = 192  # of both towers
MAX_TOKENS = 40
VOCAB_SIZE = 3000
PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
DECODE = "[DEC]"  # what a caption starts with, as BLIP's captioners have it
SPECIAL = (PAD, UNKNOWN, START, END, MASK, DECODE)  # in the order of their ids

_VISION: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "image_size": VIEW_PX,
    "patch_size": PATCH_PX,
    "initializer_range": 0.02,
}
_TEXT: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": WIDTH,
    "encoder_hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": MAX_TOKENS,
    "pad_token_id": SPECIAL.index(PAD),
    "bos_token_id": SPECIAL.index(DECODE),
    "sep_token_id": SPECIAL.index(END),
    "eos_token_id": SPECIAL.index(END),
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}


def vision_config() -> BlipVisionConfig:
    """Of the image tower alone."""
    return BlipVisionConfig(**_VISION)


def config() -> BlipConfig:
    """Of both models; the captioner's text part decodes, the ITM's encodes."""
    return BlipConfig(
        text_config=dict(_TEXT),
        vision_config=dict(_VISION),
        projection_dim=WIDTH,
        image_text_hidden_size=WIDTH,
    )


def build_captioner() -> BlipForConditionalGeneration:
    """With fresh weights, as a start for training."""
    return BlipForConditionalGeneration(config())


def build_itm() -> BlipForImageTextRetrieval:
    """With fresh weights, as a start for training."""
    return BlipForImageTextRetrieval(config())
