"""CapFilt in the one graph, with tiny models: candidates are made once, decisions follow."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import webdataset as wds
from milling import pairmill, run, run_bytes, stamps

from tests.pipelines.tiny_capfilt import (
    CAPFILT,
    CLIP,
    MODELS,
    SCREEN,
    recipe_from,
    save_base,
)

pytestmark = pytest.mark.slow
TOPK = {"topk": {"captioner": "tiny"}}
RECAPTION = {"recaption": {**MODELS, "at_least": 0.6}}


@pytest.fixture(scope="module")
def folder(small_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capfilt")
    save_base(folder, small_web, candidates=3)
    return folder


def _recipe(folder: Path, name: str, choose: dict[str, Any], **changes: Any) -> Path:
    rules = [*SCREEN, CLIP, choose]
    return recipe_from(folder, folder / f"{name}.yaml", rules=rules, **changes)


@pytest.fixture(scope="module")
def milled(folder: Path) -> tuple[Path, dict[str, Any]]:
    out = folder / "run"
    return out, run(_recipe(folder, "capfilt", CAPFILT), out)


def _samples(report: dict[str, Any]) -> list[dict[str, Any]]:
    tars = sorted(str(path) for path in Path(report["corpora"]["pairs"]).glob("*.tar"))
    samples = wds.WebDataset(tars, shardshuffle=False, empty_check=False)
    return [json.loads(sample["json"]) for sample in samples]


def _measured(out: Path, name: str) -> dict[str, dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted(out.glob(f"measures/{name}/*/*.parquet"))]
    return {line["uid"]: line for table in tables for line in table.to_pylist()}


def test_every_candidate_is_a_measure_with_what_made_it(milled: tuple[Path, Any]) -> None:
    out, _ = milled
    candidates = _measured(out, "captions-tiny")
    assert len(candidates) > 20
    for line in candidates.values():
        assert len(line["texts"]) == len({*line["seeds"]}) == 3
        assert line["error"] is None
        assert line["digest"]
        assert json.loads(line["decoding"])["top_p"] == 0.9
    for name in ("itm-tiny+tiny", "clip-pocket+tiny"):
        scores = _measured(out, name)
        assert scores.keys() == candidates.keys()
        assert all(len(line["synthetic"]) == 3 for line in scores.values())
    web = {uid: line["score"] for uid, line in _measured(out, "clip-pocket").items()}
    again = _measured(out, "clip-pocket+tiny")
    assert all(line["score"] == pytest.approx(web[uid], abs=2e-3) for uid, line in again.items())


def test_the_corpus_holds_what_the_rule_chose_best_first(milled: tuple[Path, Any]) -> None:
    out, report = milled
    matches = _measured(out, "itm-tiny+tiny")
    candidates = _measured(out, "captions-tiny")
    samples = _samples(report)
    assert len(samples) == report["images"] > 5
    sources = set()
    for sample in samples:
        captions = sample["captions"]
        assert sample["caption"] == captions[0]["text"]
        assert [one["itm"] for one in captions] == sorted(
            (c["itm"] for c in captions), reverse=True
        )
        for one in captions:
            sources.add(one["source"])
            scores = matches[one["uid"]]
            number = one.get("candidate", 0)
            wanted = scores["synthetic"][number - 1] if number else scores["score"]
            assert one["itm"] == pytest.approx(wanted, abs=1e-6)
            assert one["itm"] >= 0.5
            if number:
                assert one["source"] == "captions-tiny"
                assert candidates[one["uid"]]["texts"][number - 1].strip()
    assert sources == {"web", "captions-tiny"}


@pytest.mark.parametrize("choose", [CAPFILT, TOPK, RECAPTION], ids=lambda rule: next(iter(rule)))
def test_decide_agrees_with_the_graph_on_every_byte(
    folder: Path, milled: tuple[Path, Any], choose: dict[str, Any]
) -> None:
    name = next(iter(choose))
    recipe, out, again = _recipe(folder, name, choose), folder / name, folder / f"{name}-again"
    shutil.copytree(milled[0], out)
    before = stamps(out / "measures")
    report = run(recipe, out)
    after = stamps(out / "measures")
    assert before.items() <= after.items()
    new = {name.split("/")[0] for name in after.keys() - before.keys()}
    assert new <= {"dialogues-dialogues"}  # nothing is captioned or scored again
    assert report["kept"] > 0
    shutil.copytree(out, again)
    for part in ("decisions", "outcomes", "corpora", "commits"):
        shutil.rmtree(again / part, ignore_errors=True)
    done = pairmill("decide", again, recipe, "--json")
    assert done.returncode == 0, done.stderr
    ours, graphs = run_bytes(again), run_bytes(out)
    assert any(name.startswith("decisions/") for name in ours)
    assert ours == {name: graphs[name] for name in ours}
    if name == "topk":
        ranks = [[one["rank"] for one in sample["captions"]] for sample in _samples(report)]
        assert all(own == list(range(1, len(own) + 1)) and len(own) <= 2 for own in ranks)


def test_a_captioner_is_not_judged_by_its_own_weights(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder / "captioner", copy)
    recipe = _recipe(folder, "same", CAPFILT, itm={"tiny": {"model": str(copy)}})
    done = pairmill("run", recipe, "--out", tmp_path / "run")
    assert done.returncode != 0
    assert "captioner tiny and filter tiny have the same weights" in done.stderr
    assert not (tmp_path / "run" / "pool").exists()
