"""The hashes of pictures, as columns: by these equal and similar ones are recognised."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from transforms.dedupe.pdq import BITS as PDQ_BITS
from transforms.dedupe.pdq import SIDE_PX as PDQ_SIDE_PX
from transforms.dedupe.pdq import pdq_grey, pdqs
from transforms.dedupe.phash import SIDE_PX, phashes, small_grey

IMAGE_HASH_SCHEMA = pa.schema(
    [
        ("pixels", pa.binary(32)),  # sha256 of width, height and all RGB pixels
        ("phash", pa.uint64()),
    ]
)
PDQ_SCHEMA = pa.schema([("hash", pa.binary(PDQ_BITS // 8))])


def image_hashes(images: Iterable[Image.Image]) -> pa.Table:
    """IMAGE_HASH_SCHEMA of each decoded RGB picture."""
    looked = [(pixels_sha256(image), small_grey(image)) for image in images]
    greys = _stacked([grey for _, grey in looked], SIDE_PX, np.uint8)
    columns = {"pixels": [sha256 for sha256, _ in looked], "phash": phashes(greys)}
    return pa.table(columns, IMAGE_HASH_SCHEMA)


def pdq_hashes(images: Iterable[Image.Image]) -> pa.Table:
    """PDQ_SCHEMA of each decoded RGB picture."""
    greys = _stacked([pdq_grey(image) for image in images], PDQ_SIDE_PX, np.float32)
    return pa.table({"hash": [words.astype(">u8").tobytes() for words in pdqs(greys)]}, PDQ_SCHEMA)


def pixels_sha256(image: Image.Image) -> bytes:
    """Of an RGB picture as it is decoded, whatever file it was in."""
    sha256 = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    sha256.update(np.asarray(image).data)
    return sha256.digest()


def _stacked(greys: list[Any], side_px: int, dtype: Any) -> Any:
    return np.stack(greys) if greys else np.zeros((0, side_px, side_px), dtype)
