"""How a run ended: the report, its printed form, and the checks before it is believed."""

import json
import os
from io import StringIO

import pytest
from rich.console import Console

from pipelines.job import Job
from pipelines.progress import count_units
from pipelines.report import make_report, print_report
from schemas.errors import RunFailedError
from schemas.report import Good, Planted, RunReport

DROPPED = {
    "read": {},
    "fetch": {"not_found": 1},
    "basic": {"empty_caption": 1, "other_language": 1},
}


def test_a_report_counts_what_the_ledgers_hold(done: Job) -> None:
    report = make_report(done)
    assert (report.input_rows, report.kept, report.images) == (6, 3, 2)
    assert report.dropped == DROPPED
    assert report.corpora == {"pairs": str(done.corpus("pairs"))}
    assert set(report.seconds) == {"fetch", "basic", "decide", "build"}
    assert min(report.seconds.values()) >= 0
    assert report.stage_images == {"build": 2}


def test_counts_that_do_not_add_up_are_refused(done: Job) -> None:
    funnel = done.decision / "funnel.json"
    funnel.write_text(json.dumps(json.loads(funnel.read_text()) | {"input_rows": 5}))
    with pytest.raises(RunFailedError, match="have 5 rows, but the input has 6"):
        make_report(done)


def test_a_damaged_funnel_is_told(done: Job) -> None:
    (done.decision / "funnel.json").write_text("{")
    with pytest.raises(RunFailedError, match=r"funnel\.json cannot be read .* delete it"):
        make_report(done)


def test_a_shard_that_was_cut_since_is_told(done: Job) -> None:
    tar = done.corpus("pairs") / "00001.tar"
    os.truncate(tar, 700)
    with pytest.raises(
        RunFailedError, match=r"00001\.tar is not as long .* delete it and run again"
    ):
        make_report(done)


def test_a_run_without_a_decision_is_not_finished(begun: Job) -> None:
    with pytest.raises(RunFailedError, match="is not finished: run it again"):
        make_report(begun)


def test_units_are_counted_from_their_manifests(begun: Job, request: pytest.FixtureRequest) -> None:
    for path in begun.layout.pool.glob("*_stats.json"):
        path.rename(path.with_suffix(".away"))
    assert count_units(begun) == (0, 9, "fetch")  # a corpus of unknown size plans one shard
    for path in begun.layout.pool.glob("*.away"):
        path.rename(path.with_suffix(".json"))
    assert count_units(begun) == (2, 9, "basic")
    finished = request.getfixturevalue("done")
    assert count_units(finished) == (10, 10, "done")


def _printed(report: RunReport) -> list[list[str]]:
    """The cells of every printed line."""
    console = Console(file=StringIO(), width=120)
    print_report(report, console)
    lines = console.file.getvalue().splitlines()  # pyright: ignore
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_what_is_printed_has_every_count(done: Job) -> None:
    planted = {"html": Planted(planted=4, caught=3), "slow": Planted(planted=0, caught=0)}
    update = {"planted": planted, "good": Good(rows=8, lost=1), "input_rows": 1234}
    lines = _printed(make_report(done).model_copy(update=update))
    stages = [line[0] for line in lines if len(line) == 5 and line[0]]
    assert stages == ["read", "fetch", "basic", "decide", "build"]
    rows = {line[1]: line[2] for line in lines if len(line) == 5}
    assert rows["rows in"] == "1,234"
    assert (rows["not_found"], rows["empty_caption"], rows["kept (2 images)"]) == ("-1", "-1", "3")
    assert ["html", "4", "3", "75.0"] in lines
    assert ["slow", "0", "0", "-"] in lines
    assert ["good images", "8", "1 lost", "12.5"] in lines
    assert [f"corpus pairs: {done.corpus('pairs')}"] in lines
    nothing = make_report(done).model_copy(update={"kept": 0})
    assert ["Nothing was kept: see the reasons above."] in _printed(nothing)
