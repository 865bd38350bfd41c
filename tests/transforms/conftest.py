"""A CLIP model of a few thousand numbers, to test the mechanics of loading and batching.

Its weights are seeded noise: nothing here looks at what a score means.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

SIDE_PX = 32


def _config(width: int) -> dict[str, Any]:
    vision = {"image_size": SIDE_PX, "layers": 1, "width": width, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": width, "heads": 2, "layers": 1}
    model = {"embed_dim": 8, "vision_cfg": vision | {"head_width": 8}, "text_cfg": text}
    return {"model_cfg": model, "preprocess_cfg": {"size": SIDE_PX}}


def write_clip(folder: Path, width: int = 16) -> Path:
    """A folder that open_clip loads as local-dir."""
    import open_clip

    folder.mkdir(parents=True)
    config = _config(width)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(**config["model_cfg"])
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def wider_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture with tensors of other shapes."""
    return write_clip(tmp_path_factory.mktemp("models") / "wider", width=32)
