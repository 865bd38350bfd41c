"""The 64-bit perceptual hash (pHash) whose value equals that of imagehash's `phash`.

A picture is reduced to 32 x 32 grey pixels, then to its 8 x 8 lowest frequencies; each bit says
whether one of these is above their median. Source: Zauner 2010; imagehash 4.3.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.fft
from PIL import Image

from transforms.dedupe.lanczos import Grey, luma_of, reduced

SIDE_PX, FREQUENCIES = 32, 8
BITS = FREQUENCIES**2
U64 = npt.NDArray[np.uint64]


def small_grey(image: Image.Image) -> Grey:
    """(32, 32): all of a picture that its hash is made of."""
    return reduced(luma(image), SIDE_PX)


def luma(image: Image.Image) -> Grey:
    """(height, width): what Pillow's `convert("L")` gives; of RGB without a copy of the pixels."""
    if image.mode == "RGB":
        try:
            words = np.frombuffer(pa.array(image).buffers()[-1], np.uint32)
        except ValueError:  # larger than one block of Pillow's memory
            return np.asarray(image.convert("L"))
        return luma_of(words).reshape(image.height, image.width)
    return np.asarray(image.convert("L"))


def phashes(greys: npt.NDArray[np.uint8]) -> U64:
    """(N,): the hash of each small picture, its first bit the highest.

    Args:   greys: (N, 32, 32).
    Raises: ValueError: another shape."""
    if greys.ndim != 3 or greys.shape[1:] != (SIDE_PX, SIDE_PX):
        raise ValueError(f"pictures of {SIDE_PX} x {SIDE_PX} wanted, not of shape {greys.shape}")
    lines = np.asarray(scipy.fft.dct(greys.astype(np.float64), axis=1))[:, :FREQUENCIES]
    waves = np.asarray(scipy.fft.dct(lines, axis=2))[:, :, :FREQUENCIES]
    lowest = waves.reshape(-1, BITS)
    return packed(lowest > np.median(lowest, axis=1, keepdims=True))[:, 0]


def packed(bits: npt.NDArray[np.bool_]) -> U64:
    """(N, W): rows of 64 * W bits as whole numbers, the first bit the highest."""
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64)
