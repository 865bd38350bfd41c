"""BLIP-2's filter: the numbers of transformers' own forward, each picture encoded once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from transforms.capfilt.blip2_itm import Blip2Matcher, load_blip2_matcher
from transforms.capfilt.policy import ItmPolicy
from transforms.hub.errors import ModelError

TEXTS = [
    ["a red ball", "the small dog runs on wet grass near a tree"],
    ["one cat"],
    [],
    ["two three", "a man", "a woman sits under the blue sky"],
]


@pytest.fixture
def load(blip2_itm_folder: Path) -> Callable[..., Blip2Matcher]:
    def load(**settings: Any) -> Blip2Matcher:
        policy = ItmPolicy(backend="blip2", model=str(blip2_itm_folder), **settings)
        return load_blip2_matcher(policy)

    return load


def _plainly(matcher: Blip2Matcher, picture: Image.Image, text: str) -> float:
    inputs = matcher.processor(images=picture, text=text, return_tensors="pt")
    with torch.inference_mode():
        said = matcher.model(**inputs, use_image_text_matching_head=True)
    return float(said.logits_per_image.softmax(dim=1)[0, 1])


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_probabilities_are_those_of_transformers(
    batch_size: int, load: Callable[..., Blip2Matcher], pictures: list[Image.Image]
):
    matcher = load(batch_size=batch_size)
    found = matcher.match(pictures[:4], TEXTS)
    plainly = [
        [_plainly(matcher, picture, text) for text in own]
        for picture, own in zip(pictures, TEXTS, strict=False)
    ]
    assert [len(own) for own in found] == [2, 1, 0, 3]
    for one, other in zip(found, plainly, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    flat = [one for own in found for one in own]
    assert max(flat) - min(flat) > 0.01
    assert all(0 < one < 1 for one in flat)


def test_a_picture_is_encoded_once_for_all_its_texts(
    load: Callable[..., Blip2Matcher],
    pictures: list[Image.Image],
    count_rows: Callable[[torch.nn.Module], list[int]],
):
    matcher = load(batch_size=2)
    seen = count_rows(matcher.model.vision_model)
    matcher.match(pictures[:4], TEXTS)
    assert seen == [4]


def test_a_text_is_cut_at_its_most_tokens(
    load: Callable[..., Blip2Matcher], pictures: list[Image.Image]
):
    [[cut, short, whole]] = load(max_tokens=5).match(
        pictures[:1], [["a red ball near a tree", "a red ball", "a red dog"]]
    )
    assert cut == pytest.approx(short, abs=1e-6)
    assert whole != pytest.approx(short, abs=1e-4)


def test_bf16_and_int8_stay_near_fp32(
    load: Callable[..., Blip2Matcher], pictures: list[Image.Image]
):
    exact = load().match(pictures[:4], TEXTS)
    for precision in ("bf16", "int8"):
        rough = load(precision=precision).match(pictures[:4], TEXTS)
        for one, other in zip(rough, exact, strict=True):
            assert one == pytest.approx(other, abs=0.15)


def test_what_the_model_cannot_take_is_a_model_fault(load: Callable[..., Blip2Matcher]):
    with pytest.raises(ModelError):
        load().match([Image.new("RGB", (0, 0))], [["a dog"]])
