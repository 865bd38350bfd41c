"""img2dataset's resize modes. Source: img2dataset 1.47, resizer.py."""

from PIL import Image

from transforms.fetch.policy import FetchPolicy

Size = tuple[int, int]  # width, height in px


def fit(size: Size, policy: FetchPolicy) -> Size | None:
    """Size to scale an image to, before it is cropped or padded; None leaves it as it is."""
    shorter_counts = policy.resize_mode in ("keep_ratio", "center_crop")
    side_px = min(size) if shorter_counts else max(size)
    smaller = side_px <= policy.image_size_px
    if policy.resize_mode == "no" or (smaller and policy.resize_only_if_bigger):
        return None
    scale = policy.image_size_px / side_px
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize(image: Image.Image, original: Size, policy: FetchPolicy) -> Image.Image:
    """`image` as the pool stores it. It may be a reduced decoding of one of size `original`."""
    target = fit(original, policy)
    if target is None:
        return image
    scaled = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if policy.resize_mode == "center_crop":
        return scaled.crop(_centred(scaled.size, policy.image_size_px))
    if policy.resize_mode == "border":
        return _pad(scaled, policy.image_size_px)
    return scaled


def _centred(size: Size, side_px: int) -> tuple[int, int, int, int]:
    left, top = (size[0] - side_px) // 2, (size[1] - side_px) // 2
    return left, top, left + side_px, top + side_px


def _pad(image: Image.Image, side_px: int) -> Image.Image:
    square = Image.new("RGB", (side_px, side_px), "white")
    square.paste(image, ((side_px - image.width) // 2, (side_px - image.height) // 2))
    return square
