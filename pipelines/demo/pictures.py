"""The demo's pictures, drawn or photographed, with captions known to be right."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.demo.languages import foreign_captions
from pipelines.demo.scenes import Scene, captions, draw, sample_scene, share_a_thing
from schemas.errors import BadInputError

CAPTIONS_FILE = "captions.jsonl"
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture: where it comes from and what is true of it."""

    name: str  # unique in a demo; a part of its URLs
    source: Scene | Path
    captions: tuple[str, ...]  # English, at least one
    foreign: tuple[str, ...]  # in other languages; may be empty


class PhotoLine(BaseModel):
    """One line of captions.jsonl; what else stands there is not needed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    file: str = Field(min_length=1)  # relative to the folder
    split: str
    captions_en: list[str] = Field(min_length=1)
    captions_zh: list[str] = []
    multi30k: dict[str, str] | None = None  # language code to caption


def drawn_pictures(count: int, rng: random.Random) -> list[Picture]:
    """Scenes of the held-out combinations: no pocket model has seen any of them."""
    scenes = [sample_scene(rng, held_out=True) for _ in range(count)]
    return [
        Picture(
            name=f"scene{number:06d}",
            source=scene,
            captions=tuple(captions(scene)),
            foreign=tuple(foreign_captions(scene).values()),
        )
        for number, scene in enumerate(scenes)
    ]


def photographs(folder: Path, split: str) -> list[Picture]:
    """The photographs of one split, in the order of captions.jsonl.

    Raises: BadInputError: the file or a photograph is missing, a line is not as `PhotoLine` has
    it, an id comes twice, or the split is empty."""
    pictures = [_photograph(folder, line) for line in _lines(folder) if line.split == split]
    if not pictures:
        raise BadInputError(f"{folder / CAPTIONS_FILE} has no line with split {split!r}.")
    if len({picture.name for picture in pictures}) < len(pictures):
        raise BadInputError(f"{folder / CAPTIONS_FILE} has two lines with one id.")
    return pictures


def could_be_true(caption_of: Picture, shown: Picture) -> bool:
    """Whether a caption of the one picture might be right for the other.

    For scenes this is strict: a wrong caption names neither thing that is shown. Of photographs
    only the sentences are known, so there it means that they share one."""
    if isinstance(caption_of.source, Scene) and isinstance(shown.source, Scene):
        return share_a_thing(caption_of.source, shown.source)
    return caption_of.name == shown.name or bool(set(caption_of.captions) & set(shown.captions))


def open_picture(picture: Picture) -> Image.Image:
    """The picture in RGB."""
    return Image.open(io.BytesIO(original_bytes(picture))).convert("RGB")


def original_bytes(picture: Picture) -> bytes:
    """The picture as a JPEG file: a photograph's own bytes, a scene drawn anew."""
    if isinstance(picture.source, Path):
        return picture.source.read_bytes()
    size_px = 128 + picture.source.jitter % 97
    file = io.BytesIO()
    draw(picture.source, size_px).save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _lines(folder: Path) -> Iterator[PhotoLine]:
    path = folder / CAPTIONS_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise BadInputError(f"{path} cannot be read: {err}.") from err
    for number, line in enumerate(lines, start=1):
        try:
            yield PhotoLine.model_validate_json(line)
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise BadInputError(f"{path}, line {number}: {where}: {first['msg']}.") from err


def _photograph(folder: Path, line: PhotoLine) -> Picture:
    path = folder / line.file
    if not path.is_file():
        raise BadInputError(f"{path} is missing, though {CAPTIONS_FILE} names it.")
    translations = {k: v for k, v in (line.multi30k or {}).items() if k != "en"}
    return Picture(
        name=line.id,
        source=path,
        captions=tuple(dict.fromkeys(line.captions_en)),
        foreign=tuple(dict.fromkeys([*translations.values(), *line.captions_zh[:1]])),
    )
