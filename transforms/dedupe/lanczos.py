"""Make a picture grey and a small square (Lanczos), bit for bit as Pillow does, in less time.

Pillow's resampling is in whole numbers: weights of 22 bits, first across, then down, each rounded
to 8 bits. Done the same way with vector instructions it takes a part of the time, and the hash
that is made of it keeps its value.
"""

import functools
import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]  # (height, width)
WEIGHT_BITS = 22  # Pillow's 32 - 8 - 2
HALF = 1 << (WEIGHT_BITS - 1)
LOBES = 3.0
TALL = 100  # times its width: Pillow takes such a picture down first


class Weights(NamedTuple):
    """For each pixel of a shorter line, which pixels of the longer one it is made of."""

    first: npt.NDArray[np.int64]  # (side,)
    size: npt.NDArray[np.int64]  # (side,)
    weights: npt.NDArray[np.int32]  # (side, largest size), of sum 2**WEIGHT_BITS; 0 past the end


def reduced(grey: Grey, side_px: int) -> Grey:
    """(side_px, side_px), equal to Pillow's `resize((side_px, side_px), LANCZOS)` of mode L.

    Args: grey: (height, width) of any size from 1 x 1 px."""
    height_px, width_px = grey.shape
    if height_px > TALL * width_px and height_px > side_px:
        return _reduced_across(_reduced_down(grey, side_px), side_px)
    return _reduced_down(_reduced_across(grey, side_px), side_px)


def _reduced_across(grey: Grey, side_px: int) -> Grey:
    height_px, width_px = grey.shape
    out = np.empty((height_px, side_px), np.uint8)
    _across(grey, *lanczos_weights(width_px, side_px), out)
    return out


def _reduced_down(grey: Grey, side_px: int) -> Grey:
    height_px, width_px = grey.shape
    out = np.empty((side_px, width_px), np.uint8)
    _down(grey, *lanczos_weights(height_px, side_px), out)
    return out


@functools.lru_cache(maxsize=4096)  # pictures come in few sizes
def lanczos_weights(length_px: int, side_px: int) -> Weights:
    """Weights that take a line of `length_px` to one of `side_px`."""
    scale = length_px / side_px
    stretch = max(scale, 1.0)
    reach = LOBES * stretch
    centres = (np.arange(side_px) + 0.5) * scale
    first = np.maximum(0, (centres - reach + 0.5).astype(np.int64))
    size = np.minimum(length_px, (centres + reach + 0.5).astype(np.int64)) - first
    weights = np.zeros((side_px, int(size.max())), np.int32)
    for pixel, (centre, begin, count) in enumerate(zip(centres, first, size, strict=True)):
        places = (float(place + begin - centre + 0.5) * (1 / stretch) for place in range(count))
        exact = [_lanczos(place) for place in places]
        total = sum(exact)
        whole = (weight / total * (1 << WEIGHT_BITS) for weight in exact)
        weights[pixel, :count] = [int(weight + math.copysign(0.5, weight)) for weight in whole]
    return Weights(first, size, weights)


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / LOBES) if -LOBES <= x < LOBES else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


@numba.njit(nogil=True, cache=True)
def luma_of(pixels):
    """ITU-R BT.601 of pixels as Pillow holds them, red in the lowest byte, by its arithmetic."""
    grey = np.empty(len(pixels), np.uint8)
    for place in range(len(pixels)):
        pixel = pixels[place]
        red, green = pixel & np.uint32(255), pixel >> np.uint32(8) & np.uint32(255)
        blue = pixel >> np.uint32(16) & np.uint32(255)
        total = red * np.uint32(19595) + green * np.uint32(38470) + blue * np.uint32(7471)
        grey[place] = (total + np.uint32(1 << 15)) >> np.uint32(16)
    return grey


@numba.njit(nogil=True, cache=True)
def _across(grey, first, size, weights, out):
    line = np.empty(grey.shape[1], np.int32)
    for y in range(grey.shape[0]):
        line[:] = grey[y]
        for x in range(len(first)):
            pixels, shares = line[first[x] : first[x] + size[x]], weights[x, : size[x]]
            total = np.int32(HALF)
            for place in range(len(pixels)):
                total += pixels[place] * shares[place]
            out[y, x] = min(max(total >> WEIGHT_BITS, 0), 255)


@numba.njit(nogil=True, cache=True)
def _down(grey, first, size, weights, out):
    totals = np.empty(grey.shape[1], np.int32)
    for y in range(len(first)):
        totals[:] = HALF
        for place in range(size[y]):
            line, share = grey[first[y] + place], weights[y, place]
            for x in range(len(totals)):
                totals[x] += np.int32(line[x]) * share
        for x in range(len(totals)):
            out[y, x] = min(max(totals[x] >> WEIGHT_BITS, 0), 255)
