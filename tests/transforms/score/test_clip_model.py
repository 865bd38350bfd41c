"""CLIP models by open_clip: refusals in one sentence, and what makes two models the same."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from schemas.errors import BadInputError
from transforms.score.clip_model import load_clip
from transforms.score.policy import LOCAL_DIR, ClipPolicy, model_identity

WEIGHTS = "open_clip_model.safetensors"


def _policy(folder: Path, **settings: object) -> ClipPolicy:
    return ClipPolicy(architecture=f"{LOCAL_DIR}{folder}", **settings)  # pyright: ignore


def _refusal(policy: ClipPolicy) -> str:
    with pytest.raises(BadInputError) as raised:
        load_clip(policy)
    told = str(raised.value)
    assert "\n" not in told
    assert told.endswith(".")
    return told


def _copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_a_model_without_weights_is_refused() -> None:
    told = _refusal(ClipPolicy(architecture="ViT-B-32"))
    assert told.startswith("The CLIP model ViT-B-32 has no weights: set `pretrained`")


def test_a_folder_without_weights_is_refused(tiny_clip: Path, tmp_path: Path) -> None:
    """open_clip alone would go on with random ones."""
    folder = _copy(tiny_clip, tmp_path / "bare")
    (folder / WEIGHTS).unlink()
    assert "weights" in _refusal(_policy(folder))


def test_weights_of_another_shape_are_refused(
    tiny_clip: Path, wider_clip: Path, tmp_path: Path
) -> None:
    folder = _copy(tiny_clip, tmp_path / "mixed")
    shutil.copy(wider_clip / WEIGHTS, folder / WEIGHTS)
    told = _refusal(_policy(folder))
    assert "another shape or architecture (" in told
    assert str(folder) in told


def test_weights_of_another_size_are_refused(tiny_clip: Path, tmp_path: Path) -> None:
    torch.save(load_file(tiny_clip / WEIGHTS), tmp_path / "tiny.pt")
    policy = ClipPolicy(architecture="ViT-S-32-alt", pretrained=str(tmp_path / "tiny.pt"))
    told = _refusal(policy)
    assert "another shape or architecture" in told
    assert "tiny.pt" in told


def _save(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def _put(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


BIN, CONFIG = "open_clip_pytorch_model.bin", "open_clip_config.json"
NO_SUCH_SETTING = b'{"model_cfg": {"embed_dim": 8, "vision_cfg": {"nonsense": 1}, "text_cfg": {}}}'

BROKEN: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "no checkpoint": (BIN, _put(b"no checkpoint at all"), "no checkpoint"),
    "empty file": (BIN, _put(b""), "no checkpoint"),
    "no tensors": (BIN, _save({}), "no checkpoint"),
    "a list": (BIN, _save([1, 2]), "no checkpoint"),
    "other tensors": (BIN, _save({"weight": torch.zeros(2)}), "another shape or architecture"),
    "no safetensors": (WEIGHTS, _put(b"\xff" * 100), "no checkpoint"),
    "empty safetensors": (WEIGHTS, _put(b""), "no checkpoint"),
    "no json": (CONFIG, _put(b"{"), "config"),
    "another json": (CONFIG, _put(b"{}"), "model_cfg"),
    "unknown setting": (CONFIG, _put(NO_SUCH_SETTING), "nonsense"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_folder_is_told_in_one_sentence(
    fault: str, tiny_clip: Path, tmp_path: Path
) -> None:
    name, write, told = BROKEN[fault]
    folder = _copy(tiny_clip, tmp_path / "broken")
    if name == BIN:
        (folder / WEIGHTS).unlink()
    write(folder / name)
    refusal = _refusal(_policy(folder))
    assert "cannot be loaded" in refusal
    assert told in refusal


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    assert "no-such-model" in _refusal(
        ClipPolicy(architecture="no-such-model", pretrained="openai")
    )
    assert "no-such-tag" in _refusal(ClipPolicy(architecture="RN50", pretrained="no-such-tag"))
    assert "nowhere" in _refusal(_policy(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"threads": 0},
        {"architecture": None},
        {"weights": "x"},
        {"precision": "fp8"},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClipPolicy(**{"architecture": "RN50", **settings})  # pyright: ignore


def test_two_models_are_the_same_by_their_bytes_not_their_place(
    tiny_clip: Path, wider_clip: Path, tmp_path: Path
) -> None:
    same = model_identity(_policy(tiny_clip))
    copy = _copy(tiny_clip, tmp_path / "elsewhere")
    (copy / "README.md").write_text("read by nobody")
    assert model_identity(_policy(copy)) == same
    assert model_identity(_policy(copy, device="cuda")) == same
    assert model_identity(_policy(wider_clip)) != same
    assert model_identity(_policy(copy, batch_size=32)) != same
    assert model_identity(_policy(copy, threads=2)) != same
    assert model_identity(_policy(copy, precision="bf16")) != same


def test_fp32_has_the_identity_that_it_had_before_there_was_another_precision() -> None:
    """Else all that was ever measured would be measured again."""
    policy = ClipPolicy(architecture="RN50", pretrained="openai", precision="fp32")
    known = {"architecture": "RN50", "pretrained": "openai", "batch_size": 64, "threads": 1}
    assert model_identity(policy) == known
    bf16 = policy.model_copy(update={"precision": "bf16"})
    assert model_identity(bf16) == {**known, "precision": "bf16"}


@pytest.mark.parametrize("name", [WEIGHTS, "open_clip_pytorch_model.bin", "tokenizer.json"])
def test_every_file_that_open_clip_may_read_is_part_of_the_identity(
    name: str, tiny_clip: Path, tmp_path: Path
) -> None:
    folder = _copy(tiny_clip, tmp_path / "changed")
    (folder / name).write_bytes(b"one")
    before = model_identity(_policy(folder))
    (folder / name).write_bytes(b"two")
    assert model_identity(_policy(folder)) != before


def test_a_checkpoint_file_counts_by_its_bytes(tmp_path: Path) -> None:
    for name, value in (("a", 0.0), ("b", 0.0), ("c", 1.0)):
        (tmp_path / name).mkdir()
        save_file({"t": torch.full((2,), value)}, tmp_path / name / "m.safetensors")
    a, b, c = (
        model_identity(
            ClipPolicy(architecture="RN50", pretrained=str(tmp_path / n / "m.safetensors"))
        )
        for n in "abc"
    )
    assert a == b != c
    tag = model_identity(ClipPolicy(architecture="RN50", pretrained="openai"))
    assert tag != model_identity(ClipPolicy(architecture="RN50", pretrained="yfcc15m"))
