"""How a run is looked at where a rule chose among web captions and synthetic ones.

Row 0's own caption fails and a synthetic one passes; row 1's own passes; row 2 loses all."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.job import Job
from pipelines.look.curve import _column, draw_curve
from pipelines.look.diff import diff
from pipelines.look.search_query import measured_model
from pipelines.look.sheet import plot_samples
from pipelines.look.why import explain
from pipelines.notebook import Run
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError
from schemas.layout import Layout
from schemas.pair import ROWS_SCHEMA
from transforms.capfilt.columns import CANDIDATES_SCHEMA, MATCHES_SCHEMA
from transforms.decide.at_once import decide_at_once, write_at_once
from transforms.shards.commit import Draft, write_atomically
from transforms.shards.measures import part_manifest
from transforms.shards.pool import read_pool

WEB = ("buy prints online", "a cat sits", "click here")
MADE = ("a dog runs", "a dog sits", "a tree")
WEB_ITM, MADE_ITM = (0.1, 0.8, 0.2), (0.9, 0.3, 0.4)
RULES: list[dict[str, Any]] = [{"caption": {}}, {"capfilt": {"clip": None}}]


@pytest.fixture(scope="module")
def job(draw_pool, tmp_path_factory: pytest.TempPathFactory) -> Job:
    run = tmp_path_factory.mktemp("chosen") / "run"
    rows = [{"row": n, "caption": caption} for n, caption in enumerate(WEB)]
    draw_pool(run / "pool", 0, rows)
    pool = read_pool(run / "pool", 0)
    with Draft(Layout(run).rows_manifest) as draft:
        pq.write_table(pool.select(ROWS_SCHEMA.names), draft.path("00000.parquet"))
    recipe = make_recipe({"input": {"list": "l"}, "rules": RULES}, source=run / "recipe.yaml")
    job = Job(run=run, recipe=recipe, pool_identity="p", shards=1)
    write_atomically(job.layout.job, job.save().encode())
    identity = {"input": {"sha256": "x"}, "fetch": recipe.fetch.identity()}
    job.layout.identity.write_text(json.dumps(identity))
    texts = [{"texts": [text], "seeds": [0]} for text in MADE]
    _write(job, "captions-pocket", texts, CANDIDATES_SCHEMA)
    scores = [{"score": a, "synthetic": [b]} for a, b in zip(WEB_ITM, MADE_ITM, strict=True)]
    _write(job, "itm-pocket+pocket", scores, MATCHES_SCHEMA)
    write_at_once(decide_at_once(run / "pool", 1, job.steps), job.decision, job.steps)
    return job


def _write(job: Job, measure: str, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
    manifest = part_manifest(job.measure(measure), 0, 0)
    table = pa.Table.from_pylist(list(rows), schema=schema)
    table = table.add_column(0, "uid", read_pool(job.layout.pool, 0)["uid"])
    with Draft(manifest) as draft:
        pq.write_table(table, draft.path(f"{manifest.stem}.parquet"))


def test_why_tells_what_survives_and_that_ones_own_caption_did_not(job: Job) -> None:
    uids = read_pool(job.layout.pool, 0)["uid"].to_pylist()
    (first,), (second,), (third,) = (explain(job.run, uid) for uid in uids)
    assert first["own_caption"] == "did not survive (itm 0.1000)"
    (text,) = first["captions"]
    assert (text["text"], text["candidate"], round(text["itm"], 3)) == ("a dog runs", 1, 0.9)
    assert second["own_caption"] is None
    assert [text["text"] for text in second["captions"]] == ["a cat sits"]
    assert third["detail"] == "itm-pocket 0.4000 for the best text it bears, limit 0.5"


def test_selections_are_compared_by_the_captions_that_survive(job: Job, tmp_path: Path) -> None:
    content = {"input": {"list": "l"}, "rules": RULES}
    same, loose = tmp_path / "same.yaml", tmp_path / "loose.yaml"
    same.write_text(yaml.safe_dump(content))
    all_pass = [RULES[0], {"capfilt": {"clip": None, "at_least": 0.0}}]
    loose.write_text(yaml.safe_dump(content | {"rules": all_pass}))
    found = diff(job.run, str(same), str(loose))
    words = {shift.name: (shift.a, shift.b) for shift in found.concepts}
    assert words["cat"] == (1 / 2, 1 / 6)
    assert words["dog"] == (1 / 2, 2 / 6)
    assert words["prints"] == (0.0, 1 / 6)
    lengths = {shift.name: shift.a for shift in found.size}
    assert lengths["caption characters, 50% below"] == len("a dog runs") == len("a cat sits")


def test_a_sheet_shows_the_caption_that_survives(job: Job) -> None:
    run = Run.open(job.run)
    words = [text.get_text() for text in plot_samples(run, run.samples()).texts]
    assert "a dog runs (synthetic)" in words
    assert "a cat sits" in words
    assert "buy prints online" not in words
    assert "click here" in words  # dropped: shown as it came


def test_scores_of_candidates_are_no_clip_models(job: Job) -> None:
    scored = [*RULES[:1], {"clip_score": {"at_least": 0.0}}, {"capfilt": {}}]
    recipe = make_recipe({"input": {"list": "l"}, "rules": scored}, source=job.run / "r.yaml")
    both = Job(run=job.run, recipe=recipe, pool_identity="p", shards=1)
    assert "clip-pocket+pocket" in both.measure_names()
    manifest = part_manifest(both.measure("clip-pocket"), 0, 0)
    with Draft(manifest) as draft:
        uids = read_pool(job.layout.pool, 0)["uid"]
        table = pa.table({"uid": uids, "score": pa.array([0.1, 0.2, 0.3], pa.float32())})
        pq.write_table(table, draft.path(f"{manifest.stem}.parquet"))
    assert measured_model(both, None) == "pocket"
    assert _column(both, "clip") == "clip-pocket.score"


def test_where_no_clip_model_scored_it_is_told(job: Job) -> None:
    with pytest.raises(BadInputError, match="nothing is embedded: no rule of its recipe reads"):
        measured_model(Job(job.run, job.recipe, "another", 1), None)
    with pytest.raises(BadInputError, match=r"measured no clip\.value"):
        draw_curve(job.run, measure="clip")
