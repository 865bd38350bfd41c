"""What is taken for a picture, and how one in any mode is shown in RGB."""

import struct
import zlib

import numpy as np
from PIL import Image

# Photographs come in these. Pillow knows more, and some of them start programs (EPS) or are
# drawings, icons and instruments' data; strangers' bytes get no such reach.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
# As files of these are named.
ENDINGS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pnm"),
}

# What Pillow's decoders raise on malformed bytes: it has no base class for them.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB of 8 bits a channel; transparent parts white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _to_8_bit(image).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        opaque = image.convert("LA") if image.mode == "La" else image
        pixels = opaque.convert("RGBA")
        white = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(white, pixels).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey levels of 16 or 32 bits as 8; white is the end of the scale that the values use."""
    levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
    highest = float(levels.max(initial=0))
    scales = (65535.0,) if image.mode.startswith("I;16") else (1.0, 255.0, 65535.0, highest)
    white = next(scale for scale in scales if highest <= scale)
    return Image.fromarray((levels / white * 255).clip(0, 255).round().astype(np.uint8))
