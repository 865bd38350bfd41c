"""Loading: whole weights or none, in the precision asked for, and no code from files."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import Blip2ForImageTextRetrieval, GitForCausalLM

from schemas.errors import BadInputError, RunFailedError
from transforms.hub.errors import ModelError, OutOfMemoryError
from transforms.hub.load import faults, load_model, load_processor, vision_towers
from transforms.hub.policy import ModelPolicy

Edit = Callable[[dict[str, torch.Tensor]], object]


@pytest.fixture
def folder(git_folder: Path, tmp_path: Path) -> Path:
    """A copy of GIT's to be spoilt."""
    return shutil.copytree(git_folder, tmp_path / "model")


def _policy(folder: Path | str, **settings: Any) -> ModelPolicy:
    return ModelPolicy(model=str(folder), **settings)


def _edit(folder: Path, edit: Edit) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file(weights, path, {"format": "pt"})


def _names_the_model(folder: Path, match: str) -> None:
    with pytest.raises(BadInputError, match=match) as told:
        load_model(GitForCausalLM, _policy(folder))
    assert str(folder) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_model_is_loaded_whole_and_still(git_folder: Path, capfd: pytest.CaptureFixture[str]):
    model = load_model(GitForCausalLM, _policy(git_folder))
    saved = load_file(git_folder / "model.safetensors")
    assert all(torch.equal(model.state_dict()[name], one) for name, one in saved.items())
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert model.dtype == torch.float32
    assert capfd.readouterr() == ("", "")


def test_half_precision_and_int8_are_what_they_say(git_folder: Path):
    assert load_model(GitForCausalLM, _policy(git_folder, precision="bf16")).dtype == torch.bfloat16
    model = load_model(GitForCausalLM, _policy(git_folder, precision="int8"))
    kinds = {type(part) for part in model.modules()}
    assert torch.ao.nn.quantized.dynamic.Linear in kinds
    assert torch.nn.Linear not in kinds


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda own: own.pop("git.visual_projection.visual_projection.0.weight"), "are missing"),
        (lambda own: own.update({"output.bias": torch.zeros(3)}), r"output\.bias"),
        (lambda own: own.clear(), r"and \d+ more"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder: Path, edit: Edit, match: str):
    _edit(folder, edit)
    _names_the_model(folder, match)


def test_weights_of_another_architecture_are_refused(blip2_itm_folder: Path):
    with pytest.raises(BadInputError):
        load_model(GitForCausalLM, _policy(blip2_itm_folder))


def test_weights_that_are_tied_need_not_be_there_twice(folder: Path):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tie_word_embeddings": True}))
    _edit(folder, lambda own: own.pop("output.weight"))
    model = load_model(GitForCausalLM, _policy(folder))
    assert torch.equal(model.output.weight, model.git.embeddings.word_embeddings.weight)


def test_pickled_tensors_are_read(folder: Path):
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = load_model(GitForCausalLM, _policy(folder))
    assert torch.equal(model.output.bias, weights["output.bias"])


class _Evil:
    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self):
        return (Path.touch, (self._trace,))


@pytest.mark.parametrize(
    "save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))]
)
def test_code_in_a_pickle_does_not_run(folder: Path, save: Any, tmp_path: Path):
    (folder / "model.safetensors").unlink()
    save({"output.bias": _Evil(tmp_path / "trace")}, folder / "pytorch_model.bin")
    _names_the_model(folder, "no code of a file is run|no checkpoint")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("trusts", [False, True])
def test_code_beside_weights_runs_only_where_it_is_trusted(
    folder: Path, trusts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "hf"))
    trace = tmp_path / "trace"
    (folder / "odd.py").write_text(
        f"from pathlib import Path\nfrom transformers import GitConfig, GitForCausalLM\n"
        f"Path({str(trace)!r}).touch()\n"
        "class OddConfig(GitConfig):\n    model_type = 'odd'\n"
        "class Odd(GitForCausalLM):\n    config_class = OddConfig\n"
    )
    path = folder / "config.json"
    own = {"AutoConfig": "odd.OddConfig", "AutoModelForImageTextToText": "odd.Odd"}
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "model_type": "odd", "auto_map": own})
    )
    policy = _policy(folder, trust_remote_code=trusts)
    if trusts:
        model = load_model(transformers.AutoModelForImageTextToText, policy)
        assert type(model).__name__ == "Odd"
    else:
        with pytest.raises(BadInputError, match="trust_remote_code: true"):
            load_model(transformers.AutoModelForImageTextToText, policy)
    assert trace.exists() == trusts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"no safetensors"),
        ("model.safetensors", b""),
        ("config.json", b"{"),
        ("config.json", b"{}"),
    ],
)
def test_a_spoilt_file_is_one_sentence(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    _names_the_model(folder, "cannot be loaded|do not fit")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_not_there_is_one_sentence(folder: Path, name: str):
    (folder / name).unlink()
    _names_the_model(folder, name)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path):
    _names_the_model(tmp_path / "nowhere", "no folder")
    with pytest.raises(BadInputError, match="nowhere"):
        load_processor(_policy(tmp_path / "nowhere"))


def test_a_name_without_a_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for load in (lambda own: load_model(GitForCausalLM, own), load_processor):
        with pytest.raises(BadInputError, match=r"^The model nobody/nothing cannot be [^\n]+\.$"):
            load(_policy("nobody/nothing"))


def test_a_processor_that_is_not_there_is_one_sentence(folder: Path):
    for path in folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    with pytest.raises(BadInputError, match=r"^The model [^\n]+\.$"):
        load_processor(_policy(folder))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "gpu9"])
def test_a_device_that_is_not_there_is_one_sentence(git_folder: Path, device: str):
    with pytest.raises(BadInputError, match="cannot be loaded"):
        load_model(GitForCausalLM, _policy(git_folder, device=device))


@pytest.mark.parametrize("precision", ["8bit", "4bit"])
def test_a_library_that_is_not_there_is_named(
    git_folder: Path, precision: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInputError, match=f"{precision} needs bitsandbytes"):
        load_model(GitForCausalLM, _policy(git_folder, precision=precision, device="cuda"))


@pytest.mark.slow  # a C++ compiler is at work
def test_compiling_changes_no_more_than_rounding(git_folder: Path):
    pixels = torch.rand(2, 3, 32, 32)
    [plain] = vision_towers(load_model(GitForCausalLM, _policy(git_folder)))
    [compiled] = vision_towers(load_model(GitForCausalLM, _policy(git_folder, compile=True)))
    assert hasattr(compiled.forward, "_torchdynamo_orig_callable")
    seen: list[int] = []
    compiled.register_forward_hook(lambda _tower, args, _found: seen.append(len(args[0])))
    with torch.inference_mode():
        torch.testing.assert_close(
            compiled(pixels).last_hidden_state, plain(pixels).last_hidden_state, atol=1e-4, rtol=0
        )
    assert seen == [2]


def test_towers_are_found_once_each(git_folder: Path, blip2_itm_folder: Path):
    git = load_model(GitForCausalLM, _policy(git_folder))
    assert vision_towers(git) == [git.git.image_encoder]
    matcher = load_model(Blip2ForImageTextRetrieval, _policy(blip2_itm_folder))
    assert vision_towers(matcher) == [matcher.vision_model]


@pytest.mark.parametrize(
    "act",
    [
        lambda: torch.empty(10**15),
        lambda: bytearray(10**18),
        lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
        lambda: _raise(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling")),
    ],
)
def test_memory_that_runs_out_is_told_apart(act: Callable[[], Any]):
    with pytest.raises(OutOfMemoryError, match="does not fit in memory"), faults():
        act()


@pytest.mark.parametrize(
    "act",
    [
        lambda: torch.ones(2, 3) @ torch.ones(2, 3),
        lambda: torch.nn.functional.embedding(torch.tensor([7]), torch.ones(3, 2)),
        lambda: {}["key"],
        lambda: [][1],
        lambda: 1 / 0,
        lambda: int("x\ny"),
    ],
)
def test_other_faults_are_one_sentence(act: Callable[[], Any]):
    with (
        pytest.raises(ModelError, match=r"^The model failed with \w+: [^\n]+\.$") as told,
        faults(),
    ):
        act()
    assert not isinstance(told.value, OutOfMemoryError)


def test_bugs_and_lost_gpus_are_no_faults_of_a_picture():
    with pytest.raises(NameError), faults():
        raise NameError("bug")
    with pytest.raises(RunFailedError, match="same command"), faults():
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")


def _raise(err: Exception) -> None:
    raise err
