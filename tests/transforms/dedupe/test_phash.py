"""pHash has the value that imagehash gives, of drawn pictures and of real photographs."""

import hashlib
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from transforms.dedupe.hashes import IMAGE_HASH_SCHEMA, image_hashes, pixels_sha256
from transforms.dedupe.phash import SIDE_PX, luma, packed, phashes, small_grey

DATA = Path(__file__).parents[4] / "shared" / "data"
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "HSV"]
KINDS = ["flat", "noise", "smooth", "across", "down", "dots"]


def by_imagehash(image: Image.Image) -> int:
    return int(str(imagehash.phash(image)), 16)


def hashed(image: Image.Image) -> int:
    return int(phashes(small_grey(image)[None])[0])


def picture(width_px: int, height_px: int, kind: str, seed: int) -> Image.Image:
    """RGB. Of all but noise many frequencies are nought, so that rounding decides on their bits."""
    rng = np.random.default_rng(seed)
    shape = {
        "flat": (1, 1, 3),
        "noise": (height_px, width_px, 3),
        "smooth": (4, 5, 3),
        "across": (1, width_px, 3),
        "down": (height_px, 1, 3),
        "dots": (2, 2, 3),
    }[kind]
    small = rng.integers(0, 256, shape).astype(np.uint8)
    filter = Image.Resampling.BICUBIC if kind == "smooth" else Image.Resampling.NEAREST
    return Image.fromarray(small).resize((width_px, height_px), filter)


@st.composite
def pictures(draw: st.DrawFn) -> Image.Image:
    lengths = st.integers(1, 100) | st.sampled_from([31, 32, 33, 256, 511])
    kind, seed = draw(st.sampled_from(KINDS)), draw(st.integers(0, 2**32 - 1))
    return picture(draw(lengths), draw(lengths), kind, seed)


@given(pictures(), st.sampled_from(MODES))
def test_a_picture_of_any_size_and_mode_has_the_hash_of_imagehash(
    image: Image.Image, mode: str
) -> None:
    found = image.convert(mode)
    assert hashed(found) == by_imagehash(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (1, 101), (330, 3), (640, 427)])
def test_each_kind_of_drawn_picture_has_the_hash_of_imagehash(
    kind: str, size: tuple[int, int]
) -> None:
    image = picture(*size, kind, 3)
    assert hashed(image) == by_imagehash(image)


@pytest.mark.parametrize(
    "folder",
    [
        "odd_photos",
        "neardup/reencodings/a_native384",
        "neardup/reencodings/c_squash224",
        "neardup/bridge",
    ],
)
def test_real_photographs_have_the_hash_of_imagehash(folder: str) -> None:
    if not (DATA / folder).is_dir():
        pytest.skip(f"the shared test photographs are not here: {folder}")
    suffixes = {".jpg", ".png", ".webp"}
    paths = [path for path in sorted((DATA / folder).rglob("*")) if path.suffix in suffixes][:40]
    assert len(paths) > 5
    for path in paths:
        with Image.open(path) as image:
            assert hashed(image) == by_imagehash(image), path.name


@given(st.lists(pictures(), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_a_hash_does_not_depend_on_what_is_hashed_with_it(images, rng) -> None:
    order = rng.sample(range(len(images)), len(images))
    greys = np.stack([small_grey(image) for image in images])
    alone = [hashed(image) for image in images]
    assert phashes(greys).tolist() == alone
    assert phashes(greys[order]).tolist() == [alone[place] for place in order]


def test_of_no_pictures_there_are_no_hashes() -> None:
    found = phashes(np.zeros((0, SIDE_PX, SIDE_PX), np.uint8))
    assert (found.shape, found.dtype) == ((0,), np.uint64)


@pytest.mark.parametrize("shape", [(32, 32), (1, 31, 32), (1, 32, 33), (1, 32, 32, 1), (0,)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pictures of 32 x 32 wanted, not of shape"):
        phashes(np.zeros(shape, np.uint8))


@given(st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), max_size=5))
def test_bits_are_packed_with_the_first_one_highest(words: list[tuple[int, int]]) -> None:
    written = ["".join(f"{word:064b}" for word in row) for row in words]
    bits = np.array([[bit == "1" for bit in row] for row in written], np.bool_).reshape(-1, 128)
    assert packed(bits).tolist() == [list(row) for row in words]


@given(st.lists(pictures(), max_size=4))
def test_the_columns_of_pictures_are_those_of_each(images: list[Image.Image]) -> None:
    table = image_hashes(iter(images))
    assert table.schema == IMAGE_HASH_SCHEMA
    assert table["phash"].to_pylist() == [by_imagehash(image) for image in images]
    assert table["pixels"].to_pylist() == [pixels_sha256(image) for image in images]


@given(pictures())
def test_pixels_are_told_with_the_sides_they_fill(image: Image.Image) -> None:
    sides = f"{image.width}x{image.height}:".encode()
    assert pixels_sha256(image) == hashlib.sha256(sides + image.tobytes()).digest()


def test_the_same_pixels_in_another_shape_are_another_picture() -> None:
    wide, tall = (Image.new("RGB", size, "red") for size in ((6, 4), (4, 6)))
    assert wide.tobytes() == tall.tobytes()
    assert pixels_sha256(wide) != pixels_sha256(tall)
    assert pixels_sha256(wide) == pixels_sha256(Image.new("RGB", (6, 4), "red"))


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L", "CMYK", "RGBA", "P"]))
def test_luma_is_pillows(width: int, height: int, mode: str) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    np.testing.assert_array_equal(luma(picture), np.asarray(picture.convert("L")))


def test_luma_of_a_picture_larger_than_a_block_of_memory_is_pillows() -> None:
    picture = Image.linear_gradient("L").resize((2600, 2400)).convert("RGB")
    with pytest.raises(ValueError, match="multiple array blocks"):
        pa.array(picture)
    np.testing.assert_array_equal(luma(picture), np.asarray(picture.convert("L")))


def test_plain_pictures_of_any_colour_are_within_one_bit() -> None:
    colours = ["black", "white", "grey", "red", "navy", "#010101"]
    hashes = [hashed(Image.new("RGB", (40, 30), colour)) for colour in colours]
    assert max((one ^ other).bit_count() for one in hashes for other in hashes) == 1
