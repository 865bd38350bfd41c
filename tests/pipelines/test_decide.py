"""Deciding anew in one process: the same files as the graph's, and nothing fetched or measured."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from milling import stamps
from small_run import LONG, RECIPE, ROWS

from pipelines.decide import decide
from pipelines.decided import open_decided
from pipelines.engines.lock import run_lock
from pipelines.job import Job
from pipelines.recipe import Recipe
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError
from schemas.layout import shard_name
from schemas.pair import make_uid
from transforms.decide.ledger import read_funnel
from transforms.decide.selection import as_selection
from transforms.shards.uids import halves


def _recipe(folder: Path, **changes: Any) -> Recipe:
    return make_recipe(RECIPE | changes, source=folder / "recipe.yaml")


@pytest.fixture
def job(done: Job) -> Job:
    """A finished run, with the record of what it was made from."""
    record = {"input": {"sha256": "x"}, "fetch": done.recipe.fetch.identity()}
    done.layout.identity.write_text(json.dumps(record))
    return done


def _decision_bytes(decision: Path) -> dict[str, bytes]:
    """All of a decision but the manifests, which tell how long it took."""
    files = [path for path in decision.rglob("*") if path.suffix in (".npy", ".parquet", ".kept")]
    files.append(decision / "funnel.json")
    return {str(path.relative_to(decision)): path.read_bytes() for path in files}


def test_it_decides_as_the_graph_did(job: Job, tmp_path: Path) -> None:
    before = _decision_bytes(job.decision)
    assert len(before) == 2 * len(ROWS) + 3
    shutil.rmtree(job.run / "decisions")
    report = decide(job.run, _recipe(tmp_path))
    assert (report.kept, report.unmeasured, report.decision) == (3, 0, str(job.decision))
    assert _decision_bytes(job.decision) == before


def test_what_is_decided_already_stays_as_it_is(job: Job, tmp_path: Path) -> None:
    before = stamps(job.run / "decisions")
    assert decide(job.run, _recipe(tmp_path)).kept == 3
    assert stamps(job.run / "decisions") == before


def test_other_limits_give_another_decision_and_nothing_else(job: Job, tmp_path: Path) -> None:
    before = {name: stamps(job.run / name) for name in ("pool", "measures", "corpora")}
    strict = _recipe(tmp_path, rules=[{"caption": {"min_words": 12}}])
    report = decide(job.run, strict)
    assert (report.kept, report.dropped["basic"]) == (1, {"short_caption": 3, "empty_caption": 1})
    assert report.decision != str(job.decision)
    assert {name: stamps(job.run / name) for name in before} == before


def test_a_row_without_a_measure_is_told_and_not_selected(job: Job, tmp_path: Path) -> None:
    """With no caption rule before it, the language rule meets a row that was never measured."""
    rules = [{"language": {"keep": ["en"]}}, {"exact_duplicate": {}}]
    looser = _recipe(tmp_path, rules=rules)
    report = decide(job.run, looser)
    assert report.unmeasured == 1
    assert report.dropped["basic"] == {"unmeasured": 1, "other_language": 1}
    whole = Job(run=job.run, recipe=looser, pool_identity="p", shards=len(ROWS))
    assert report.decision != str(whole.decision), "the whole decision is still to be made"
    assert not (job.run / "outcomes").exists()
    decision = Path(report.decision or "")
    ledgers = [pq.read_table(decision / "ledger" / f"{shard_name(n)}.parquet") for n in ROWS]
    kept = [line["uid"] for ledger in ledgers for line in ledger.to_pylist() if line["kept"]]
    expected = as_selection(*halves(pa.array(kept)))
    assert np.load(decision / "selection.npy").tolist() == expected.tolist()
    assert len(kept) == report.kept == 3


def test_a_rule_over_the_whole_pool_leaves_its_outcome(job: Job, tmp_path: Path) -> None:
    rules = [*RECIPE["rules"], {"exact_duplicate": {}}]
    report = decide(job.run, _recipe(tmp_path, rules=rules))
    assert report.unmeasured == 0
    assert len(list((job.run / "outcomes" / "exact_duplicate").glob("*/outcome.parquet"))) == 1


def test_other_fetch_settings_are_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"fetch settings .*image_size_px"):
        decide(job.run, _recipe(tmp_path, fetch={"image_size_px": 64}))


def test_a_pool_that_is_not_finished_is_refused(job: Job, tmp_path: Path) -> None:
    (job.run / "pool" / "00001_stats.json").unlink()
    with pytest.raises(BadInputError, match="1 of its 2 shards"):
        decide(job.run, _recipe(tmp_path))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is no RUN folder"):
        decide(tmp_path, _recipe(tmp_path))


def test_a_recipe_of_another_list_is_refused(job: Job, tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"another list")
    with pytest.raises(BadInputError, match="was made from another input list"):
        decide(job.run, _recipe(tmp_path))


def test_a_recipe_that_decided_is_kept_with_its_decision(job: Job, tmp_path: Path) -> None:
    report = decide(job.run, _recipe(tmp_path, rules=[{"caption": {"min_words": 12}}]))
    (kept,) = (job.run / "recipes").iterdir()
    assert f"decision: {Path(report.decision or '').name}" in kept.read_text()


def test_a_run_that_is_at_work_is_waited_for(job: Job, tmp_path: Path) -> None:
    (job.run / "pool" / "00001_stats.json").unlink()
    with run_lock(job.run), pytest.raises(BadInputError, match="Another run is at work"):
        decide(job.run, _recipe(tmp_path))


def test_a_run_without_its_record_is_refused(job: Job, tmp_path: Path) -> None:
    job.layout.identity.unlink()
    with pytest.raises(BadInputError, match=r"run\.json is damaged or missing"):
        decide(job.run, _recipe(tmp_path))


def test_a_whole_pool_rule_over_shards_that_lack_its_measure(job: Job, tmp_path: Path) -> None:
    """One shard has no part of the measure at all; its rows wait, and the others are decided."""
    shutil.rmtree(job.run / "decisions")
    for path in job.steps[1].measures[0].glob("00001-*"):
        path.unlink()
    fraction = {"clip_score": {"top_fraction": 0.5, "each_language": True}}
    for rules in (
        [{"caption": {}}, {"equal_languages": {"groups": [["en"], ["fr"]]}}],
        [{"caption": {}}, fraction],  # nothing is measured at all
    ):
        report = decide(job.run, _recipe(tmp_path, rules=rules))
        assert report.unmeasured == (2 if rules[1] is not fraction else 4)
        assert report.kept == 0


def test_a_decision_that_waits_moves_when_more_is_measured(job: Job, tmp_path: Path) -> None:
    """Else the first one's ledger, which comes first and stays, would pass for the second."""
    looser = _recipe(tmp_path, rules=[{"language": {"keep": ["en"]}}])
    (folder,) = job.steps[1].measures
    hidden = {path: path.read_bytes() for path in folder.glob("00001-*")}
    for path in hidden:
        path.unlink()
    few = decide(job.run, looser)
    for path, content in hidden.items():
        path.write_bytes(content)
    more = decide(job.run, looser)
    assert (few.unmeasured, more.unmeasured) == (3, 1)
    assert few.decision != more.decision
    assert more.kept > few.kept


def test_a_run_is_looked_at_as_it_was_whatever_became_of_its_files(
    job: Job, tmp_path: Path
) -> None:
    selection = tmp_path / "chosen.csv"
    selection.write_text("uid\n" + make_uid("http://pool.test/0.jpg", LONG) + "\n")
    recipe = _recipe(tmp_path, rules=[{"selection": {"file": str(selection)}}])
    first = decide(job.run, recipe)
    selection.write_text("uid\n" + "0" * 32 + "\n")
    second = decide(job.run, recipe)
    assert (first.kept, second.kept) == (1, 0)
    selection.unlink()
    for report in (first, second):
        name = Path(str(report.decision)).name
        opened = open_decided(job.run, name)
        assert opened.decision.name == name
        assert read_funnel(opened.decision)["kept"] == report.kept
