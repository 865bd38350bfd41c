"""What flows inside the fetch stage: an image on its way from a URL to its place in the pool."""

from dataclasses import dataclass
from typing import Self

from schemas.pair import Failure, Status

MESSAGE_CHARACTERS = 300

# Failures of what was fetched; all others are failures to fetch it.
_AFTER_DOWNLOAD = frozenset(
    {Failure.NOT_AN_IMAGE, Failure.TRUNCATED, Failure.BROKEN_IMAGE, Failure.TOO_MANY_PIXELS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """The whole body of an answer, decompressed."""

    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An image that is not in the pool, and why."""

    failure: Failure
    detail: str  # the same for the same cause on every run: no addresses, no times
    may_pass: bool = False  # worth another attempt
    status: Status | None = None  # what the engine said, where it is not ours

    def message(self) -> str:
        """`detail` as a text that fits a column: valid UTF-8, one line, of bounded length."""
        text = " ".join(self.detail.encode("utf-8", "backslashreplace").decode().split())
        return text[:MESSAGE_CHARACTERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """An image as the pool stores it."""

    jpeg: bytes
    width_px: int  # as stored
    height_px: int
    original_width_px: int  # as fetched, upright
    original_height_px: int
    exif: str  # JSON object of the file's tags
    sha256: str  # of the bytes as fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """One image's part of schemas.pair.POOL_SCHEMA; the field names are columns of it."""

    status: str
    failure: str | None = None
    error_message: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    exif: str | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, result: Decoded | Failed) -> Self:
        if isinstance(result, Failed):
            fetched = result.failure in _AFTER_DOWNLOAD
            ours = Status.NOT_RESIZED if fetched else Status.NOT_DOWNLOADED
            return cls(
                status=result.status or ours,
                failure=result.failure,
                error_message=result.message(),
            )
        return cls(
            status=Status.SUCCESS,
            width=result.width_px,
            height=result.height_px,
            original_width=result.original_width_px,
            original_height=result.original_height_px,
            exif=result.exif,
            sha256=result.sha256,
        )
