"""EXIF of a fetched file: its orientation, and its tags as img2dataset's JSON column has them."""

import json

from PIL import ExifTags, Image

ORIENTATION = ExifTags.Base.Orientation

_LONGEST_VALUE_CHARACTERS = 500

# Pointers to other tables, and one of those tables: where a photograph was taken is left out.
_LEFT_OUT = frozenset({ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop})


def read_exif(image: Image.Image, errors: tuple[type[Exception], ...]) -> Image.Exif:
    """The file's EXIF, empty where it has none or one that cannot be read (`errors`)."""
    try:
        return image.getexif()
    except errors:
        return Image.Exif()


def tags_as_json(exif: Image.Exif, errors: tuple[type[Exception], ...]) -> str:
    """JSON object of tag name to text, ASCII. No binary, overlong or GPS values."""
    try:
        values = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
        tags = {_name(tag): _text(value) for tag, value in values.items() if tag not in _LEFT_OUT}
    except errors:
        return "{}"
    kept = {name: text for name, text in tags.items() if text is not None}
    return json.dumps(kept, sort_keys=True)


def _name(tag: int) -> str:
    return ExifTags.TAGS.get(tag, f"Tag 0x{tag:04X}")


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return None
    text = str(value).strip("\0 \t\r\n")
    return text if len(text) <= _LONGEST_VALUE_CHARACTERS else None
