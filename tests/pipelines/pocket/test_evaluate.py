import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.pocket.__main__ import app
from pipelines.pocket.evaluate import evaluate

MOST_BYTES = 12_000_000


def test_the_shipped_model_is_small(pocket_clip: Path) -> None:
    files = [path for path in pocket_clip.rglob("*") if path.is_file()]
    assert {"open_clip_config.json", "open_clip_model.safetensors", "README.md"} <= {
        path.name for path in files
    }
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


def test_it_tells_right_from_wrong_on_combinations_never_shown(pocket_clip: Path) -> None:
    figures = evaluate(pocket_clip, scenes=200, photos=None, seed=11)["scenes"]
    assert figures["images"] == 200
    assert figures["auc"] >= 0.97


def test_it_tells_right_from_wrong_on_photographs_never_shown(
    pocket_clip: Path, flickr8k: Path
) -> None:
    figures = evaluate(pocket_clip, scenes=0, photos=flickr8k, split="val")["photos"]
    assert figures["images"] == 1000
    assert figures["auc"] >= 0.90


def test_it_finds_photographs_never_shown(pocket_clip: Path, flickr8k: Path) -> None:
    figures = evaluate(pocket_clip, scenes=0, photos=flickr8k, split="val")["photos"]
    assert figures["recall_at_10"] >= 0.30


def test_evaluate_prints_one_object(pocket_clip: Path) -> None:
    said = CliRunner().invoke(
        app,
        [
            *("evaluate", "--model", str(pocket_clip), "--scenes", "8"),
            *("--threshold", "-2", "--threshold", "2", "--json"),
        ],
        catch_exceptions=False,
    )
    report = json.loads(said.stdout.splitlines()[-1])
    assert report["scenes"]["wrong_dropped_under_-2"] == 0
    assert report["scenes"]["right_lost_under_2"] == 1


def test_a_model_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    from schemas.errors import BadInputError

    with pytest.raises(BadInputError, match="no model"):
        evaluate(tmp_path / "none", scenes=2, photos=None)
