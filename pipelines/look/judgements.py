"""The file of judgements: a CSV to be filled in by hand, by the page or in a spreadsheet."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import BadInputError

KEPT, DROPPED = "kept", "dropped"
RIGHT, WRONG, UNSURE = "right", "wrong", "unsure"
COLUMNS = ("row", "uid", "url", "caption", "reason", "rule", "value", "limit", "verdict")
_WORDS = {RIGHT: RIGHT, "y": RIGHT, "1": RIGHT, WRONG: WRONG, "n": WRONG, "0": WRONG}
_WORDS |= {UNSURE: UNSURE, "?": UNSURE, "": ""}
_NEEDED = ("row", "uid", "reason", "verdict")  # the rest of a judged file is for people
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet calculates

Line = dict[str, Any]  # what a judge sees of a row: COLUMNS but the verdict, and more


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A line of a judged file."""

    line: int  # of the file, from 1
    row: int
    uid: str
    reason: str  # empty: the row is kept
    verdict: str  # right, wrong, unsure, or empty: not judged yet


def as_csv(lines: Sequence[Line]) -> bytes:
    """A file of COLUMNS in UTF-8, with every verdict left to be given."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows([*as_cells(line), ""] for line in lines)
    return out.getvalue().encode()


def as_cells(line: Line) -> list[str]:
    """A row of the file but its verdict. What a stranger wrote stays text in a spreadsheet: a
    quote goes before what looks like a formula. The run has the caption as it is."""
    cells = {name: "" if line[name] is None else str(line[name]) for name in COLUMNS[:-1]}
    for name in ("url", "caption"):
        if unicodedata.normalize("NFKC", cells[name]).lstrip().startswith(_FORMULA):
            cells[name] = f"'{cells[name]}"
    return list(cells.values())


def read_judgements(file: Path) -> list[Judgement]:
    """The rows of a judged file, which may have been through a spreadsheet.

    Raises: BadInputError: it cannot be read, lacks a column, has a verdict that is none, or a row
    twice; the message has the number of the line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise BadInputError(f"{file} cannot be read as UTF-8 text: {err}.") from err
    found: dict[int, Judgement] = {}
    for line, cells in _numbered(text, file):
        judgement = _judgement(cells, line, file)
        if judgement.row in found:
            raise BadInputError(f"{file}, line {line}: row {judgement.row} came before.")
        found[judgement.row] = judgement
    return list(found.values())


def _numbered(text: str, file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row of a CSV text with the number of the line on which it begins."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    lacking = [name for name in _NEEDED if name not in (reader.fieldnames or [])]
    if lacking:
        raise BadInputError(f"{file} has no column {lacking[0]!r}: no file to judge, with commas.")
    begins = reader.line_num + 1
    try:
        for cells in reader:
            yield begins, {name: cells[name] or "" for name in _NEEDED}
            begins = reader.line_num + 1
    except csv.Error as err:
        raise BadInputError(f"{file}, line {begins}: {err}.") from err


def _judgement(cells: dict[str, str], line: int, file: Path) -> Judgement:
    verdict = _WORDS.get(cells["verdict"].strip().lower())
    if verdict is None:
        wanted = "right, wrong or unsure wanted (or y, n, ?; 1, 0)"
        raise BadInputError(f"{file}, line {line}: the verdict is {cells['verdict']!r}; {wanted}.")
    if not re.fullmatch(r"[0-9]{1,18}", cells["row"].strip()):
        raise BadInputError(f"{file}, line {line}: the row is {cells['row']!r}, and no number.")
    return Judgement(
        line=line,
        row=int(cells["row"]),
        uid=cells["uid"].strip(),
        reason=cells["reason"].strip(),
        verdict=verdict,
    )
