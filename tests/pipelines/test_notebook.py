"""A run in a notebook: tables that agree with the ledger, pictures, and another threshold."""

import json
from pathlib import Path

import pytest

from pipelines.job import Job
from pipelines.notebook import Run
from schemas.errors import BadInputError
from schemas.pair import make_uid


@pytest.fixture
def run(done: Job) -> Run:
    record = {"input": {"sha256": "x"}, "fetch": done.recipe.fetch.identity()}
    done.layout.identity.write_text(json.dumps(record))
    return Run.open(done.run)


def test_the_funnel_adds_up(run: Run) -> None:
    funnel = run.funnel()
    assert funnel["rows"].iloc[:-1].sum() == funnel["rows"].iloc[-1] == 3
    assert funnel[funnel["stage"] == "basic"]["reason"].tolist() == [
        "empty_caption",
        "other_language",
    ]


def test_every_row_is_a_sample_with_its_outcome_and_measures(run: Run) -> None:
    samples = run.samples()
    assert samples["row"].tolist() == list(range(6))
    assert samples["kept"].tolist() == [True, False, False, True, False, True]
    assert samples["language"].tolist()[:1] + samples["language"].tolist()[3:] == [
        "en",
        "en",
        "fr",
        "en",
    ]
    assert samples["language"].isna().tolist() == [False, True, True, False, False, False]


def test_samples_are_chosen_by_how_they_ended(run: Run) -> None:
    assert run.samples(stage="fetch")["reason"].tolist() == ["not_found"]
    assert run.samples(reason="other_language")["row"].tolist() == [4]
    assert run.samples(kept=True, order_by="shard")["shard"].tolist() == [0, 0, 1]
    with pytest.raises(BadInputError, match=r"no column 'clip'; there are: .*language"):
        run.samples(order_by="clip")
    with pytest.raises(BadInputError, match="no stage 'clp'; there are: read, fetch"):
        run.samples(stage="clp")


def test_those_nearest_a_limit_come_first(run: Run) -> None:
    near = run.samples(near=("original_width", 40.0), kept=True)
    assert len(near) == 3
    assert (near["original_width"] - 40).abs().is_monotonic_increasing


def test_a_picture_is_the_pools(run: Run) -> None:
    kept = run.samples(kept=True)
    assert run.image(kept.index[0]).size == (24, 16)
    (lost,) = run.samples(stage="fetch").index
    with pytest.raises(KeyError, match="was not fetched"):
        run.image(lost)
    with pytest.raises(KeyError, match=r"no row of .* has the uid"):
        run.image("no such uid")


def test_another_limit_is_looked_at_without_changing_the_run(run: Run) -> None:
    strict = run.with_rule("caption", min_words=12)
    assert strict.samples(kept=True)["row"].tolist() == [3]
    assert strict.samples(reason="short_caption")["row"].tolist() == [0, 4, 5]
    assert run.samples(kept=True)["row"].tolist() == [0, 3, 5]
    assert Run.open(run.path).decision == run.decision
    with pytest.raises(BadInputError, match="no rule 'clip_score'; it has: caption, language"):
        run.with_rule("clip_score", at_least=0.2)
    with pytest.raises(BadInputError, match="min_words"):
        run.with_rule("caption", min_words=0)


def test_why_is_asked_by_uid(run: Run) -> None:
    (uid,) = run.samples(reason="empty_caption").index
    assert uid == make_uid("http://pool.test/1.jpg", "")
    assert run.why(uid)[0]["reason"] == "empty_caption"


def test_what_has_no_decision_is_refused(begun: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="has no decision yet"):
        Run.open(begun.run)
    with pytest.raises(BadInputError, match="is no RUN folder"):
        Run.open(tmp_path / "nowhere")
