"""The CLIP measure: embeddings of a shard's images and captions, and the cosine of each pair."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from transforms.score.clip_model import F32, Clip
from transforms.shards.pool import PoolImages

WEB_TEXT = 0  # number of the web caption among a row's texts


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
    which worker computes it or when.
    """
    keys = rows["key"].to_pylist()
    distinct = list(dict.fromkeys(keys))
    size = clip.policy.batch_size
    vectors = [
        clip.embed_images([_decode(images, key) for key in batch])
        for batch in _batches(distinct, size)
    ]
    places = {key: place for place, key in enumerate(distinct)}
    image_vectors = _stack(vectors)[[places[key] for key in keys]]
    captions = rows["caption"].to_pylist()
    text_vectors = _stack([clip.embed_texts(batch) for batch in _batches(captions, size)])
    table = pa.table(
        {
            "uid": rows["uid"],
            "text": pa.array([WEB_TEXT] * len(keys), pa.int32()),
            "score": pa.array(clip_scores(image_vectors, text_vectors), pa.float32()),
        }
    )
    return ClipMeasure(table, image_vectors, text_vectors, len(distinct))


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _stack(batches: list[F32]) -> F32:
    return np.concatenate(batches) if batches else np.zeros((0, 1), np.float32)


def _decode(images: PoolImages, key: str) -> Image.Image:
    """An image that fetch could decode; where that fails now, the pool's bytes have changed."""
    try:
        return Image.open(io.BytesIO(images.read(key)[1])).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as err:
        raise images.broken(f"its image {key} is damaged") from err
