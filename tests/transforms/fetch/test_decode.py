"""Bytes of every kind become upright RGB JPEGs, or a failure that says what is wrong."""

import hashlib
import io
import json
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from schemas.pair import Failure
from transforms.fetch.decode import decode
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Decoded, Failed

ODD_PHOTOS = Path(__file__).parents[4] / "shared" / "data" / "odd_photos"
POLICY = FetchPolicy(image_size_px=64)


def pixels(decoded):
    with Image.open(io.BytesIO(decoded.jpeg)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert image.size == (decoded.width_px, decoded.height_px)
        return np.asarray(image).astype(int)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def odd_photo(name):
    path = ODD_PHOTOS / name
    if not path.is_file():
        pytest.skip(f"the shared test photographs are not here: {name}")
    return path.read_bytes()


@pytest.mark.parametrize(
    "name", ["original.jpg", "CMYK.jpg", "LA.png", "P.png", "PA.webp", "RGBA.png", "YCbCr.jpg"]
)
def test_one_photo_in_every_mode_is_about_one_picture(name):
    """The mode files show one scene; grey ones are compared without their colour."""
    this, reference = (pixels(decode(odd_photo(n), POLICY)) for n in (name, "original.jpg"))
    assert this.shape == reference.shape
    assert np.abs(this.mean(axis=2) - reference.mean(axis=2)).mean() < 25


def test_an_exif_rotated_photo_comes_upright():
    data = odd_photo("exif-rotation-6.jpg")
    decoded = decode(data, POLICY)
    with Image.open(io.BytesIO(data)) as image:
        width_px, height_px = image.size
    assert (decoded.original_width_px, decoded.original_height_px) == (height_px, width_px)
    assert (decoded.width_px, decoded.height_px) == (48, 64)
    tags = json.loads(decoded.exif)
    assert tags["Orientation"] == "6"
    assert tags["DateTimeOriginal"].startswith("2017")
    assert not any("GPS" in name for name in tags)


def test_a_very_small_photo_stays_as_it_is():
    decoded = decode(odd_photo("wee.jpg"), POLICY)
    assert (decoded.width_px, decoded.height_px) == (34, 42)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("size", [(60, 40), (960, 640)])  # the larger is decoded reduced
def test_orientation_is_applied(orientation, kind, size):
    """A red corner at the top left must end at the top left, whatever the tag says."""
    upright = Image.new("RGB", size, "blue")
    upright.paste("red", (0, 0, size[0] // 2, size[1] // 2))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    laid = upright if orientation == 1 else upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(saved(laid, kind, exif=exif), POLICY)
    assert (decoded.original_width_px, decoded.original_height_px) == size
    seen = pixels(decoded)
    height_px, width_px, _ = seen.shape
    assert width_px > height_px
    reds = seen[..., 0] > 128
    assert reds[: height_px // 3, : width_px // 3].all()
    assert reds.mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("mode", "kind", "value", "grey"),
    [
        ("L", "PNG", 77, 77),
        ("1", "PNG", 1, 255),
        ("I;16", "PNG", 0x8080, 128),
        ("I", "TIFF", 0x8080, 128),
        ("F", "TIFF", 0.5, 128),
        ("F", "TIFF", 200.0, 200),
    ],
)
def test_depths_of_grey_become_eight_bits(mode, kind, value, grey):
    decoded = decode(saved(Image.new(mode, (20, 20), value), kind), POLICY)
    assert np.abs(pixels(decoded) - grey).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_transparent_parts_are_white(kind):
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert pixels(decode(saved(clear, kind, **options), POLICY)).min() > 250


def test_half_transparent_grey_is_laid_over_white():
    data = saved(Image.new("LA", (20, 20), (0, 127)), "PNG")
    assert np.abs(pixels(decode(data, POLICY)) - 128).max() <= 1


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(decode(data, POLICY))[..., 0].min() > 250


@pytest.mark.parametrize(
    ("mode", "size", "stored"),
    [
        ("no", (200, 100), (200, 100)),
        ("keep_ratio", (200, 100), (128, 64)),
        ("keep_ratio", (200, 50), (200, 50)),
        ("keep_ratio_largest", (200, 100), (64, 32)),
        ("keep_ratio_largest", (64, 64), (64, 64)),
        ("keep_ratio_largest", (6400, 10), (64, 1)),
        ("center_crop", (200, 100), (64, 64)),
        ("center_crop", (50, 100), (50, 100)),
        ("border", (200, 100), (64, 64)),
        ("border", (40, 30), (40, 30)),
    ],
)
def test_resize_modes_are_those_of_img2dataset(draw, mode, size, stored):
    policy = FetchPolicy(image_size_px=64, resize_mode=mode)
    decoded = decode(draw("PNG", size), policy)
    assert (decoded.width_px, decoded.height_px) == stored
    assert (decoded.original_width_px, decoded.original_height_px) == size
    assert pixels(decoded).shape == (stored[1], stored[0], 3)


@pytest.mark.parametrize(
    ("mode", "stored"),
    [("keep_ratio", (128, 64)), ("keep_ratio_largest", (64, 32)), ("border", (64, 64))],
)
def test_small_images_grow_only_when_asked(draw, mode, stored):
    policy = FetchPolicy(image_size_px=64, resize_mode=mode, resize_only_if_bigger=False)
    decoded = decode(draw("PNG", (20, 10)), policy)
    assert (decoded.width_px, decoded.height_px) == stored


def test_a_border_is_white_and_a_crop_is_central():
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    data = saved(image, "PNG")
    bordered = pixels(decode(data, FetchPolicy(image_size_px=60, resize_mode="border")))
    assert bordered[:15].min() > 240
    assert bordered[-15:].min() > 240
    cropped = pixels(decode(data, FetchPolicy(image_size_px=60, resize_mode="center_crop")))
    assert (cropped[:, 10:50, 2] > 200).all()


def test_a_reduced_decoding_looks_as_the_whole_one(draw):
    data = draw("JPEG", (1600, 1200), seed=3, quality=95)
    reduced = pixels(decode(data, POLICY))
    with Image.open(io.BytesIO(data)) as image:
        whole = np.asarray(image.resize((64, 48), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(reduced - whole).mean() < 5  # most of it is JPEG


def test_equal_bytes_give_equal_bytes_and_nothing_of_the_file_but_pixels(draw):
    data = draw("JPEG", comment=b"a secret remark", dpi=(300, 300))
    first, second = decode(data, POLICY), decode(data, POLICY)
    assert first == second
    assert b"secret" not in first.jpeg
    assert first.sha256 == hashlib.sha256(data).hexdigest()


def failure(data, policy=POLICY):
    result = decode(data, policy)
    assert isinstance(result, Failed), result
    return result.failure


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_an_image_cut_short_is_truncated(draw, kind, part):
    data = draw(kind, (200, 150))
    assert isinstance(decode(data, POLICY), Decoded)
    assert failure(data[: int(len(data) * part)]) == Failure.TRUNCATED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_image_cut_in_its_header_is_truncated(draw, kind):
    assert failure(draw(kind)[:18]) == Failure.TRUNCATED


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "JPEG2000"])
def test_an_image_whose_header_is_overwritten_is_broken(draw, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    data = draw(kind)
    assert isinstance(decode(data, POLICY), Decoded)
    assert failure(data[:12] + b"\xff" * 200 + data[212:]) == Failure.BROKEN_IMAGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(5000),
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"BMW is a car",
        b"\x89PN",
    ],
)
def test_what_is_no_image_is_said_to_be_none(data):
    result = decode(data, POLICY)
    assert result.failure == Failure.NOT_AN_IMAGE
    assert result == decode(data, POLICY)  # no address of an object in its words


def test_a_whole_png_with_broken_chunks_is_broken(draw):
    data = bytearray(draw("PNG"))
    at = data.index(b"IHDR") + 8
    data[at] ^= 0xFF  # its checksum is wrong now
    assert failure(bytes(data)) == Failure.BROKEN_IMAGE


def test_a_jpeg_of_mostly_noise_is_broken_or_truncated(draw):
    data = draw("JPEG")
    begin = data.index(b"\xff\xda")
    assert failure(data[:begin] + b"\xff\xd9") in (Failure.BROKEN_IMAGE, Failure.TRUNCATED)


def test_a_bomb_is_not_decoded(draw):
    data = bytearray(draw("PNG", mode="L"))
    at = data.index(b"IHDR") + 4
    header = (100_000).to_bytes(4, "big") * 2 + data[at + 8 : at + 13]
    data[at : at + 17] = header + zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    assert failure(bytes(data)) == Failure.TOO_MANY_PIXELS


@pytest.mark.parametrize(("limit", "kept"), [(4800, True), (4799, False)])
def test_the_limit_of_pixels_is_the_last_that_is_kept(draw, limit, kept):
    result = decode(draw(size=(80, 60)), FetchPolicy(max_pixels=limit))
    assert isinstance(result, Decoded) == kept
    assert kept or result.failure == Failure.TOO_MANY_PIXELS


def test_a_side_that_no_jpeg_can_have_is_too_large():
    data = saved(Image.new("L", (70_000, 1)), "PNG")
    assert failure(data, FetchPolicy(resize_mode="no")) == Failure.TOO_MANY_PIXELS


def test_exif_that_cannot_be_read_spoils_nothing(draw):
    decoded = decode(draw(exif=b"Exif\0\0garbage, no TIFF header"), POLICY)
    assert isinstance(decoded, Decoded)
    assert decoded.exif == "{}"


@given(st.data())
def test_no_bytes_make_decoding_raise_or_warn(data):
    """Pictures with bytes overwritten at random; warnings are errors here."""
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]))
    image = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    whole = bytearray(saved(image, kind))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(decode(bytes(whole), POLICY), Decoded | Failed)


def test_threads_that_decode_leave_the_warnings_as_they_were(draw):
    before = list(warnings.filters)
    data = draw("PNG", (300, 300))
    threads = [threading.Thread(target=decode, args=(data, POLICY)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
