"""Facts about a caption that need no model: lengths, shares of characters, repeats, stock text.

Characters are counted by numpy over all captions at once. Addresses, telephone numbers and stock
phrases are rare, so Arrow's regular expressions, which take linear time, pick the few captions
that may hold one, and Python's, which can look around a match, count in those.
"""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import re
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.measure.text_patterns import (
    BOILERPLATE,
    BOILERPLATE_HINT,
    LINKS,
    LINKS_HINT,
    PHONES,
    PHONES_HINT,
    PLACEHOLDERS,
)

Mask = npt.NDArray[np.bool_]

TEXT_SCHEMA = pa.schema(
    [
        ("words", pa.int32()),  # split at white space: a Chinese sentence may be one word
        ("chars", pa.int32()),  # code points, without white space at either end
        # Shares of the characters that are seen: all but white space, and but combining marks
        # and format characters (categories M, Cf), which belong to the character before them.
        # So a share is the same for composed and decomposed text, and joiners cost nothing.
        ("alphanumeric_share", pa.float32()),  # letters and numbers of any script (L, N)
        ("digit_share", pa.float32()),  # numbers of any script (N)
        ("upper_share", pa.float32()),  # upper and title case of all letters that have case
        # 1 - distinct / all, over the runs of n successive words, without case; 0 under two runs
        ("repeated_bigram_share", pa.float32()),
        ("repeated_trigram_share", pa.float32()),
        ("longest_run", pa.int32()),  # of one code point that is not white space
        ("urls", pa.int32()),
        ("boilerplate", pa.int32()),  # stock phrases, file names, camera names, placeholders
        ("emails", pa.int32()),
        ("phones", pa.int32()),
    ]
)

_SPACE, _ATTACHED, _UPPER, _LOWER, _OTHER_LETTER, _NUMBER, _OTHER = range(7)
_KINDS = 7
_CATEGORY_KINDS = {"Lu": _UPPER, "Lt": _UPPER, "Ll": _LOWER, "Cf": _ATTACHED}
_MAJOR_KINDS = {"L": _OTHER_LETTER, "N": _NUMBER, "M": _ATTACHED}


def text_facts(captions: Sequence[str]) -> pa.Table:
    """One row of TEXT_SCHEMA for each caption, in their order; an empty caption has only zeros.

    A **URL** begins with http://, https:// or www., or is a bare domain: `example.com/foo`.
    An **e-mail** address is `local@domain.suffix`; it is no URL.
    A **telephone number** is written with ASCII digits and is one of:
      - international: `+` or `00` with the country's code, 7 to 15 digits (E.164);
      - North American in groups: `(212) 555-0123`, `212-555-0123`, `1.212.555.0123`;
      - Chinese mobile in groups: `138 1234 5678`;
      - a trunk zero and 9 to 11 digits in groups: `020 7946 0958`, `(030) 123456`, `03-1234-5678`;
      - 7 to 15 digits after a word such as `tel`, `call`, `fax`, `phone:`, `电话`.
    Dates, spans of years, prices, ISBNs and digits in one piece without such a word are none.
    **Boilerplate** counts stock phrases in some languages, endings of image files, names that
    cameras give, and a caption that is nothing but a placeholder (`untitled`).

    Repeats follow the idea of Gopher's filters (Rae et al. 2021): of n-grams that came before.
    """
    captions = list(captions)
    texts = pa.array(captions, pa.large_string())
    words = [caption.casefold().split() for caption in captions]
    links = _found(captions, texts, LINKS_HINT, LINKS)
    stock = _found(captions, texts, BOILERPLATE_HINT, BOILERPLATE)
    stock += [(row, None) for row, each in enumerate(words) if _is_placeholder(each)]
    columns = {
        "words": [len(each) for each in words],
        "chars": [len(caption.strip()) for caption in captions],
        **_character_facts(captions),
        "repeated_bigram_share": [_repeated_share(each, 2) for each in words],
        "repeated_trigram_share": [_repeated_share(each, 3) for each in words],
        "urls": _per_caption([row for row, group in links if group == "url"], captions),
        "boilerplate": _per_caption([row for row, _ in stock], captions),
        "emails": _per_caption([row for row, group in links if group == "email"], captions),
        "phones": _per_caption(
            [row for row, _ in _found(captions, texts, PHONES_HINT, PHONES)], captions
        ),
    }
    arrays = [pa.array(columns[field.name], field.type) for field in TEXT_SCHEMA]
    return pa.table(arrays, schema=TEXT_SCHEMA)


def _found(
    captions: list[str], texts: pa.Array, hint: str, pattern: re.Pattern[str]
) -> list[tuple[int, str | None]]:
    """Row and group of each match; `hint` picks every caption that may match, and few others."""
    suspects = pc.match_substring_regex(texts, hint).to_numpy(zero_copy_only=False).nonzero()[0]
    return [
        (row, match.lastgroup)
        for row in suspects.tolist()
        for match in pattern.finditer(captions[row])
    ]


def _per_caption(rows: list[int], captions: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.bincount(np.array(rows, np.int64), minlength=len(captions))


def _is_placeholder(words: list[str]) -> bool:
    return " ".join(words).strip("""-.()[]<>"'""") in PLACEHOLDERS


def _repeated_share(words: list[str], n: int) -> float:
    runs = len(words) - n + 1
    if runs < 2:
        return 0.0
    distinct = set(zip(*(words[begin:] for begin in range(n)), strict=False))
    return 1 - len(distinct) / runs


def _character_facts(captions: Sequence[str]) -> dict[str, npt.NDArray[np.generic]]:
    """The columns that are counted code point by code point, (captions,) each."""
    codes = np.frombuffer("".join(captions).encode("utf-32-le"), np.uint32)
    owners = np.repeat(np.arange(len(captions)), [len(caption) for caption in captions])
    kinds = _kinds(codes)
    counts = np.bincount(owners * _KINDS + kinds, minlength=len(captions) * _KINDS)
    counts = counts.reshape(len(captions), _KINDS)
    upper, lower, numbers = counts[:, _UPPER], counts[:, _LOWER], counts[:, _NUMBER]
    seen = counts.sum(1) - counts[:, _SPACE] - counts[:, _ATTACHED]
    return {
        "alphanumeric_share": _share(upper + lower + counts[:, _OTHER_LETTER] + numbers, seen),
        "digit_share": _share(numbers, seen),
        "upper_share": _share(upper, upper + lower),
        "longest_run": _longest_runs(codes, owners, kinds != _SPACE, len(captions)),
    }


def _kinds(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """The kind of each code point; only those that occur are looked up."""
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    table[codes] = 1
    distinct = np.flatnonzero(table)
    table[distinct] = [_kind(chr(code)) for code in distinct.tolist()]
    return table[codes]


def _kind(char: str) -> int:
    if char.isspace():
        return _SPACE
    category = unicodedata.category(char)
    return _CATEGORY_KINDS.get(category, _MAJOR_KINDS.get(category[0], _OTHER))


def _share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return part / np.maximum(whole, 1)  # nothing of nothing is 0


def _longest_runs(
    codes: npt.NDArray[np.uint32], owners: npt.NDArray[np.int64], visible: Mask, rows: int
) -> npt.NDArray[np.int64]:
    """Length of the longest run of one visible code point, for each of `rows` owners."""
    longest = np.zeros(rows, np.int64)
    if codes.size:
        changes = (np.diff(codes.astype(np.int64)) != 0) | (np.diff(owners) != 0)
        starts = np.flatnonzero(np.concatenate([[True], changes]))
        lengths = np.diff(starts, append=codes.size)
        np.maximum.at(longest, owners[starts], np.where(visible[starts], lengths, 0))
    return longest
