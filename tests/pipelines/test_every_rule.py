"""One run with every kind of measure and rule: the graph and `decide` agree on every byte."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from milling import pairmill, run, run_bytes, stamps
from PIL import Image
from safetensors.numpy import save_file

from pipelines.job import Job
from pipelines.look.instead import keeper_rows, pictures_of
from pipelines.steps import MeasureStep, RuleStep
from transforms.decide.selection import as_selection
from transforms.shards.uids import halves

pytestmark = pytest.mark.slow

OWN = """
def letters(caption, image):
    return {"letters": len(caption), "wide": image.width >= image.height}

def boxes(image):
    return [(0, 0, image.width / 2, image.height)]
"""
MEASURES = {
    "taste": {"head": {"file": "head.safetensors", "clip": "pocket"}},
    "things": {"concepts": {"list": "entries.txt", "ignore_case": True}},
    "mine": {"function": "own.py:letters"},
    "image": {"image": {"text_detector": "own.py:boxes"}},
}
RULES: list[dict[str, Any]] = [
    {"caption": {}},
    {"shorter_side": {"at_least_px": 64}},
    {"aspect": {"at_most": 3.0}},
    {"language": {"keep": ["en"], "at_least": 0.1}},
    {"any_of": [{"datacomp_basic": {}}, {"limit": {"value": "text.words", "at_least": 3}}]},
    {"not": {"limit": {"value": "text.phones", "at_least": 1}}},
    {"limit": {"value": "image.text_overlap", "at_least": 0.4}},
    {"limit": {"value": "mine.letters", "at_least": 10, "at_most": 200}},
    {"decontaminate": {"against": ["evaluation"], "within_bits": 2}},
    {"exact_duplicate": {}},
    {"exact_duplicate": {"of": "pixels", "keep": "resolution"}},
    {"near_duplicate": {"give_captions": True}},
    {"near_duplicate": {"hash": "pdq", "keep": "first"}},
    {"text_duplicate": {"of": "url_and_caption"}},
    {"semantic_duplicate": {"eps": 0.01, "give_captions": True}},
    {
        "all_of": [
            {"clip_score": {"top_fraction": 0.9, "by_language": {"de": 0.5}}},
            {"limit": {"value": "taste", "top_fraction": 0.9, "each_language": True}},
        ]
    },
    {"metaclip": {"concepts": "things", "t": 4, "by_language": True}},
    {"rare_phrases": {"min_captions": 1, "at_most": 2}},
    {"per_host": {"at_most": 9}},
    {"per_caption": {"at_most": 1}},
    {
        "any_of": [
            {"equal_languages": {"groups": [["en"], ["de", "fr", "cs"]]}},
            {"limit": {"value": "text.chars", "at_least": 50}},
        ]
    },
    {"sample": {"fraction": 0.9}},
]


@pytest.fixture(scope="module")
def folder(small_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small web's recipe with every measure, and what these measures read."""
    folder = tmp_path_factory.mktemp("every")
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(1, 256)).astype(np.float32)
    save_file({"weight": weight, "bias": np.zeros(1, np.float32)}, folder / "head.safetensors")
    (folder / "entries.txt").write_text("red\nblue\ncircle\na heart\nabove\nleft of\nstar\n")
    (folder / "own.py").write_text(OWN)
    (folder / "evaluation").mkdir()
    Image.new("RGB", (64, 64), "white").save(folder / "evaluation" / "white.png")
    content = yaml.safe_load(small_web.read_text())
    content["input"]["list"] = str(small_web.parent / content["input"]["list"])
    (folder / "base.yaml").write_text(yaml.safe_dump(content | {"measures": MEASURES}))
    return folder


def _recipe(folder: Path, name: str, rules: list[dict[str, Any]], **changes: Any) -> Path:
    content = yaml.safe_load((folder / "base.yaml").read_text())
    (folder / name).write_text(yaml.safe_dump(content | {"rules": rules} | changes))
    return folder / name


@pytest.fixture(scope="module")
def milled(folder: Path) -> tuple[Path, dict[str, Any]]:
    out = folder / "run"
    return out, run(_recipe(folder, "recipe.yaml", RULES), out)


def test_every_rule_and_kind_of_measure_is_in_the_recipe() -> None:
    joined = {name for rule in RULES for name in rule}
    inner = {name for r in RULES for v in r.values() for one in _list(v) for name in one}
    elsewhere = {"selection", "capfilt", "topk", "recaption"}  # the last three: test_capfilt.py
    assert set(RuleStep.model_fields) - {"not_"} - elsewhere <= joined | inner
    kinds = {kind for measure in MEASURES.values() for kind in measure}
    assert set(MeasureStep.model_fields) - kinds == {  # built in
        "language",
        "text",
        "phrases",
        "image_hash",
        "pdq",
        "caption_hash",
    }


def _list(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else [value]


def test_decide_agrees_with_the_graph_on_every_byte(
    folder: Path, milled: tuple[Path, dict[str, Any]]
) -> None:
    out, report = milled
    assert report["kept"] > 0
    again = folder / "again"
    shutil.copytree(out, again)
    for name in ("decisions", "outcomes", "corpora", "commits"):
        shutil.rmtree(again / name)
    done = pairmill("decide", again, folder / "recipe.yaml", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["unmeasured"] == 0
    ours, graphs = run_bytes(again), run_bytes(out)
    assert ours == {name: graphs[name] for name in ours}
    assert len(ours) == sum(name.startswith("decisions/") for name in graphs)


def test_every_drop_names_its_rule_and_numbers_what_it_compared(
    milled: tuple[Path, dict[str, Any]],
) -> None:
    out, report = milled
    ledgers = [pq.read_table(path) for path in out.glob("decisions/*/ledger/?????.parquet")]
    lines = [line for ledger in ledgers for line in ledger.to_pylist()]
    dropped = [line for line in lines if not line["kept"]]
    assert len(lines) - len(dropped) == report["kept"]
    assert all(line["detail"] for line in dropped)
    by_rule = [line for line in dropped if line["stage"] not in ("read", "fetch")]
    assert by_rule
    for line in by_rule:
        place, name = line["rule"].split(".")[1:]
        assert name in RULES[int(place)]
    without = {"no_concept", "no_rule_keeps", "rule_keeps", "other_language"}
    without |= {"exact_duplicate", "text_duplicate"}
    numbered = [line for line in by_rule if line["reason"] not in without]
    assert len({line["reason"] for line in numbered}) > 5
    assert all(None not in (line["value"], line["limit"]) for line in numbered)
    low = [line for line in numbered if line["reason"] == "low_clip_score"]
    assert low
    assert all(line["value"] < line["limit"] for line in low)


def test_a_selection_made_elsewhere_decides(
    folder: Path, milled: tuple[Path, dict[str, Any]]
) -> None:
    out, _ = milled
    (ledgers,) = {path.parent for path in out.glob("decisions/*/ledger/?????.parquet")}
    uids = [
        uid for path in sorted(ledgers.glob("?????.parquet")) for uid in pq.read_table(path)["uid"]
    ]
    chosen = sorted({str(uid) for uid in uids})[:30]
    np.save(folder / "chosen.npy", as_selection(*halves(pa.array(chosen))))
    (folder / "chosen.csv").write_text("uid,why\n" + "".join(f"{uid},x\n" for uid in chosen))
    kept = []
    for name in ("chosen.npy", "chosen.csv"):
        done = pairmill("decide", out, folder / name, "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        kept.append(np.load(Path(told["decision"]) / "selection.npy").tolist())
        assert set(told["dropped"]) == {"read", "fetch", "select"}
    assert kept[0] == kept[1]
    assert 0 < len(kept[0]) <= 30


def test_a_new_head_is_measured_without_embedding_again(
    folder: Path, milled: tuple[Path, dict[str, Any]]
) -> None:
    out = folder / "heads"
    shutil.copytree(milled[0], out)
    weight = np.ones((1, 256), np.float32)
    save_file({"weight": weight}, folder / "other.safetensors")
    measures = MEASURES | {"other": {"head": {"file": "other.safetensors", "clip": "pocket"}}}
    rules = [*RULES[:16], {"limit": {"value": "other", "at_least": 0.0}}]
    recipe = _recipe(folder, "heads.yaml", rules, measures=measures)
    done = pairmill("decide", out, recipe, "--json")
    waiting = json.loads(done.stdout.splitlines()[-1])["unmeasured"]
    assert waiting > 0
    before = stamps(out / "measures")
    report = run(recipe, out)
    after = stamps(out / "measures")
    assert before.items() <= after.items()
    parts = {name.split("/")[0] for name in after.keys() - before.keys()}
    assert parts == {"other", "dialogues-dialogues"}  # of the images that are kept now
    assert report["kept"] > 0
    done = pairmill("decide", out, recipe, "--json")
    assert json.loads(done.stdout.splitlines()[-1])["unmeasured"] == 0


def test_what_is_kept_instead_of_a_duplicate_can_be_looked_at(
    milled: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = milled
    ledgers = [pq.read_table(path) for path in out.glob("decisions/*/ledger/?????.parquet")]
    lines = [line for ledger in ledgers for line in ledger.to_pylist()]
    named = {
        line["row"]: int(found[1])
        for line in lines
        if (line["reason"] or "").endswith("_duplicate")
        and (found := re.search(r"row (\d+), ", line["detail"]))
    }
    assert named
    job = Job.open(out)
    assert keeper_rows(job, lines) == named
    pictures = pictures_of(job, set(named.values()))
    assert pictures.keys() == set(named.values())
