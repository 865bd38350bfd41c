"""Facts about a picture that need no model, and how much of it is covered with text.

All but the sides are taken from a copy of at most 256 px, so they cost the same for every
picture and do not depend on the resolution it was published in. A smaller picture is taken as it
is: enlarging would only look like blur.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

WORKING_SIDE_PX = 256
BLANK_LEVELS = 8
_LEVELS = np.arange(256.0)

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in px; x to the right, y down
TextDetector = Callable[[Image.Image], Sequence[Box]]

IMAGE_SCHEMA = pa.schema(
    [
        ("shorter_side_px", pa.int32()),
        ("longer_side_px", pa.int32()),
        ("aspect", pa.float32()),  # longer : shorter side, at least 1
        ("entropy_bits", pa.float32()),  # of the histogram of luma, 0 to 8
        ("blankness", pa.float32()),  # most pixels within 8 levels of one luma, as a share
        ("blur", pa.float32()),  # variance of the Laplacian of luma: the LOWER, the more blurred
        ("colourfulness", pa.float32()),  # 0 for grey; about 15 slightly, 60 quite colourful
        ("brightness", pa.float32()),  # mean luma, 0 to 255
        ("contrast", pa.float32()),  # standard deviation of luma, 0 to 127.5
        ("text_overlap", pa.float32()),  # share of the area under text; NaN without a detector
    ]
)

F32 = npt.NDArray[np.float32]
Luma = npt.NDArray[np.uint8]  # (height, width), ITU-R BT.601 as Pillow rounds it


def image_facts(image: Image.Image, detector: TextDetector | None = None) -> dict[str, float]:
    """The columns of IMAGE_SCHEMA for one decoded RGB picture of any size from 1 x 1 px.

    `detector` is shown the picture as given, not the small copy.
    Raises: ValueError: the picture is not RGB, or the detector gave a box that is none."""
    if image.mode != "RGB":
        raise ValueError(f"an RGB picture wanted, not {image.mode}")
    shorter_px, longer_px = sorted(image.size)
    small = working_copy(image)
    luma = small.convert("L")
    shares = np.array(luma.histogram()) / (small.width * small.height)
    brightness = float(shares @ _LEVELS)
    return {
        "shorter_side_px": shorter_px,
        "longer_side_px": longer_px,
        "aspect": longer_px / shorter_px,
        "entropy_bits": _entropy_bits(shares),
        "blankness": _blankness(shares),
        "blur": _laplacian_variance(np.asarray(luma)),
        "colourfulness": _colourfulness(small),
        "brightness": brightness,
        "contrast": math.sqrt(shares @ (_LEVELS - brightness) ** 2),
        "text_overlap": math.nan if detector is None else text_overlap(image, detector(image)),
    }


def working_copy(image: Image.Image) -> Image.Image:
    """The picture with its longer side at most WORKING_SIDE_PX and its aspect kept.

    By area: a filter that smooths across pixels would make `blur` hang on the size it came from.
    """
    longer_px = max(image.size)
    if longer_px <= WORKING_SIDE_PX:
        return image
    scale = WORKING_SIDE_PX / longer_px
    width_px, height_px = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width_px, height_px), Image.Resampling.BOX, reducing_gap=1.0)


def text_overlap(image: Image.Image, boxes: Sequence[Box]) -> float:
    """Share of the picture's area under the union of boxes, exactly; 0.0 where there are none.

    The corners of the boxes cut the picture into a grid of which each cell is covered or not.

    Args:    boxes: (N, 4) as x0, y0, x1, y1 in px of this picture; what is outside is ignored.
    Raises:  ValueError: a box has NaN, ends before it begins, or has not four numbers."""
    corners = np.asarray(boxes, np.float64)
    if corners.size == 0:
        return 0.0
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"boxes of four numbers wanted, not an array of shape {corners.shape}")
    bad = np.isnan(corners).any(1) | (corners[:, :2] > corners[:, 2:]).any(1)
    if bad.any():
        box = tuple(corners[bad.argmax()].tolist())
        raise ValueError(f"{box} is no box: x0 <= x1 and y0 <= y1 wanted")
    clipped = corners.clip(0, [*image.size, *image.size])
    xs, columns = np.unique(clipped[:, 0::2], return_inverse=True)
    ys, rows = np.unique(clipped[:, 1::2], return_inverse=True)
    x0, x1 = columns.reshape(-1, 2).T
    y0, y1 = rows.reshape(-1, 2).T
    # +1 where a box begins and -1 where it ends: sums along both axes count boxes on each cell.
    changes = np.zeros((len(ys), len(xs)), np.int32)
    for y, x, change in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
        np.add.at(changes, (y, x), change)
    covered = changes.cumsum(0).cumsum(1)[:-1, :-1] > 0
    area = np.diff(ys) @ covered @ np.diff(xs)
    return min(1.0, float(area / (image.width * image.height)))


def _entropy_bits(shares: npt.NDArray[np.float64]) -> float:
    """Shannon's entropy of the levels' shares, (256,)."""
    present = shares[shares > 0]
    return abs(float(present @ np.log2(present)))


def _blankness(shares: npt.NDArray[np.float64]) -> float:
    """The most pixels that lie within BLANK_LEVELS of one level, whichever it is.

    The best of all windows rather than the one about the commonest level: which level is the
    commonest hangs on noise, this does not."""
    window = np.ones(2 * BLANK_LEVELS + 1)
    return min(1.0, float(np.convolve(shares, window, mode="same").max()))


def _laplacian_variance(luma: Luma) -> float:
    """LAPV of Pech-Pacheco et al. 2000: variance of the 4-neighbour Laplacian, edges repeated."""
    padded = np.pad(luma.astype(np.float32), 1, mode="edge")
    laplacian = padded[1:-1, 1:-1] * -4
    for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        laplacian += neighbour
    return _mean_and_variance(laplacian)[1]


def _colourfulness(image: Image.Image) -> float:
    """M of Hasler and Süsstrunk 2003, from the opponents red-green and yellow-blue."""
    red, green, blue = (np.asarray(band, np.float32) for band in image.split())
    yellow_blue = red + green
    yellow_blue /= 2
    yellow_blue -= blue
    red -= green
    (red_green, variance), (yellow, other) = map(_mean_and_variance, (red, yellow_blue))
    return math.sqrt(variance + other) + 0.3 * math.hypot(red_green, yellow)


def _mean_and_variance(values: F32) -> tuple[float, float]:
    """In place, for large arrays that are made anew cost more than the sums over them."""
    mean = values.mean()
    values -= mean
    return float(mean), float(np.square(values, out=values).mean())
