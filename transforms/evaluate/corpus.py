"""The samples of universal shards, read one at a time: an image and all its texts."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from schemas.errors import BadInputError, CorruptPoolError
from transforms.shards.pictures import DECODER_ERRORS, FORMATS, to_rgb
from transforms.shards.tar import index_tar, read_span

IMAGES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True)
class CorpusSample:
    """What retrieval needs of a sample."""

    key: str
    image: Image.Image  # RGB
    texts: tuple[str, ...]  # at least one, the best first


def read_corpus(folder: Path) -> Iterator[CorpusSample]:
    """All samples of a folder's tars, in order of name.

    The texts are the json's `captions`, as Pairmill builds them; without them, KEY.txt.

    Raises: BadInputError: no shards, a damaged one, or a sample without an image or a text."""
    tars = sorted(folder.glob("*.tar"))
    if not tars:
        raise BadInputError(f"{folder}: no .tar shards are there; name the folder of a corpus.")
    for tar in tars:
        yield from _read_shard(tar)


def _read_shard(tar: Path) -> Iterator[CorpusSample]:
    try:
        index = index_tar(tar)
        with tar.open("rb") as file:
            for key, spans in index.items():
                members = {name: read_span(file, spans[name]) for name in spans}
                yield _sample(key, members, f"{tar}: {key}")
    except (CorruptPoolError, OSError) as err:
        raise BadInputError(f"{tar} is no readable shard: {err}.") from err


def _sample(key: str, members: dict[str, bytes], where: str) -> CorpusSample:
    encoded = next((members[name] for name in IMAGES if name in members), None)
    if encoded is None:
        raise BadInputError(f"{where} has no image.")
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            decoded = to_rgb(image)
    except DECODER_ERRORS as err:
        raise BadInputError(f"{where}: its image cannot be read: {err}.") from err
    return CorpusSample(key=key, image=decoded, texts=_texts(members, where))


def _texts(members: dict[str, bytes], where: str) -> tuple[str, ...]:
    try:
        record = json.loads(members.get("json", b"{}"))
        listed = record.get("captions") if isinstance(record, dict) else None
        if listed:
            return tuple(str(entry["text"]) for entry in listed)
        text = members["txt"].decode().strip()
    except (KeyError, TypeError, ValueError) as err:
        raise BadInputError(f"{where}: its texts cannot be read ({err}).") from err
    if not text:
        raise BadInputError(f"{where} has no text.")
    return (text,)
