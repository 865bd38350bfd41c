"""Captioners are loaded by their backend, and never judged by weights of their own."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipProcessor

from schemas.errors import BadInputError
from tests.transforms.capfilt.blip_models import save_captioner, save_itm
from transforms.capfilt.blip import BlipCaptioner, BlipMatcher
from transforms.capfilt.endpoint import Endpoint
from transforms.capfilt.load import load_captioner, load_matcher, refuse_same_weights, unpacked
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy
from transforms.hub.policy import weight_digests

NAMED = "rules.2.capfilt: captioner a and filter b"


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_captioner(tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module")
def itm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_itm(tmp_path_factory.mktemp("itm"))


def _judge_of(captioner: Path, folder: Path, *, dtype: torch.dtype, tower_only: bool) -> Path:
    """A filter with the captioner's own weights beneath a new ITM head, in a file of its own; or
    with its vision model alone."""
    torch.manual_seed(5)
    written = BlipForConditionalGeneration.from_pretrained(str(captioner))
    judge = BlipForImageTextRetrieval(written.config)
    with torch.no_grad():
        for weights in judge.parameters():
            if weights.ndim > 1:
                weights.normal_(std=0.3)
    judge.vision_model.load_state_dict(written.vision_model.state_dict())
    if not tower_only:
        own = judge.text_encoder.state_dict()
        bert = written.text_decoder.bert.state_dict()
        judge.text_encoder.load_state_dict({name: bert[name] for name in own})
    judge.to(dtype).save_pretrained(str(folder))  # pyright: ignore
    BlipProcessor.from_pretrained(str(captioner)).save_pretrained(str(folder))
    return folder


def _refuse(captioner: Path, itm: Path, precision: str = "fp32") -> None:
    policy = CaptionerPolicy.model_validate({"model": str(captioner), "precision": precision})
    judge = ItmPolicy(model=str(itm))
    assert not weight_digests(policy) & weight_digests(judge)  # files tell nothing here
    refuse_same_weights(load_captioner(policy), load_matcher(judge), NAMED)


def test_models_of_other_seeds_pass(captioner: Path, itm: Path) -> None:
    _refuse(captioner, itm)


def test_a_filter_of_the_captioners_weights_is_refused(captioner: Path, tmp_path: Path) -> None:
    judge = _judge_of(captioner, tmp_path / "judge", dtype=torch.float32, tower_only=False)
    with pytest.raises(BadInputError, match=re.escape(NAMED)) as refused:
        _refuse(captioner, judge)
    assert str(refused.value).endswith("take two models.")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_that_were_only_rounded_are_the_same(
    captioner: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    judge = _judge_of(captioner, tmp_path / "judge", dtype=dtype, tower_only=False)
    with pytest.raises(BadInputError, match="mostly the same weights"):
        _refuse(captioner, judge)


def test_models_that_only_have_a_pad_in_common_pass() -> None:
    """transformers sets the row of the pad, the first of all embeddings, to 0."""
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Embedding(4000, 128, padding_idx=0), torch.nn.Linear(64, 64)
        )
        models.append(SimpleNamespace(model=model))
    refuse_same_weights(*models, NAMED)
    with pytest.raises(BadInputError, match="mostly the same weights"):
        refuse_same_weights(models[0], models[0], NAMED)


def test_an_int8_captioner_is_compared_by_the_numbers_it_was_packed_from(
    captioner: Path, tmp_path: Path
) -> None:
    judge = ItmPolicy(
        model=str(_judge_of(captioner, tmp_path / "j", dtype=torch.bfloat16, tower_only=False))
    )
    policy = CaptionerPolicy(model=str(captioner), precision="int8")
    assert unpacked(policy).precision == "fp32"
    assert unpacked(judge) == judge
    with pytest.raises(BadInputError, match="mostly the same weights"):
        refuse_same_weights(load_captioner(unpacked(policy)), load_matcher(judge), NAMED)


def test_a_captioner_held_in_bf16_is_the_same_captioner(captioner: Path, tmp_path: Path) -> None:
    judge = _judge_of(captioner, tmp_path / "judge", dtype=torch.float32, tower_only=False)
    with pytest.raises(BadInputError, match="mostly the same weights"):
        _refuse(captioner, judge, precision="bf16")


def test_a_shared_vision_tower_alone_is_no_own_judge(captioner: Path, tmp_path: Path) -> None:
    """As BLIP-2's published captioners and filter have one frozen tower: texts are what a filter
    must judge by weights of its own."""
    judge = _judge_of(captioner, tmp_path / "judge", dtype=torch.float32, tower_only=True)
    _refuse(captioner, judge)


def test_a_tower_that_is_most_of_the_filter_is_no_own_judge(tmp_path: Path) -> None:
    """BLIP-2's frozen ViT-g has 986M of the 1.2G weights of its retrieval model."""

    class _Model(torch.nn.Module):
        def __init__(self, tower: torch.nn.Module) -> None:
            super().__init__()
            self.vision_model = tower
            self.qformer = torch.nn.Linear(8, 8)

    tower = torch.nn.Linear(64, 64)
    one, other = _Model(tower), _Model(tower)
    written = BlipCaptioner(CaptionerPolicy(model="a"), one, None)
    refuse_same_weights(written, BlipMatcher(ItmPolicy(model="b"), other, None), NAMED)


def test_a_servers_model_passes(itm: Path) -> None:
    settings = {"backend": "endpoint", "model": "m", "url": "http://127.0.0.1:1/v1"}
    captioner = load_captioner(CaptionerPolicy.model_validate(settings))
    assert isinstance(captioner, Endpoint)
    try:
        refuse_same_weights(captioner, load_matcher(ItmPolicy(model=str(itm))), NAMED)
    finally:
        captioner.client.close()


def test_a_model_is_loaded_once_for_a_process(captioner: Path, itm: Path) -> None:
    policy, judge = CaptionerPolicy(model=str(captioner)), ItmPolicy(model=str(itm))
    assert load_captioner(policy) is load_captioner(policy.model_copy())
    assert load_matcher(judge) is load_matcher(judge.model_copy())
    assert load_captioner(policy) is not load_captioner(policy.model_copy(update={"seed": 1}))


def _no_folder(folder: Path, _: Path) -> Path:
    return folder / "none"


def _no_config(folder: Path, captioner: Path) -> Path:
    shutil.copytree(captioner, folder / "copy")
    (folder / "copy" / "config.json").unlink()
    return folder / "copy"


def _other_class(folder: Path, captioner: Path) -> Path:
    """A captioner has no text encoder and no ITM head."""
    return shutil.copytree(captioner, folder / "copy")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_no_folder, "There is no folder"),
        (_no_config, "no config.json"),
        (_other_class, "do not fit its architecture"),
    ],
)
def test_a_filter_that_is_none_is_told_in_one_sentence(
    captioner: Path, tmp_path: Path, make: Callable[[Path, Path], Path], words: str
) -> None:
    with pytest.raises(BadInputError, match=words) as told:
        load_matcher(ItmPolicy(model=str(make(tmp_path, captioner))))
    assert "\n" not in str(told.value)
