"""Boxes, answers and lettering of images, from a file of JSON lines."""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from schemas.context import Answered, Context, Thing
from schemas.errors import BadInputError
from transforms.instruct.names.labels import Labels
from transforms.instruct.names.vocabulary import Vocabulary


class Annotation(BaseModel, extra="ignore"):
    """One line: whose image, and what is known of it."""

    uid: str | None = Field(default=None, min_length=1)
    url: str | None = Field(default=None, min_length=1)
    objects: tuple[Thing, ...] | None = Field(default=None, description="[]: there are none.")
    questions: tuple[Answered, ...] = ()
    ocr_tokens: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_an_image(self) -> Self:
        if (self.uid is None) == (self.url is None):
            raise ValueError("name the image by its `uid` or by its `url`")
        if not self.model_fields_set & {"objects", "questions", "ocr_tokens"}:
            raise ValueError("neither `objects` nor `questions` nor `ocr_tokens`")
        return self


@dataclass(frozen=True)
class Annotations:
    """What is known of images, by uid or by URL."""

    by_name: Mapping[str, Context]

    @cached_property
    def labels(self) -> Labels:
        """Of all boxes."""
        return Labels(self.by_name.values())

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """COCO's names, and those of the labels."""
        return Vocabulary(self.labels.names)

    def context(self, uid: str, url: str, captions: tuple[str, ...]) -> Context:
        """Captions with what the file holds of the image, if it does."""
        known = self.by_name.get(uid) or self.by_name.get(url) or Context()
        return known.model_copy(update={"captions": captions})


def read_annotations(path: Path | None) -> Annotations:
    """All lines of a file; nothing without one. Read once in a process, as long as it stays.

    Raises: BadInputError: the file cannot be read, or a line is not what it should be."""
    if path is None:
        return Annotations({})
    try:
        facts = path.stat()
    except OSError as err:
        raise BadInputError(f"The annotations {path} cannot be read: {err.strerror}.") from err
    return _read(path, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: Path, _size: int, _mtime_ns: int) -> Annotations:
    found: dict[str, Context] = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            one = Annotation.model_validate(json.loads(line))
        except ValidationError as err:
            fault = err.errors()[0]
            place = ".".join(str(part) for part in fault["loc"])
            why = f"{place}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")
            raise BadInputError(f"{path}, line {number}: {why}.") from err
        except (ValueError, RecursionError) as err:
            raise BadInputError(f"{path}, line {number} is not JSON: {err}.") from err
        name = one.uid or one.url or ""
        if name in found:
            raise BadInputError(f"{path}, line {number}: {name} was there before.")
        found[name] = Context(things=one.objects, answered=one.questions, lettering=one.ocr_tokens)
    return Annotations(found)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as err:
        raise BadInputError(f"The annotations {path} cannot be read: {err}.") from err
