"""Read a list of URLs and captions, whatever its format, and say clearly why it cannot be read."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import csv
import gzip
import re
from pathlib import Path
from typing import TextIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from schemas.errors import BadInputError
from transforms.read.policy import InputPolicy

KINDS = (".parquet", ".csv", ".tsv", ".txt", ".jsonl", ".json", ".ndjson")
LONGEST_LINE_BYTES = 64 << 20
UID = re.compile(r"[0-9a-f]{32}")


def list_files(path: Path) -> list[Path]:
    """The files of an input list: itself, or those in a folder, in the order of their names.

    Raises: BadInputError: there are none."""
    try:
        if path.is_file():
            return [path]
        there = path.glob("[!.]*")
        files = sorted(file for file in there if _kind(file) in KINDS and file.is_file())
        missing = "has no list in it" if path.is_dir() else "does not exist"
    except OSError as err:
        raise BadInputError(f"The input list {path} cannot be read: {err.strerror}.") from err
    if not files:
        raise BadInputError(f"The input list {path} {missing}.")
    return files


def read_list(policy: InputPolicy) -> pa.Table:
    """The list's columns `url`, `caption` and, if named, `uid`: strings, in order; only a uid can
    be null.

    Raises: BadInputError: missing, unreadable, without one of the columns, or without rows."""
    assert policy.list is not None
    table = pa.concat_tables([_read_file(path, policy) for path in list_files(policy.list)])
    if table.num_rows == 0:
        raise BadInputError(f"The input list {policy.list} has no rows.")
    if policy.uid is not None:
        check_uids(table["uid"], policy.list)
    return table


def _read_file(path: Path, policy: InputPolicy) -> pa.Table:
    try:
        table = _read(path, policy)
        table.validate(full=True)  # neither parquet nor JSON checks that text is UTF-8
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError, csv.Error) as err:
        raise BadInputError(f"The input list {path} cannot be read: {_first_line(err)}") from err
    columns = {ours: _column(table, name, path) for ours, name in _columns(policy).items()}
    texts = {ours: columns[ours].fill_null("") for ours in ("url", "caption")}
    return pa.table(columns | texts)


def _columns(policy: InputPolicy) -> dict[str, str]:
    """Our names of the columns to the list's."""
    named = {"url": policy.url, "caption": policy.caption, "uid": policy.uid}
    return {ours: name for ours, name in named.items() if name is not None}


def check_uids(uids: pa.ChunkedArray, path: Path) -> None:
    """Raises: BadInputError: a uid is not 32 hex digits; a null is fine, its uid is made."""
    for uid in uids.to_pylist():
        if uid is not None and not UID.fullmatch(uid):
            raise BadInputError(
                f"The input {path} has the uid {uid!r}: 32 hex digits in lower case wanted."
            )


def _read(path: Path, policy: InputPolicy) -> pa.Table:
    kind = _kind(path)
    if kind == ".parquet":
        return pq.read_table(path, columns=_wanted(pq.read_schema(path).names, policy))
    if kind in (".csv", ".tsv", ".txt"):
        return _read_csv(path, policy, "," if kind == ".csv" else "\t")
    if kind in (".jsonl", ".json", ".ndjson"):
        return _read_json(path, policy)
    raise BadInputError(
        f"The input list {path} has an unknown ending: .parquet, .csv, .tsv or .jsonl"
        " are read, each but the first also with .gz."
    )


def _kind(path: Path) -> str:
    return next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "")


def _read_csv(path: Path, policy: InputPolicy, delimiter: str) -> pa.Table:
    """CSV quotes as usual; in TSV a quotation mark is a character like any other."""
    quoted = delimiter == ","
    names = policy.header or _header_line(path, delimiter)
    with pa.input_stream(str(path)) as stream:
        table = pa_csv.read_csv(
            stream,
            read_options=pa_csv.ReadOptions(
                column_names=policy.header or None, block_size=LONGEST_LINE_BYTES
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    if quoted and _has_line_ends(table):
        _check_quotes(path)
    return table


def _has_line_ends(table: pa.Table) -> bool:
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    found = (pc.match_substring_regex(column, "[\r\n]") for column in texts)
    return any(pc.any(column).as_py() for column in found)


def _check_quotes(path: Path) -> None:
    """Raises: BadInputError: a quoted field is never closed, or text follows where it is.

    Arrow's reader is lenient: it takes the rows up to the next quotation mark for one field. So
    where a field has a line end in it, the file is read once more by the strict csv module."""
    csv.field_size_limit(LONGEST_LINE_BYTES)
    with _opened(path) as file:
        reader = csv.reader(file, strict=True)
        try:
            for _ in reader:
                pass
        except csv.Error as err:
            raise BadInputError(
                f"The input list {path} has a quotation mark that is not closed as CSV wants it"
                f" ({err}), at or before line {reader.line_num}."
            ) from err


def _opened(path: Path, encoding: str = "utf-8") -> TextIO:
    opener = gzip.open if path.suffix == ".gz" else open
    return cast(TextIO, opener(path, "rt", encoding=encoding, newline=""))


def _read_json(path: Path, policy: InputPolicy) -> pa.Table:
    """JSON lines. Where all texts of a column look like dates they are still read as they stand."""
    table = _read_json_as(path, pa.schema([]))
    dates = [
        (name, pa.string())
        for name in _columns(policy).values()
        if name in table.column_names and pa.types.is_temporal(table[name].type)
    ]
    return _read_json_as(path, pa.schema(dates)) if dates else table


def _read_json_as(path: Path, schema: pa.Schema) -> pa.Table:
    with pa.input_stream(str(path)) as stream:
        return pa_json.read_json(
            stream,
            pa_json.ReadOptions(block_size=LONGEST_LINE_BYTES),
            pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
        )


def _header_line(path: Path, delimiter: str) -> list[str]:
    """Names as Arrow reads them: from the first line that is not blank."""
    with _opened(path, "utf-8-sig") as file:
        lines = (line for line in file if line.strip("\r\n"))
        how = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        return next(csv.reader(lines, delimiter=delimiter, quoting=how), [])


def _wanted(names: list[str], policy: InputPolicy) -> list[str]:
    """Read only what is used; a name that is missing is reported later, with those there are."""
    wanted = list(_columns(policy).values())
    return wanted if set(wanted) <= set(names) else names


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if table.column_names.count(name) != 1:
        there = ", ".join(table.column_names)
        found = "more than one" if name in table.column_names else "no"
        raise BadInputError(f"The input list {path} has {found} column {name!r}; it has: {there}.")
    column = table.column(name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        try:
            column = column.cast(pa.string())
        except pa.ArrowException as err:
            raise BadInputError(
                f"Column {name!r} of the input list {path} holds {column.type}, not text."
            ) from err
    return column.cast(pa.string())


def _first_line(err: Exception) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0]
