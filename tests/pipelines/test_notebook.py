"""A run in a notebook: tables that agree with the ledger, pictures, and another threshold."""

import dataclasses
import json
from pathlib import Path

import pytest

from pipelines.job import Job
from pipelines.notebook import Run
from pipelines.recipe_file import make_recipe
from schemas.errors import BadInputError
from schemas.pair import make_uid
from transforms.decide.basic import CaptionRule
from transforms.decide.language import LanguageRule


@pytest.fixture
def run(done: Job) -> Run:
    record = {"input": {"sha256": "x"}, "fetch": done.recipe.fetch.identity()}
    done.layout.identity.write_text(json.dumps(record))
    return Run.open(done.run)


@pytest.fixture
def nested(run: Run) -> Run:
    """The run with a recipe that has one rule twice, once inside others. It was not decided."""
    rules = [
        {"caption": {}},
        {"any_of": [{"language": {"keep": ["en"]}}, {"not": {"caption": {"min_words": 10}}}]},
    ]
    content = run.job.recipe.model_dump(mode="json", exclude_none=True) | {"rules": rules}
    recipe = make_recipe(content, source=run.path / "nested.yaml")
    return Run(dataclasses.replace(run.job, recipe=recipe), run.decision)


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


def test_what_a_number_decided_comes_in_the_order_of_its_distance(run: Run) -> None:
    """Of each rule in turn: words and probabilities cannot be compared."""
    by_number = run.samples(order_by="border")
    assert by_number["reason"].tolist() == ["empty_caption", "other_language"]
    strict = run.with_rule("caption", min_words=12)
    border = strict.samples(order_by="border")
    assert border["rule"].unique().tolist() == ["rules.0.caption"]
    assert (border["limit"] - border["value"]).tolist() == [1, 1, 1, 3]
    assert strict.samples(order_by="border", reason="empty_caption")["row"].tolist() == [1]


def test_sides_are_those_of_the_image_as_fetched(run: Run) -> None:
    kept = run.samples(kept=True)
    assert kept["shorter_side_px"].tolist() == [32, 32, 32]
    assert kept["aspect"].tolist() == [1.5, 1.5, 1.5]


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
    assert run.drops_beyond(strict).empty
    lost = strict.drops_beyond(run)
    assert lost["row"].tolist() == [0, 5]
    assert lost["value"].tolist() == [11, 11]
    with pytest.raises(BadInputError, match="no rule 'clip_score'; it has: caption, language"):
        run.with_rule("clip_score", at_least=0.2)
    with pytest.raises(BadInputError, match="min_words"):
        run.with_rule("caption", min_words=0)


def test_a_rule_is_named_by_its_place_where_there_are_several(nested: Run) -> None:
    assert nested.rule("language") == LanguageRule(keep=("en",))
    inner = "rules.1.any_of.1.not.caption"
    assert nested.rule(inner) == CaptionRule(min_words=10)
    with pytest.raises(BadInputError, match=rf"say which: rules\.0\.caption, {inner}"):
        nested.with_rule("caption", min_words=2)
    looser, stricter = nested.with_rule(inner, min_words=10), nested.with_rule(inner, min_words=9)
    assert looser.samples(kept=True)["row"].tolist() == [0, 3, 4, 5]
    assert stricter.samples(kept=True)["row"].tolist() == [0, 3, 5]
    (added,) = stricter.drops_beyond(looser).to_dict("records")
    assert (added["row"], added["reason"], added["rule"]) == (4, "no_rule_keeps", "rules.1.any_of")


def test_another_decision_is_opened_by_its_name(run: Run) -> None:
    strict = run.with_rule("caption", min_words=12)
    name = strict.decision.name
    again = Run.open(run.path, decision=name[:6])
    assert again.decision == strict.decision
    assert again.rule("caption") == CaptionRule(min_words=12)
    assert again.samples(kept=True).equals(strict.samples(kept=True))
    assert again.with_rule("caption", min_words=1).decision == run.decision
    assert Run.open(run.path, decision=run.decision.name).job == run.job
    with pytest.raises(BadInputError, match=rf"no decision 'x'; there are: .*{name}"):
        Run.open(run.path, decision="x")
    with pytest.raises(BadInputError, match="Several decisions begin with ''; there are: "):
        Run.open(run.path, decision="")
    for recipe in (run.path / "recipes").iterdir():
        recipe.unlink()
    with pytest.raises(BadInputError, match=f"No recipe in .* made the decision {name}"):
        Run.open(run.path, decision=name)


def test_why_tells_the_outcome_of_this_decision(run: Run) -> None:
    (uid, _) = run.samples(kept=True, order_by="row").index[[0, 2]]
    (there,) = run.why(uid)
    assert there["outcome"] == "kept"
    assert list(there["corpora"]) == ["pairs"]
    (line,) = run.with_rule("caption", min_words=12).why(uid)
    told = {name: line[name] for name in ("outcome", "stage", "reason", "rule", "value", "limit")}
    assert told == {
        "outcome": "dropped",
        "stage": "basic",
        "reason": "short_caption",
        "rule": "rules.0.caption",
        "value": 11.0,
        "limit": 12.0,
    }
    assert line["corpora"] == {}
    assert json.loads(json.dumps(line["value"])) == 11


def test_why_is_asked_by_uid(run: Run) -> None:
    (uid,) = run.samples(reason="empty_caption").index
    assert uid == make_uid("http://pool.test/1.jpg", "")
    assert run.why(uid)[0]["reason"] == "empty_caption"


def test_what_has_no_decision_is_refused(begun: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="has no decision yet"):
        Run.open(begun.run)
    with pytest.raises(BadInputError, match="is no RUN folder"):
        Run.open(tmp_path / "nowhere")
