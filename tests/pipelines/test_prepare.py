"""RUN made ready: what a lost pool shard takes with it, and what a damaged record says."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.job import Job
from pipelines.prepare import prepare
from pipelines.recipe import Recipe
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError, RunFailedError
from schemas.fingerprint import fingerprint
from schemas.layout import Layout

DERIVED = ("outcomes/d/f/x", "decisions/f/decision.json", "commits/p/f/x", "corpora/p/f/x")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Two images, each a unit of its own."""
    columns = {"url": ["http://a.test/0", "http://a.test/1"], "caption": ["a dog", "a cat"]}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    content = {"input": {"list": "list.parquet", "images_per_shard": 1}}
    return make_recipe(content, source=tmp_path / "recipe.yaml")


def _prepared(recipe: Recipe, run: Path, draw_pool) -> None:
    """A RUN that has all that can be derived from its two pool shards."""
    prepare(recipe, run)
    for shard in (0, 1):
        draw_pool(run / "pool", shard, [{"row": shard}])
    for name in ("measures/m/f/00000-0.json", "measures/m/f/00001-0.json", *DERIVED):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")


def _lose_first_shard(run: Path) -> None:
    for path in (run / "pool").glob("00000*"):
        path.unlink()


def test_a_lost_pool_shard_takes_with_it_what_was_derived_from_it(
    recipe: Recipe, draw_pool, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    _prepared(recipe, run, draw_pool)
    prepare(recipe, run)
    assert all((run / name).exists() for name in DERIVED), "nothing was lost yet"
    _lose_first_shard(run)
    prepare(recipe, run)
    assert not (run / "measures/m/f/00000-0.json").exists()
    assert (run / "measures/m/f/00001-0.json").exists()
    assert not any((run / name).exists() for name in DERIVED)
    assert (run / "pool" / "00001.tar").exists()


def test_before_the_decision_outcomes_stay(recipe: Recipe, draw_pool, tmp_path: Path) -> None:
    """Shards that were not fetched yet are no loss: the run was merely stopped."""
    run = tmp_path / "run"
    _prepared(recipe, run, draw_pool)
    (run / "decisions/f/decision.json").unlink()
    _lose_first_shard(run)
    prepare(recipe, run)
    assert (run / "outcomes/d/f/x").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"input": {}, "fetch": {}}', "null"])
def test_a_damaged_record_of_the_input_is_told(text: str, recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    prepare(recipe, run)
    Layout(run).identity.write_text(text)
    with pytest.raises(BadInputError, match=r"run\.json is damaged or missing: take another --out"):
        prepare(recipe, run)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"recipe": {"input": 3}}'])
def test_a_damaged_job_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(RunFailedError, match=r"job\.json is damaged.* run the recipe again"):
        Job.load(tmp_path / "job.json")


def test_a_recipe_that_ran_is_kept_with_versions_and_digests(
    recipe: Recipe, tmp_path: Path
) -> None:
    job = prepare(recipe, tmp_path / "run")
    (kept,) = (tmp_path / "run" / "recipes").iterdir()
    content = yaml.safe_load(kept.read_text())
    assert kept.name == f"{fingerprint(content)}.yaml"
    assert content["decision"] == job.decision.name
    text = kept.read_text()
    assert "apache-beam: " in text
    assert "pairmill: " in text
    assert f"pool: {job.pool_identity}" in text
