"""The whole mill, as its users run it: the command, real HTTP on loopback, real processes."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import webdataset as wds
import yaml
from milling import PAIRMILL, ROWS, pairmill, run, run_bytes, run_killed, stamps

from pipelines.demo.run import read_ledger
from pipelines.job import Job
from schemas.layout import Layout
from schemas.report import RunReport


def _job(out: Path) -> Job:
    return Job.load(Layout(out).job)


def test_every_count_of_the_demo_reconciles(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    out, report = undisturbed
    RunReport.model_validate(report)  # refuses what its schema does not name
    ledger = read_ledger(out)
    assert ledger["row"].tolist() == list(range(ROWS))
    assert len(pq.read_table(out / "web" / "list.parquet")) == ROWS == report["input_rows"]
    dropped = ledger[~ledger["kept"]]
    assert report["kept"] == int(ledger["kept"].sum()) == ROWS - len(dropped)
    counted = Counter(zip(dropped["stage"], dropped["reason"], strict=True))
    told = {(s, r): n for s, reasons in report["dropped"].items() for r, n in reasons.items()}
    assert told == counted
    assert dropped["detail"].notna().all()
    assert dropped["reason"].notna().all()
    pool = [pq.read_table(p) for p in sorted((out / "pool").glob("*.parquet"))]
    assert sum(p.num_rows for p in pool) == ROWS
    assert json.loads((_job(out).decision / "funnel.json").read_text())["kept"] == report["kept"]


def test_the_corpus_holds_exactly_the_kept_rows(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    out, report = undisturbed
    ledger = read_ledger(out)
    kept = set(ledger.loc[ledger["kept"], "uid"])
    tars = sorted(map(str, Path(report["corpora"]["pairs"]).glob("*.tar")))
    samples = list(wds.WebDataset(tars, shardshuffle=False, empty_check=False))
    captions = [c for sample in samples for c in json.loads(sample["json"])["captions"]]
    assert {c["uid"] for c in captions} == kept
    texts = [(c["uid"], c.get("candidate", 0)) for c in captions]
    assert len({*texts}) == len(texts) == sum(report["captions"].values())
    assert sum(number > 0 for _, number in texts) == report["captions"]["synthetic"] > 0
    assert len(samples) == report["images"]
    selected = np.load(_job(out).decision / "selection.npy").tolist()
    assert sorted(f"{high:016x}{low:016x}" for high, low in selected) == sorted(kept)


@pytest.mark.slow
def test_training_reads_the_corpus_and_its_loss_falls(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """A few steps of the pocket CLIP's training command on the very shards of the demo."""
    _, report = undisturbed
    words = ["train", "--shards", report["corpora"]["pairs"], "--no-teacher", "--json"]
    words += ["--out", str(tmp_path / "clip"), "--cache", str(tmp_path / "cache")]
    words += ["--steps", "14", "--views", "2", "--photos", "16", "--scenes", "16"]
    words += ["--drawn", "48", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.pocket", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trained = json.loads(done.stdout.splitlines()[-1])
    assert trained["photos"] == report["images"]
    losses = trained["losses"]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_the_demo_catches_what_it_planted(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    _, report = undisturbed
    planted = report["planted"]
    let_through = {"wrong_caption", "reencoded_copy", "other_language"}
    assert {k for k, n in planted.items() if n["caught"] < n["planted"]} <= let_through
    language = planted["other_language"]
    assert language["caught"] >= language["planted"] - 1
    wrong = planted["wrong_caption"]
    assert wrong["caught"] >= 0.75 * wrong["planted"]
    assert report["good"]["lost"] <= 0.15 * report["good"]["rows"]


def test_verify_finds_no_fault_and_then_a_flipped_byte(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, report = undisturbed
    corpus = Path(report["corpora"]["pairs"])
    assert pairmill("verify", corpus).returncode == 0
    copy = tmp_path / "corpus"
    copy.mkdir()
    for path in corpus.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    tar = next(copy.glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)
    done = pairmill("verify", copy)
    assert done.returncode == 3
    assert tar.name in done.stdout
    assert "is not what its manifest says: " in done.stderr


def test_why_tells_a_dropped_and_a_kept_row(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    out, _ = undisturbed
    ledger = read_ledger(out)
    for kept, line in ((True, "kept"), (False, "dropped at")):
        uid = ledger.loc[ledger["kept"] == kept, "uid"].iloc[0]
        done = pairmill("why", out, uid)
        assert done.returncode == 0
        assert line in done.stdout
    assert pairmill("why", out, "http://no.such/url").returncode == 2


def test_an_edited_threshold_redoes_only_what_depends_on_it(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, report = _copied(undisturbed, tmp_path)
    before = {n: stamps(out / n) for n in ("rows", "pool", "measures", "outcomes", "corpora")}
    recipe = _edited_recipe(out, clip_at_least=-1.0)
    done = pairmill("run", recipe, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    relaxed = json.loads(done.stdout.splitlines()[-1])
    assert relaxed["kept"] > report["kept"]
    assert relaxed["dropped"]["fetch"] == report["dropped"]["fetch"]
    after = {n: stamps(out / n) for n in before}
    for name in ("rows", "pool", "outcomes"):
        assert after[name] == before[name], name
    assert before["measures"].items() <= after["measures"].items()  # newcomers are captioned
    new = {name.split("/")[0] for name in after["measures"].keys() - before["measures"].keys()}
    scored = {"captions-pocket", "itm-pocket+pocket", "clip-pocket+pocket"}
    assert new == scored | {"dialogues-dialogues"}
    assert before["corpora"].items() <= after["corpora"].items()
    assert len(after["corpora"]) > len(before["corpora"])


def test_a_looser_rule_before_a_measure_measures_only_the_newcomers(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = _copied(undisturbed, tmp_path)
    recipe = _edited_recipe(out, shorter_side_px=1)
    before = stamps(out / "measures")
    done = pairmill("run", recipe, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    after = stamps(out / "measures")
    assert before.items() <= after.items()
    new = set(after) - set(before)
    assert new
    assert not {Path(name).with_suffix("") for name in new} & {
        Path(name).with_suffix("") for name in before
    }
    of_clip = [Path(name) for name in after if name.startswith("clip-pocket/")]
    parts = [name for name in of_clip if name.suffix == ".parquet"]
    uids = Counter(u for p in parts for u in pq.read_table(out / "measures" / p)["uid"].to_pylist())
    assert max(uids.values()) == 1


@pytest.mark.slow
def test_a_folder_of_img2dataset_is_a_pool(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Without the columns that only Pairmill writes, the pool gives the same images.

    Its rows are numbered in the pool's order, where rows of one URL stand together.
    """
    out, report = undisturbed
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for path in (out / "pool").iterdir():
        if path.suffix == ".parquet":
            ours = ["row", "uid", "image", "repeated", "failure"]
            pq.write_table(pq.read_table(path).drop_columns(ours), foreign / path.name)
        elif not path.name.startswith("."):
            (foreign / path.name).write_bytes(path.read_bytes())
    content = yaml.safe_load((out / "web" / "recipe.yaml").read_text())
    content["input"], _ = {"pool": str(foreign)}, content.pop("fetch")
    recipe = tmp_path / "adopt.yaml"
    recipe.write_text(yaml.safe_dump(content))
    done = pairmill("run", recipe, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    adopted = json.loads(done.stdout.splitlines()[-1])
    for name in ("input_rows", "kept", "images"):
        assert adopted[name] == report[name]
    assert _pictures(adopted) == _pictures(report)


def _pictures(report: dict[str, Any]) -> list[str]:
    """sha256 of each image as it was fetched, sorted, from the samples of the corpus."""
    tars = sorted(map(str, Path(report["corpora"]["pairs"]).glob("*.tar")))
    samples = wds.WebDataset(tars, shardshuffle=False, empty_check=False)
    return sorted(json.loads(sample["json"])["sha256"] for sample in samples)


def _copied(run: tuple[Path, dict[str, Any]], folder: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of a run, for a test that changes it."""
    return shutil.copytree(run[0], folder / "copy"), run[1]


def _edited_recipe(
    out: Path, *, clip_at_least: float | None = None, shorter_side_px: int | None = None
) -> Path:
    """The demo's recipe with a limit changed, beside the list that it names."""
    content = yaml.safe_load((out / "web" / "recipe.yaml").read_text())
    for step in content["rules"]:
        if "clip_score" in step and clip_at_least is not None:
            step["clip_score"]["at_least"] = clip_at_least
        if "shorter_side" in step and shorter_side_px is not None:
            step["shorter_side"]["at_least_px"] = shorter_side_px
    path = out / "web" / "edited.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def milled(
    small_web: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A run of the small web that nothing disturbed, and its report: many small units."""
    out = tmp_path_factory.mktemp("milled") / "run"
    return out, run(small_web, out)


def test_a_row_that_comes_again_is_told_once(milled: tuple[Path, dict[str, Any]]) -> None:
    out, report = milled
    assert report["dropped"]["read"] == {"repeated_row": 2}
    assert (
        report["input_rows"]
        == 82
        == report["kept"]
        + sum(rows for reasons in report["dropped"].values() for rows in reasons.values())
    )
    assert len(list((out / "pool").glob("*.tar"))) > 3
    assert len(list(Path(report["corpora"]["pairs"]).glob("*.tar"))) > 2


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_byte_identical(
    small_web: Path, milled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Killed -9 again and again, each time some moments after a further unit was committed."""
    whole, report = milled
    out = tmp_path / "run"
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    records: dict[str, int] = {}
    for kill in range(4):
        enough = len(records) + rng.randrange(6)
        hit = run_killed(
            small_web,
            out,
            when=lambda n=enough: len(_records(out)) >= n,
            later_s=rng.uniform(0, 1.5),
            alone=kill % 2 == 0,
        )
        assert hit or kill > 1, f"the run had ended before kill {kill} (seed {seed})"
        now = _records(out)
        assert records.items() <= now.items(), f"a commit was undone or redone (seed {seed})"
        records = now
    resumed = run(small_web, out)
    assert records.items() <= _records(out).items(), f"a commit was redone (seed {seed})"
    assert run_bytes(out) == run_bytes(whole), f"seed {seed}"
    told = ("input_rows", "kept", "images", "dropped")
    assert {n: resumed[n] for n in told} == {n: report[n] for n in told}


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    small_web: Path, milled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [*PAIRMILL, "run", str(small_web), "--out", str(out)]
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not _records(out):
        assert process.poll() is None
        time.sleep(0.05)
    others = process.children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "pairmill: stopped; the same command goes on from here." in told
    assert "Traceback" not in told
    assert others
    assert psutil.wait_procs(others, timeout=10)[1] == []
    run(small_web, out)
    assert run_bytes(out) == run_bytes(milled[0])


def test_a_top_fraction_is_settled_over_all_shards(
    small_web: Path, milled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """DataComp's formula, recounted from the measures: the n-th best score and all above it."""
    out = shutil.copytree(milled[0], tmp_path / "run")
    content = yaml.safe_load(small_web.read_text())
    content["rules"][-2:] = [{"clip_score": {"top_fraction": 0.3}}]  # and no CapFilt
    recipe = small_web.with_name("top.yaml")
    recipe.write_text(yaml.safe_dump(content))
    pool, report = stamps(out / "pool"), run(recipe, out)
    assert stamps(out / "pool") == pool
    folder = next((out / "measures" / "clip-pocket").iterdir())
    parts = [pq.read_table(path) for path in folder.glob("*.parquet")]
    measured = {line["uid"]: line["score"] for part in parts for line in part.to_pylist()}
    ledger = [
        line
        for path in _job(out).decision.glob("ledger/*.parquet")
        for line in pq.read_table(path).to_pylist()
    ]
    came = [line["uid"] for line in ledger if line["kept"] or line["stage"] == "clip"]
    assert len(came) < len(measured)  # duplicates are scored too
    scores = sorted((measured[uid] for uid in came), reverse=True)
    limit = scores[int(len(scores) * 0.3)]
    assert report["kept"] == sum(score >= limit for score in scores)
    assert report["dropped"]["clip"] == {"low_clip_score": len(scores) - report["kept"]}


def test_what_fails_after_something_was_committed_can_be_resumed(
    small_web: Path, milled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """A model that cannot be loaded is bad input of a new run; a finished one stays as it is."""
    out = shutil.copytree(milled[0], tmp_path / "run")
    content = yaml.safe_load(small_web.read_text())
    content["clip"] = {"b": {"architecture": "ViT-B-32", "pretrained": "none.pt"}}
    content["rules"][-2:] = [{"clip_score": {"model": "b", "at_least": 0.2}}]  # and no CapFilt
    recipe = small_web.with_name("broken.yaml")
    recipe.write_text(yaml.safe_dump(content))
    before = stamps(out / "corpora")
    done = pairmill("run", recipe, "--out", out)
    assert done.returncode == 1
    assert "none.pt" in done.stderr
    assert stamps(out / "corpora") == before
    fresh = pairmill("run", recipe, "--out", tmp_path / "fresh")
    assert fresh.returncode == 2
    assert not (tmp_path / "fresh" / "pool").exists()


RECORDS = (
    "pool/*_stats.json",
    "measures/*/*/*.json",
    "outcomes/*/*/outcome.json",
    "decisions/*/ledger/*.json",
    "decisions/*/decision.json",
    "commits/*/*/*.json",
    "corpora/*/*/manifest.json",
)


def _records(out: Path) -> dict[str, int]:
    """Commit records with the time at which each was written, in ns."""
    found = [path for pattern in RECORDS for path in out.glob(pattern)]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in found}


ENGINES = {
    "in_memory": ["--direct_running_mode=in_memory", "--direct_num_workers=1"],
    "two workers": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    "one worker": ["--direct_running_mode=multi_processing", "--direct_num_workers=1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_give_the_same_bytes(
    engine: str, small_web: Path, milled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run(small_web, tmp_path / "run", "--", *ENGINES[engine])
    assert run_bytes(tmp_path / "run") == run_bytes(milled[0]) != {}


@pytest.mark.slow
@pytest.mark.engine
def test_a_portable_runner_gives_the_same_bytes(
    small_web: Path, milled: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    from pipelines.engines.portable import portable_engine

    with portable_engine() as flags:
        run(small_web, tmp_path / "run", "--", *flags)
    assert run_bytes(tmp_path / "run") == run_bytes(milled[0])
