"""Pixels: the very bits of open_clip's own preprocessing."""

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from transforms.score.pixels import make_pixels

# Every way in which open_clip resizes for evaluation, and both interpolations.
WAYS = {
    "shortest": PreprocessCfg(size=40, resize_mode="shortest"),
    "longest": PreprocessCfg(size=40, resize_mode="longest", fill_color=7),
    "squash": PreprocessCfg(size=40, resize_mode="squash", interpolation="bilinear"),
    "not square": PreprocessCfg(size=(32, 48), resize_mode="shortest"),
    "other statistics": PreprocessCfg(size=33, mean=(0.1, 0.5, 0.9), std=(1.0, 0.2, 0.3)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(64, 48), (17, 90), (256, 256)])
def test_pixels_are_those_of_open_clip(way: str, size: tuple[int, int], dtype: torch.dtype) -> None:
    preprocess = image_transform_v2(WAYS[way], is_train=False)
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    noise[0, 0], noise[0, 1] = 0, 255
    image = Image.fromarray(noise)
    pixels = make_pixels(preprocess, dtype)
    batch = pixels.blank(2, pinned=False)
    pixels.fill(batch[1], image)
    assert torch.equal(batch[1], preprocess(image).to(dtype))
    assert batch.dtype == dtype
    assert not batch[0].any()


def test_a_picture_of_another_mode_is_converted_as_open_clip_does() -> None:
    preprocess = image_transform_v2(PreprocessCfg(size=24), is_train=False)
    grey = Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30))
    batch = make_pixels(preprocess, torch.float32).blank(1, pinned=False)
    make_pixels(preprocess, torch.float32).fill(batch[0], grey)
    assert torch.equal(batch[0], preprocess(grey))
