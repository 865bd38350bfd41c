"""Lists in every format give the same rows, and what cannot be read is told in one sentence."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import BadInputError
from transforms.read.policy import InputPolicy
from transforms.read.table import list_files, read_list

URLS = ["http://a.test/1.jpg", "http://a.test/2.jpg"]
CAPTIONS = ["a dog", "eine Katze, 一只狗"]
COLUMNS = {"url": URLS, "caption": CAPTIONS, "width": ["1", "2"]}


def _delimited(delimiter: str, quote: str = "") -> str:
    lines = [COLUMNS.keys(), *zip(*COLUMNS.values(), strict=True)]
    return "".join(delimiter.join(f"{quote}{v}{quote}" for v in line) + "\n" for line in lines)


def _json_lines() -> str:
    lines = [
        dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


TEXTS: dict[str, Callable[[], str]] = {
    "list.csv": lambda: _delimited(",", '"'),
    "bom.csv": lambda: "\ufeff" + _delimited(",", '"'),
    "windows.csv": lambda: _delimited(",", '"').replace("\n", "\r\n"),
    "list.tsv": lambda: _delimited("\t"),
    "list.txt": lambda: _delimited("\t"),
    "list.jsonl": _json_lines,
    "list.ndjson": _json_lines,
    "list.json": _json_lines,
}


def _read(path: Path, **settings: object) -> list[tuple[str, ...]]:
    table = read_list(InputPolicy(list=path, **settings))  # pyright: ignore[reportArgumentType]
    assert all(table[name].type == pa.string() for name in table.column_names)
    assert all(table[name].null_count == 0 for name in ("url", "caption"))
    return list(zip(*table.to_pydict().values(), strict=True))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_every_text_format_gives_the_same_rows(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    data = TEXTS[name]().encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    assert _read(path) == list(zip(URLS, CAPTIONS, strict=True))


def test_parquet_of_any_text_type_gives_the_same_rows(tmp_path: Path) -> None:
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        columns = {name: pa.array(values).cast(kind) for name, values in COLUMNS.items()}
        pq.write_table(pa.table(columns), tmp_path / "list.parquet")
        assert _read(tmp_path / "list.parquet") == list(zip(URLS, CAPTIONS, strict=True))


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        columns = {"url": [f"u{number}"], "caption": ["c"]}
        pq.write_table(pa.table(columns), tmp_path / f"{number}.parquet")
    (tmp_path / "README.md").write_text("no list")
    assert [path.name for path in list_files(tmp_path)] == [f"{n}.parquet" for n in range(3)]
    assert _read(tmp_path) == [("u0", "c"), ("u1", "c"), ("u2", "c")]


def test_columns_may_have_other_names_and_a_uid(tmp_path: Path) -> None:
    uid = "0123456789abcdef" * 2
    pq.write_table(pa.table({"TEXT": ["c"], "URL": ["u"], "uid": [uid]}), tmp_path / "list.parquet")
    rows = _read(tmp_path / "list.parquet", url="URL", caption="TEXT", uid="uid")
    assert rows == [("u", "c", uid)]


def test_a_list_without_header_takes_its_names_from_the_recipe(tmp_path: Path) -> None:
    """CC3M's shape: caption, tab, url; no line of names."""
    (tmp_path / "cc3m.tsv").write_text("a dog\thttp://a.test/1.jpg\na cat\thttp://a.test/2.jpg\n")
    rows = _read(tmp_path / "cc3m.tsv", header=("caption", "url"))
    assert rows == [("http://a.test/1.jpg", "a dog"), ("http://a.test/2.jpg", "a cat")]


def test_in_tsv_a_quotation_mark_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text('url\tcaption\nu\t"a dog\nv\tsays "hi"\n')
    assert _read(tmp_path / "list.tsv") == [("u", '"a dog'), ("v", 'says "hi"')]


def test_in_csv_quotes_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('url,caption\nu,"a ""big"" dog,\nand a cat"\n')
    assert _read(tmp_path / "list.csv") == [("u", 'a "big" dog,\nand a cat')]


@pytest.mark.parametrize("name", ["list.csv", "list.tsv"])
def test_text_that_looks_like_something_else_stays_text(name: str, tmp_path: Path) -> None:
    captions = ["007", "1e3", "NULL", "NaN", "true", "2020-01-01", ""]
    delimiter = "," if name.endswith("csv") else "\t"
    lines = [delimiter.join(("url", "caption")), *(delimiter.join(("u", c)) for c in captions)]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    assert [caption for _, caption in _read(tmp_path / name)] == captions


def test_numbers_and_nulls_become_text(tmp_path: Path) -> None:
    columns = {"url": ["u", None], "caption": pa.array([7, None], pa.int64())}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert _read(tmp_path / "list.parquet") == [("u", "7"), ("", "")]
    lines = '{"url": "u", "caption": null}\n{"url": null, "caption": null, "more": [1]}\n'
    (tmp_path / "list.jsonl").write_text(lines)
    assert _read(tmp_path / "list.jsonl") == [("u", ""), ("", "")]


def _latin_1_parquet(path: Path) -> None:
    """Bytes that a careless writer called text: parquet does not check them."""
    captions = pa.array([b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table({"url": ["u"], "caption": captions}), path)


def _same_name_twice(path: Path) -> None:
    pq.write_table(pa.table([["u"], ["a"], ["b"]], names=["url", "caption", "caption"]), path)


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


BROKEN: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "no parquet": ("list.parquet", _bytes(b"PAR1 not really PAR1"), "cannot be read"),
    "empty parquet": ("list.parquet", _bytes(b""), "cannot be read"),
    "empty csv": ("list.csv", _bytes(b""), "cannot be read"),
    "empty jsonl": ("list.jsonl", _bytes(b""), "cannot be read"),
    "broken json": ("list.jsonl", _bytes(b'{"url": "u", "caption"\n'), "cannot be read"),
    "json array": ("list.json", _bytes(b'[{"url": "u", "caption": "c"}]'), "cannot be read"),
    "latin-1 csv": ("list.csv", _bytes(b"url,caption\nu,caf\xe9\n"), "cannot be read"),
    "latin-1 header": ("list.csv", _bytes(b"url,caf\xe9\nu,c\n"), "cannot be read"),
    "latin-1 tsv": ("list.tsv", _bytes(b"url\tcaption\nu\tcaf\xe9\n"), "cannot be read"),
    "latin-1 jsonl": (
        "list.jsonl",
        _bytes(b'{"url": "u", "caption": "caf\xe9"}\n'),
        "cannot be read",
    ),
    "latin-1 parquet": ("list.parquet", _latin_1_parquet, "cannot be read"),
    "half a surrogate": (
        "list.jsonl",
        _bytes(rb'{"url": "u", "caption": "\ud83d"}' + b"\n"),
        "cannot be read",
    ),
    "cut gz": ("list.csv.gz", _bytes(gzip.compress(b"url,caption\nu,c\n")[:-9]), "cannot be read"),
    "no gz": ("list.csv.gz", _bytes(b"url,caption\nu,c\n"), "cannot be read"),
    "ragged csv": ("list.csv", _bytes(b"url,caption\nu,c,d\n"), "cannot be read"),
    "unclosed quote": ("list.csv", _bytes(b'url,caption\nu,"a dog\nv,b\n'), "quotation mark"),
    "two unclosed quotes": (
        "list.csv",
        _bytes(b'url,caption\nu,"a dog\nv,"a cat\nw,c\n'),
        "quotation mark .* line 3",
    ),
    "unclosed quote in gz": (
        "list.csv.gz",
        _bytes(gzip.compress(b'url,caption\nu,"a dog\nv,b\n')),
        "quotation mark",
    ),
    "no column": ("list.csv", _bytes(b"url,text\nu,c\n"), "no column 'caption'; it has: url, text"),
    "a name twice": (
        "list.csv",
        _bytes(b"url,caption,caption\nu,c,d\n"),
        "more than one column 'caption'",
    ),
    "a name twice in parquet": ("list.parquet", _same_name_twice, "caption"),
    "no rows": ("list.csv", _bytes(b"url,caption\n"), "has no rows"),
    "unknown ending": ("list.xlsx", _bytes(b"x"), "unknown ending"),
    "lists as captions": (
        "list.jsonl",
        _bytes(b'{"url": "u", "caption": ["a"]}\n'),
        "Column 'caption' .* not text",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_list_that_cannot_be_used_is_told_in_one_sentence(fault: str, tmp_path: Path) -> None:
    name, write, told = BROKEN[fault]
    write(tmp_path / name)
    with pytest.raises(BadInputError, match=told) as raised:
        _read(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_list_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        _read(tmp_path / "list.parquet")
    with pytest.raises(BadInputError, match="has no list in it"):
        _read(tmp_path)


@pytest.mark.parametrize("uid", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32])
def test_a_uid_of_another_form_is_told(uid: str, tmp_path: Path) -> None:
    columns = {"url": ["u"], "caption": ["c"], "uid": [uid]}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    with pytest.raises(BadInputError, match="32 hex digits"):
        _read(tmp_path / "list.parquet", uid="uid")


def test_captions_that_look_like_dates_are_read_as_they_stand(tmp_path: Path) -> None:
    captions = ["2024-05-01", "2024-05-01T12:00:00Z", "2024-05-01 12:00"]
    lines = [json.dumps({"url": f"u{n}", "caption": text}) for n, text in enumerate(captions)]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    table = read_list(InputPolicy(list=tmp_path / "list.jsonl"))
    assert table["caption"].to_pylist() == captions


def test_in_csv_a_quote_inside_a_field_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('url,caption\nu,a 5" pipe\nv,"two\nlines"\n')
    assert _read(tmp_path / "list.csv") == [("u", 'a 5" pipe'), ("v", "two\nlines")]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_caption_of_two_megabytes_is_read(kind: str, tmp_path: Path) -> None:
    long = "a dog " * 350_000
    lines = {
        "csv": f"url,caption\nu,{long}\n",
        "tsv": f"url\tcaption\nu\t{long}\n",
        "jsonl": json.dumps({"url": "u", "caption": long}),
    }
    (tmp_path / f"list.{kind}").write_text(lines[kind])
    assert _read(tmp_path / f"list.{kind}") == [("u", long)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.tsv", "\nurl\tcaption\nu\t007\nv\t1.50\n"),  # a blank line first
        ("list.csv", "\nurl,caption\nu,007\nv,1.50\n"),
        ("list.tsv", "url\tcaption\ru\t007\rv\t1.50\r"),  # lines end as on an old Mac
        ("list.csv", 'url,"more, or less",caption\nu,1,007\nv,2,1.50\n'),
        ("list.csv", "\ufeffurl,caption\nu,007\nv,1.50\n"),
    ],
)
def test_wherever_the_header_lies_text_stays_text(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert _read(tmp_path / name) == [("u", "007"), ("v", "1.50")]


def test_a_uid_that_is_missing_is_left_to_be_made(tmp_path: Path) -> None:
    columns = {"url": ["u", "v"], "caption": ["c", None], "uid": [None, "0" * 32]}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert _read(tmp_path / "list.parquet", uid="uid") == [("u", "c", None), ("v", "", "0" * 32)]


def test_what_is_no_list_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("url,caption\nu,c\n")
    (tmp_path / "._a.csv").write_bytes(b"\x00\x05\x16\x07")  # macOS leaves such
    (tmp_path / "b.csv").mkdir()
    assert list_files(tmp_path) == [tmp_path / "a.csv"]


def test_a_name_too_long_for_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read: File name too long"):
        list_files(tmp_path / ("x" * 300))
