from pathlib import Path

import pytest

from pipelines.pocket.model import MODEL_DIR

SHARED = Path(__file__).parents[4] / "shared"


@pytest.fixture
def pocket_clip(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped model's folder; the model hub is out of reach."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return MODEL_DIR


@pytest.fixture
def flickr8k() -> Path:
    folder = SHARED / "data" / "flickr8k"
    if not (folder / "captions.jsonl").is_file():
        pytest.skip(f"needs the photographs of {folder}")
    return folder


@pytest.fixture
def teacher_folder() -> Path:
    folder = SHARED / "models" / "teacher"
    if not folder.is_dir():
        pytest.skip(f"needs the teacher of {folder}")
    return folder
