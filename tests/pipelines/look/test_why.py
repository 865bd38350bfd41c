"""What became of a row, told from a small run's files at every moment of its making."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_run import LONG, screen_all

from pipelines.job import Job
from pipelines.look.why import explain, print_explanations
from schemas.errors import BadInputError
from schemas.pair import make_uid


def _url(row: int) -> str:
    return f"http://pool.test/{row}.jpg"


def _one(job: Job, what: str) -> dict[str, Any]:
    (line,) = explain(job.run, what)
    return line


def test_a_kept_row_is_told_with_its_image_measures_and_place(done: Job) -> None:
    line = _one(done, _url(5))
    assert (line["row"], line["outcome"], line["caption"]) == (5, "kept", LONG)
    assert line["image"]["pool_shard"] == "00001"
    assert line["image"]["original_width"] == 48
    assert dict(line["measures"]["language"]["languages"])["en"] > 0.9
    place, key = line["corpora"]["pairs"].split(": ")
    assert Path(place) == done.corpus("pairs") / "00001.tar"
    assert key == line["uid"]


@pytest.mark.parametrize(
    ("row", "stage", "reason", "detail"),
    [
        (1, "basic", "empty_caption", "no characters"),
        (2, "fetch", "not_found", "told: not_found"),
        (4, "basic", "other_language", "limit 0.5"),
    ],
)
def test_a_dropped_row_is_told_with_its_reason(
    row: int, stage: str, reason: str, detail: str, done: Job
) -> None:
    line = _one(done, _url(row))
    assert (line["outcome"], line["stage"], line["reason"]) == ("dropped", stage, reason)
    assert detail in line["detail"]
    assert line["corpora"] == {}


def test_a_url_has_as_many_lines_as_rows_and_a_uid_one(done: Job) -> None:
    lines = explain(done.run, _url(0))
    assert [line["row"] for line in lines] == [0, 3]
    places = {line["corpora"]["pairs"] for line in lines}
    assert len(places) == 1, "captions of one image lie in one sample"
    assert _one(done, make_uid(_url(0), LONG + " again"))["row"] == 3


def test_before_the_decision_a_row_is_not_decided(begun: Job) -> None:
    line = _one(begun, _url(5))
    assert line["outcome"] == "not decided yet"
    assert line["measures"] == line["corpora"] == {}


def test_with_ledgers_but_no_decision_a_kept_row_lies_in_no_corpus(begun: Job) -> None:
    """As a run that was killed just before its decision leaves it."""
    screen_all(begun)
    line = _one(begun, _url(5))
    assert (line["outcome"], line["corpora"]) == ("kept", {})


def test_before_the_pool_a_row_is_told_as_it_was_read(begun: Job) -> None:
    for path in (begun.run / "pool").iterdir():
        path.unlink()
    line = _one(begun, _url(1))
    assert (line["caption"], line["image"], line["outcome"]) == ("", {}, "not decided yet")


@pytest.mark.parametrize("what", ["0" * 32, "http://nowhere.test/", ""])
def test_a_row_that_is_not_there_is_told(what: str, begun: Job) -> None:
    with pytest.raises(BadInputError, match=r"No row of .* has the (uid|url)"):
        explain(begun.run, what)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is no RUN folder"):
        explain(tmp_path, "x")


def _printed(lines: list[dict[str, Any]]) -> str:
    console = Console(file=StringIO(), width=200)
    print_explanations(lines, console)
    return console.file.getvalue()  # pyright: ignore


def test_what_is_printed_says_how_the_row_ended(done: Job) -> None:
    kept, dropped = _printed(explain(done.run, _url(5))), _printed(explain(done.run, _url(1)))
    assert kept.startswith("row 5 ")
    assert "kept" in kept.splitlines()[0]
    assert "pairs" in kept
    assert "dropped at basic: empty_caption (no characters)" in dropped


def test_brackets_in_a_servers_words_are_printed_as_they_are(done: Job) -> None:
    line = _one(done, _url(2)) | {
        "detail": "redirect to [/b] and [red]",
        "url": "http://[::1]/[/a]",
    }
    told = _printed([line])
    assert "(redirect to [/b] and [red])" in told
    assert "http://[::1]/[/a]" in told
