"""Fingerprints: an edited recipe redoes exactly what depends on the edit."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipelines.job import Job
from pipelines.recipe_file import make_recipe

RULES: list[dict[str, Any]] = [
    {"caption": {}},
    {"language": {"keep": ["en"]}},
    {"exact_duplicate": {}},
    {"clip_score": {"model": "b", "at_least": 0.2}},
    {"clip_score": {"model": "b", "top_fraction": 0.5}},
]
CONTENT: dict[str, Any] = {
    "input": {"list": "list.parquet"},
    "clip": {"b": {"architecture": "ViT-B-32", "pretrained": "openai"}},
    "rules": RULES,
    "corpora": {"pairs": {"samples_per_shard": 100}},
}


def _job(content: dict[str, Any] = CONTENT, run: str = "/run", pool: str = "p") -> Job:
    recipe = make_recipe(content, source=Path("/recipes/recipe.yaml"))
    return Job(run=Path(run), recipe=recipe, pool_identity=pool, shards=3)


def _places(job: Job) -> dict[str, str]:
    """Every stage of the job and the folder its results lie in."""
    return {
        "language": str(job.steps[1].measures),
        "dedupe": str(job.steps[2].outcome),
        "clip": str(job.steps[3].measures),
        "top": str(job.steps[4].outcome),
        "decision": str(job.decision),
        "corpus": str(job.corpus("pairs")),
        "recipe": job.fingerprint,
    }


def _changed(content: dict[str, Any], **whole: str) -> set[str]:
    before, after = _places(_job()), _places(_job(content, **whole))
    return {stage for stage in before if before[stage] != after[stage]}


def _with_rule(place: int, **limits: Any) -> dict[str, Any]:
    rules = list(RULES)
    name = next(iter(rules[place]))
    rules[place] = {name: rules[place][name] | limits}
    return CONTENT | {"rules": rules}


def test_a_clip_threshold_changes_what_comes_after_it() -> None:
    changed = _changed(_with_rule(3, at_least=0.3))
    assert changed == {"top", "decision", "corpus", "recipe"}


def test_a_rule_before_a_whole_pool_rule_changes_its_outcome_but_no_measure() -> None:
    for content in (_with_rule(0, min_words=3), _with_rule(1, at_least=0.2)):
        assert _changed(content) == {"dedupe", "top", "decision", "corpus", "recipe"}


def test_the_order_of_rules_is_the_funnel() -> None:
    swapped = [RULES[1], RULES[0], *RULES[2:]]
    before, after = _job(), _job(CONTENT | {"rules": swapped})
    assert before.decision != after.decision
    assert before.steps[1].measures == after.steps[0].measures


@pytest.mark.parametrize(
    "model",
    [
        {"architecture": "ViT-L-14", "pretrained": "openai"},
        {"architecture": "ViT-B-32", "pretrained": "laion2b_e16"},
        {"architecture": "ViT-B-32", "pretrained": "openai", "batch_size": 8},
        {"architecture": "ViT-B-32", "pretrained": "openai", "threads": 2},
    ],
)
def test_another_model_changes_its_measure_and_what_comes_after(model: dict[str, Any]) -> None:
    changed = _changed(CONTENT | {"clip": {"b": model}})
    assert changed == {"clip", "dedupe", "top", "decision", "corpus", "recipe"}


def test_the_device_changes_no_result() -> None:
    model = CONTENT["clip"]["b"] | {"device": "cuda"}
    assert _changed(CONTENT | {"clip": {"b": model}}) <= {"recipe"}


def test_weights_count_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"one")
    model = {"architecture": "ViT-B-32", "pretrained": str(tmp_path / "w.pt")}
    content = CONTENT | {"clip": {"b": model}}
    before = _places(_job(content))
    (tmp_path / "w.pt").write_bytes(b"two")
    after = _places(_job(content))
    changed = {stage for stage in before if before[stage] != after[stage]}
    assert changed == {"clip", "dedupe", "top", "decision", "corpus", "recipe"}


def test_a_corpus_setting_changes_that_corpus_alone() -> None:
    corpora = {"pairs": {"samples_per_shard": 99}}
    assert _changed(CONTENT | {"corpora": corpora}) == {"corpus", "recipe"}
    more = CONTENT["corpora"] | {"more": {"samples_per_shard": 100}}
    assert _changed(CONTENT | {"corpora": more}) == {"recipe"}
    job = _job(CONTENT | {"corpora": more})
    assert job.corpus("more").name != job.corpus("pairs").name


def test_another_pool_changes_everything() -> None:
    assert _changed(CONTENT, pool="q") == set(_places(_job()))


@pytest.mark.parametrize(
    "fetch", [{"resolve": {"*.demo.test": "127.0.0.1:8080"}}, {"concurrency": 7}]
)
def test_how_images_are_reached_changes_nothing(fetch: dict[str, Any]) -> None:
    assert _changed(CONTENT | {"fetch": fetch}) == set()


def test_where_a_run_and_its_input_lie_changes_no_fingerprint() -> None:
    here, there = _job(), _job(CONTENT | {"input": {"list": "/elsewhere/list.parquet"}}, "/other")
    assert here.fingerprint == there.fingerprint
    assert _below(here) == _below(there)


def _below(job: Job) -> list[Path]:
    """Where a job's results lie, seen from its RUN."""
    measures = [measure for step in job.steps for measure in step.measures]
    places = (job.decision, job.corpus("pairs"), *measures)
    return [place.relative_to(job.run) for place in places]


def test_a_job_that_was_saved_is_the_same_job(tmp_path: Path) -> None:
    content = CONTENT | {"fetch": {"resolve": {"a.test": "127.0.0.1:80"}, "timeout_s": 3}}
    job = _job(content)
    (tmp_path / "job.json").write_text(job.save())
    loaded = Job.load(tmp_path / "job.json")
    assert loaded == dataclasses.replace(job, run=tmp_path.resolve())  # wherever it was moved to
    assert loaded.decision.name == job.decision.name
    assert loaded.recipe.fetch.resolve == {"a.test": "127.0.0.1:80"}


def test_measures_come_in_the_order_of_the_rules_each_once() -> None:
    job = _job()
    assert job.measure_names() == ["language", "clip-b"]
    assert job.recipe.policy("clip-b") == job.recipe.clip["b"]
    assert job.steps[3].measures == job.steps[4].measures


def test_every_units_manifest_lies_below_the_run_and_is_counted_once() -> None:
    units = list(_job().unit_manifests())
    assert [u.stage for u in units] == [
        "fetch",
        "basic",
        "dedupe",
        "dedupe",
        "clip",
        "clip",
        "decide",
        "decide",
        "build",
        "build",
    ]
    places = [(u.folder, u.pattern) for u in units]
    assert len(set(places)) == len(places)
    assert all(u.folder.is_relative_to("/run") for u in units)
    assert [u.planned for u in units] == [3, 3, 1, 1, 3, 1, 3, 1, None, 1]
