"""What thresholds keep of a run whose every number is set by hand."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from pipelines.job import Job
from pipelines.look.curve import Curve, draw_curve
from pipelines.look.curve_report import curve_json, print_curve, write_curve
from pipelines.look.groups import NO_HOST, hosts_of
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError
from schemas.layout import Layout
from transforms.decide.at_once import decide_at_once, write_at_once
from transforms.decide.caps import PerHostRule
from transforms.decide.limit import top_fraction_threshold
from transforms.decide.thresholds import (
    even_thresholds,
    fraction_thresholds,
    kept_by_group,
    kept_counts,
)
from transforms.shards.commit import Draft, write_atomically
from transforms.shards.languages import LANGUAGES_TYPE
from transforms.shards.measures import part_manifest
from transforms.shards.pool import read_pool

_NONE = object()  # the row was not measured
# One row each: shard, host, caption's language, score. Row 1 has no caption, row 6 no image.
_ROWS = [
    (0, "a.test", "en", 0.10),
    (0, "a.test", "en", _NONE),
    (0, "a.test", "de", 0.20),
    (0, "b.test", "en", 0.30),
    (1, "b.test", "de", 0.40),
    (1, "c.test", "zh", float("nan")),
    (1, "a.test", "en", _NONE),
    (1, "A.TEST:80", _NONE, 0.50),
]
_MEASURES = {"language": "languages", "clip-pocket": "score"}


def _make_run(draw_pool, run: Path, rules: list) -> Job:
    """A run with a decision, its measures as above."""
    for shard in (0, 1):
        draw_pool(run / "pool", shard, [_pool_row(n) for n in _of(shard)])
    content = {"input": {"list": "list.parquet"}, "rules": rules}
    recipe = make_recipe(content, source=run / "recipe.yaml")
    job = Job(run=run, recipe=recipe, pool_identity="p", shards=2)
    write_atomically(Layout(run).job, job.save().encode())
    for shard in (0, 1):
        _write_measure(job, shard, "clip-pocket", 3, pa.float32())
        _write_measure(job, shard, "language", 2, LANGUAGES_TYPE)
    write_at_once(decide_at_once(run / "pool", 2, job.steps), job.decision, job.steps)
    return job


def _of(shard: int) -> list[int]:
    return [n for n, row in enumerate(_ROWS) if row[0] == shard]


def _pool_row(number: int) -> dict:
    caption = "" if number == 1 else f"a picture with the number {number}"
    url = f"http://{_ROWS[number][1]}/{number}.jpg"
    lost = {"failure": "not_found"} if number == 6 else {}
    return {"row": number, "url": url, "caption": caption, **lost}


def _write_measure(job: Job, shard: int, name: str, column: int, kind: pa.DataType) -> None:
    uids = read_pool(job.layout.pool, shard, columns=["uid"])["uid"].to_pylist()
    found = [(u, _ROWS[n][column]) for u, n in zip(uids, _of(shard), strict=True)]
    if name == "language":
        found = [(u, v if v is _NONE else [(v, 0.9)]) for u, v in found]
    found = [(u, v) for u, v in found if v is not _NONE]
    values = pa.array([v for _, v in found], kind)
    with Draft(part_manifest(job.measure(name), shard, 0)) as draft:
        table = pa.table({"uid": [u for u, _ in found], _MEASURES[name]: values})
        pq.write_table(table, draft.path(f"{shard:05d}-0.parquet"))


@pytest.fixture
def curve_run(draw_pool, tmp_path: Path) -> Job:
    rules = [{"caption": {}}, {"clip_score": {"at_least": 0.25}}]
    return _make_run(draw_pool, tmp_path / "run", rules)


def _at(curve: Curve, threshold: float, counts: list[int]) -> int:
    """What a group keeps at a threshold."""
    return counts[int(np.argmin(np.abs(np.array(curve.thresholds) - threshold)))]


def test_counts_in_all_by_language_and_by_source(curve_run: Job) -> None:
    curve = draw_curve(curve_run.run)
    assert (curve.measure, curve.rows, curve.without, curve.limit) == (
        "clip-pocket.score",
        5,
        1,
        0.25,
    )
    assert curve.of == {
        "language": {"en": 2, "de": 2, "und": 1},
        "source": {"a.test": 3, "b.test": 2},
    }
    assert _at(curve, 0.25, curve.kept["all"]) == 3
    assert {n: _at(curve, 0.25, c) for n, c in curve.kept["language"].items()} == {
        "en": 1,
        "de": 1,
        "und": 1,
    }
    assert {n: _at(curve, 0.25, c) for n, c in curve.kept["source"].items()} == {
        "a.test": 1,
        "b.test": 2,
    }
    assert curve.kept["all"][0] == 5
    for counts in (curve.kept["all"], *curve.kept["language"].values()):
        assert len(counts) == len(curve.thresholds)
    # Descending 0.5, 0.4, 0.3, 0.2, 0.1: DataComp's place int(5 * 0.4) is the third.
    assert curve.fractions["0.4"] == {"threshold": pytest.approx(0.3), "kept": 3}


def test_the_smaller_groups_are_other(curve_run: Job) -> None:
    curve = draw_curve(curve_run.run, by_top=1)
    assert curve.of == {"language": {"en": 2, "other": 3}, "source": {"a.test": 3, "other": 2}}
    both = zip(curve.kept["source"]["a.test"], curve.kept["source"]["other"], strict=True)
    assert [a + b for a, b in both] == curve.kept["all"]
    with pytest.raises(BadInputError, match="by-top is 0"):
        draw_curve(curve_run.run, by_top=0)


def test_rows_that_an_earlier_rule_dropped_do_not_count(draw_pool, tmp_path: Path) -> None:
    # All are measured; the cap leaves one image of each host to the CLIP rule.
    rules = [{"caption": {}}, {"per_host": {"at_most": 1}}, {"clip_score": {"at_least": 0.0}}]
    curve = draw_curve(_make_run(draw_pool, tmp_path / "run", rules).run)
    assert curve.of["source"] == {"a.test": 1, "b.test": 1}
    assert (curve.rows, curve.without) == (2, 1)
    rules[1] = {"caption": {"min_words": 9}}
    _make_run(draw_pool, tmp_path / "other", rules)
    with pytest.raises(BadInputError, match=r"No row of .* has a number in clip-pocket.score"):
        draw_curve(tmp_path / "other")


def test_rows_that_a_later_rule_dropped_do_count(draw_pool, tmp_path: Path) -> None:
    rules = [{"caption": {}}, {"clip_score": {"at_least": 0.0}}, {"caption": {"min_words": 9}}]
    curve = draw_curve(_make_run(draw_pool, tmp_path / "run", rules).run)
    assert (curve.rows, curve.without, curve.limit) == (5, 1, 0.0)


def test_the_limit_may_be_what_a_top_fraction_came_to(draw_pool, tmp_path: Path) -> None:
    job = _make_run(
        draw_pool, tmp_path / "run", [{"caption": {}}, {"clip_score": {"top_fraction": 0.4}}]
    )
    curve = draw_curve(job.run, measure="clip-pocket.score")
    # Six rows, one of them NaN, which ranks last: int(6 * 0.4) is the third of 0.5, 0.4, 0.3.
    assert curve.limit == pytest.approx(0.3)
    assert _at(curve, 0.3, curve.kept["all"]) == 3


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("text.words", r"measured no text\.words; it measured: clip-pocket \(score\)"),
        ("clip-pocket", r"measured no clip-pocket\.value; .*score"),
        ("clip-pocket.text", r"measured no clip-pocket\.text; .*score"),
    ],
)
def test_what_was_not_measured_is_refused(curve_run: Job, wanted: str, why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        draw_curve(curve_run.run, measure=wanted)


def test_what_is_no_number_or_not_decided_is_refused(done: Job, begun: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"language\.languages holds no numbers"):
        draw_curve(done.run, measure="language.languages")
    with pytest.raises(BadInputError, match=r"measured no clip\.value; it measured: language"):
        draw_curve(done.run)
    with pytest.raises(BadInputError, match="is no RUN folder"):
        draw_curve(tmp_path)


def test_what_has_no_decision_is_refused(begun: Job) -> None:
    with pytest.raises(BadInputError, match="no decision yet"):
        draw_curve(begun.run)


def test_a_picture_and_json_are_written_and_the_same_again(curve_run: Job, tmp_path: Path) -> None:
    curve = draw_curve(curve_run.run)
    picture, told = write_curve(curve, tmp_path / "out")
    assert picture.name == "curve-clip-pocket.score.png"
    first = picture.read_bytes()
    assert Image.open(io.BytesIO(first)).size[0] > 1000
    found = json.loads(told.read_bytes())
    assert found == json.loads(curve_json(curve))
    assert list(found)[:5] == ["measure", "rows", "without", "thresholds", "kept"]
    write_curve(draw_curve(curve_run.run), tmp_path / "out")
    assert picture.read_bytes() == first


def test_a_stranger_cannot_break_the_picture_or_the_terminal(tmp_path: Path) -> None:
    host = "$\\frac$\x1b[31m" + "例" * 50
    kept = {"all": [30, 1], "source": {host: [20, 1], "_hidden": [10, 0]}}
    curve = Curve(
        measure="my.a/../b $x$",
        rows=30,
        without=2,
        thresholds=[0.0, 1.0],
        kept=kept,
        of={"source": {host: 20, "_hidden": 10}},
        fractions={},
        limit=None,
    )
    picture, _ = write_curve(curve, tmp_path)
    assert picture.parent == tmp_path
    console = Console(file=io.StringIO(), width=100)
    print_curve(curve, console)
    text = console.file.getvalue()  # pyright: ignore
    assert "\x1b" not in text
    assert "2 more have no number" in text


def test_the_table_marks_the_recipes_limit(curve_run: Job) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_curve(draw_curve(curve_run.run), console)
    lines = console.file.getvalue().splitlines()  # pyright: ignore
    (marked,) = {" ".join(line.split()) for line in lines if "→ 0.25" in line and "50.0%" in line}
    assert marked.startswith("→ 0.25 3 60.0%")


def test_counting_loads_neither_a_model_nor_a_plot(curve_run: Job) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.look.curve import draw_curve;"
        f"draw_curve(Path({str(curve_run.run)!r}));"
        "sys.exit(' '.join({'apache_beam', 'torch', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


_NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300)


@given(_NUMBERS)
def test_thresholds_are_few_even_and_cover_the_middle(numbers: list[float]) -> None:
    ordered = np.sort(np.array(numbers, np.float64))
    thresholds = even_thresholds(ordered)
    assert 1 <= len(thresholds) <= 28
    if len(numbers) < 200:  # then no value is left out at the ends
        assert kept_counts(ordered, thresholds)[0] == len(numbers)
        assert thresholds[-1] >= ordered[-1] * (1 - 1e-9 * np.sign(ordered[-1]))
    if len(thresholds) > 2:
        steps = np.diff(thresholds)
        assert np.allclose(steps, steps[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "first", "step"),
    [
        (0.011, 0.389, 0.0, 0.02),
        (0.0, 1.0, 0.0, 0.05),
        (3, 21, 3.0, 1.0),
        (-250, 730, -250.0, 50.0),
    ],
)
def test_thresholds_are_round(low: float, high: float, first: float, step: float) -> None:
    values = [low, high] if step >= 1 else [low, low + 1e-4, high]
    thresholds = even_thresholds(np.array(values, np.float64))
    assert thresholds[:3].tolist() == [first, round(first + step, 9), round(first + 2 * step, 9)]


def test_an_outlier_does_not_stretch_the_steps() -> None:
    ordered = np.sort(np.append(np.linspace(0, 1, 1000), 1e9))
    assert even_thresholds(ordered)[-1] == pytest.approx(1, abs=0.05)


@given(_NUMBERS, st.integers(1, 9))
def test_top_fractions_are_datacomps(numbers: list[float], tenths: int) -> None:
    ordered = np.sort(np.array(numbers, np.float64))
    (found,) = fraction_thresholds(ordered, [tenths / 10])
    assert found == top_fraction_threshold(np.array(numbers), tenths / 10)


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 4)), min_size=1), st.integers(1, 6))
def test_groups_are_counted_as_one_by_one(rows: list[tuple[float, int]], top: int) -> None:
    values, groups = np.array([v for v, _ in rows]), np.array([g for _, g in rows])
    thresholds = np.array([-0.5, 0.0, 0.25])
    largest, counts = kept_by_group(values, groups, thresholds, top)
    sizes = {g: sum(1 for _, other in rows if other == g) for g in set(groups.tolist())}
    assert largest == sorted(sizes, key=lambda g: (-sizes[g], g))[:top]
    for group, count in zip(largest, counts, strict=True):
        assert count.tolist() == [sum(v >= t for v, g in rows if g == group) for t in thresholds]


@given(st.lists(st.text("aB:/?#@.[]\n", max_size=20) | st.text("aB:/?@").map("http://{}".format)))
def test_hosts_are_those_that_the_cap_counts(urls: list[str]) -> None:
    column = pa.chunked_array([urls[:3], urls[3:]], pa.string())
    wanted = PerHostRule(at_most=1).groups(column).to_pylist()
    assert hosts_of(column).to_pylist() == [host or NO_HOST for host in wanted]
