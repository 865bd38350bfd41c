"""What the demo's server says at a URL: the same for the same URL, whenever it is asked."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.demo.kinds import Kind
from pipelines.demo.pictures import Picture, original_bytes

STATUS = {Kind.NOT_FOUND: 404, Kind.GONE: 410, Kind.SERVER_ERROR: 500}

_PAGE = b"<!doctype html><html><title>Sorry</title><p>This picture has moved.</p></html>\n"
_TINY_PX = 48
_STRIP_PX = (320, 80)
_UPRIGHT_STRIP_PX = (80, 320)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What lies behind one URL."""

    kind: Kind
    picture: Picture
    number: int  # of the row within its kind: varies how it is broken
    location: str | None = None  # where a redirect leads


def body(answer: Answer) -> bytes:
    """The bytes of an answer. Takes some milliseconds where a picture is drawn or encoded."""
    match answer.kind:
        case Kind.BROKEN_FILE:
            return _broken(answer.number)
        case Kind.HTML:
            return _PAGE
        case Kind.TRUNCATED:
            whole = original_bytes(answer.picture)
            return whole[: len(whole) // 2]  # the scan's end is missing: no decoder can go on
        case Kind.REENCODED_COPY:
            return _reencoded(original_bytes(answer.picture))
        case Kind.TINY:
            return _tiny(original_bytes(answer.picture))
        case Kind.EXTREME_ASPECT:
            return _strip(original_bytes(answer.picture), upright=answer.number % 2 == 1)
        case Kind.NOT_FOUND | Kind.GONE | Kind.SERVER_ERROR:
            return _PAGE
        case _:
            return original_bytes(answer.picture)


def _broken(number: int) -> bytes:
    """A JPEG's first bytes and then noise; plain noise; nothing."""
    noise = np.random.default_rng(number).bytes(4096)
    return (b"\xff\xd8\xff\xe0" + noise, noise, b"")[number % 3]


def _reencoded(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        smaller = (round(image.width * 0.8), round(image.height * 0.8))
        return _jpeg(image.resize(smaller, Image.Resampling.LANCZOS), quality=60)


def _tiny(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((_TINY_PX, _TINY_PX))
        return _jpeg(image)


def _strip(data: bytes, upright: bool) -> bytes:
    """The picture squeezed into 4:1, large enough to be dropped for its aspect alone."""
    with Image.open(io.BytesIO(data)) as image:
        return _jpeg(image.resize(_UPRIGHT_STRIP_PX if upright else _STRIP_PX))


def _jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()
