import itertools
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from schemas.errors import BadInputError
from schemas.fingerprint import file_sha256
from transforms.measure.head import Head, apply_head, head_identity, load_head
from transforms.measure.policy import HeadPolicy

VECTORS = np.random.default_rng(0).normal(size=(50, 768)).astype(np.float32)


def unit(vectors: np.ndarray) -> torch.Tensor:
    return nn.functional.normalize(torch.from_numpy(vectors).double(), dim=1)


def saved(module: nn.Module, file: Path, dtype: torch.dtype = torch.float32) -> Path:
    state = {name: tensor.to(dtype) for name, tensor in module.state_dict().items()}
    if file.suffix == ".safetensors":
        safetensors.torch.save_file(state, file)
    else:
        torch.save(state, file)
    return file


@pytest.fixture
def linear() -> nn.Linear:
    """LAION's first aesthetic model: one layer, 768 to 1."""
    torch.manual_seed(0)
    return nn.Linear(768, 1)


class Predictor(nn.Module):
    """LAION's improved aesthetic predictor: its layout, its names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths, dropout = (768, 1024, 128, 64, 16, 1), nn.Dropout(0.2)
        first, second, third, fourth, last = (
            nn.Linear(a, b) for a, b in itertools.pairwise(widths)
        )
        self.layers = nn.Sequential(first, dropout, second, dropout, third, dropout, fourth, last)


@pytest.mark.parametrize("name", ["head.pth", "head.pt", "head.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_layer_gives_what_torch_gives(tmp_path, linear, name, dtype):
    head = load_head(saved(linear, tmp_path / name, dtype))
    assert head.weight.shape == (1, 768)
    assert head.weight.dtype == head.bias.dtype == np.float32
    with torch.no_grad():
        expected = linear.to(dtype).double()(unit(VECTORS))[:, 0].numpy()
    found = apply_head(head, VECTORS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_a_chain_of_layers_is_one_map_in_the_order_of_its_numbers(tmp_path):
    model = Predictor().eval()
    head = load_head(saved(model, tmp_path / "linearMSE.pth"), "nothing")
    assert head.weight.shape == (1, 768)
    with torch.no_grad():
        expected = model.double().layers(unit(VECTORS))[:, 0].numpy()
    np.testing.assert_allclose(apply_head(head, VECTORS), expected, atol=1e-7)


def test_layers_go_by_number_not_by_letter_or_place(tmp_path):
    """10 comes after 9 however the file has them; square layers would chain either way."""
    first, second = np.random.default_rng(1).normal(size=(2, 3, 3))
    state = {"net.10.weight": torch.tensor(second), "net.9.weight": torch.tensor(first)}
    torch.save(state, tmp_path / "head.pth")
    with pytest.raises(BadInputError, match="has 2 layers: say `between: nothing` if"):
        load_head(tmp_path / "head.pth")
    head = load_head(tmp_path / "head.pth", "nothing")
    np.testing.assert_allclose(head.weight, second @ first, rtol=1e-6)
    assert not head.bias.any()


@pytest.mark.parametrize(
    ("activation", "outputs", "of_torch"),
    [
        ("sigmoid", 1, lambda logits: torch.sigmoid(logits)[:, 0]),
        ("softmax", 2, lambda logits: torch.softmax(logits, 1)[:, -1]),
        ("softmax", 5, lambda logits: torch.softmax(logits, 1)[:, -1]),
    ],
)
def test_activations(activation, outputs, of_torch):
    weight = np.random.default_rng(2).normal(size=(outputs, 768)).astype(np.float32) * 200
    head = Head(Path("head.pth"), weight, np.ones(outputs, np.float32))
    logits = unit(VECTORS) @ torch.from_numpy(weight.T).double() + 1
    assert logits.abs().max() > 300  # far beyond where a plain exp overflows in float32
    found = apply_head(head, VECTORS, activation)
    np.testing.assert_allclose(found, of_torch(logits).numpy(), rtol=1e-4, atol=1e-7)


def test_half_precision_vectors_are_brought_to_norm_1(tmp_path, linear):
    head = load_head(saved(linear, tmp_path / "head.pth"))
    halves = unit(VECTORS).numpy().astype(np.float16)
    with torch.no_grad():
        expected = linear.double()(unit(halves))[:, 0].numpy()
    np.testing.assert_allclose(apply_head(head, halves), expected, atol=1e-7)
    longer = apply_head(head, VECTORS * 7)
    np.testing.assert_allclose(longer, apply_head(head, VECTORS), atol=1e-7)


@given(cut=st.integers(0, 50))
def test_a_row_has_the_same_value_in_any_batch(cut):
    weight = np.random.default_rng(3).normal(size=(1, 768)).astype(np.float32)
    head = Head(Path("head.pth"), weight, np.zeros(1, np.float32))
    parts = [apply_head(head, VECTORS[:cut]), apply_head(head, VECTORS[cut:])]
    assert np.concatenate(parts).tobytes() == apply_head(head, VECTORS).tobytes()


def test_a_blank_vector_gives_the_bias():
    head = Head(Path("head.pth"), np.ones((1, 4), np.float32), np.full(1, 2.5, np.float32))
    assert apply_head(head, np.zeros((1, 4), np.float16)).tolist() == [2.5]


def test_vectors_of_another_model_are_refused(tmp_path, linear):
    head = load_head(saved(linear, tmp_path / "aesthetic.pth"))
    with pytest.raises(BadInputError, match=r"aesthetic\.pth takes vectors of 768 .* gives 512"):
        apply_head(head, VECTORS[:, :512])


@pytest.mark.parametrize(("outputs", "activation"), [(2, "none"), (2, "sigmoid"), (1, "softmax")])
def test_outputs_must_fit_the_activation(outputs, activation):
    weight = np.ones((outputs, 768), np.float32)
    head = Head(Path("nsfw.pth"), weight, np.zeros(outputs, np.float32))
    with pytest.raises(BadInputError, match=rf"nsfw\.pth has {outputs} outputs.*{activation}"):
        apply_head(head, VECTORS, activation)


class Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize(
    "dump", [torch.save, lambda thing, file: file.write_bytes(pickle.dumps(thing))]
)
def test_code_in_a_file_is_refused_and_not_run(tmp_path, dump):
    file, victim = tmp_path / "head.pth", tmp_path / "victim"
    dump({"weight": Malicious(victim)}, file)
    with pytest.raises(BadInputError, match=r"head\.pth holds no state dict of weights alone"):
        load_head(file)
    assert not victim.exists()


ONE, WIDE = torch.ones(1, 4), torch.ones(3, 4)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({}, "not made of linear layers"),
        ({"bias": torch.ones(1)}, "not made of linear layers"),
        ({"weight": ONE, "running_mean": torch.ones(1)}, "linear layers and running_mean"),
        ({"weight": torch.ones(4)}, r"weight is of shape \(4,\)"),
        ({"weight": torch.ones(1, 4, 1, 1)}, r"weight is of shape \(1, 4, 1, 1\)"),
        ({"weight": torch.ones(0, 4)}, r"weight is of shape \(0, 4\)"),
        ({"weight": ONE, "bias": torch.ones(2)}, "bias is of shape"),
        ({"0.weight": WIDE, "1.weight": ONE}, "3 numbers to a layer that takes 4"),
        ({"body.weight": ONE.T @ ONE, "tail.weight": ONE}, "an order that their names tell"),
        ({"weight": ONE * torch.nan}, "not finite"),
        ({"weight": ONE, "bias": torch.full((1,), torch.inf)}, "not finite"),
        ({"0.weight": ONE.T @ ONE * 3e38, "1.weight": ONE * 3e38}, "not finite"),
        ({"weight": torch.ones(1, 4, dtype=torch.int8)}, "weights alone"),
        ({"weight": [1.0]}, "weights alone"),
        ({"weight": ONE.to_sparse()}, "weights alone"),
        ([ONE], "weights alone"),
        (ONE, "weights alone"),
    ],
)
def test_what_is_no_linear_head_is_refused(tmp_path, state, why):
    torch.save(state, tmp_path / "head.pth")
    with pytest.raises(BadInputError, match=rf"head\.pth .*{why}"):
        load_head(tmp_path / "head.pth", "nothing")


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, linear, name, kept):
    whole = saved(linear, tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BadInputError, match=name):
        load_head(tmp_path / name)


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "folder.pth", "head.npy"])
def test_no_such_file_is_refused(tmp_path, name):
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(BadInputError, match=name):
        load_head(tmp_path / name)


def test_identity_is_the_bytes_and_the_activation(tmp_path, linear):
    policy = HeadPolicy(file=saved(linear, tmp_path / "a.pth"), clip="l14", activation="sigmoid")
    identity = head_identity(policy)
    assert identity == {"sha256": file_sha256(policy.file), "activation": "sigmoid"}
    moved = policy.file.rename(tmp_path / "b.pth")
    assert head_identity(policy.model_copy(update={"file": moved})) == identity
    with pytest.raises(BadInputError, match=r"a\.pth cannot be read"):
        head_identity(policy)
