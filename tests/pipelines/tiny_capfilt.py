"""The small web's recipe with tiny models for CapFilt, as tests of the graph share it."""

from pathlib import Path
from typing import Any

import yaml

from tests.transforms.capfilt.blip_models import save_captioner, save_itm

MODELS = {"captioner": "tiny", "itm": "tiny"}
CAPFILT: dict[str, Any] = {"capfilt": {**MODELS, "at_least": 0.5}}
SCREEN: list[dict[str, Any]] = [{"caption": {}}, {"exact_duplicate": {}}]
CLIP: dict[str, Any] = {"clip_score": {"at_least": 0.0}}


def save_base(folder: Path, small_web: Path, candidates: int) -> None:
    """Write the models and the recipe that `recipe_from` changes."""
    save_captioner(folder / "captioner")
    save_itm(folder / "itm")
    content = yaml.safe_load(small_web.read_text())
    content["input"]["list"] = str(small_web.parent / content["input"]["list"])
    model = str(folder / "captioner")
    content["captioners"] = {"tiny": {"model": model, "candidates": candidates, "min_tokens": 2}}
    content["itm"] = {"tiny": {"model": str(folder / "itm")}}
    content["rules"] = [*SCREEN, CLIP, CAPFILT]
    _base(folder).write_text(yaml.safe_dump(content))


def recipe_from(folder: Path, to: Path, **changes: Any) -> Path:
    """The recipe in `folder` with other sections, written to `to`."""
    content = yaml.safe_load(_base(folder).read_text())
    to.write_text(yaml.safe_dump(content | changes))
    return to


def _base(folder: Path) -> Path:
    return folder / "base.yaml"
