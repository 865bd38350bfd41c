"""A run folder with a toy job, and the three engines on which every graph must pass."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import pipelines
from pipelines.engines.portable import portable_engine

GRAPHS = Path(__file__).parent / "graphs"
CHECKOUT = Path(pipelines.__file__).parents[1]
WriteJob = Callable[..., Path]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find the toy graph; and the package, also where it is not installed."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(GRAPHS), str(CHECKOUT)]))
    monkeypatch.syspath_prepend(GRAPHS)


@pytest.fixture(scope="session")
def portable_flags() -> Iterator[list[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(GRAPHS), str(CHECKOUT)]))
        with portable_engine() as flags:
            yield flags


@pytest.fixture
def two_workers() -> list[str]:
    return ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(params=["in_memory", "multi_processing", "portable"])
def flags(request: pytest.FixtureRequest, two_workers: list[str]) -> list[str]:
    match request.param:
        case "in_memory":
            return ["--direct_running_mode=in_memory"]
        case "multi_processing":
            return two_workers
        case _:
            return request.getfixturevalue("portable_flags")


@pytest.fixture
def write_job(tmp_path: Path) -> WriteJob:
    def write(unit_1: str = "", *, units: int = 4) -> Path:
        job = tmp_path / "job.json"
        job.write_text(json.dumps({"run": str(tmp_path), "units": units, "unit_1": unit_1}))
        return job

    return write


@pytest.fixture
def none_left() -> Iterator[None]:
    """Whatever a test starts under this process is gone at its end, the shared engine aside."""
    before = set(psutil.Process().children())
    yield
    ours = [process for process in psutil.Process().children() if process not in before]
    assert [process.cmdline() for process in ours] == []
    strays = [p for p in psutil.process_iter() if _runs_a_toy(p)]
    assert [process.cmdline() for process in strays] == []


def _runs_a_toy(process: psutil.Process) -> bool:
    """A driver or local worker started from here, whoever its parent is by now."""
    try:
        return str(GRAPHS) in process.environ().get("PYTHONPATH", "") and any(
            "pipelines.engines." in word for word in process.cmdline()
        )
    except psutil.Error:
        return False
