"""CapFilt in the one graph when things go wrong: failing servers, kill -9, bad recipes."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from loopback import listen
from milling import pairmill, run, run_bytes, run_killed, told

from tests.pipelines.tiny_capfilt import CAPFILT, CLIP, MODELS, SCREEN, recipe_from, save_base
from tests.transforms.capfilt.blip_models import save_captioner

ONE_WORKER = ("--", "--direct_running_mode=multi_processing", "--direct_num_workers=1")
TWO_WORKERS = ("--", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
LARGE_UNITS = 60  # images: more than the failures in a row that end a run


class _Server:
    """Captions by seed alone, or fails; counts what it was asked."""

    def __init__(self) -> None:
        self.well, self.asked, self.pause_s, self.url = True, 0, 0.0, ""

    def reset(self, *, well: bool = True, pause_s: float = 0.0) -> None:
        self.well, self.asked, self.pause_s = well, 0, pause_s


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    told, lock = _Server(), threading.Lock()

    class _Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                told.asked += 1
            time.sleep(told.pause_s)
            message = {"role": "assistant", "content": f"a picture of kind {asked['seed'] % 97}"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            said = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
            well = told.well
            body = {**said, "choices": [choice]} if well else {"error": {"message": "on fire"}}
            data = json.dumps(body).encode()
            try:
                self.send_response(200 if well else 500)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                return  # who asked was killed

        def log_message(self, format: str, *args: Any) -> None: ...

    with listen(_Handler) as told.url:
        yield told


@pytest.fixture(scope="module")
def folder(small_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    save_base(folder, small_web, candidates=2)
    return folder


def _by_server(folder: Path, to: Path, url: str, images_per_shard: int) -> Path:
    """Captioned behind a server, judged by the tiny filter."""
    settings = {"backend": "endpoint", "model": "m", "url": url, "retries": 0, "batch_size": 8}
    given = yaml.safe_load((folder / "base.yaml").read_text())["input"]
    return recipe_from(
        folder,
        to,
        captioners={"tiny": settings},
        input={**given, "images_per_shard": images_per_shard},
    )


def _parts(out: Path, name: str) -> list[Path]:
    return sorted(out.glob(f"measures/{name}/*/*.json"))


def _captioned(out: Path) -> list[dict[str, Any]]:
    tables = [
        pq.read_table(path) for path in sorted(out.glob("measures/captions-tiny/*/*.parquet"))
    ]
    return [line for table in tables for line in table.to_pylist()]


def _one_sentence(done: subprocess.CompletedProcess[str], *words: str, code: int) -> None:
    assert done.returncode == code, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("pairmill: ")]
    assert len(told) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in told[0]


@pytest.mark.slow
def test_a_failing_server_ends_the_run_and_the_same_command_goes_on(
    folder: Path, server: _Server, tmp_path: Path
) -> None:
    recipe = _by_server(folder, folder / "server.yaml", server.url, LARGE_UNITS)
    out = tmp_path / "run"
    server.reset(well=False)
    done = pairmill("run", recipe, "--out", out, *ONE_WORKER)
    _one_sentence(done, "model m failed at 20 pictures in a row", "500", "on fire", code=1)
    assert server.asked >= 20
    assert _parts(out, "captions-tiny") == []
    assert not list(out.glob("measures/captions-tiny/*/*.parquet"))
    fetched = {path.name for path in out.glob("pool/*_stats.json")}
    assert fetched
    server.reset()
    report = run(recipe, out, *ONE_WORKER)
    assert {line["error"] for line in _captioned(out)} == {None}
    assert fetched <= {path.name for path in out.glob("pool/*_stats.json")}
    assert report["kept"] > 0
    whole = tmp_path / "whole"
    run(recipe, whole, *ONE_WORKER)
    assert run_bytes(out) == run_bytes(whole) != {}


@pytest.mark.slow
def test_a_unit_at_which_the_server_failed_throughout_is_not_finished(
    folder: Path, server: _Server, tmp_path: Path
) -> None:
    """Units of fewer images than failures that end a run: their failures are the server's too."""
    recipe = _by_server(folder, folder / "small-units.yaml", server.url, 16)
    out = tmp_path / "run"
    server.reset(well=False)
    done = pairmill("run", recipe, "--out", out, *ONE_WORKER)
    _one_sentence(done, "model m failed at", "pictures", "500", "on fire", code=1)
    assert _parts(out, "captions-tiny") == []
    server.reset()
    run(recipe, out, *ONE_WORKER)
    lines = _captioned(out)
    assert len(lines) > 20
    assert [line["error"] for line in lines if line["error"]] == []


@pytest.mark.slow
def test_killed_while_captioning_it_ends_byte_identical(
    folder: Path, server: _Server, tmp_path: Path
) -> None:
    """Twice: when a first unit is captioned and others are not, and again some requests later."""
    recipe = _by_server(folder, folder / "killed.yaml", server.url, 16)
    whole, out = tmp_path / "whole", tmp_path / "run"
    server.reset()
    run(recipe, whole)
    asked = server.asked
    units = len(_parts(whole, "captions-tiny"))
    assert units > 3
    server.reset(pause_s=0.3)
    for kill, alone in enumerate((False, True)):
        before = server.asked
        assert run_killed(
            recipe,
            out,
            when=lambda n=before: len(_parts(out, "captions-tiny")) > 0 and server.asked > n + 2,
            later_s=0.1,
            alone=alone,
        ), kill
        assert 0 < len(_parts(out, "captions-tiny")) < units, kill
    committed = {path: path.read_bytes() for path in _parts(out, "captions-tiny")}
    server.reset()
    run(recipe, out)
    assert server.asked < asked  # what was committed is not asked again
    assert {path: path.read_bytes() for path in committed} == committed
    assert run_bytes(out) == run_bytes(whole) != {}


@pytest.fixture(scope="module")
def by_two(folder: Path) -> Path:
    """A run with the tiny models by two workers that nothing disturbed."""
    run(recipe_from(folder, folder / "capfilt.yaml"), folder / "by-two", *TWO_WORKERS)
    return folder / "by-two"


def _measures(out: Path) -> dict[str, bytes]:
    """All that models found: captions, seeds and scores, to the last bit."""
    paths = [*out.glob("measures/*/*/*.parquet"), *out.glob("measures/*/*/*.npy")]
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(paths)}


@pytest.mark.slow
def test_one_worker_and_two_give_the_same_bytes(folder: Path, by_two: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe_from(folder, folder / "capfilt.yaml"), out, *ONE_WORKER)
    assert run_bytes(out) == run_bytes(by_two) != {}
    measured = _measures(out)
    assert measured == _measures(by_two)
    assert {name.split("/")[1] for name in measured} >= {"captions-tiny", "itm-tiny+tiny"}


@pytest.mark.slow
def test_killed_while_models_are_at_work_it_ends_byte_identical(
    folder: Path, by_two: Path, tmp_path: Path
) -> None:
    """As soon as a first unit is captioned: its own scores are lost, and others' captions."""
    recipe, out = recipe_from(folder, folder / "capfilt.yaml"), tmp_path / "run"
    planned = len(_parts(by_two, "itm-tiny+tiny"))
    assert run_killed(
        recipe, out, when=lambda: bool(_parts(out, "captions-tiny")), later_s=0, alone=False
    )
    assert len(_parts(out, "itm-tiny+tiny")) < planned
    run(recipe, out, *TWO_WORKERS)
    assert run_bytes(out) == run_bytes(by_two) != {}
    assert _measures(out) == _measures(by_two)


def _unknown_captioner(folder: Path, _: Path) -> dict[str, Any]:
    return {"rules": [*SCREEN, {"capfilt": {**MODELS, "captioner": "large"}}]}


def _unknown_filter(folder: Path, _: Path) -> dict[str, Any]:
    return {"rules": [*SCREEN, {"recaption": {**MODELS, "itm": "large"}}]}


def _same_name(folder: Path, _: Path) -> dict[str, Any]:
    return {"itm": {"tiny": {"model": str(folder / "captioner")}}}


def _same_name_of_the_hub(folder: Path, _: Path) -> dict[str, Any]:
    same = {"tiny": {"model": "someone/blip"}}
    return {"captioners": same, "itm": same}


def _copied_folder(folder: Path, to: Path) -> dict[str, Any]:
    shutil.copytree(folder / "captioner", to / "copy")
    return {"itm": {"tiny": {"model": str(to / "copy")}}}


def _captions_read_after(folder: Path, _: Path) -> dict[str, Any]:
    return {"rules": [*SCREEN, CAPFILT, {"language": {"keep": ["en"]}}]}


def _scored_after(folder: Path, _: Path) -> dict[str, Any]:
    return {"rules": [*SCREEN, CAPFILT, CLIP]}


def _chosen_twice(folder: Path, _: Path) -> dict[str, Any]:
    return {"rules": [*SCREEN, CAPFILT, {"topk": {"captioner": "tiny"}}]}


def _kept_all(folder: Path, _: Path) -> dict[str, Any]:
    return {"rules": [*SCREEN, {"topk": {"captioner": "tiny", "keep": 3}}]}


def _captions_given(folder: Path, _: Path) -> dict[str, Any]:
    return {"rules": [{"exact_duplicate": {"give_captions": True}}, CAPFILT]}


def _many_by_beams(folder: Path, _: Path) -> dict[str, Any]:
    settings = {"model": str(folder / "captioner"), "candidates": 2, "decoding": "beam"}
    return {"captioners": {"tiny": settings}}


def _url_alone(folder: Path, _: Path) -> dict[str, Any]:
    settings = {"model": str(folder / "captioner"), "url": "http://127.0.0.1:1/v1"}
    return {"captioners": {"tiny": settings}}


def _endpoint_alone(folder: Path, _: Path) -> dict[str, Any]:
    return {"captioners": {"tiny": {"model": "m", "backend": "endpoint"}}}


def _no_key(folder: Path, _: Path) -> dict[str, Any]:
    settings = {"model": "m", "backend": "endpoint", "url": "http://127.0.0.1:1/v1"}
    return {"captioners": {"tiny": {**settings, "api_key_env": "PAIRMILL_TEST_HAS_NO_SUCH_KEY"}}}


def _no_folder(folder: Path, _: Path) -> dict[str, Any]:
    return {"captioners": {"tiny": {"model": str(folder / "none")}}}


def _no_model(folder: Path, to: Path) -> dict[str, Any]:
    """A captioner where a filter is wanted."""
    save_captioner(to / "other", seed=9)
    return {"itm": {"tiny": {"model": str(to / "other")}}}


BY_THE_DRIVER = (_no_key, _no_folder, _no_model)  # models are loaded when RUN is there


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_unknown_captioner, ("rules.2.capfilt", "no model 'large' under `captioners`", "tiny")),
        (_unknown_filter, ("rules.2.recaption", "no model 'large' under `itm`", "tiny")),
        (_same_name, ("captioner tiny and filter tiny have the same weights",)),
        (_same_name_of_the_hub, ("captioner tiny and filter tiny have the same weights",)),
        (_copied_folder, ("captioner tiny and filter tiny have the same weights",)),
        (_captions_read_after, ("rules.3.language reads captions", "before rules.2.capfilt")),
        (_scored_after, ("rules.3.clip_score reads captions", "before rules.2.capfilt")),
        (
            _chosen_twice,
            ("rules.2.capfilt and rules.3.topk both choose captions",),
        ),
        (_kept_all, ("rules.2.topk", "no more than the 3 to keep", "candidates")),
        (_captions_given, ("rules.0.exact_duplicate", "`give_captions`", "rules.1.capfilt")),
        (_many_by_beams, ("captioners.tiny", "only `decoding: nucleus`")),
        (_url_alone, ("captioners.tiny", "`url` goes with backend endpoint")),
        (_endpoint_alone, ("captioners.tiny", "endpoint, which needs it")),
        (_no_key, ("PAIRMILL_TEST_HAS_NO_SUCH_KEY", "is not set")),
        (_no_folder, ("There is no folder", "none")),
        (_no_model, ("do not fit its architecture",)),
    ],
)
def test_a_recipe_that_cannot_be_is_told_in_one_sentence(
    folder: Path,
    tmp_path: Path,
    make: Callable[[Path, Path], dict[str, Any]],
    words: tuple[str, ...],
) -> None:
    recipe = recipe_from(folder, tmp_path / "recipe.yaml", **make(folder, tmp_path))
    out, by_driver = tmp_path / "run", make in BY_THE_DRIVER
    _one_sentence((pairmill if by_driver else told)("run", recipe, "--out", out), *words, code=2)
    assert not (out / "pool").exists()
    assert by_driver or not out.exists()


def test_a_models_folder_may_be_named_from_the_recipes_own(folder: Path, tmp_path: Path) -> None:
    """As all paths in a recipe: what is wrong here is only that both are one model."""
    shutil.copytree(folder / "captioner", tmp_path / "captioner")
    shutil.copytree(folder / "captioner", tmp_path / "itm")
    models = {"captioners": {"tiny": {"model": "captioner"}}, "itm": {"tiny": {"model": "./itm"}}}
    recipe = recipe_from(folder, tmp_path / "recipe.yaml", **models)
    done = pairmill("run", recipe, "--out", tmp_path / "run")
    _one_sentence(done, "have the same weights", code=2)
