"""Facts about pictures: against formulas written out pixel by pixel, and on the smallest ones."""

import math
import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from transforms.measure.image import IMAGE_SCHEMA, image_facts, text_overlap


def _noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def _grey(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint8)).convert("RGB")


def _scene(side_px: int) -> Image.Image:
    """A smooth ground with a disc and ripples of a 32nd of the side, the same at every size."""
    y, x = np.mgrid[0:side_px, 0:side_px] / side_px
    ripples = 40 * np.sin(64 * np.pi * x) * np.sin(64 * np.pi * y)
    disc = np.where((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.09, 90, 0)
    bands = np.stack([50 + 60 * x, 50 + 50 * y, 80 + 0 * x], -1) + (ripples + disc)[..., None]
    return Image.fromarray(bands.clip(0, 255).astype(np.uint8))


def test_facts_of_noise_by_the_formulas_pixel_by_pixel() -> None:
    """No numpy: sums over pixels as the papers write them."""
    image = _noise(7, 5)
    facts = image_facts(image)
    pixels = {(x, y): image.getpixel((x, y)) for x in range(7) for y in range(5)}
    luma = {
        at: (19595 * r + 38470 * g + 7471 * b + 32768) >> 16 for at, (r, g, b) in pixels.items()
    }

    def at(x: int, y: int) -> int:
        return luma[min(max(x, 0), 6), min(max(y, 0), 4)]

    laplacian = [
        at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4 * at(x, y) for x, y in luma
    ]
    red_green = [r - g for r, g, _ in pixels.values()]
    yellow_blue = [(r + g) / 2 - b for r, g, b in pixels.values()]
    spread = math.hypot(statistics.pstdev(red_green), statistics.pstdev(yellow_blue))
    strength = math.hypot(statistics.fmean(red_green), statistics.fmean(yellow_blue))
    shares = [count / 35 for count in Counter(luma.values()).values()]
    near = [sum(abs(each - level) <= 8 for each in luma.values()) for level in range(256)]
    assert facts == pytest.approx(
        {
            "shorter_side_px": 5,
            "longer_side_px": 7,
            "aspect": 1.4,
            "entropy_bits": -sum(share * math.log2(share) for share in shares),
            "blankness": max(near) / 35,
            "blur": statistics.pvariance(laplacian),
            "colourfulness": spread + 0.3 * strength,
            "brightness": statistics.fmean(luma.values()),
            "contrast": statistics.pstdev(luma.values()),
            "text_overlap": math.nan,
        },
        rel=1e-5,
        nan_ok=True,
    )
    assert list(facts) == IMAGE_SCHEMA.names


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (5000, 1), (1, 2), (300, 200)])
def test_a_picture_of_one_grey_says_nothing_whatever_its_size(size: tuple[int, int]) -> None:
    facts = image_facts(Image.new("RGB", size, (90, 90, 90)))
    assert (facts["shorter_side_px"], facts["longer_side_px"]) == (min(size), max(size))
    assert facts["aspect"] == max(size) / min(size)
    assert facts["blankness"] == pytest.approx(1)
    assert facts["brightness"] == pytest.approx(90)
    for name in ("entropy_bits", "blur", "colourfulness", "contrast"):
        assert facts[name] == pytest.approx(0, abs=1e-6)


def test_a_stripe_of_one_px_has_facts() -> None:
    facts = image_facts(_grey(np.array([[0, 255] * 4])))
    assert facts["entropy_bits"] == pytest.approx(1)
    assert facts["contrast"] == pytest.approx(127.5)
    # 255 at the two ends, where the edge is repeated, 510 between; signs alternate.
    assert facts["blur"] == pytest.approx((2 * 255**2 + 6 * 510**2) / 8)


@pytest.mark.parametrize(("other", "blankness"), [(100, 1), (116, 1), (117, 0.5), (255, 0.5)])
def test_blankness_looks_8_levels_either_way(other: int, blankness: float) -> None:
    levels = np.full((10, 10), 100)
    levels[::2] = other
    assert image_facts(_grey(levels))["blankness"] == pytest.approx(blankness)


def test_the_primary_colours_are_colourful() -> None:
    """Two halves, red and green: rg is +-255, yb 127.5 throughout."""
    image = Image.new("RGB", (10, 10), (255, 0, 0))
    image.paste((0, 255, 0), (0, 0, 5, 10))
    assert image_facts(image)["colourfulness"] == pytest.approx(255 + 0.3 * 127.5)


@pytest.mark.parametrize("side_px", [512, 700, 1100])
def test_the_same_scene_has_the_same_facts_at_every_resolution(side_px: int) -> None:
    wanted, facts = image_facts(_scene(2000)), image_facts(_scene(side_px))
    assert facts["longer_side_px"] == side_px
    for name in ("entropy_bits", "colourfulness", "brightness", "contrast"):
        assert facts[name] == pytest.approx(wanted[name], rel=0.02)
    assert facts["blankness"] == pytest.approx(wanted["blankness"], rel=0.1)
    assert facts["blur"] == pytest.approx(wanted["blur"], rel=0.1)


@pytest.mark.parametrize("side_px", [100, 256, 700])
def test_a_blurred_picture_has_a_lower_variance(side_px: int) -> None:
    scene = _scene(side_px)
    radii = [0, side_px / 200, side_px / 50]
    found = [image_facts(scene.filter(ImageFilter.GaussianBlur(radius))) for radius in radii]
    sharp, soft, softest = (facts["blur"] for facts in found)
    assert sharp > 2 * soft > 4 * softest


def test_only_rgb_is_taken() -> None:
    with pytest.raises(ValueError, match="not L"):
        image_facts(Image.new("L", (4, 4)))


BOX = st.tuples(*[st.integers(-3, 15)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(st.lists(BOX, max_size=6))
def test_overlap_is_the_union_painted_pixel_by_pixel(
    boxes: list[tuple[int, int, int, int]],
) -> None:
    painted = {
        (x, y)
        for x0, y0, x1, y1 in boxes
        for x in range(max(0, x0), min(12, x1))
        for y in range(max(0, y0), min(9, y1))
    }
    assert text_overlap(Image.new("RGB", (12, 9)), boxes) == pytest.approx(len(painted) / 108)


def test_overlap_of_parts_of_a_pixel() -> None:
    image = Image.new("RGB", (10, 10))
    assert text_overlap(image, [(0, 0, 2.5, 4), (1.5, 0, 3, 4)]) == pytest.approx(0.12)
    assert text_overlap(image, [(-math.inf, -5, math.inf, 5)]) == pytest.approx(0.5)
    assert text_overlap(image, []) == 0


@pytest.mark.parametrize(
    "box", [(0, 0, math.nan, 1), (2, 0, 1, 1), (0, 2, 1, 1), (0, 0, 1), (0, 0, 1, 1, 0.9)]
)
def test_what_is_no_box_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="box"):
        text_overlap(Image.new("RGB", (4, 4)), [box])  # pyright: ignore


def test_the_detector_sees_the_picture_as_given() -> None:
    def halves(image: Image.Image) -> list[tuple[float, float, float, float]]:
        assert image.size == (1000, 500)
        return [(0, 0, 500, 500)]

    assert image_facts(_noise(1000, 500), halves)["text_overlap"] == 0.5
