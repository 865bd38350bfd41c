import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipVisionModel,
)

from schemas.errors import BadInputError
from tests.transforms.capfilt.blip_models import save_captioner, save_itm
from transforms.capfilt.blip import _without, load_blip_captioner, load_blip_matcher
from transforms.capfilt.blip_vision import see
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_captioner(tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module")
def itm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_itm(tmp_path_factory.mktemp("itm"))


def _pictures(count: int = 5) -> list[Image.Image]:
    noise = random.Random(3)
    sides = [(32, 32), (48, 30), (20, 50)]
    return [
        Image.frombytes("RGB", (4, 4), noise.randbytes(48)).resize(sides[n % 3])
        for n in range(count)
    ]


def _policy(folder: Path, **settings: object) -> CaptionerPolicy:
    return CaptionerPolicy.model_validate({"model": str(folder), "min_tokens": 2} | settings)


def _seeds(images: int, each: int) -> list[list[int]]:
    return [[1000 * image + number for number in range(each)] for image in range(images)]


@pytest.mark.parametrize("settings", [{}, {"prompt": "a red"}, {"top_p": 0.5, "temperature": 2.0}])
def test_captions_are_those_of_the_plain_loop(captioner: Path, settings: dict[str, object]) -> None:
    loaded = load_blip_captioner(_policy(captioner, **settings))
    pictures, seeds = _pictures(), _seeds(5, 3)
    found = loaded.caption(pictures, seeds)
    assert len({text for own in found for text in own}) > 5  # not all alike
    for picture, own, texts in zip(pictures, seeds, found, strict=True):
        assert texts == [_plain(captioner, loaded.policy, picture, seed) for seed in own]


def _plain(folder: Path, policy: CaptionerPolicy, picture: Image.Image, seed: int) -> str:
    """One caption as transformers' documentation samples it."""
    loaded = load_blip_captioner(policy)
    model = BlipForConditionalGeneration.from_pretrained(str(folder))
    inputs = loaded.processor(images=picture, text=policy.prompt, return_tensors="pt")
    torch.manual_seed(seed)
    tokens = model.generate(
        **inputs,
        do_sample=True,
        top_k=0,
        top_p=policy.top_p,
        temperature=policy.temperature,
        repetition_penalty=policy.repetition_penalty,
        min_new_tokens=policy.min_tokens,
        max_new_tokens=policy.max_tokens,
    )
    text = loaded.processor.decode(tokens[0], skip_special_tokens=True)
    return text.removeprefix(policy.prompt or "").strip()


def test_captions_do_not_depend_on_what_shares_the_batch(captioner: Path) -> None:
    loaded = load_blip_captioner(_policy(captioner))
    pictures, seeds = _pictures(), _seeds(5, 2)
    together = loaded.caption(pictures, seeds)
    alone = [loaded.caption([p], [s])[0] for p, s in zip(pictures, seeds, strict=True)]
    turned = loaded.caption(pictures[::-1], seeds[::-1])[::-1]
    assert together == alone == turned


@pytest.mark.parametrize("decoding", ["beam", "greedy"])
def test_without_chance_the_seed_changes_nothing(captioner: Path, decoding: str) -> None:
    loaded = load_blip_captioner(_policy(captioner, decoding=decoding))
    pictures = _pictures(3)
    found = loaded.caption(pictures, _seeds(3, 1))
    assert found == loaded.caption(pictures, [[9], [8], [7]])
    assert all(len(own) == 1 for own in found)


def test_vision_is_seen_once_for_all_candidates(captioner: Path) -> None:
    rows: list[int] = []

    def looking(model: BlipVisionModel, pixels: Tensor) -> Tensor:
        rows.append(len(pixels))
        return see(model, pixels)

    loaded = replace(load_blip_captioner(_policy(captioner)), see=looking)
    loaded.caption(_pictures(3), _seeds(3, 7))
    assert rows == [3]


def test_what_is_compiled_is_what_runs(
    captioner: Path, itm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []

    def compiling(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            compiled.append(function)
            return function(*given)

        return run

    monkeypatch.setattr(torch, "compile", compiling)
    loaded = load_blip_captioner(_policy(captioner, compile=True))
    plain = load_blip_captioner(_policy(captioner))
    assert loaded.caption(_pictures(), _seeds(5, 1)) == plain.caption(_pictures(), _seeds(5, 1))
    assert compiled == [see]
    judge = load_blip_matcher(ItmPolicy(model=str(itm), compile=True))
    judge.match(_pictures(1), [["a cat"]])
    assert compiled == [see, see]


def test_fused_attention_sees_the_same(captioner: Path) -> None:
    model = BlipForConditionalGeneration.from_pretrained(str(captioner)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        wanted = model.vision_model(pixels).last_hidden_state
        torch.testing.assert_close(see(model.vision_model, pixels), wanted, rtol=1e-4, atol=1e-5)


def test_matches_are_those_of_the_model_alone(itm: Path) -> None:
    loaded = load_blip_matcher(ItmPolicy(model=str(itm), batch_size=4))
    model = BlipForImageTextRetrieval.from_pretrained(str(itm)).eval()
    pictures = _pictures(3)
    texts = [["a red cat", "the dog runs on the box near a tree"], [], ["a man"] * 5]
    found = loaded.match(pictures, texts)
    assert [len(own) for own in found] == [2, 0, 5]
    for picture, own, scores in zip(pictures, texts, found, strict=True):
        for text, score in zip(own, scores, strict=True):
            inputs = loaded.processor(images=picture, text=text, return_tensors="pt")
            with torch.inference_mode():
                wanted = model(**inputs).itm_score.softmax(-1)[0, 1].item()
            assert score == pytest.approx(wanted, abs=1e-5)
    assert len({round(score, 4) for own in found for score in own}) > 2


def test_more_tokens_than_there_is_room_for_are_refused(captioner: Path) -> None:
    with pytest.raises(BadInputError, match=r"has room for \d+ new tokens: max_tokens is 4000"):
        load_blip_captioner(_policy(captioner, max_tokens=4000))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A photo of a dog", "of a dog"),
        ("a photograph of a dog", "a photograph of a dog"),
        ("a  photo", ""),
        ("two dogs", "two dogs"),
    ],
)
def test_a_prompt_is_taken_off_in_whole_words(text: str, left: str) -> None:
    assert _without("a photo", text) == left
    assert _without(None, text) == " ".join(text.split())


def test_long_texts_are_cut(itm: Path) -> None:
    loaded = load_blip_matcher(ItmPolicy(model=str(itm), max_tokens=8))
    cut, short = loaded.match(_pictures(1), [["a " * 500, "a a a a a a"]])[0]
    assert cut == pytest.approx(short, abs=1e-6)
