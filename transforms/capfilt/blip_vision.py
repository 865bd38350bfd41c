"""BLIP's vision model by fused attention: the same numbers but for rounding, in less time.

transformers computes BLIP's attention step by step, and writes each head's (P, P) weights to memory
twice; at 384 px that is 64 MB an image and layer in float32.
"""
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# To pyright, an item of a ModuleList is any Module.

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor
from transformers import BlipVisionModel
from transformers.models.blip.modeling_blip import BlipAttention

Sight = Callable[[BlipVisionModel, Tensor], Tensor]


def see(vision: BlipVisionModel, pixels: Tensor) -> Tensor:
    """(B, P, E), as the model's last_hidden_state. Args: pixels: (B, 3, px, px)."""
    x = vision.embeddings(pixels)
    for layer in vision.encoder.layers:
        x = x + _attend(layer.self_attn, layer.layer_norm1(x))
        x = x + layer.mlp(layer.layer_norm2(x))
    return vision.post_layernorm(x)


def _attend(attention: BlipAttention, x: Tensor) -> Tensor:
    shape = (*x.shape[:2], 3, attention.num_heads, attention.head_dim)
    queries, keys, values = attention.qkv(x).view(shape).permute(2, 0, 3, 1, 4)
    found = F.scaled_dot_product_attention(queries, keys, values)
    return attention.projection(found.transpose(1, 2).reshape(x.shape))
