"""A forecast against what is then asked and paid, on a small run and a server of the tests' own."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chat_server import Server, reply, server
from small_run import RECIPE

from pipelines.cli import run_words
from pipelines.forecast import _of_list, forecast_recipe
from pipelines.job import Job
from pipelines.recipe import Recipe
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError
from tests.pipelines.test_instruct import run_stage
from transforms.instruct.models.load import close_askers

__all__ = ["server"]

PRICES = {"usd_per_million_in": 100.0, "usd_per_million_out": 200.0}
TALK = "Question:\nWhat runs here?\n===\nAnswer:\nA brown dog runs over the grass."


@pytest.fixture(autouse=True)
def _askers_closed() -> Iterator[None]:
    yield
    close_askers()


def recipe_of(folder: Path, url: str, **policy: Any) -> Recipe:
    asked = {"backend": "endpoint", "model": "m", "url": url, "repairs": 0, "budget": PRICES}
    content = RECIPE | {"instruct": {"talk": {**asked, **policy}}}
    return make_recipe(content, source=folder / "recipe.yaml")


@pytest.mark.parametrize("source", ["symbolic", "vision"])
def test_as_many_are_asked_as_were_forecast_and_then_none(
    source: str, server: Server, done: Job, tmp_path: Path
) -> None:
    server.speak = lambda asked: reply(TALK, tokens_in=10, tokens_out=5)
    recipe = recipe_of(tmp_path, server.url, source=source, shares={"conversation": 1})
    (found,), exact = forecast_recipe(recipe, done.run)
    assert exact
    assert (found.dialogues, found.stored, found.requests) == (3 - 1, 0, 2)  # images, not rows
    assert not server.asked
    assert found.usd == pytest.approx((found.tokens_in * 100 + found.tokens_out * 200) / 1e6)
    assert found.usd_at_most > found.usd > 0
    run_stage(dataclasses.replace(done, recipe=recipe, known={}))
    assert len(server.asked) == found.requests
    (after,), _ = forecast_recipe(recipe, done.run)
    assert (after.stored, after.requests, after.usd) == (2, 0, 0)
    for most, over in ((4, False), (3, True)):  # two were asked, and two more would be
        budget = {**PRICES, "max_requests": most}
        other = {"source": source, "shares": {"conversation": 1}, "temperature": 0.1}
        (more,), _ = forecast_recipe(
            recipe_of(tmp_path, server.url, budget=budget, **other), done.run
        )
        assert (more.requests, more.over_cap) == (2, over)


def test_an_image_of_several_rows_is_asked_about_once(tmp_path: Path) -> None:
    uids = [f"{n:032x}" for n in range(3)]
    rows = {
        "url": ["http://a.test/0", "http://a.test/1", "http://a.test/0"],
        "caption": list("abc"),
    }
    pq.write_table(pa.table(rows | {"own": uids}), tmp_path / "list.parquet")
    recipe = recipe_of(tmp_path, "http://127.0.0.1:9/v1")
    named = recipe.model_copy(update={"input": recipe.input.model_copy(update={"uid": "own"})})
    subjects = [subject for _, subject in _of_list(named, recipe.instruct["talk"])]
    assert [(one.uid, one.context.captions) for one in subjects] == [
        (uids[0], ("a", "c")),
        (uids[1], ("b",)),
    ]


def test_before_a_run_it_is_of_every_image(tmp_path: Path) -> None:
    rows = {"url": [f"http://a.test/{n}" for n in range(50)], "caption": ["a dog runs"] * 50}
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    budget = {**PRICES, "requests_per_minute": 10, "max_requests": 49}
    recipe = recipe_of(tmp_path, "http://127.0.0.1:9/v1", budget=budget)
    (found,), exact = forecast_recipe(recipe, tmp_path / "no-run-yet")
    assert not exact
    assert (found.dialogues, found.requests, found.minutes) == (50, 50, 5.0)
    assert found.over_cap
    (roomy,), _ = forecast_recipe(recipe_of(tmp_path, "http://127.0.0.1:9/v1"), None)
    assert (roomy.over_cap, roomy.minutes) == (False, None)
    assert roomy.usd == found.usd


def test_without_a_server_there_is_nothing_to_forecast(tmp_path: Path) -> None:
    recipe = make_recipe(RECIPE | {"instruct": {"talk": {}}}, source=tmp_path / "recipe.yaml")
    with pytest.raises(BadInputError, match="No server is asked by this recipe"):
        forecast_recipe(recipe, None)


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table({"URL": ["http://a.test/1"], "TEXT": ["a dog runs"]})
    pq.write_table(table, tmp_path / "list.parquet")
    (tmp_path / "r.yaml").write_text(
        "input: {list: list.parquet, url: URL, caption: TEXT}\n"
        "instruct: {talk: {backend: endpoint, model: m, url: 'http://127.0.0.1:9/v1'}}\n"
    )
    assert run_words(["forecast", str(tmp_path / "r.yaml")]) == 0
    assert "as if all were kept" in capsys.readouterr().out
    assert run_words(["forecast", str(tmp_path / "r.yaml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["exact"] is False
    assert told["forecasts"][0]["requests"] == 1
