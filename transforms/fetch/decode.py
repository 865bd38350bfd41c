"""Turn fetched bytes into the JPEG that the pool stores, or say what is wrong with them.

Upright, RGB, first frame, transparent parts white. Equal bytes and settings give equal bytes,
with the same versions of Pillow and its libraries.
"""

import contextlib
import hashlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator

from PIL import Image, UnidentifiedImageError

from schemas.pair import Failure
from transforms.fetch.exif import ORIENTATION, read_exif, tags_as_json
from transforms.fetch.policy import FetchPolicy
from transforms.fetch.records import Decoded, Failed
from transforms.fetch.resize import fit, resize
from transforms.shards.pictures import DECODER_ERRORS, FORMATS, to_rgb

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
    rgb = to_rgb(image)
    upright = rgb if turn is None else rgb.transpose(turn)
    if drafted is None:
        return upright, upright.size, tags_as_json(exif, DECODER_ERRORS)
    turned = exif.get(ORIENTATION, 1) in (5, 6, 7, 8)
    original_px = (whole_px[1], whole_px[0]) if turned else whole_px
    return upright, original_px, tags_as_json(exif, DECODER_ERRORS)


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
