"""BLIP-2, GIT and chat captioners: seeds, batches and how often a picture is looked at."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from schemas.errors import BadInputError
from transforms.capfilt.endpoint import question
from transforms.capfilt.generate import Generator, load_generator, seen_once
from transforms.capfilt.policy import CaptionerPolicy
from transforms.hub.errors import ModelError
from transforms.hub.load import vision_towers

MODELS = ["git", "opt", "t5", "llava", "qwen"]
BACKENDS = {"git": "git", "opt": "blip2", "t5": "blip2", "llava": "chat", "qwen": "chat"}
SEEDS = [[1, 2, 3], [4, 5, 6], [1, 2, 9], [7, 7, 8], [2**62, 10, 11], [12, 13, 14]]


@pytest.fixture(scope="session")
def folders(
    git_folder: Path, blip2_folders: dict[str, Path], llava_folder: Path, qwen_folder: Path
) -> dict[str, Path]:
    return {"git": git_folder, **blip2_folders, "llava": llava_folder, "qwen": qwen_folder}


@pytest.fixture
def load(folders: dict[str, Path]) -> Callable[..., Generator]:
    def load(name: str, **settings: Any) -> Generator:
        policy = CaptionerPolicy(
            **{
                "backend": BACKENDS[name],
                "model": str(folders[name]),
                "candidates": 3,
                "min_tokens": 4,
                "max_tokens": 9,
                **settings,
            }
        )
        return load_generator(policy)

    return load


def _plainly(captioner: Generator, picture: Image.Image, seed: int | None, **asked: Any) -> str:
    """The loop that transformers' documentation shows: one picture, the global generator."""
    inputs = captioner.prepare([picture])
    policy = captioner.policy
    if seed is not None:
        asked = {"do_sample": True, "top_k": 0, "top_p": policy.top_p, **asked}
        torch.manual_seed(seed)
    tokens = captioner.model.generate(
        **{name: one for name, one in inputs.items()},
        repetition_penalty=policy.repetition_penalty,
        min_new_tokens=policy.min_tokens,
        max_new_tokens=policy.max_tokens,
        **asked,
    )
    if not captioner.model.config.is_encoder_decoder:
        tokens = tokens[:, inputs["input_ids"].shape[1] :]
    return " ".join(captioner.processor.decode(tokens[0], skip_special_tokens=True).split())


@pytest.mark.parametrize("name", MODELS)
def test_captions_are_those_of_the_plain_loop_whatever_shares_the_batch(
    name: str, load: Callable[..., Generator], pictures: list[Image.Image]
):
    captioner = load(name, temperature=0.8)
    together = captioner.caption(pictures, SEEDS)
    alone = [
        captioner.caption([picture], [seeds])[0]
        for picture, seeds in zip(pictures, SEEDS, strict=True)
    ]
    plainly = [
        [_plainly(captioner, picture, seed, temperature=0.8) for seed in seeds]
        for picture, seeds in zip(pictures, SEEDS, strict=True)
    ]
    assert together == alone == plainly
    assert together[3][0] == together[3][1]  # one seed, one caption
    assert len({text for own in together for text in own}) > 12
    assert all(0 < len(text.split()) <= 9 for own in together for text in own)
    assert not any("[SEP]" in text or "[PAD]" in text for own in together for text in own)


@pytest.mark.parametrize("name", MODELS)
def test_the_picture_changes_the_caption(
    name: str, load: Callable[..., Generator], pictures: list[Image.Image]
):
    found = load(name).caption(pictures, [[1, 2, 3]] * len(pictures))
    assert len({tuple(own) for own in found}) >= 5


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("decoding", ["nucleus", "beam", "greedy"])
def test_a_picture_is_encoded_once(
    name: str,
    decoding: str,
    load: Callable[..., Generator],
    pictures: list[Image.Image],
    count_rows: Callable[[torch.nn.Module], list[int]],
):
    each = 3 if decoding == "nucleus" else 1
    captioner = load(name, decoding=decoding, candidates=each, temperature=0.7)
    [tower] = vision_towers(captioner.model)
    seen = count_rows(tower)
    captioner.caption(pictures[:2], [[1] * each, [2] * each])
    assert seen == [72 if name == "qwen" else 2]  # Qwen's rows are patches: 36 of a picture


def test_hooks_are_taken_off_a_tower_again(
    load: Callable[..., Generator], pictures: list[Image.Image]
):
    model = load("git").model
    with seen_once(model, 2, 3):
        assert vision_towers(model)[0]._forward_hooks
    assert not vision_towers(model)[0]._forward_hooks
    assert not vision_towers(model)[0]._forward_pre_hooks


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("decoding", "beams"), [("beam", 3), ("greedy", 1)])
def test_beams_and_greedy_decoding_are_those_of_transformers(
    name: str,
    decoding: str,
    beams: int,
    load: Callable[..., Generator],
    pictures: list[Image.Image],
):
    captioner = load(name, decoding=decoding, candidates=1)
    found = captioner.caption(pictures, [[1]] * len(pictures))
    plainly = [
        [_plainly(captioner, picture, None, do_sample=False, num_beams=beams)]
        for picture in pictures
    ]
    assert found == plainly


def _told_prompts(captioner: Generator, picture: Image.Image) -> str:
    tokens = captioner.prepare([picture])["input_ids"][0]
    return captioner.processor.decode(tokens, skip_special_tokens=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_prompt_is_asked_and_cut_off(
    name: str, load: Callable[..., Generator], pictures: list[Image.Image]
):
    captioner = load(name, prompt="a photo of", decoding="greedy", candidates=1)
    assert _told_prompts(captioner, pictures[0]).split()[:3] == ["a", "photo", "of"]
    found = captioner.caption(pictures[:1], [[1]])
    assert found == [[_plainly(captioner, pictures[0], None, do_sample=False, num_beams=1)]]
    assert not found[0][0].startswith("a photo of")
    assert found != load(name, decoding="greedy", candidates=1).caption(pictures[:1], [[1]])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_chat_model_is_asked_in_the_language_of_its_captions(language: Any):
    policy = CaptionerPolicy(backend="chat", model="some", language=language)
    said = question(policy)
    assert said.isascii() == (language == "en")
    assert question(policy.model_copy(update={"prompt": "Who?"})) == "Who?"


@pytest.mark.parametrize("name", ["opt", "qwen"])
def test_a_folder_of_other_sampling_settings_changes_nothing(
    name: str,
    folders: dict[str, Path],
    load: Callable[..., Generator],
    tmp_path: Path,
    pictures: list[Image.Image],
):
    folder = shutil.copytree(folders[name], tmp_path / "model")
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text())
    cold = {"temperature": 0.01, "top_k": 1, "repetition_penalty": 3.0, "do_sample": True}
    path.write_text(json.dumps({**settings, **cold, "min_p": 0.5, "no_repeat_ngram_size": 1}))
    found = load(name, model=str(folder)).caption(pictures, SEEDS)
    assert found == load(name).caption(pictures, SEEDS)


def test_a_template_gets_no_date_of_the_day(
    llava_folder: Path, load: Callable[..., Generator], tmp_path: Path, pictures: list[Image.Image]
):
    folder = shutil.copytree(llava_folder, tmp_path / "model")
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + " {{ date_string | default(strftime_now('%Y')) }}")
    tokens = load("llava", model=str(folder)).prepare(pictures[:1])["input_ids"]
    plain = load("llava").prepare(pictures[:1])["input_ids"]
    assert tokens.shape[1] == plain.shape[1] + 3  # 26 Jul 2024


def test_a_model_without_a_chat_template_is_refused(
    llava_folder: Path, load: Callable[..., Generator], tmp_path: Path
):
    folder = shutil.copytree(llava_folder, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BadInputError, match="no chat template"):
        load("llava", model=str(folder))


def test_a_blip2_that_names_no_image_token_is_refused(
    blip2_folders: dict[str, Path], load: Callable[..., Generator], tmp_path: Path
):
    folder = shutil.copytree(blip2_folders["opt"], tmp_path / "model")
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"image_token_index": 5', '"image_token_index": null'))
    with pytest.raises(BadInputError, match="image_token_index"):
        load("opt", model=str(folder))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_int8_or_bf16_captions_too(
    name: str, load: Callable[..., Generator], pictures: list[Image.Image]
):
    for precision in ("int8", "bf16"):
        found = load(name, precision=precision).caption(pictures[:2], SEEDS[:2])
        assert [len(own) for own in found] == [3, 3]
        assert all(text for own in found for text in own)


@pytest.mark.parametrize("name", ["git", "llava"])
def test_a_fault_of_the_model_is_a_model_fault(name: str, load: Callable[..., Generator]):
    nothing = Image.new("RGB", (0, 0))
    with pytest.raises(ModelError, match=r"^The model failed with \w+: [^\n]+\.$"):
        load(name).caption([nothing], [[1, 2, 3]])
