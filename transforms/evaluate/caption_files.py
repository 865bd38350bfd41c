"""Captions by image, from the two kinds of files that captioning code writes.

    .jsonl   a line an image: {"id", "caption"}, or {"id", "captions": [...]} and captions_LANGUAGE
    .json    COCO's: [{"image_id", "caption"}, ...], or the same under "annotations"

`image_id` may stand for `id` and the other way round; a number is taken as its digits.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import BadInputError


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line, or one object of a list: an image and what is said of it."""

    image: str
    captions: list[str]  # at least one
    split: str | None


def read_candidates(path: Path) -> dict[str, str]:
    """One caption by image.

    Raises: BadInputError: no such file, of no known kind, or an image with several captions."""
    found: dict[str, str] = {}
    for where, entry in _entries(path, language=None):
        if len(entry.captions) > 1 or entry.image in found:
            raise BadInputError(
                f"{where}: the image {entry.image!r} has more than one caption; one candidate an"
                " image is wanted."
            )
        found[entry.image] = entry.captions[0]
    if not found:
        raise BadInputError(f"{path}: no captions are there.")
    return found


def read_references(
    path: Path, *, split: str | None = None, language: str | None = None
) -> dict[str, list[str]]:
    """All captions by image, in the file's order.

    Args:
        split: only of entries with this `split`.
        language: take `captions_LANGUAGE` where an entry has it.
    Raises: BadInputError: no such file, of no known kind, or nothing of this split is there."""
    found: dict[str, list[str]] = {}
    for _, entry in _entries(path, language):
        if split is None or entry.split == split:
            found.setdefault(entry.image, []).extend(entry.captions)
    if not found:
        of = "" if split is None else f" of the split {split!r}"
        raise BadInputError(f"{path}: no captions{of} are there.")
    return found


def _entries(path: Path, language: str | None) -> Iterator[tuple[str, _Entry]]:
    """Entries with the place where each stands, for messages."""
    for where, given in _objects(path):
        if not isinstance(given, dict):
            raise BadInputError(f"{where}: an object with an image and its caption is wanted.")
        yield where, _entry(given, language, where)


def _entry(given: dict[str, Any], language: str | None, where: str) -> _Entry:
    # COCO's annotations have an id of their own besides that of their image.
    image = given.get("image_id", given.get("id"))
    if not isinstance(image, str | int) or isinstance(image, bool):
        raise BadInputError(f"{where}: `image_id` or `id` is wanted, a text or a number.")
    named = "captions" if language is None else f"captions_{language}"
    if "caption" in given and {named, "captions"} & given.keys():
        raise BadInputError(f"{where}: both `caption` and `captions` are there; which one counts?")
    captions = given.get(named) or given.get("captions")
    if captions is None and "caption" in given:
        captions = [given["caption"]]
    are_texts = isinstance(captions, list) and all(isinstance(text, str) for text in captions)
    if not captions or not are_texts:
        also = "" if language is None else f", or a list `{named}`"
        raise BadInputError(f"{where}: a text `caption`, or a list `captions`{also} is wanted.")
    return _Entry(image=str(image), captions=captions, split=given.get("split"))


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
    text = _read(path)
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, _parse(line, where)
    elif path.suffix == ".json":
        given = _parse(text, str(path))
        entries = given.get("annotations") if isinstance(given, dict) else given
        if not isinstance(entries, list):
            raise BadInputError(
                f"{path}: a list of image_id and caption is wanted, or one under `annotations`."
            )
        for number, entry in enumerate(entries, start=1):
            yield f"{path}, entry {number}", entry
    else:
        raise BadInputError(f"{path}: captions are read from .jsonl and .json files.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as err:
        raise BadInputError(f"{path} cannot be read: {err.strerror}.") from err
    except UnicodeDecodeError as err:
        raise BadInputError(f"{path} is no text in UTF-8.") from err


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BadInputError(f"{where}: no JSON ({err}).") from err
