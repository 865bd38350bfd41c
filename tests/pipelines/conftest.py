"""A small run at two moments of its making, without Beam; and a small web on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from small_run import RECIPE, ROWS, screen_all

from pipelines.demo.corpus import LIST_FILE, plan_demo, write_plan
from pipelines.demo.run import RECIPE_FILE
from pipelines.demo.server import serve
from pipelines.job import Job
from pipelines.recipe_file import make_recipe
from schemas.layout import Layout, shard_name
from schemas.pair import ROWS_SCHEMA
from transforms.corpora.stage import cut_texts, finish, write_corpus_shard
from transforms.decide.stage import commit_decision
from transforms.shards.commit import Draft, write_atomically
from transforms.shards.pool import read_pool


@pytest.fixture
def begun(draw_pool, tmp_path: Path) -> Job:
    """A run that has its rows and its pool, and no decision yet."""
    run = tmp_path / "run"
    with Draft(Layout(run).rows_manifest) as draft:
        for shard, rows in ROWS.items():
            draw_pool(run / "pool", shard, rows)
            table = read_pool(run / "pool", shard).select(ROWS_SCHEMA.names)
            pq.write_table(table, draft.path(f"{shard_name(shard)}.parquet"))
        draft.facts["rows"] = sum(map(len, ROWS.values()))
    recipe = make_recipe(RECIPE, source=tmp_path / "recipe.yaml")
    job = Job(run=run, recipe=recipe, pool_identity="p", shards=len(ROWS))
    write_atomically(Layout(run).job, job.save().encode())
    return job


@pytest.fixture
def done(begun: Job) -> Job:
    """The same run, finished."""
    screen_all(begun)
    decision = commit_decision(None, begun.run, begun.decision, begun.steps, ROWS)
    corpus = begun.corpus("pairs")
    shards = [write_corpus_shard(s, begun.run, corpus) for s in cut_texts(decision, 1)]
    finish(None, begun.run, "pairs", corpus, shards)
    return begun


@pytest.fixture(scope="session")
def small_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo's recipe with small units, over a list of 80 rows of which two come again; the
    list's web is served until the session's end."""
    folder = tmp_path_factory.mktemp("web")
    plan = plan_demo(80, seed=3)
    write_plan(plan, folder)
    rows = pq.read_table(folder / LIST_FILE)
    pq.write_table(pa.concat_tables([rows, rows.slice(7, 2)]), folder / LIST_FILE)
    content = yaml.safe_load(RECIPE_FILE.read_text(encoding="utf-8"))
    content["input"]["images_per_shard"] = 16
    content["fetch"]["timeout_s"] = 3
    content["corpora"]["pairs"]["samples_per_shard"] = 7
    with serve(plan.answers) as resolve:
        content["fetch"]["resolve"] = resolve
        (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
        yield folder / "recipe.yaml"
