"""Turn fetched bytes into the JPEG that the pool stores, or say what is wrong with them.

Upright, RGB, first frame, transparent parts white. Equal bytes and settings give equal bytes,
with the same versions of Pillow and its libraries.
"""

import contextlib
import hashlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from schemas.pair import Failure
from transforms.fetch.exif import ORIENTATION, read_exif, tags_as_json
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Decoded, Failed
from transforms.fetch.resize import fit, resize

# Photographs come in these. Pillow knows more, and some of them start programs (EPS) or are
# drawings, icons and instruments' data; strangers' bytes get no such reach.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")

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

_JPEG_MAX_SIDE_PX = 65_500

# Where and how a file of a format begins, and whether these bytes hold its end as far as its
# end can be told.
_SIGNS: tuple[tuple[int, bytes, Callable[[bytes], bool]], ...] = (
    (0, b"\xff\xd8\xff", lambda data: data.rstrip(b"\0").endswith(b"\xff\xd9")),
    (0, b"\x89PNG\r\n\x1a\n", lambda data: b"IEND" in data[-64:]),
    (0, b"GIF8", lambda data: data.rstrip(b"\0").endswith(b";")),
    (8, b"WEBP", lambda data: len(data) >= 8 + int.from_bytes(data[4:8], "little")),
    (4, b"ftypavif", lambda data: True),
    (4, b"jP  \r\n\x87\n", lambda data: True),
    (0, b"II*\0", lambda data: True),
    (0, b"MM\0*", lambda data: True),
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, policy: FetchPolicy) -> Decoded | Failed:
    """The image in `data` as the pool stores it. Never raises for what the bytes hold."""
    with _quiet.hold():
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > policy.max_pixels:
                    return _too_many_pixels(f"{image.width} x {image.height} px")
                upright, original_px, exif = _load(image, policy)
        except DECODER_ERRORS as err:
            return _classify(err, data)
    stored = resize(upright, original_px, policy)
    if max(stored.size) > _JPEG_MAX_SIDE_PX:
        return _too_many_pixels(f"a side of {max(stored.size)} px does not fit a JPEG")
    return Decoded(
        jpeg=_encode(stored, policy.jpeg_quality),
        width_px=stored.width,
        height_px=stored.height,
        original_width_px=original_px[0],
        original_height_px=original_px[1],
        exif=exif,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _load(image: Image.Image, policy: FetchPolicy) -> tuple[Image.Image, tuple[int, int], str]:
    """Upright RGB pixels, the upright size as fetched, EXIF as JSON.

    A JPEG much larger than what is stored is decoded at a half, a quarter or an eighth of its
    size, never below twice the stored one.
    """
    whole_px = image.size
    target_px = fit(whole_px, policy)
    drafted = None
    if target_px is not None:
        drafted = image.draft(image.mode, (2 * target_px[0], 2 * target_px[1]))
    image.load()  # before EXIF is asked: TIFF turns itself upright here
    exif = read_exif(image, DECODER_ERRORS)
    turn = _UPRIGHT.get(exif.get(ORIENTATION, 1))
    rgb = _to_rgb(image)
    upright = rgb if turn is None else rgb.transpose(turn)
    if drafted is None:
        return upright, upright.size, tags_as_json(exif, DECODER_ERRORS)
    turned = exif.get(ORIENTATION, 1) in (5, 6, 7, 8)
    original_px = (whole_px[1], whole_px[0]) if turned else whole_px
    return upright, original_px, tags_as_json(exif, DECODER_ERRORS)


def _to_rgb(image: Image.Image) -> Image.Image:
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


def _encode(image: Image.Image, quality: int) -> bytes:
    image.info = {}  # Pillow would write a comment it found there
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _too_many_pixels(detail: str) -> Failed:
    return Failed(failure=Failure.TOO_MANY_PIXELS, detail=detail)


def _classify(err: Exception, data: bytes) -> Failed:
    if isinstance(err, Image.DecompressionBombError):
        return _too_many_pixels("more than Pillow ever decodes")
    whole = next((ends(data) for at, sign, ends in _SIGNS if data.startswith(sign, at)), None)
    if isinstance(err, UnidentifiedImageError):
        if whole is None:
            detail = f"begins with {data[:16]!r}"
            return Failed(failure=Failure.NOT_AN_IMAGE, detail=detail)
        detail = "no header that can be read"  # Pillow's own words hold an address in memory
    else:
        detail = str(err) or type(err).__name__
    if whole is False or "truncated" in str(err).lower():
        return Failed(failure=Failure.TRUNCATED, detail=detail)
    return Failed(failure=Failure.BROKEN_IMAGE, detail=detail)


class _Quiet:
    """Pillow's warnings are off while any thread decodes.

    `warnings.catch_warnings` alone leaves them off for ever when two threads overlap."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._caught = contextlib.ExitStack()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        with self._lock:
            if self._threads == 0:
                self._caught.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads -= 1
                if self._threads == 0:
                    self._caught.close()


_quiet = _Quiet()
