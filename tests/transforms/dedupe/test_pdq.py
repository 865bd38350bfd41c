"""PDQ has the values that ThreatExchange's own code gives, made by pdqhash 0.2.8."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transforms.dedupe.hashes import PDQ_SCHEMA, pdq_hashes
from transforms.dedupe.pdq import BITS, MOST_SIDE_PX, SIDE_PX, pdq_grey, pdqs

Size = tuple[int, int]
FEW_BITS = 20  # of the 40 that pictures may be apart by default
GOLDEN: list[tuple[Size, str]] = [
    ((64, 64), "c3009604c1006ebe3bab6e0435367e63abc1d5ab7fd15cb33d43e48653ece16b"),
    ((512, 512), "1c623c941e2a33dde802c2dced42561c63f6d763c3c1df6a82b5c21563bd5697"),
    ((320, 240), "69c027e54dc07bea623f3b80aaf5017f3b1db21f217cbb577e0a101b3e296a18"),
    ((239, 411), "0958bab4f95aad0f07ed981fafb554ec05e2ab211e17bb494a835ac9f063252b"),
    ((100, 37), "094fd3ed540b811a0e30801bd6765d1cfe45671c55b542ab70eef5eebb320e4d"),
    ((65, 512), "c29c9619e29cf61d22dc56bf5c38c9499c1bcb729c1ec7747ca066882b9f2ab4"),
    ((512, 20), "810aba9fffb35551202209166bad3d0487b0d3004f8096f7b455e3dfb675e6d5"),
    ((7, 9), "1f801e701f803ed01f801e7030d8e58fcf27c18f60ffc12fe07fe18f607fc03f"),
    ((5, 5), "64d931c89b26ce373e0f6c1b649d93e4c37291e064d931d89b26ce373c0f6c1b"),
    ((129, 128), "a980ac5517ae02ff173411a616fb0fffb06b13c5b7d5e020cbf0a638c49f6a8a"),
    ((127, 255), "0003ead5aa87aaa25d87eead5dbaf6a8e39a41a862da31bdc7f26d4538903d58"),
]
# Reduced before they are hashed, by another filter than pdqhash has.
GOLDEN_OF_LARGE: list[tuple[Size, str]] = [
    ((640, 480), "a02b054e313ce54e303c5a76252e9d6e7fc51a2d1fdabd3a3fa06ad2c45016fa"),
    ((800, 600), "59700d7a5ad10f955aabf080e009f09af8128c9aa754b3d0cd547ddd25faff15"),
    ((513, 100), "97583c2d220f740c5a2d0c0dfe05abcd0daf59caf1abab15303f1b6e35c06b2f"),
    ((1200, 900), "afaa01e0affb01eaab7836607fb9d710aef8960db627e21dae4f581c92474209"),
    ((2049, 31), "bca0cc0adea0cd30459a0cf25e9ab3521598b3d2245fb3f93ff862ad0417f3cd"),
]


def drawn(width_px: int, height_px: int, number: int) -> Image.Image:
    """Waves in all directions, in whole numbers: the same picture everywhere, at any size."""
    y, x = np.mgrid[:height_px, :width_px]
    x, y = x * 4096 // width_px, y * 4096 // height_px
    colours = np.zeros((height_px, width_px, 3), np.int64)
    for turn in range(24 * number + 1, 24 * number + 25):
        across, down, period = turn * 37 % 23 - 11, turn * 53 % 19 - 9, 300 + turn * 7919 % 3500
        wave = abs((x * across + y * down) % (2 * period) - period) * 255 // period
        colours[..., turn % 3] += wave
    return Image.fromarray((colours // 8).astype(np.uint8))


def hashed(image: Image.Image) -> int:
    return int("".join(f"{word:016x}" for word in pdqs(pdq_grey(image)[None])[0].tolist()), 16)


@pytest.mark.parametrize(("number", "size", "golden"), [(i, *one) for i, one in enumerate(GOLDEN)])
def test_a_picture_has_the_hash_of_pdqhash(number: int, size: Size, golden: str) -> None:
    assert f"{hashed(drawn(*size, number)):064x}" == golden


@pytest.mark.parametrize(
    ("number", "size", "golden"),
    [(i, *one) for i, one in enumerate(GOLDEN_OF_LARGE, len(GOLDEN))],
)
def test_a_large_picture_has_a_hash_near_that_of_pdqhash(
    number: int, size: Size, golden: str
) -> None:
    assert (hashed(drawn(*size, number)) ^ int(golden, 16)).bit_count() <= FEW_BITS


@pytest.mark.parametrize(("number", "width_px"), list(enumerate([513, 600, 777, 1024])))
def test_a_large_picture_has_a_hash_near_that_of_the_same_at_512_px(
    number: int, width_px: int
) -> None:
    large = drawn(width_px, width_px * 2 // 3, number)
    reduced = large.resize((MOST_SIDE_PX, MOST_SIDE_PX * 2 // 3), Image.Resampling.LANCZOS)
    drawn_so = drawn(*reduced.size, number)
    assert (hashed(large) ^ hashed(reduced)).bit_count() <= FEW_BITS
    assert (hashed(large) ^ hashed(drawn_so)).bit_count() <= FEW_BITS


def test_different_pictures_have_hashes_far_apart() -> None:
    hashes = [hashed(drawn(200, 150, number)) for number in range(6)]
    apart = [(one ^ other).bit_count() for one in hashes for other in hashes if one < other]
    assert len(apart) == 15
    assert min(apart) > 80


@st.composite
def pictures(draw: st.DrawFn) -> Image.Image:
    """Noise, drawn, and flat ones, whose frequencies are nought but for rounding."""
    sides = st.integers(1, 90) | st.sampled_from([127, 129])
    size, kind = (draw(sides), draw(sides)), draw(st.sampled_from(["noise", "drawn", "flat"]))
    seed = draw(st.integers(0, 255))
    if kind == "drawn":
        return drawn(*size, seed)
    if kind == "flat":
        return Image.new("RGB", size, (seed, 200, 7))
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    return Image.fromarray(noise.astype(np.uint8))


@given(st.lists(pictures(), min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_a_hash_does_not_depend_on_what_is_hashed_with_it(images, rng) -> None:
    order = rng.sample(range(len(images)), len(images))
    greys = np.stack([pdq_grey(image) for image in images])
    assert greys.dtype == np.float32
    alone = [pdqs(grey[None])[0].tolist() for grey in greys]
    assert pdqs(greys).tolist() == alone
    assert pdqs(greys[order]).tolist() == [alone[place] for place in order]


@given(pictures())
@settings(max_examples=30)
def test_at_most_half_the_bits_are_set(image: Image.Image) -> None:
    assert hashed(image).bit_count() <= BITS // 2


@given(pictures())
@settings(max_examples=30)
def test_a_small_grey_lies_within_the_brightness_of_its_picture(image: Image.Image) -> None:
    grey, pixels = pdq_grey(image), np.asarray(image)
    assert grey.shape == (SIDE_PX, SIDE_PX)
    assert pixels.min() - 0.01 <= grey.min() <= grey.max() <= pixels.max() + 0.01


def test_flat_pictures_of_one_colour_and_any_size_have_one_hash() -> None:
    sizes = [(1, 1), (64, 64), (99, 70), (512, 512), (800, 600)]
    assert len({hashed(Image.new("RGB", size, "white")) for size in sizes}) == 1


def test_of_no_pictures_there_are_no_hashes() -> None:
    found = pdqs(np.zeros((0, SIDE_PX, SIDE_PX), np.float32))
    assert (found.shape, found.dtype) == ((0, BITS // 64), np.uint64)
    assert pdq_hashes([]).schema == PDQ_SCHEMA
    assert pdq_hashes([]).num_rows == 0


@pytest.mark.parametrize("shape", [(64, 64), (1, 63, 64), (1, 64, 65), (1, 64, 64, 1), (0,)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pictures of 64 x 64 wanted, not of shape"):
        pdqs(np.zeros(shape, np.float32))


def test_the_column_of_pictures_is_written_as_pdqhash_writes_it() -> None:
    table = pdq_hashes(drawn(*size, number) for number, (size, _) in enumerate(GOLDEN))
    assert table.schema == PDQ_SCHEMA
    assert [row.hex() for row in table["hash"].to_pylist()] == [golden for _, golden in GOLDEN]
