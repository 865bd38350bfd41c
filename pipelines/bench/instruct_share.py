"""What share of images the template backend gives a valid dialogue: flickr8k and coco_mini."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.bench.contest import at_least
from pipelines.bench.machine import Mark
from schemas.context import Context, Thing
from schemas.dialogue import Dialogue, Kind, Making
from schemas.errors import BadInputError
from transforms.instruct.annotations import Annotations
from transforms.instruct.checks.judge import CheckPolicy, Known, judge
from transforms.instruct.template import KINDS, Material, make_turns

_MADE = Making(backend="template", model="", source="symbolic", prompt="", prompt_sha256="")


def share_marks(data: Path) -> list[Mark]:
    """Of all images, and of those that give each kind one that passes the checks."""
    sets = {
        "flickr8k val, one caption": list(_flickr8k(data / "flickr8k")),
        "coco_mini, captions and boxes": list(_coco_mini(data / "coco_mini")),
    }
    return [mark for name, contexts in sets.items() for mark in _marks(name, contexts)]


def _marks(name: str, contexts: Sequence[Context]) -> list[Mark]:
    known = Annotations({str(number): one for number, one in enumerate(contexts)})
    valid = [_valid(n, Material(c, "en", known, "popular")) for n, c in enumerate(contexts)]
    shares = {kind.value: sum(kind in own for own in valid) / len(valid) for kind in KINDS}
    shares = {f"any, of {len(valid)}": sum(map(bool, valid)) / len(valid), **shares}
    return [at_least(f"{name}: {told}", share) for told, share in shares.items()]


def _valid(number: int, material: Material) -> set[Kind]:
    """The kinds of which one that is made passes the checks."""
    found: set[Kind] = set()
    against = Known(material.context, material.annotations.vocabulary, CheckPolicy())
    for kind in KINDS:
        turns = make_turns(kind, material, str(number))
        if turns is None:
            continue
        dialogue = Dialogue(
            uid=f"{number:032x}",
            kind=kind,
            number=0,
            language="en",
            images=1,
            turns=turns,
            made=_MADE,
        )
        if judge([dialogue], against) == [None]:
            found.add(kind)
    return found


def _flickr8k(folder: Path) -> Iterator[Context]:
    for line in _lines(folder / "captions.jsonl"):
        if line["split"] == "val":
            yield Context(captions=tuple(line["captions_en"][:1]))


def _coco_mini(folder: Path) -> Iterator[Context]:
    for line in _lines(folder / "captions.jsonl"):
        boxes = [Thing(label=o["label"], box=o["box_xyxy_norm"]) for o in line["objects"]]
        yield Context(captions=tuple(line["captions_en"]), things=tuple(boxes))


def _lines(path: Path) -> Iterator[dict]:
    try:
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())
    except OSError as err:
        raise BadInputError(f"{path} cannot be read: {err.strerror or err}.") from err
