"""BLIP's text decoder where all captions of one image share the image's keys and values.

transformers' `generate` repeats the image's tokens for each caption, and projects them to keys and
values anew for each. Here they are projected once an image; its N captions are N queries of one
attention over them, which is the same sum in another order.
"""
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# To pyright, an item of a ModuleList is any Module.

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.blip.modeling_blip_text import (
    BlipTextAttention,
    BlipTextLMHeadModel,
    BlipTextSelfAttention,
)

KeysValues = tuple[Tensor, Tensor]


@dataclass
class Reading:
    """How far B x N captions of B images have come."""

    pictures: list[KeysValues]  # a layer: (B, heads, P, d) twice
    words: list[KeysValues]  # a layer: (B * N, heads, most tokens, d) twice, filled up to `length`
    length: int = 0


def start_reading(decoder: BlipTextLMHeadModel, seen: Tensor, captions: int, most: int) -> Reading:
    """Make room for N captions of up to `most` tokens for each image.

    Args: seen: (B, P, E), what the vision model gave."""
    pictures, words = [], []
    for layer in decoder.bert.encoder.layer:
        attention = layer.crossattention.self
        pictures.append(
            (_heads(attention, attention.key, seen), _heads(attention, attention.value, seen))
        )
        room = (
            len(seen) * captions,
            attention.num_attention_heads,
            most,
            attention.attention_head_size,
        )
        words.append((seen.new_empty(room), seen.new_empty(room)))
    return Reading(pictures, words)


def read_on(decoder: BlipTextLMHeadModel, reading: Reading, tokens: Tensor) -> Tensor:
    """(B * N, V): logits of each caption's next token, after one more token of each.

    Args: tokens: (B * N,), image by image."""
    at = reading.length
    x = decoder.bert.embeddings(tokens[:, None], past_key_values_length=at)
    for place, layer in enumerate(decoder.bert.encoder.layer):
        x = _look_back(layer.attention, reading.words[place], at, x)
        x = _look_at_picture(layer.crossattention, reading.pictures[place], x)
        x = layer.feed_forward_chunk(x)
    reading.length = at + 1
    return decoder.cls(x)[:, 0]


def _look_back(attention: BlipTextAttention, words: KeysValues, at: int, x: Tensor) -> Tensor:
    own = attention.self
    for room, project in zip(words, (own.key, own.value), strict=True):
        room[:, :, at] = _heads(own, project, x)[:, :, 0]
    keys, values = (room[:, :, : at + 1] for room in words)
    found = F.scaled_dot_product_attention(_heads(own, own.query, x), keys, values)
    return attention.output(found.flatten(1)[:, None], x)


def _look_at_picture(attention: BlipTextAttention, picture: KeysValues, x: Tensor) -> Tensor:
    own, (keys, values) = attention.self, picture
    queries = own.query(x).view(len(keys), -1, own.num_attention_heads, own.attention_head_size)
    found = F.scaled_dot_product_attention(queries.transpose(1, 2), keys, values)  # (B, h, N, d)
    return attention.output(found.transpose(1, 2).reshape(x.shape), x)


def _heads(attention: BlipTextSelfAttention, project: torch.nn.Module, x: Tensor) -> Tensor:
    """(B, T, E) to (B, heads, T, d)."""
    shape = (*x.shape[:2], attention.num_attention_heads, attention.attention_head_size)
    return project(x).view(shape).transpose(1, 2)
