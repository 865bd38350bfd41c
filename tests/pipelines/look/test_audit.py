"""Samples to judge: seeded, nested, safe to open; and the shares that judgements come to."""

import base64
import csv
import io
import itertools
import json
import re
from collections.abc import Sequence
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipelines.job import Job
from pipelines.look.audit import as_line, draw_audit
from pipelines.look.audit_judge import (
    Judged,
    count_share,
    judge_audit,
    judgements_wanted,
    print_judged,
)
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError
from schemas.layout import Layout
from transforms.decide.at_once import decide_at_once, write_at_once
from transforms.shards.commit import write_atomically

_EVIL = '</script><script>document.title="ran"</script><!--<script> "quoted", \u2028 狗'


@pytest.fixture
def wide(draw_pool, tmp_path: Path) -> Job:
    """40 rows: the even ones are kept, the odd ones have captions that are too short."""
    run = tmp_path / "wide"
    captions = {2: _EVIL, 4: "=1+1 a formula", 6: "two\nlines of it"}
    for shard in (0, 1):
        rows = [
            {
                "row": n,
                "url": f"http://{'a' if n < 24 else 'b'}.test/{n}.jpg",
                "caption": captions.get(n, f"a caption of {n}") if n % 2 == 0 else f"short {n}",
            }
            for n in range(20 * shard, 20 * shard + 20)
        ]
        draw_pool(run / "pool", shard, rows)
    content = {"input": {"list": "list.parquet"}, "rules": [{"caption": {"min_words": 3}}]}
    recipe = make_recipe(content, source=tmp_path / "recipe.yaml")
    job = Job(run=run, recipe=recipe, pool_identity="p", shards=2)
    write_atomically(Layout(run).job, job.save().encode())
    write_at_once(decide_at_once(run / "pool", 2, job.steps), job.decision, job.steps)
    return job


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def _write(file: Path, lines: Sequence[dict[str, str]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return file


def _judge(file: Path, verdicts: Sequence[str]) -> list[dict[str, str]]:
    """Fill in verdicts from the top of a judgements.csv; gives its lines."""
    lines = _read(file)
    for line, verdict in zip(lines, verdicts, strict=False):
        line["verdict"] = verdict
    _write(file, lines)
    return lines


class _Page(HTMLParser):
    """The elements of a page, and the texts of its scripts."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append("")
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])


def test_a_sample_is_written_to_judge(wide: Job) -> None:
    audit = draw_audit(wide.run, n=100)
    folder = wide.run / "audits" / "kept-100-0"
    assert (audit.folder, audit.of) == (str(folder), "kept")
    assert (audit.sampled, audit.population) == (20, 20)
    lines = _read(folder / "judgements.csv")
    names = "row,uid,url,caption,reason,rule,value,limit,verdict"
    assert ",".join(lines[0]) == names
    assert sorted(int(line["row"]) for line in lines) == list(range(0, 40, 2))
    captions = {int(line["row"]): line["caption"] for line in lines}
    assert captions[2] == _EVIL
    assert captions[4] == "'=1+1 a formula"  # a spreadsheet does not calculate it
    assert captions[6] == "two\nlines of it"
    assert {line["verdict"] for line in lines} == {""}


def test_dropped_rows_are_told_with_what_decided(wide: Job) -> None:
    draw_audit(wide.run, n=5, of="short_caption", seed=3)
    lines = _read(wide.run / "audits" / "short_caption-5-3" / "judgements.csv")
    assert {line["reason"] for line in lines} == {"short_caption"}
    assert {line["rule"] for line in lines} == {"rules.0.caption"}
    assert {(line["value"], line["limit"]) for line in lines} == {("2.0", "3.0")}
    draw_audit(wide.run, n=5, of="dropped", seed=3)
    assert _read(wide.run / "audits" / "dropped-5-3" / "judgements.csv") == lines


def test_a_larger_sample_begins_with_the_smaller(wide: Job, tmp_path: Path) -> None:
    def drawn(n: int, seed: int) -> list[dict[str, str]]:
        draw_audit(wide.run, n=n, seed=seed, out=tmp_path / f"{n}-{seed}")
        return _read(tmp_path / f"{n}-{seed}" / "judgements.csv")

    few, many = drawn(4, 0), drawn(15, 0)
    assert many[:4] == few
    assert {line["row"] for line in drawn(4, 1)} != {line["row"] for line in few}
    before = (tmp_path / "4-0" / "index.html").read_bytes()
    assert drawn(4, 0) == few
    assert (tmp_path / "4-0" / "index.html").read_bytes() == before


def test_every_row_is_drawn_as_often(wide: Job, tmp_path: Path) -> None:
    counts = np.zeros(40)
    for seed in range(30):
        draw_audit(wide.run, n=5, seed=seed, out=tmp_path / "same")
        rows = [int(line["row"]) for line in _read(tmp_path / "same" / "judgements.csv")]
        counts[rows] += 1
    # 7.5 are expected of each; the standard deviation is sqrt(30 * 1/4 * 3/4) = 2.4.
    assert 1 <= counts[::2].min() <= counts[::2].max() <= 17


def test_a_caption_cannot_run_in_the_page(wide: Job) -> None:
    draw_audit(wide.run, n=20)
    page = _Page(wide.run / "audits" / "kept-20-0" / "index.html")
    assert page.tags.count("script") == 2
    assert _EVIL in [row["caption"] for row in page.data["rows"]]
    assert page.scripts[1].startswith('\n"use strict"')
    assert "document.title" not in page.scripts[1]
    assert "innerHTML" not in page.scripts[1]


def test_the_page_is_whole_without_a_network(wide: Job) -> None:
    draw_audit(wide.run, n=20)
    file = wide.run / "audits" / "kept-20-0" / "index.html"
    page, text = _Page(file), file.read_text(encoding="utf-8")
    assert page.links == []
    assert "__" not in re.sub(r"<script type=.*?</script>", "", text, flags=re.DOTALL)
    assert "default-src 'none'" in text

    digest = base64.b64encode(sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text  # else a browser would not run it
    head, _, encoded = page.data["rows"][0]["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (24, 16)


def test_the_page_saves_the_very_file(wide: Job) -> None:
    draw_audit(wide.run, n=20)
    folder = wide.run / "audits" / "kept-20-0"
    data = _Page(folder / "index.html").data
    lines = [data["header"], *([*row["cells"], row["verdict"]] for row in data["rows"])]
    assert lines == list(csv.reader((folder / "judgements.csv").open(newline="", encoding="utf-8")))


def test_a_row_without_a_picture_is_shown_as_such(done: Job) -> None:
    draw_audit(done.run, of="not_found")
    (row,) = _Page(done.run / "audits" / "not_found-200-0" / "index.html").data["rows"]
    assert row["image"] is None
    assert row["facts"]["detail"] == "told: not_found"
    assert "value" not in row["facts"]


def test_what_nobody_ended_as_is_refused(done: Job, begun: Job) -> None:
    with pytest.raises(
        BadInputError, match=r"as 'small_image'; there are: kept \(3\), dropped \(3"
    ):
        draw_audit(done.run, of="small_image")
    with pytest.raises(BadInputError, match="n is 0"):
        draw_audit(done.run, n=0)


def test_judgements_are_not_overwritten(wide: Job, tmp_path: Path) -> None:
    out = tmp_path / "out"
    draw_audit(wide.run, n=3, out=out)
    draw_audit(wide.run, n=4, out=out)  # nothing was judged yet
    _judge(out / "judgements.csv", ["right", "n"])
    before = (out / "judgements.csv").read_bytes()
    with pytest.raises(BadInputError, match="holds judgements of another sample"):
        draw_audit(wide.run, n=5, out=out)
    draw_audit(wide.run, n=4, out=out)
    assert (out / "judgements.csv").read_bytes() == before
    rows = _Page(out / "index.html").data["rows"]
    assert [row["verdict"] for row in rows] == ["right", "wrong", "", ""]


# Wilson's interval of 8 in 10: Brown, Cai and DasGupta 2001, equation 4, by hand.
@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"),
    [(8, 2, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (50, 50, 0.4038, 0.5962), (1, 0, 0.2065, 1.0)],
)
def test_intervals_are_wilsons(right: int, wrong: int, low: float, high: float) -> None:
    share = count_share(["right"] * right + ["wrong"] * wrong + ["unsure", "", ""])
    assert (share.right, share.wrong, share.unsure) == (right, wrong, 1)
    assert share.share == right / (right + wrong)
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_as_many_judgements_as_wanted_are_enough() -> None:
    # n = z^2 / (4 * 0.05^2) - z^2 at a half, and z^2 * (1 / 0.1 - 1) at one.
    assert (judgements_wanted(0.5), judgements_wanted(1.0)) == (381, 35)
    enough = count_share(["right"] * 305 + ["wrong"] * 76)
    assert enough.more == 0
    assert count_share(["right"] * 8 + ["wrong"] * 2).more == judgements_wanted(0.8) - 10
    for share in (0.5, 0.9):
        n = 20 * round(judgements_wanted(share) / 20 + 0.5)
        found = count_share(["right"] * round(n * share) + ["wrong"] * (n - round(n * share)))
        assert found.high - found.low <= 0.1
        fewer = count_share(
            ["right"] * round((n - 40) * share) + ["wrong"] * round((n - 40) * (1 - share))
        )
        assert fewer.high - fewer.low > 0.1


def test_the_precision_of_what_is_kept(wide: Job) -> None:
    draw_audit(wide.run, n=20)
    file = wide.run / "audits" / "kept-20-0" / "judgements.csv"
    words = ["right", "Y", "1", " right ", "wrong", "n", "0", "?", "UNSURE"]
    _judge(file, words)
    judged = judge_audit(wide.run, file)
    assert (judged.of, judged.left) == ("kept", 11)
    assert (judged.all.right, judged.all.wrong, judged.all.unsure) == (4, 3, 2)
    assert judged.by == {"source": {}}
    assert "Precision, the share of the kept rows that is right: 57.1%" in _printed(judged)
    assert json.loads(as_line(judged))["all"]["right"] == 4


def test_groups_with_ten_judgements_have_their_own_share(wide: Job) -> None:
    draw_audit(wide.run, n=20, of="dropped")
    file = wide.run / "audits" / "dropped-20-0" / "judgements.csv"
    hosts = [line["url"].split("/")[2] for line in _read(file)]
    _judge(file, ["right" if host == "a.test" else "wrong" for host in hosts])
    judged = judge_audit(wide.run, file)
    assert judged.of == "short_caption"
    assert list(judged.by["source"]) == ["a.test"]  # 12 of 24 rows are odd; b.test has 8
    assert judged.by["source"]["a.test"].share == 1
    assert judged.by["reason"]["short_caption"].share == 0.6
    text = _printed(judged)
    assert "rows dropped as short_caption that was rightly dropped: 60.0%" in text
    assert "a.test" in text


def test_languages_are_known_where_they_were_measured(done: Job) -> None:
    draw_audit(done.run, of="kept")
    judged = judge_audit(done.run, done.run / "audits" / "kept-200-0" / "judgements.csv")
    assert list(judged.by) == ["language", "source"]
    assert (judged.all.share, judged.all.low, judged.all.high) == (None, 0, 1)
    assert "Nothing was judged right or wrong yet" in _printed(judged)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"verdict": "maybe"}, r"line 3: the verdict is 'maybe'; right, wrong or unsure wanted"),
        ({"uid": "0" * 32}, r"line 3: the run in .* has no row \d+ with the uid '0000"),
        ({"row": "99"}, r"line 3: .*no row 99"),
        ({"row": "x"}, r"line 3: the row is 'x', and no number"),
        ({"reason": "short_caption"}, "kept and dropped rows both"),
    ],
)
def test_a_wrong_line_is_named(wide: Job, tmp_path: Path, change: dict[str, str], why: str) -> None:
    draw_audit(wide.run, n=3, out=tmp_path)
    lines = _read(tmp_path / "judgements.csv")
    lines[1] |= change
    with pytest.raises(BadInputError, match=why):
        judge_audit(wide.run, _write(tmp_path / "judgements.csv", lines))


def test_lines_are_counted_where_captions_have_some(wide: Job, tmp_path: Path) -> None:
    draw_audit(wide.run, n=20, out=tmp_path)
    lines = sorted(_read(tmp_path / "judgements.csv"), key=lambda line: "\n" not in line["caption"])
    lines[1]["verdict"] = "maybe"  # after the header and a row of two lines
    with pytest.raises(BadInputError, match="line 4: the verdict"):
        judge_audit(wide.run, _write(tmp_path / "judged.csv", lines))


def test_what_is_no_judged_file_is_refused(wide: Job, tmp_path: Path) -> None:
    file = tmp_path / "judged.csv"
    with pytest.raises(BadInputError, match="cannot be read"):
        judge_audit(wide.run, file)
    for content, why in [
        (b"", "no column 'row'"),
        (b"row;uid;reason;verdict\n", "no column 'row'"),
        (b"row,uid,reason,verdict\n", "has no rows"),
        (b"\xff\xfe1", "UTF-8"),
        (b"row,uid,reason,verdict\n1,a,,\n1,a,,right\n", "line 3: row 1 came before"),
    ]:
        file.write_bytes(content)
        with pytest.raises(BadInputError, match=why):
            judge_audit(wide.run, file)


def test_a_spreadsheets_mark_and_order_do_no_harm(wide: Job, tmp_path: Path) -> None:
    draw_audit(wide.run, n=12, out=tmp_path)
    lines = _judge(tmp_path / "judgements.csv", list(itertools.repeat("right", 12)))
    moved = [{"verdict": line.pop("verdict"), **line, "note": "mine"} for line in lines[::-1]]
    _write(tmp_path / "judged.csv", moved)
    (tmp_path / "judged.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "judged.csv").read_bytes())
    assert judge_audit(wide.run, tmp_path / "judged.csv").all.right == 12


def _printed(judged: Judged) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_judged(judged, console)
    return console.file.getvalue()  # pyright: ignore
