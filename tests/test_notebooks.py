"""The notebooks: committed without outputs, and every cell runs on a real small run."""

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
TIMEOUT_S = 120


@pytest.fixture
def demo_run(undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A notebook leaves its decisions in the RUN."""
    return Path(shutil.copytree(undisturbed[0], tmp_path / "run"))


def _code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks() -> None:
    assert "look_at_a_run.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert _code(notebook)
    for cell in _code(notebook):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["source"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_of_a_notebook_runs(
    path: Path, demo_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the notebooks' folder, as a person would; a cell that raises fails the test. It shows
    pictures, and no warning that a reader would have to see."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))  # nobody's own settings
    monkeypatch.setenv("PAIRMILL_RUN", str(demo_run))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=TIMEOUT_S, resources=where).execute()
    outputs = [output for cell in _code(notebook) for output in cell["outputs"]]
    told = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert [text for text in told if "Warning" in text] == []
    plots = [cell for cell in _code(notebook) if "plot_" in cell["source"].splitlines()[-1]]
    assert plots
    assert all("image/png" in cell["outputs"][-1]["data"] for cell in plots)
