"""Two selections against each other, counted by hand over a small run."""

import io
import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from small_run import LONG, RECIPE

from pipelines.job import Job
from pipelines.look.diff import diff
from pipelines.look.diff_report import print_difference
from schemas.errors import BadInputError


@pytest.fixture
def run(done: Job) -> Path:
    """A finished run, with the record of what it was made from."""
    record = {"input": {"sha256": "x"}, "fetch": done.recipe.fetch.identity()}
    done.layout.identity.write_text(json.dumps(record))
    return done.run


def _recipe(folder: Path, name: str, *rules: dict) -> str:
    (folder / name).write_text(yaml.safe_dump(RECIPE | {"rules": list(rules)}))
    return str(folder / name)


def test_it_counts_what_each_keeps_alone(run: Path, tmp_path: Path) -> None:
    """The caption of row 3 is one word longer than those of rows 0 and 5; row 4's is French."""
    loose = _recipe(tmp_path, "loose.yaml", {"caption": {}})
    tight = _recipe(tmp_path, "tight.yaml", {"caption": {"min_words": 12}})
    found = diff(run, loose, tight)
    assert (found.input_rows, found.both, found.neither) == (6, 1, 2)
    assert (found.only_a.rows, found.only_b.rows) == (3, 0)
    assert found.only_a.reasons == {"rules.0.caption: short_caption": 3}
    assert [(s.row, s.value, s.limit) for s in found.only_a.samples] == [
        (0, 11.0, 12.0),
        (5, 11.0, 12.0),
        (4, 9.0, 12.0),  # farther from the limit
    ]
    assert found.only_a.samples[0].caption == LONG
    assert found.only_b.samples == []
    mirrored = diff(run, tight, loose)
    assert mirrored.only_b == found.only_a


def test_shifts_are_shares_of_what_each_keeps(run: Path, tmp_path: Path) -> None:
    english = _recipe(tmp_path, "english.yaml", {"caption": {}}, {"language": {"keep": ["en"]}})
    every = _recipe(tmp_path, "every.yaml", {"caption": {}})
    found = diff(run, every, english)
    shares = {shift.name: (shift.a, shift.b) for shift in found.language}
    assert shares == {"fr": (0.25, 0.0), "en": (0.75, 1.0)}
    words = {shift.name: (shift.a, shift.b) for shift in found.concepts}
    assert words["dog"] == (0.75, 1.0)
    assert words["chien"] == (0.25, 0.0)
    assert "the" not in words
    medians = {shift.name: (shift.a, shift.b) for shift in found.size}
    assert medians["caption characters, 50% below"][1] == len(LONG)


def test_a_decision_is_named_by_the_beginning_of_its_fingerprint(
    run: Path, done: Job, tmp_path: Path
) -> None:
    every = _recipe(tmp_path, "every.yaml", {"caption": {}})
    found = diff(run, done.decision.name[:6], every)
    assert found.a == str(done.decision)
    assert (found.only_a.rows, found.only_b.rows) == (0, 1)
    with pytest.raises(BadInputError, match=r"There is no file and no decision 'zz'; there are: "):
        diff(run, "zz", every)


def test_the_same_selection_does_not_differ(run: Path, tmp_path: Path) -> None:
    every = _recipe(tmp_path, "every.yaml", {"caption": {}})
    found = diff(run, every, every)
    assert (found.both, found.only_a.rows, found.only_b.rows) == (4, 0, 0)
    assert all(shift.a == shift.b for shift in found.language + found.concepts + found.size)


def test_what_people_read_has_the_samples_and_no_markup(run: Path, tmp_path: Path) -> None:
    loose = _recipe(tmp_path, "loose.yaml", {"caption": {}})
    tight = _recipe(tmp_path, "tight.yaml", {"caption": {"min_words": 12}})
    out = io.StringIO()
    print_difference(diff(run, loose, tight), Console(file=out, width=100))
    told = out.getvalue()
    assert "Only A keeps: B's reasons" in told
    assert "Only B keeps" not in told
    assert "short_caption (11 words and 49 characters" in told


def test_with_a_selection_file_against_a_recipe(run: Path, done: Job, tmp_path: Path) -> None:
    every = _recipe(tmp_path, "every.yaml", {"caption": {}})
    found = diff(run, str(done.decision / "selection.npy"), every)
    assert (found.both, found.only_a.rows, found.only_b.rows) == (3, 0, 1)
    assert found.only_b.reasons == {"rules.0.selection: not_selected": 1}


def test_a_recipe_of_another_list_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"another")
    every = _recipe(tmp_path, "every.yaml", {"caption": {}})
    with pytest.raises(BadInputError, match="another input list"):
        diff(run, every, every)
