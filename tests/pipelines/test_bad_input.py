"""Bad input: one clear sentence, a non-zero exit, no traceback, and nothing finished is lost."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from milling import PAIRMILL, corpus_bytes, demo, pairmill, stamps, told

GOOD = {"url": ["http://a.test/1.jpg"], "caption": ["a dog"]}


def _recipe(folder: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "input": {"list": "list.parquet"},
        "rules": [{"clip_score": {"at_least": 0.1}}],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def _list(folder: Path, **columns: list[str]) -> None:
    pq.write_table(pa.table(columns or GOOD), folder / "list.parquet")


def _refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    assert done.returncode == code, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("pairmill: ")]
    assert len(told) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in told[0]


def _no_list(folder: Path) -> Path:
    return _recipe(folder)


def _unreadable_list(folder: Path) -> Path:
    (folder / "list.parquet").write_bytes(b"PAR1 this is not parquet")
    return _recipe(folder)


def _no_column(folder: Path) -> Path:
    _list(folder, link=["http://a.test/1.jpg"], caption=["a dog"])
    return _recipe(folder)


def _no_rows(folder: Path) -> Path:
    pq.write_table(pa.table(GOOD).slice(0, 0), folder / "list.parquet")
    return _recipe(folder)


def _unknown_key(folder: Path) -> Path:
    _list(folder)
    return _recipe(folder, fetch={"time_out_s": 3})


def _wrong_type(folder: Path) -> Path:
    _list(folder)
    return _recipe(folder, fetch={"retries": "many"})


def _impossible_value(folder: Path) -> Path:
    _list(folder)
    return _recipe(folder, rules=[{"aspect": {"at_most": 0.5}}])


def _not_yaml(folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text("input: {list: [")
    return path


def _no_weights(folder: Path) -> Path:
    _list(folder)
    return _recipe(
        folder, clip={"b": {"architecture": "ViT-B-32"}}, rules=[{"clip_score": _limit("b")}]
    )


def _wrong_shape(folder: Path) -> Path:
    """A checkpoint whose tensors are not of the architecture's shapes."""
    import torch

    _list(folder)
    torch.save({"visual.proj": torch.zeros(3, 3)}, folder / "wrong.pt")
    clip = {"b": {"architecture": "ViT-B-32", "pretrained": "wrong.pt"}}
    return _recipe(folder, clip=clip, rules=[{"clip_score": _limit("b")}])


def _limit(model: str) -> dict[str, Any]:
    return {"model": model, "at_least": 0.1}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_no_list, ("list.parquet", "does not exist")),
        (_unreadable_list, ("list.parquet", "cannot be read")),
        (_no_column, ("'url'", "link")),
        (_no_rows, ("no rows",)),
        (_unknown_key, ("fetch.time_out_s", "timeout_s")),
        (_wrong_type, ("fetch.retries", "integer")),
        (_impossible_value, ("rules.0.aspect.at_most",)),
        (_not_yaml, ("not YAML",)),
        (_no_weights, ("ViT-B-32", "pretrained")),
        (_wrong_shape, ("wrong.pt", "shape")),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    make: Callable[[Path], Path], words: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    by_driver = make in (_no_weights, _wrong_shape)  # when RUN is there
    _refused((pairmill if by_driver else told)("run", make(tmp_path), "--out", out), *words)
    assert not (out / "pool").exists()
    assert by_driver or not out.exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    demo(out, rows=60)
    return out


def test_another_list_or_other_fetch_settings_are_refused(finished: Path, tmp_path: Path) -> None:
    before = stamps(finished / "pool")
    _list(tmp_path)
    _refused(pairmill("run", _recipe(tmp_path), "--out", finished), "another input list")
    content = yaml.safe_load((finished / "web" / "recipe.yaml").read_text())
    content["fetch"]["image_size_px"] = 64
    recipe = finished / "web" / "smaller.yaml"
    recipe.write_text(yaml.safe_dump(content))
    _refused(pairmill("run", recipe, "--out", finished), "fetch settings", "image_size_px")
    assert stamps(finished / "pool") == before


@pytest.mark.slow
def test_a_corrupt_pool_shard_is_named(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    whole = corpus_bytes(demo(out, rows=60))
    shutil.rmtree(out / "corpora")
    tar = next((out / "pool").glob("*.tar"))
    os.truncate(tar, tar.stat().st_size // 2)
    done = pairmill("run", out / "web" / "recipe.yaml", "--out", out)
    _refused(done, tar.name, "delete the files", "run again", code=1)
    for path in (out / "pool").glob(f"{tar.stem}*"):  # as the sentence says
        path.unlink()
    assert corpus_bytes(demo(out, rows=60)) == whole


@pytest.mark.slow
def test_a_full_disk_is_told_and_nothing_finished_is_lost(finished: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: every larger write fails."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "corpora")
    pool = stamps(out / "pool")
    words = ["run", str(out / "web" / "recipe.yaml"), "--out", str(out)]
    done = subprocess.run(
        [*PAIRMILL, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14)),
    )
    _refused(done, "annot write", code=1)
    assert stamps(out / "pool") == pool
    done = pairmill(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["images"] > 0


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    _list(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    done = pairmill("run", _recipe(tmp_path), "--out", tmp_path / "file" / "run")
    _refused(done, "is no folder")
