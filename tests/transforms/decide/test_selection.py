"""Selections made elsewhere: DataComp's npy and tables of uids, as others write them."""

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import ends, kept, uid

from schemas.errors import BadInputError, RunFailedError
from transforms.decide.logic import AllOf
from transforms.decide.selection import SelectionRule, as_selection, is_selected, read_selection
from transforms.shards.uids import halves

UIDS = [uid(number) for number in range(6)]
CHOSEN = [UIDS[4], UIDS[0], UIDS[1]]
ROWS = pa.table({"uid": UIDS})
WANTED = [text in CHOSEN for text in UIDS]


def _datacomp_npy(path: Path, uids: list[str]) -> None:
    """As DataComp's baselines.py writes a subset."""
    halved = [(int(text[:16], 16), int(text[16:32], 16)) for text in uids]
    array = np.array(halved, np.dtype("u8,u8"))
    array.sort()
    np.save(path, array)


def _table(path: Path, uids: list[str]) -> None:
    pq.write_table(pa.table({"score": [0.5] * len(uids), "uid": pa.array(uids, pa.string())}), path)


def _lines(before: str, after: str, end: str = "\n", head: str = "") -> Callable:
    def write(path: Path, uids: list[str]) -> None:
        body = "".join(f"{before}{text}{after}{end}" for text in uids)
        path.write_bytes((head + body).encode())

    return write


FILES = {
    "datacomp.npy": _datacomp_npy,
    "table.parquet": _table,
    "plain.txt": _lines("", ""),
    "plain.csv": _lines("", ""),
    "windows.txt": _lines("", "", "\r\n"),
    "marked.txt": _lines("", "", head="\ufeff"),
    "headed.csv": _lines("", "", head="uid\n"),
    "spreadsheet.csv": _lines('"', '"', "\r\n", '\ufeff"uid"\r\n'),
    "padded.csv": _lines(" ", "  ", head="uid\n"),
    "columns.csv": _lines("a cat,", ",0.5", head="caption,uid,score\n"),
    "quoted.csv": _lines('"two\nlines, and ""a"" mark",', "", head="caption,uid\n"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_a_selection_is_read_as_it_was_written(
    name: str, case: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / name
    FILES[name](path, [case(text) for text in CHOSEN])
    rule = SelectionRule(file=path)
    rule.check()
    assert kept(rule, ROWS) == WANTED
    high, low = read_selection(path)
    numbers = [h << 64 | n for h, n in zip(high.tolist(), low.tolist(), strict=True)]
    assert numbers == sorted(int(text, 16) for text in CHOSEN)


@pytest.mark.parametrize("name", ["datacomp.npy", "table.parquet", "headed.csv", "columns.csv"])
def test_a_selection_of_nothing_keeps_nothing(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name, [])
    assert kept(SelectionRule(file=tmp_path / name), ROWS) == [False] * len(UIDS)


def test_captions_with_line_ends_may_span_the_blocks_that_are_read(tmp_path: Path) -> None:
    """The library reads a csv by the megabyte."""
    path = tmp_path / "long.csv"
    caption = '"' + "so it goes,\n" * 100 + '"'
    rows = [f"{caption},{uid(number)}\n" for number in range(3000)]
    path.write_text("caption,uid\n" + "".join(rows))
    high, _ = read_selection(path)
    assert len(high) == 3000


class _Boom:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("a selection was unpickled",)


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(4096))


def _cut(path: Path) -> None:
    _datacomp_npy(path, UIDS)
    path.write_bytes(path.read_bytes()[:-8])


def _endless(path: Path) -> None:
    """Its head promises more than any memory holds."""
    head = np.lib.format.header_data_from_array_1_0(np.zeros(1, "u8,u8"))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head | {"shape": (10**15,)})


BAD = {
    "none.npy": lambda path: None,
    "empty.npy": lambda path: path.write_bytes(b""),
    "garbage.npy": _garbage,
    "cut.npy": _cut,
    "endless.npy": _endless,
    "zip.npy": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "pickle.npy": lambda path: path.write_bytes(pickle.dumps(_Boom())),
    "objects.npy": lambda path: np.save(path, np.array([_Boom()], object), allow_pickle=True),
    "floats.npy": lambda path: np.save(path, np.zeros(3)),
    "signed.npy": lambda path: np.save(path, np.zeros(3, "i8,i8")),
    "flat.npy": lambda path: np.save(path, np.zeros((3, 2), "u8")),
    "square.npy": lambda path: np.save(path, np.zeros((3, 3), "u8,u8")),
    "strings.npy": lambda path: np.save(path, np.array(UIDS)),
    "empty.csv": lambda path: path.write_bytes(b""),
    "garbage.csv": _garbage,
    "short.csv": lambda path: path.write_text(f"uid\n{UIDS[0]}\n{UIDS[1][:31]}\n"),
    "no_hex.txt": lambda path: path.write_text("g" * 32 + "\n"),
    "no_uid.csv": lambda path: path.write_text(f"key,score\n{UIDS[0]},1\n"),
    "hole.csv": lambda path: path.write_text(f"uid,n\n{UIDS[0]},1\n,2\n"),
    "ragged.csv": lambda path: path.write_text(f"uid,n\n{UIDS[0]},1\n{UIDS[1]}\n"),
    "garbage.parquet": _garbage,
    "no_uid.parquet": lambda path: pq.write_table(pa.table({"key": UIDS}), path),
    "hole.parquet": lambda path: pq.write_table(pa.table({"uid": [UIDS[0], None]}), path),
    "numbers.parquet": lambda path: pq.write_table(pa.table({"uid": [1, 2]}), path),
    "lists.parquet": lambda path: pq.write_table(pa.table({"uid": [[UIDS[0]]]}), path),
    "uids.json": lambda path: path.write_text("[]"),
    "folder.csv": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_selection_is_told_in_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    BAD[name](path)
    with pytest.raises(BadInputError) as told:
        SelectionRule(file=path).check()
    sentence = str(told.value)
    assert sentence.startswith(f"The selection {path} cannot be read: ")
    assert "\n" not in sentence
    assert not sentence.endswith("..")
    assert sum(path.name in word for word in sentence.split()) <= 2


def test_a_rule_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"cannot be read: No such file or directory\.$"):
        SelectionRule(file=tmp_path / "gone.npy").identity()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    for name, there in (("no_uid.csv", "key, score"), ("no_uid.parquet", "key")):
        BAD[name](tmp_path / name)
        with pytest.raises(BadInputError, match=rf": it has no column uid, but {there}\.$"):
            read_selection(tmp_path / name)


# Few halves, so that first halves are often equal and second halves cross over.
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30)


@given(PAIRS, PAIRS)
def test_both_halves_count(asked: list[tuple[int, int]], chosen: list[tuple[int, int]]) -> None:
    def split(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        return halves(pa.array([f"{h:016x}{n:016x}" for h, n in pairs], pa.string()))

    selection = as_selection(*split(chosen))
    found = is_selected(split(asked), (selection["f0"], selection["f1"]))
    assert found.tolist() == [pair in chosen for pair in asked]


def test_uids_that_count_upwards_are_found_as_fast_as_others() -> None:
    """All first halves are equal then; a search one by one would not end."""
    numbers = np.arange(300_000, dtype=np.uint64)
    zeros = np.zeros_like(numbers)
    found = is_selected((zeros, numbers), (zeros[::2], numbers[::2]))
    assert found.tolist() == [True, False] * 150_000


def test_a_drop_names_the_file(tmp_path: Path) -> None:
    FILES["plain.txt"](tmp_path / "mine.txt", CHOSEN)
    found = ends(SelectionRule(file=tmp_path / "mine.txt"), ROWS)
    assert [end and (end.reason, end.detail) for end in found] == [
        None if wanted else ("not_selected", "not in mine.txt") for wanted in WANTED
    ]


def test_a_rule_is_its_files_content_and_not_its_name(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        FILES["plain.txt"](tmp_path / name, CHOSEN)
    FILES["plain.txt"](tmp_path / "c.txt", CHOSEN[:2])
    a, b, c = (SelectionRule(file=tmp_path / f"{name}.txt").identity() for name in "abc")
    assert a == b != c


def test_a_file_that_is_edited_in_place_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.npy"
    rule = SelectionRule(file=path)
    for number in range(len(UIDS)):
        FILES["datacomp.npy"](path, [UIDS[number]])
        os.utime(path, (1, 1))  # as a copy that keeps times
        assert kept(rule, ROWS).index(True) == number
        assert sum(kept(rule, ROWS)) == 1


def test_shards_without_rows_are_judged(tmp_path: Path) -> None:
    FILES["plain.txt"](tmp_path / "mine.txt", CHOSEN)
    assert ends(SelectionRule(file=tmp_path / "mine.txt"), ROWS.slice(0, 0)) == []


def test_a_pinned_rule_reads_nothing_but_what_it_was_pinned_to(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    FILES["plain.txt"](path, CHOSEN)
    rule = SelectionRule(file=path)
    joined = AllOf(names=("selection",), rules=(rule,))
    pinned = pickle.loads(pickle.dumps(joined.pinned(joined.identity())))
    before = pinned.identity()
    assert kept(pinned, ROWS) == WANTED
    FILES["plain.txt"](path, CHOSEN[:1])
    assert pinned.identity() == before
    with pytest.raises(RunFailedError, match=r"mine\.txt was edited while it was being applied"):
        pinned.judge(ROWS, None)


def test_an_unclosed_quotation_mark_is_told_and_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f'uid,caption\n{UIDS[0]},"5 inch\n{UIDS[1]},plain\n')
    with pytest.raises(BadInputError, match=r"mine\.csv cannot be read: line 3: unexpected end"):
        SelectionRule(file=path).check()
