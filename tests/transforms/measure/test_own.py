"""A measure of one's own: loaded from a file or a module, called by parameter names, told apart."""

import hashlib
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from schemas.errors import BadInputError, RunFailedError
from transforms.measure.image import image_facts
from transforms.measure.own import (
    load_own,
    load_text_detector,
    measure_own,
    own_identity,
    wants_image,
)

EXCLAIMS = 'def exclaims(caption):\n    return caption.count("!")\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes my.py; returns its folder."""

    def written(content: str) -> Path:
        (tmp_path / "my.py").write_text(content)
        return tmp_path

    return written


def _returning(values: list[Any]) -> list[dict[str, Any]]:
    """Rows for a function that returns its `caption`, whatever that is."""
    return [{"uid": f"u{place}", "caption": value} for place, value in enumerate(values)]


def test_a_function_is_given_what_its_parameters_name(write: Callable[[str], Path]) -> None:
    folder = write(
        "def all_of_it(uid, height, *, image, caption, width, url):\n"
        "    return {'text': uid + url + caption, 'grey': image.convert('L').getpixel((0, 0)),\n"
        "            'wide': width > height}\n"
    )
    own = load_own("my.py:all_of_it", folder)
    assert wants_image(own)
    picture = Image.new("RGB", (2, 1), (9, 9, 9))
    row = {"uid": "u", "url": "/x", "caption": "!", "width": 2, "height": 1, "row": 7}
    table = measure_own(own, iter([row | {"image": picture}]))
    assert table.to_pylist() == [{"grey": 9.0, "text": "u/x!", "wide": True}]
    assert table.schema == pa.schema(
        [("grey", pa.float64()), ("text", pa.string()), ("wide", pa.bool_())]
    )


def test_a_plain_number_is_the_column_value(write: Callable[[str], Path]) -> None:
    own = load_own("my.py:exclaims", write(EXCLAIMS))
    assert not wants_image(own)
    rows = [{"uid": "a", "caption": "hey!!"}, {"uid": "b", "caption": "ho"}]
    assert measure_own(own, iter(rows)).to_pydict() == {"value": [2.0, 0.0]}


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        ([1, 2.5, None, np.int16(3), np.float32(0.5)], pa.float64()),
        ([True, None, np.bool_(False)], pa.bool_()),
        (["ä", None, ""], pa.string()),
        ([None, None], pa.null()),
        ([], pa.null()),
        ([0, -(2**60)], pa.float64()),
    ],
)
def test_each_kind_has_one_type(
    write: Callable[[str], Path], returned: list[Any], kind: pa.DataType
) -> None:
    own = load_own("my.py:same", write("def same(caption):\n    return caption\n"))
    table = measure_own(own, iter(_returning(returned)))
    assert table.schema == pa.schema([("value", kind)])
    assert table["value"].to_pylist() == returned


def test_nan_stays_nan_and_is_not_none(write: Callable[[str], Path]) -> None:
    own = load_own("my.py:same", write("def same(caption):\n    return caption\n"))
    values = measure_own(own, iter(_returning([math.nan, None])))["value"]
    assert values.null_count == 1
    assert math.isnan(values[0].as_py())


def test_shards_join_whatever_their_rows_held(write: Callable[[str], Path]) -> None:
    own = load_own("my.py:same", write("def same(caption):\n    return caption\n"))
    shards = [
        [{"b": 1, "a": "x"}, {"c": None}, None],
        [{"a": None, "c": True}, {}],
        [{"c": False, "a": "y", "b": 2}],
    ]
    tables = [measure_own(own, iter(_returning(rows))) for rows in shards]
    assert [table.column_names for table in tables] == [
        ["a", "b", "c"],
        ["a", "c"],
        ["a", "b", "c"],
    ]
    joined = pa.concat_tables(tables, promote_options="default")
    assert joined.to_pydict() == {
        "a": ["x", None, None, None, None, "y"],
        "b": [1.0, None, None, None, None, 2.0],
        "c": [None, None, None, True, None, False],
    }


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ([1, "x"], r"gave a string in column 'value', where a number came before on row uid=u1"),
        ([1.0, True], r"gave a bool in column 'value', where a number came before on row uid=u1"),
        ([{"n": "x"}, None, {"n": 2}], r"a number in column 'n', where a string .* uid=u2"),
        ([None, [1]], r"gave a list in column 'value' on row uid=u1: .* is wanted\.$"),
        ([{"n": {"m": 1}}], r"gave a dict in column 'n' on row uid=u0"),
        ([np.zeros(1)], r"gave a ndarray in column 'value' on row uid=u0"),
        ([10**400], r"column 'value' cannot hold on row uid=u0: OverflowError"),
        (["\ud800"], r"column 'value' cannot hold on row uid=u0: UnicodeEncodeError"),
        ([{1: 2}], r"gave a column the name 1"),
        ([{"uid": 2}], r"gave a column the name 'uid'"),
    ],
)
def test_other_values_and_mixed_kinds_are_refused(
    write: Callable[[str], Path], returned: list[Any], words: str
) -> None:
    own = load_own("my.py:same", write("def same(caption):\n    return caption\n"))
    with pytest.raises(RunFailedError, match=rf"^The measure same \(my\.py\) .*{words}"):
        measure_own(own, iter(_returning(returned)))


def test_an_exception_is_told_with_its_row_and_cause(write: Callable[[str], Path]) -> None:
    own = load_own("my.py:number", write("def number(caption):\n    return int(caption)\n"))
    with pytest.raises(RunFailedError) as told:
        measure_own(own, iter(_returning(["1", "one"])))
    assert str(told.value) == (
        "The measure number (my.py) failed on row uid=u1: "
        "ValueError: invalid literal for int() with base 10: 'one'."
    )
    assert isinstance(told.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("content", "spec", "words"),
    [
        (EXCLAIMS, "other.py:exclaims", r"other\.py, which .* cannot be read: No such file"),
        (EXCLAIMS, "my.py:shouts", r"my\.py has no function 'shouts'"),
        (EXCLAIMS, "my.py", "names no function: write file.py:function"),
        (EXCLAIMS, "my.py:", "names no function"),
        (EXCLAIMS, ":exclaims", "names no function"),
        ("exclaims = 3\n", "my.py:exclaims", "is no function but of type int"),
        ("class exclaims: ...\n", "my.py:exclaims", "is no function but of type type"),
        ("import no_such_thing\n", "my.py:f", "imported: ModuleNotFoundError: .*no_such_thing"),
        ("def f(:\n", "my.py:f", r"my\.py cannot be imported: SyntaxError"),
        ("raise SystemExit(3)\n", "my.py:f", "cannot be imported: SystemExit: 3"),
        ("def f(caption, colour): ...\n", "my.py:f", "'colour'.*known are: image, caption, url, "),
        ("def f(**rest): ...\n", "my.py:f", "'rest'.*known are: image"),
        ("def f(caption, /): ...\n", "my.py:f", "'caption'.*by name"),
        ("f = max\n", "my.py:f", "does not tell its parameters' names"),
        ("", "no.such.module:f", r"no\.such\.module, which .* fails: ModuleNotFoundError"),
        ("", "no_such_module:f", "There is no Python module no_such_module"),
        ("", "math:sqrt", "There is no Python module math"),
    ],
)
def test_what_cannot_be_a_measure_is_refused(
    write: Callable[[str], Path], content: str, spec: str, words: str
) -> None:
    folder = write(content)
    with pytest.raises(BadInputError, match=words):
        load_own(spec, folder)


def test_an_edited_file_is_another_measure_at_once(write: Callable[[str], Path]) -> None:
    """Of the same length and in the same second, so that no time stamp tells."""
    rows = [{"uid": "u", "caption": "what?!?"}]
    found = []
    for content in (EXCLAIMS, EXCLAIMS.replace("!", "?"), EXCLAIMS):
        folder = write(content)
        identity = own_identity("my.py:exclaims", folder)
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        assert identity == {"function": "exclaims", "sha256": sha256}
        table = measure_own(load_own("my.py:exclaims", folder), iter(rows))
        found.append(table["value"][0].as_py())
    assert found == [1, 2, 1]
    assert not list(folder.rglob("*.pyc"))


def test_a_file_is_executed_once_however_often_it_is_loaded(write: Callable[[str], Path]) -> None:
    folder = write("model = object()\ndef f(caption):\n    return id(model)\n")
    once, again = (load_own("my.py:f", folder).function(caption="") for _ in range(2))
    assert once == again


def test_a_module_of_a_package_may_import_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "measures_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("from .marks import MARK\ndef root(uid): return MARK\n")
    (package / "marks.py").write_text("MARK = '?'\n")
    (package / "counts.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from .marks import MARK\n"
        "@dataclass\n"
        "class Count:\n"
        "    n: int\n"
        "def asks(caption):\n"
        "    return Count(caption.count(MARK)).n\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = load_own("measures_of_mine.counts:asks", Path("nowhere"))
    assert own.function(caption="a?b?") == 2
    assert load_own("measures_of_mine:root", Path("nowhere")).function(uid="u") == "?"
    (package / "counts.py").write_text("def asks(caption):\n    return 'edited'\n")
    edited = load_own("measures_of_mine.counts:asks", Path("nowhere"))
    assert edited.function(caption="") == "edited"


def test_only_the_spec_and_the_folder_travel_to_a_worker(write: Callable[[str], Path]) -> None:
    folder = write(EXCLAIMS)
    pickled = pickle.dumps(load_own("my.py:exclaims", folder))
    assert b"count" not in pickled
    assert len(pickled) < 200 + len(str(folder))
    code = (
        "import pickle, sys;"
        "own = pickle.loads(sys.stdin.buffer.read());"
        "sys.exit(own.function(caption='!!!'))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickled, check=False)
    assert done.returncode == 3


def test_what_a_function_does_to_its_image_stays_its_own(tmp_path: Path) -> None:
    """Captions of one image share the decoded picture."""
    (tmp_path / "my.py").write_text(
        "def shrink(image):\n    image.thumbnail((4, 4))\n    return image.width\n"
    )
    own = load_own("my.py:shrink", tmp_path)
    picture = Image.new("RGB", (16, 16))
    rows = [{"uid": f"{n}", "image": picture} for n in range(2)]
    assert measure_own(own, rows)["value"].to_pylist() == [4.0, 4.0]
    assert picture.size == (16, 16)


def test_a_function_that_leaves_is_told_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("def leave(caption):\n    raise SystemExit(0)\n")
    with pytest.raises(RunFailedError, match=r"leave \(my\.py\) failed on row uid=7: SystemExit"):
        measure_own(load_own("my.py:leave", tmp_path), [{"uid": "7", "caption": ""}])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def f(caption): return []", "must take `image`, not caption"),
        ("def f(image): return [(1, 2)]", None),
        ("def f(image): raise KeyError('x')", None),
    ],
)
def test_a_text_detector_takes_an_image_and_tells_its_faults(
    text: str, told: str | None, tmp_path: Path
) -> None:
    (tmp_path / "d.py").write_text(text + "\n")
    spec = f"{tmp_path / 'd.py'}:f"
    if told is not None:
        with pytest.raises(BadInputError, match=told):
            load_text_detector(spec)
        return
    detector = load_text_detector(spec)
    with pytest.raises((RunFailedError, ValueError)):
        image_facts(Image.new("RGB", (8, 8)), detector)
