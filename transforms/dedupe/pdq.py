"""PDQ, the 256-bit perceptual hash of ThreatExchange.

Luma is smoothed by two passes of a box filter along each axis (Jarosz), 64 x 64 of its pixels are
taken, and of their 16 x 16 lowest frequencies but the zeroth each bit says whether one is above
their median. Source: Davis and Rosen, "The TMK+PDQF video-hashing algorithm and the PDQ
image-hashing algorithm", 2019.
"""

import functools
import math

import numba
import numpy as np
import numpy.typing as npt
from PIL import Image

from transforms.dedupe.phash import U64, packed

SIDE_PX, FREQUENCIES, PASSES = 64, 16, 2
MOST_SIDE_PX = 512  # larger pictures are reduced to this first, as PDQ's own tools do
BITS = FREQUENCIES**2
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
F32 = npt.NDArray[np.float32]


def pdq_grey(image: Image.Image) -> F32:
    """(64, 64): all of an RGB picture that its hash is made of."""
    small = image
    if max(image.size) > MOST_SIDE_PX:
        small = image.resize(
            (min(image.width, MOST_SIDE_PX), min(image.height, MOST_SIDE_PX)),
            Image.Resampling.BOX,
        )
    luma = np.asarray(small, np.float32) @ LUMA
    for _ in range(PASSES):
        luma = _smooth(luma)
    rows, columns = (
        ((np.arange(SIDE_PX) + 0.5) * length / SIDE_PX).astype(int) for length in luma.shape
    )
    return luma[np.ix_(rows, columns)]


def pdqs(greys: F32) -> U64:
    """(N, 4): the hash of each small picture.

    Args:   greys: (N, 64, 64).
    Raises: ValueError: another shape."""
    if greys.ndim != 3 or greys.shape[1:] != (SIDE_PX, SIDE_PX):
        raise ValueError(f"pictures of {SIDE_PX} x {SIDE_PX} wanted, not of shape {greys.shape}")
    waves = _waves()
    lowest = (waves @ greys @ waves.T).reshape(-1, BITS)
    middle = np.partition(lowest, BITS // 2 - 1, axis=1)[:, BITS // 2 - 1 : BITS // 2]
    return packed((lowest > middle)[:, ::-1])  # PDQ writes its first bit last


@functools.cache
def _waves() -> F32:
    """(16, 64): the cosines of the DCT of 64 points, but the zeroth."""
    numbers, places = np.arange(1, FREQUENCIES + 1), 2 * np.arange(SIDE_PX) + 1
    scale = math.sqrt(2 / SIDE_PX)
    return (scale * np.cos(np.pi / 2 / SIDE_PX * np.outer(numbers, places))).astype(np.float32)


def _smooth(luma: F32) -> F32:
    """Box-filtered along both axes, by a window of about 1/128 of the side."""
    across = _box_filtered(np.ascontiguousarray(luma.T), *_window(luma.shape[1]))
    return _box_filtered(np.ascontiguousarray(across.T), *_window(luma.shape[0]))


def _window(length: int) -> tuple[int, int]:
    """How many pixels a window reaches back, and forth; itself among the latter."""
    window = (length + 2 * SIDE_PX - 1) // (2 * SIDE_PX)
    forth = (window + 2) // 2
    return window - forth, forth


@numba.njit(nogil=True, cache=True)
def _box_filtered(luma, back, forth):
    """Means of the rows from `back` before each to `forth` after it, cut off at the edges."""
    out, totals = np.empty_like(luma), np.zeros(luma.shape[1])
    begin = end = 0
    for row in range(len(luma)):
        while end < min(row + forth, len(luma)):
            totals += luma[end]
            end += 1
        while begin < row - back:
            totals -= luma[begin]
            begin += 1
        out[row] = totals / (end - begin)
    return out
