"""Pictures to a model's input, bit for bit as open_clip's own preprocessing, in less time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image


@dataclass(frozen=True, slots=True)
class Pixels:
    """Resizing by open_clip's steps, then a look-up of what each of 256 levels becomes.

    The look-up takes the place of torch's arithmetic, whose threads would fight with those of the
    model where both run at once.
    """

    resize: Sequence[Callable[[Image.Image], Image.Image]]
    levels: npt.NDArray[Any]  # (3, 256), float32, or int16 that holds the bits of a bfloat16
    width_px: int
    height_px: int

    def blank(self, count: int, pinned: bool) -> torch.Tensor:
        """(count, 3, H, W) of zeros, which is what short batches are padded with."""
        dtype = torch.bfloat16 if self.levels.dtype == np.int16 else torch.float32
        return torch.zeros(count, 3, self.height_px, self.width_px, dtype=dtype, pin_memory=pinned)

    def fill(self, row: torch.Tensor, image: Image.Image) -> None:
        """Write an RGB picture into `row`, (3, H, W) of a blank batch."""
        shown = np.asarray(_applied(self.resize, image))  # (H, W, 3), uint8
        found = (row.view(torch.int16) if row.dtype == torch.bfloat16 else row).numpy()
        for channel, levels in enumerate(self.levels):
            np.take(levels, shown[:, :, channel], out=found[channel], mode="clip")


def make_pixels(preprocess: Any, dtype: torch.dtype) -> Pixels:
    """From the evaluation transform that open_clip gives with a model.

    Its last two steps make float32 of uint8 and normalise; both look at one channel of one pixel
    at a time, so 256 levels of 3 channels tell all they do.
    """
    *resize, to_tensor, normalize = preprocess.transforms
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    levels = normalize(to_tensor(Image.fromarray(ramp)))[:, 0].to(dtype)
    as_bits = levels.view(torch.int16) if dtype == torch.bfloat16 else levels
    width_px, height_px = _applied(resize, Image.new("RGB", (32, 32))).size
    return Pixels(resize, as_bits.numpy().copy(), width_px, height_px)


def _applied(steps: Sequence[Callable[[Image.Image], Image.Image]], image: Image.Image):
    for step in steps:
        image = step(image)
    return image
