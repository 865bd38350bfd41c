import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadInputError
from transforms.measure.concepts import CONCEPTS_TYPE, match_concepts, read_entries


def listed(folder: Path, entries: list[str]) -> Path:
    file = folder / "metadata.json"
    file.write_text(json.dumps(entries), "utf-8")
    return file


def found_by_loop(caption: str, entries: list[str], touching: str, ignore_case: bool) -> list[int]:
    """MetaCLIP's rule in plain Python: entries in turn, each by `in`."""
    caption = caption.casefold() if ignore_case else caption
    text = f" {caption} "
    for mark in ",.;:?!`":
        text = text.replace(mark, f" {mark} ")
    for white in "\t\n\r":
        text = text.replace(white, " ")
    numbers = []
    for number, entry in enumerate(entries):
        key = entry.casefold() if ignore_case else entry
        left, right = ("" if key[i] in touching else " " for i in (0, -1))
        if f"{left}{key}{right}" in text and entry not in entries[:number]:
            numbers.append(number)
    return numbers


# Few letters, so that entries overlap, contain each other and share their spaces.
TEXTS = st.text("abAß .,-!`\t\n红花ก、か\0\ud800", max_size=24)
ENTRIES = st.lists(st.text("abAß .,-红花ก、か\0\ud800", min_size=1, max_size=4), min_size=1)


@given(st.lists(TEXTS, max_size=4), ENTRIES, st.booleans())
def test_match_concepts_finds_what_a_loop_over_the_entries_finds(
    tmp_path_factory, captions, entries, ignore_case
):
    entries = [entry for entry in entries if entry.strip()] or ["a"]
    file = listed(tmp_path_factory.mktemp("entries"), entries)
    found = match_concepts(captions, file, ignore_case)
    assert found.type == CONCEPTS_TYPE
    assert found.to_pylist() == [
        found_by_loop(caption, entries, "红花ก、", ignore_case) for caption in captions
    ]


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("A hot dog stand", ["hot", "hot dog", "dog", "dog stand"]),  # " dog " shares its spaces
        ("hot,dog", ["hot", "dog"]),
        ("hot\tdog", ["hot", "hot dog", "dog"]),
        ("hotdog stands", []),
        ("an x-ray", []),  # "-" needs its spaces
        ("a - b", ["-"]),
        ("一只热狗在街上", ["热狗"]),
        ("HOT dog", ["dog"]),
        ("", []),
    ],
)
def test_match_concepts_by_hand(tmp_path, caption, names):
    entries = ["hot", "hot dog", "dog", "dog stand", "热狗", "-"]
    [numbers] = match_concepts([caption], listed(tmp_path, entries), False).to_pylist()
    assert [entries[n] for n in numbers] == names


def test_ignore_case_names_all_entries_that_fold_alike(tmp_path):
    file = listed(tmp_path, ["Apple", "apple", "STRASSE", "Apple", "Straße"])
    captions = ["An APPLE", "straße"]
    assert match_concepts(captions, file, True).to_pylist() == [[0, 1], [2, 4]]
    assert match_concepts(captions, file, False).to_pylist() == [[], []]


def test_a_changed_file_is_read_again(tmp_path):
    assert match_concepts(["a cat"], listed(tmp_path, ["cat"]), False).to_pylist() == [[0]]
    assert match_concepts(["a cat"], listed(tmp_path, ["dog"]), False).to_pylist() == [[]]


def test_read_entries_takes_lines_and_keeps_places(tmp_path):
    file = tmp_path / "entries.txt"
    file.write_bytes("\ufeffhot dog\r\ncat\r\nhot dog\r\nform\x0cfeed\r\n".encode())
    assert read_entries(file) == ("hot dog", "cat", "hot dog", "form\x0cfeed")
    assert match_concepts(["hot dog"], file, False).to_pylist() == [[0]]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("no.json", None, "cannot be read"),
        ("bytes.txt", b"\xff\xfe\x00", "cannot be read"),
        ("cut.json", b'["cat", ', "cannot be read"),
        ("map.json", b'{"cat": 1}', "not a list"),
        ("none.json", b"[]", "empty"),
        ("none.txt", b"", "empty"),
        ("number.json", b'["cat", 3]', r"no text but 3: number 1"),
        ("blank.json", b'["cat", " "]', r"blank: number 1"),
        ("blank.txt", b"cat\n\ndog\n", r"blank: number 1"),
    ],
)
def test_read_entries_refuses_what_is_no_list_of_entries(tmp_path, name, content, why):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInputError, match=why) as error:
        read_entries(file)
    assert name in str(error.value)
    with pytest.raises(BadInputError, match=why):
        match_concepts([], file, False)
