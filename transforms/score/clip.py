"""The CLIP measure: embeddings of a shard's images and captions, and the cosine of each pair."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import torch

from schemas.texts import WEB
from transforms.score.ahead import ahead
from transforms.score.clip_model import F32, Clip
from transforms.score.policy import ClipPolicy
from transforms.shards.pool import PoolImages

_Slot = tuple[torch.Tensor, int, str]  # a batch's pixels, a place in it, and the key of its image


@dataclass(frozen=True, slots=True)
class ClipMeasure:
    """Scores with the embeddings they came from, in the same row order."""

    table: pa.Table  # uid, text, score
    images: F32  # (rows, D), norm 1
    texts: F32  # (rows, D), norm 1
    images_seen: int  # distinct images encoded


def clip_scores(images: F32, texts: F32) -> F32:
    """Cosine of paired CLIP embeddings, without the logit scale (Radford et al. 2021).

    Args:    images, texts: (N, D), norm 1.
    Returns: (N,), in [-1, 1]; not x100.
    Raises:  ValueError: the shapes differ."""
    if images.shape != texts.shape:
        raise ValueError(f"shapes differ: images {images.shape}, texts {texts.shape}")
    return np.einsum("nd,nd->n", images, texts)


def measure_clip(rows: pa.Table, images: PoolImages, clip: Clip) -> ClipMeasure:
    """Score each row's caption against its image. Rows of one image encode it once.

    Batches are cut in row order and padded to one size, so that a number does not depend on
    which worker computes it or when. The next batch is read and decoded by threads while the
    model is at work on the one before.
    """
    keys = rows["key"].to_pylist()
    distinct = list(dict.fromkeys(keys))
    places = {key: place for place, key in enumerate(distinct)}
    image_vectors = _embed_images(distinct, images, clip)[[places[key] for key in keys]]
    text_vectors = _embed_texts(rows["caption"].to_pylist(), clip)
    table = pa.table(
        {
            "uid": rows["uid"],
            "text": pa.array([WEB] * len(keys), pa.int32()),
            "score": pa.array(clip_scores(image_vectors, text_vectors), pa.float32()),
        }
    )
    return ClipMeasure(table, image_vectors, text_vectors, len(distinct))


def _embed_images(keys: Sequence[str], images: PoolImages, clip: Clip) -> F32:
    size = clip.policy.batch_size

    def slots() -> Iterator[_Slot]:
        for batch in _batches(keys, size):
            pixels = clip.new_batch()
            yield from ((pixels, place, key) for place, key in enumerate(batch))

    def fill(slot: _Slot) -> torch.Tensor:
        pixels, place, key = slot
        clip.pixels.fill(pixels[place], images.picture(key))
        return pixels

    with closing(ahead(fill, slots(), workers=_decoders(clip.policy), depth=size)) as filled:
        # Rows of one batch share its pixels: whole once the last of them is there.
        batches = (deque(islice(filled, len(b)), maxlen=1).pop() for b in _batches(keys, size))
        return _rows(map(clip.encode_pixels, batches), len(keys))


def _embed_texts(texts: Sequence[str], clip: Clip) -> F32:
    batches = _batches(texts, clip.policy.batch_size)
    with closing(ahead(clip.tokens, batches, workers=1, depth=1)) as tokens:
        return _rows(map(clip.encode_tokens, tokens), len(texts))


def _rows(batches: Iterator[torch.Tensor], count: int) -> F32:
    """The first `count` rows of all batches, which are all padded but for the last.

    One batch is waited for when the next is on its way, so that a GPU always has work.
    """
    found: list[F32] = []
    under_way: torch.Tensor | None = None
    for batch in batches:
        if under_way is not None:
            found.append(under_way.cpu().numpy())
        under_way = batch
    if under_way is None:
        return np.zeros((0, 1), np.float32)
    return np.concatenate([*found, under_way.cpu().numpy()])[:count]


def _decoders(policy: ClipPolicy) -> int:
    """Threads that decode: beside a GPU all cores; beside torch's own threads half as many."""
    if torch.device(policy.device).type == "cuda":
        return os.cpu_count() or 1
    return max(1, policy.threads // 2)


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
