"""The command's words that need no run: version, schemas, usage."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.cli import _run
from pipelines.recipe import Recipe
from schemas.errors import BadInputError
from schemas.report import RunReport


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["--version"]) == 0
    assert capsys.readouterr().out == f"pairmill {version('pairmill')}\n"


def test_the_schemas_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["schema"]) == 0
    recipe = json.loads(capsys.readouterr().out)
    assert {"input", "fetch", "clip", "measures", "rules", "corpora"} == set(recipe["properties"])
    assert _run(["schema", "--report"]) == 0
    assert json.loads(capsys.readouterr().out) == RunReport.model_json_schema()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "recipe"),
        (["run", "recipe.yaml", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["demo", "--rows", "0"], "--rows"),
    ],
)
def test_a_usage_error_is_one_sentence(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pairmill: ")
    assert told in line


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["why", "no-such-run", "x"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert _run(["why", "no-such-run", "x", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_run_lies_in_a_folder_named_after_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("input: {list: list.parquet}")
    asked: list[tuple[Path, list[str]]] = []

    def noted(recipe: Recipe, out: Path, flags: list[str]) -> RunReport:
        asked.append((out, flags))
        raise BadInputError("That is all.")

    monkeypatch.setattr("pipelines.run.run_recipe", noted)
    assert _run(["run", str(tmp_path / "mine.yaml"), "--", "--direct_num_workers=1"]) == 2
    assert _run(["run", str(tmp_path / "mine.yaml"), "--out", "there"]) == 2
    assert asked == [(Path("mine-run"), ["--direct_num_workers=1"]), (Path("there"), [])]
