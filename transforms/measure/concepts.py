"""Which entries of a list a caption names, by the rule of MetaCLIP (Xu et al. 2023).

MetaCLIP sets the marks `, . ; : ? ! `` apart with spaces, makes tab and line ends spaces, pads
the caption with a space on both sides, and finds an entry where " entry " is a part of that.
MetaCLIP 2 (2025) leaves out an entry's space on a side that ends in a script written without
spaces, for there words touch. Here:

* Ideographs, Thai, Lao, Tibetan, Burmese and Khmer need no space, nor do CJK marks; kana and
  Hangul do (all as in MetaCLIP 2, whose Japanese is thus found by its ideographs alone).
* ASCII marks, curly quotes and dashes need their spaces, as in MetaCLIP 1. MetaCLIP 2 leaves
  these out as well, so that its entry "-" is found in "x-ray".

One Aho-Corasick automaton finds all entries in one pass, overlapping ones too. For half a million
entries of two words: 2.7 s to build, 210 MB a process, and 34 us a caption of 98 characters that
names 21; to look up each run of its words in a dictionary took 93 us, and finds no words that
touch (CPU time of a shared cloud core).
"""

import functools
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import ahocorasick
import numpy as np
import pyarrow as pa

from schemas.errors import BadInputError
from schemas.fingerprint import file_sha256

CONCEPTS_TYPE = pa.list_(pa.int32())

# MetaCLIP 2's ranges: ideographs and radicals, Thai, Lao, Tibetan, Burmese, Khmer.
_SPACELESS_RANGES = (
    (0x0E00, 0x0E7F),
    (0x0E80, 0x0EFF),
    (0x0F00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x2EFF),
    (0x2F00, 0x2FDF),
    (0x2FF0, 0x2FFF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2EBEF),
)
_SPACELESS_MARKS = frozenset("，。、；：？！（）【】《》〈〉「」『』～")
_SPACING = str.maketrans({mark: f" {mark} " for mark in ",.;:?!`"} | dict.fromkeys("\t\n\r", " "))
_one_builds = threading.Lock()  # a worker's threads would else build the same automaton at once


def read_entries(path: Path) -> tuple[str, ...]:
    """The entries of a file ending in .json (a list of strings), else one a line. Read once.

    An entry's number is its place; a repeated entry is named by its first.
    Raises: BadInputError: no such file, not UTF-8, not such a list, a blank entry, or none.
    """
    return _entries(path, _sha256(path))


def match_concepts(captions: Sequence[str], entries_file: Path, ignore_case: bool) -> pa.Array:
    """(N,) list<int32>: the numbers of the entries that each caption names, rising, each once.

    With `ignore_case` both sides are casefolded, and entries that differ in case alone are all
    named. Raises: BadInputError: as `read_entries`.
    """
    sha256 = _sha256(entries_file)
    with _one_builds:
        automaton, alike = _automaton(entries_file, sha256, ignore_case)
    folded = (caption.casefold() for caption in captions) if ignore_case else captions
    found = [sorted({key for _, key in automaton.iter(_spaced(text))}) for text in folded]
    if alike:
        found = [sorted({n for key in keys for n in alike.get(key, (key,))}) for keys in found]
    offsets = np.zeros(len(found) + 1, np.int32)
    np.cumsum([len(numbers) for numbers in found], out=offsets[1:])
    values = np.fromiter((n for numbers in found for n in numbers), np.int32, int(offsets[-1]))
    return pa.ListArray.from_arrays(offsets, values, type=CONCEPTS_TYPE)


@functools.lru_cache(maxsize=2)
def _automaton(
    path: Path, sha256: str, ignore_case: bool
) -> tuple[ahocorasick.Automaton, dict[int, list[int]]]:
    """Padded entries to the first of their numbers, and the numbers of those that fold alike."""
    automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
    alike: dict[int, list[int]] = {}
    for entry, number in _first_numbers(_entries(path, sha256)).items():
        key = _padded(entry.casefold() if ignore_case else entry)
        first = automaton.get(key, number)
        if first == number:
            automaton.add_word(key, number)
        else:
            alike.setdefault(first, [first]).append(number)
    automaton.make_automaton()
    return automaton, alike


def _first_numbers(entries: Sequence[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for number, entry in enumerate(entries):
        numbers.setdefault(entry, number)
    return numbers


def _spaced(text: str) -> str:
    return f" {text} ".translate(_SPACING)


def _padded(entry: str) -> str:
    before = "" if _is_spaceless(entry[0]) else " "
    after = "" if _is_spaceless(entry[-1]) else " "
    return f"{before}{entry}{after}"


def _is_spaceless(character: str) -> bool:
    point = ord(character)
    if point < _SPACELESS_RANGES[0][0]:  # nearly every entry of an English list
        return False
    in_range = any(low <= point <= high for low, high in _SPACELESS_RANGES)
    return in_range or character in _SPACELESS_MARKS


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except (OSError, ValueError) as error:
        raise BadInputError(f"The list of concepts {path} cannot be read: {error}.") from error


@functools.lru_cache(maxsize=2)
def _entries(path: Path, _sha256: str) -> tuple[str, ...]:
    try:
        text = path.read_text("utf-8-sig")
        entries = json.loads(text) if path.suffix.lower() == ".json" else _lines(text)
    except (OSError, ValueError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadInputError(f"The list of concepts {path} cannot be read: {error}.") from error
    return _checked(entries, path)


def _lines(text: str) -> list[str]:
    """As a text editor counts them: str.splitlines also splits at form feeds and the like."""
    return text.removesuffix("\n").split("\n") if text else []


def _checked(entries: object, path: Path) -> tuple[str, ...]:
    if not isinstance(entries, list) or not entries:
        raise BadInputError(f"The list of concepts {path} is not a list of entries, or empty.")
    for number, entry in enumerate(entries):
        if not isinstance(entry, str) or not entry.strip():
            what = "blank" if isinstance(entry, str) else f"no text but {entry!r}"
            raise BadInputError(
                f"The list of concepts {path} has an entry that is {what}: number {number}."
            )
    return tuple(entries)
