"""The graph in this very process, and what workers are told."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions

from pipelines.engines.driver import run_graph
from pipelines.engines.options import read_options, runner_for
from schemas.errors import BadInputError, CorruptPoolError

IN_MEMORY = ["--direct_running_mode=in_memory"]


def test_run_graph_runs_in_this_process(write_job: Callable[..., Path]) -> None:
    job = write_job()
    run_graph(importlib.import_module("toy_graph").build, job, IN_MEMORY)
    assert (job.parent / "gathered").read_text() == "6"


def test_run_graph_raises_what_a_unit_raised(write_job: Callable[..., Path]) -> None:
    with pytest.raises(CorruptPoolError, match="shard 00001 is torn"):
        run_graph(importlib.import_module("toy_graph").build, write_job("raise"), IN_MEMORY)


def test_the_default_is_a_worker_process_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engines.options._cores", lambda: 7)
    direct = read_options([]).view_as(DirectOptions)
    assert direct.direct_running_mode == "multi_processing"
    assert direct.direct_num_workers == 7
    told = read_options(["--direct_num_workers=2"]).view_as(DirectOptions)
    assert told.direct_num_workers == 2


@pytest.mark.parametrize("name", ["DirectRunner", "direct", "FnApiRunner"])
def test_direct_runner_is_the_in_process_one_with_full_options(name: str) -> None:
    flags = [f"--runner={name}", "--max_cache_memory_usage_mb=7"]
    runner = runner_for(read_options(flags), flags)
    assert type(runner).__name__ == "FnApiRunner"
    told = runner._provision_info.provision_info.pipeline_options
    assert told["beam:option:max_cache_memory_usage_mb:v1"] == "7"
    assert told["beam:option:direct_running_mode:v1"] == "multi_processing"


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_beams_own_flags_choose_the_mode(mode: str) -> None:
    flags = [f"--direct_running_mode={mode}", "--direct_num_workers=1"]
    assert read_options(flags).view_as(DirectOptions).direct_running_mode == mode


def test_a_remote_runner_keeps_flags_of_its_job_service() -> None:
    flags = ["--runner=PortableRunner", "--checkpointing_interval=1000"]
    assert read_options(flags).get_all_options(retain_unknown_options=True)[
        "checkpointing_interval"
    ]


def test_options_reach_workers_in_other_processes(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"run": str(tmp_path)}))
    flags = ["--direct_num_workers=1", "--max_cache_memory_usage_mb=7"]
    run_graph(importlib.import_module("toy_graph").tell_options, job, flags)
    assert json.loads((tmp_path / "options").read_text())["max_cache_memory_usage_mb"] == "7"


def test_a_wrong_value_is_bad_input() -> None:
    with pytest.raises(BadInputError, match="direct_running_mode"):
        read_options(["--direct_running_mode=sideways"])
