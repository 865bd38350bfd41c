"""A user's own measure: one function, found by name, called once a row.

`file.py:function`, relative to the recipe's folder, or `package.module:function`. The names of
the function's parameters say what it is given:

    def exclaims(caption):
        return caption.count("!")

Only the spec and the folder travel to a worker, which loads the function again.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from schemas.errors import BadInputError, RunFailedError
from schemas.fingerprint import Json
from transforms.measure.image import Box, TextDetector
from transforms.measure.own_source import find_source, load_module, told

GIVEN = ("image", "caption", "url", "uid", "width", "height")  # image: PIL RGB; sides in px
_COLUMN = re.compile(r"[A-Za-z0-9_]+")  # as recipes can name it
PLAIN = "value"  # column of a function that returns no dict

Value = None | bool | float | str
_TYPES = {bool: pa.bool_(), float: pa.float64(), str: pa.string()}
_WORDS = {bool: "bool", float: "number", str: "string"}


@dataclass(frozen=True, slots=True)
class OwnMeasure:
    """A loaded function. Pickled, it is its spec and folder, and is loaded again."""

    spec: str
    folder: Path
    function: Callable[..., object]
    needs: tuple[str, ...]  # of GIVEN, in the order of its parameters

    def __reduce__(self) -> tuple[Callable[..., "OwnMeasure"], tuple[str, Path]]:
        return load_own, (self.spec, self.folder)

    @property
    def called(self) -> str:
        """As messages name it: `exclaims (my.py)`."""
        source, _, name = self.spec.rpartition(":")
        return f"{name} ({Path(source).name})"


def load_own(spec: str, folder: Path = Path()) -> OwnMeasure:
    """The function that `spec` names, from its file as it is now.

    A file of the recipe's folder may import what is installed, but not its neighbours.
    Raises: BadInputError: no such file, module or function, it cannot be imported or called, or
            it has a parameter that is none of GIVEN."""
    source = find_source(spec, folder)
    module = load_module(source)
    function = getattr(module, source.name, None)
    if function is None:
        raise BadInputError(f"{source.path} has no function {source.name!r}, which {spec!r} names.")
    if not callable(function) or isinstance(function, type):
        kind = type(function).__name__
        raise BadInputError(f"The measure {spec!r} is no function but of type {kind}.")
    return OwnMeasure(spec, folder, function, _needs(function, spec))


def load_text_detector(spec: str) -> TextDetector:
    """A function of one `image` that gives boxes of text; a fault in it is told with its name.

    Raises: BadInputError: as `load_own`, or it wants anything else than an image."""
    own = load_own(spec)
    if own.needs != ("image",):
        wanted = ", ".join(own.needs) or "nothing"
        raise BadInputError(f"The text detector {own.called} must take `image`, not {wanted}.")

    def find_text(image: Image.Image) -> Sequence[Box]:
        try:
            boxes: Any = own.function(image=image.copy())
            return [tuple(map(float, box)) for box in boxes]  # pyright: ignore
        except (Exception, SystemExit) as err:  # the user's code
            raise RunFailedError(f"The text detector {own.called} failed: {told(err)}.") from err

    return find_text


def wants_image(own: OwnMeasure) -> bool:
    """Whether its rows need a decoded `image`."""
    return "image" in own.needs


def own_identity(spec: str, folder: Path = Path()) -> Json:
    """The function's name and the sha256 of its file: once edited, it is a new measure.

    Where the file lies is no part of it, nor is any other file that it imports.
    Raises: BadInputError: no such file or module."""
    source = find_source(spec, folder)
    return {"function": source.name, "sha256": source.sha256}


def measure_own(own: OwnMeasure, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Call the function on each row; a column per name in its dicts, sorted, or `value`.

    Rows have `uid` and what the function needs. Numbers become float64 (NaN stays), bools bool,
    strings string; None, and a name that a dict lacks, become null. A column of nulls alone has
    the type pa.null, and where no row gave anything it is `value`: another shard may know the
    type, so join shards by `pa.concat_tables(..., promote_options="default")`.

    Raises: RunFailedError: the function raised, gave what is no value, or mixes kinds in a column.
    """
    found: list[dict[str, Value]] = []
    kinds: dict[str, type] = {}
    for row in rows:
        cells = _cells(own, row)
        for name, value in cells.items():
            kind = type(value)
            if value is not None and (before := kinds.setdefault(name, kind)) is not kind:
                fault = f"a {_WORDS[kind]} in column {name!r}, where a {_WORDS[before]} came before"
                raise _fault(own, row, f"gave {fault}")
        found.append(cells)
    names = sorted({name for cells in found for name in cells}) or [PLAIN]
    types = {name: _TYPES[kinds[name]] if name in kinds else pa.null() for name in names}
    return pa.table(
        {name: pa.array([cells.get(name) for cells in found], types[name]) for name in names}
    )


def _cells(own: OwnMeasure, row: Mapping[str, Any]) -> dict[str, Value]:
    """What the function gives for one row, by column."""
    given = {name: row[name] for name in own.needs}
    if "image" in given:  # rows of one image share it, and a function may change what it is given
        given["image"] = given["image"].copy()
    try:
        returned = own.function(**given)
    except (
        Exception,
        SystemExit,
    ) as err:  # the user's code: whatever it raises is told with the row
        raise _fault(own, row, "failed", f": {told(err)}") from err
    if returned is None:
        return {}
    by_name = returned if isinstance(returned, Mapping) else {PLAIN: returned}
    for name in by_name:
        if not isinstance(name, str) or not _COLUMN.fullmatch(name) or name == "uid":
            raise _fault(own, row, f"gave a column the name {name!r}, which none can have")
    return {name: _value(own, row, name, cell) for name, cell in by_name.items()}


def _value(own: OwnMeasure, row: Mapping[str, Any], name: str, cell: object) -> Value:
    """A cell as Arrow takes it; numpy's scalars are values as well."""
    plain = cell.item() if isinstance(cell, np.generic) else cell
    try:
        if plain is None or isinstance(plain, bool):
            return plain
        if isinstance(plain, int | float):
            return float(plain)
        if isinstance(plain, str):
            plain.encode()
            return str(plain)
    except (OverflowError, UnicodeEncodeError) as err:
        raise _fault(own, row, f"gave what column {name!r} cannot hold", f": {told(err)}") from err
    kind = type(cell).__name__
    wanted = "a number, a bool, a string or None, or a dict of these"
    raise _fault(own, row, f"gave a {kind} in column {name!r}", f": {wanted} is wanted")


def _fault(own: OwnMeasure, row: Mapping[str, Any], what: str, why: str = "") -> RunFailedError:
    return RunFailedError(f"The measure {own.called} {what} on row uid={row['uid']}{why}.")


def _needs(function: Callable[..., object], spec: str) -> tuple[str, ...]:
    """Names of the function's parameters, each of which must be one of GIVEN."""
    known = ", ".join(GIVEN)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as err:
        raise BadInputError(f"The measure {spec!r} does not tell its parameters' names.") from err
    for parameter in parameters:
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if parameter.name not in GIVEN or not by_name:
            raise BadInputError(
                f"The measure {spec!r} has a parameter {parameter.name!r} that it cannot be given "
                f"by name; known are: {known}."
            )
    return tuple(parameter.name for parameter in parameters)
