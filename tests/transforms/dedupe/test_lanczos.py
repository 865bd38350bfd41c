"""Pictures are reduced bit for bit as Pillow reduces them, whatever their size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from transforms.dedupe.lanczos import TALL, WEIGHT_BITS, Grey, lanczos_weights, reduced

SIDES_PX = st.sampled_from([1, 2, 8, 31, 32, 64, 128])
LENGTHS_PX = st.integers(1, 90) | st.sampled_from([127, 128, 129, 500, 1021])


def picture(width_px: int, height_px: int, kind: str, seed: int) -> Image.Image:
    """Grey: `flat`, `noise` of all values, or `ends`, noise of black and white."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height_px, width_px))
    if kind == "flat":
        pixels[:] = seed % 256
    if kind == "ends":
        pixels = pixels % 2 * 255
    return Image.fromarray(pixels.astype(np.uint8))


def by_pillow(grey: Image.Image, side_px: int) -> Grey:
    return np.asarray(grey.resize((side_px, side_px), Image.Resampling.LANCZOS))


def check(grey: Image.Image, side_px: int) -> None:
    found = reduced(np.asarray(grey), side_px)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_pillow(grey, side_px))


KINDS = st.sampled_from(["flat", "noise", "ends"])
SEEDS = st.integers(0, 2**32 - 1)


@given(LENGTHS_PX, LENGTHS_PX, KINDS, SEEDS, SIDES_PX)
def test_a_picture_of_any_size_is_reduced_as_by_pillow(
    width_px: int, height_px: int, kind: str, seed: int, side_px: int
) -> None:
    check(picture(width_px, height_px, kind, seed), side_px)


@given(st.integers(1, 4), st.integers(-3, 40), st.booleans(), KINDS, SEEDS, SIDES_PX)
def test_a_very_tall_or_wide_picture_is_reduced_as_by_pillow(
    short_px: int, over_px: int, is_tall: bool, kind: str, seed: int, side_px: int
) -> None:
    """About the border at which Pillow takes a picture down before it takes it across."""
    size = short_px, TALL * short_px + over_px
    check(picture(*(size if is_tall else size[::-1]), kind, seed), side_px)


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (1, 101), (1, 102), (101, 1), (2, 5000)])
@pytest.mark.parametrize("side_px", [1, 32, 101, 102])
def test_at_the_edges_a_picture_is_reduced_as_by_pillow(
    size: tuple[int, int], side_px: int
) -> None:
    check(picture(*size, "ends", 7), side_px)


@given(st.integers(0, 255), LENGTHS_PX, LENGTHS_PX, SIDES_PX)
def test_a_flat_picture_stays_as_bright(
    grey: int, width_px: int, height_px: int, side_px: int
) -> None:
    found = reduced(np.full((height_px, width_px), grey, np.uint8), side_px)
    np.testing.assert_array_equal(found, np.full((side_px, side_px), grey))


@given(st.integers(1, 3000), SIDES_PX)
def test_weights_share_out_the_whole_and_lie_within_the_line(length_px: int, side_px: int) -> None:
    first, size, weights = lanczos_weights(length_px, side_px)
    assert weights.shape == (side_px, size.max())
    assert (first >= 0).all()
    assert (size > 0).all()
    assert (first + size <= length_px).all()
    past = np.arange(weights.shape[1]) >= size[:, None]
    assert not weights[past].any()
    rounded = abs(weights.sum(axis=1, dtype=np.int64) - (1 << WEIGHT_BITS))
    assert (2 * rounded <= size).all()
