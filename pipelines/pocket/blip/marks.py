"""How good the pocket captioner and the pocket ITM are, computed from their weights each time."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from pipelines.demo.pictures import Picture, open_picture, original_bytes, photographs
from pipelines.demo.scenes import Scene, captions, draw, sample_scene
from pipelines.pocket.metrics import auc, derangement
from pipelines.pocket.photos import is_dev, read_photos
from pipelines.recipe import POCKET_TEMPERATURE
from transforms.capfilt.blip import load_blip_captioner, load_blip_matcher
from transforms.capfilt.models import Captioner, Matcher
from transforms.capfilt.policy import CaptionerPolicy, ItmPolicy
from transforms.capfilt.seeds import seeds_of
from transforms.evaluate.cider import cider, make_references

T = TypeVar("T")

_BATCH, _THREADS = 32, 2
_SCENE_PX, _CONSTANTS = 160, 300


def measure(
    captioner: Path, itm: Path, *, photos: Path, split: str, scenes: int, seed: int
) -> dict[str, float]:
    """Marks by name; those of photographs are of one split, those of scenes of combinations that
    no model was trained on.

    Raises: BadInputError: a model or the photographs are missing."""
    shown = photographs(photos, split)
    references = {picture.name: list(picture.captions) for picture in shown}
    beam = _captioner(captioner, "beam", seed)
    written = _captions(beam, shown, seed)
    drawn = _captions(_captioner(captioner, "nucleus", seed), shown, seed)
    found = {
        "captioner_cider_beam": cider(written, references).corpus,
        "captioner_cider_nucleus": cider(drawn, references).corpus,
        "constant_caption_cider": _best_constant(references, written, seed),
        "itm_auc": _itm_auc(_matcher(itm), shown, seed),
    }
    if scenes:
        rng = random.Random(seed)
        asked = [sample_scene(rng, held_out=True) for _ in range(scenes)]
        found["scenes_captioned_right"] = _scenes_right(beam, asked, seed)
    return found


def by_temperature(
    captioner: Path, shards: Path, temperatures: Sequence[float], seed: int
) -> dict[float, float]:
    """CIDEr of what is drawn at each temperature, of the photographs that training kept apart.

    Raises: BadInputError: the model is missing, or the shards are not what they should be."""
    photos = [photo for photo in read_photos(shards) if is_dev(photo.uid)]
    references = make_references({photo.uid: list(photo.captions) for photo in photos})
    found: dict[float, float] = {}
    for temperature in temperatures:
        model = _captioner(captioner, "nucleus", seed, temperature)
        said: dict[str, str] = {}
        for batch in _batches(photos):
            images = [Image.fromarray(photo.pixels) for photo in batch]
            texts = model.caption(images, [seeds_of(p.uid.encode(), seed, 1) for p in batch])
            said |= {photo.uid: own[0] for photo, own in zip(batch, texts, strict=True)}
        found[temperature] = cider(said, references).corpus
    return found


def _captioner(
    folder: Path, decoding: str, seed: int, temperature: float = POCKET_TEMPERATURE
) -> Captioner:
    settings = {"model": str(folder), "decoding": decoding, "seed": seed, "threads": _THREADS}
    settings["temperature"] = temperature
    return load_blip_captioner(CaptionerPolicy.model_validate(settings))


def _matcher(folder: Path) -> Matcher:
    return load_blip_matcher(ItmPolicy(model=str(folder), threads=_THREADS, batch_size=128))


def _captions(model: Captioner, pictures: Sequence[Picture], seed: int) -> dict[str, str]:
    """One caption of each photograph, by its name."""
    found: dict[str, str] = {}
    for batch in _batches(pictures):
        files = [original_bytes(picture) for picture in batch]
        seeds = [seeds_of(data, seed, 1) for data in files]
        texts = model.caption([open_picture(picture) for picture in batch], seeds)
        found |= {picture.name: own[0] for picture, own in zip(batch, texts, strict=True)}
    return found


def _best_constant(references: dict[str, list[str]], written: dict[str, str], seed: int) -> float:
    """The CIDEr of the best single caption for all images, of some that people or the model
    wrote."""
    asked = make_references(references)
    said = sorted({text for texts in references.values() for text in texts})
    tried = {*random.Random(seed).sample(said, min(_CONSTANTS, len(said))), *_common(written)}
    return max(float(np.mean(list(asked.score_each(text).values()))) for text in sorted(tried))


def _common(written: dict[str, str]) -> list[str]:
    texts = list(written.values())
    return sorted({*texts}, key=lambda text: (-texts.count(text), text))[:50]


def _itm_auc(model: Matcher, pictures: Sequence[Picture], seed: int) -> float:
    """Each photograph with its captions, against those of another one."""
    others = derangement(len(pictures), np.random.default_rng(seed)).tolist()
    right: list[float] = []
    wrong: list[float] = []
    for batch in _batches(list(zip(pictures, others, strict=True))):
        texts = [[*shown.captions, *pictures[other].captions] for shown, other in batch]
        scores = model.match([open_picture(shown) for shown, _ in batch], texts)
        for (shown, _), own in zip(batch, scores, strict=True):
            right += own[: len(shown.captions)]
            wrong += own[len(shown.captions) :]
    return auc(np.array(right), np.array(wrong))


def _scenes_right(model: Captioner, scenes: Sequence[Scene], seed: int) -> float:
    """The share whose caption names both shapes, their colours and how they lie, all right."""
    right = 0
    for batch in _batches(scenes):
        pictures = [draw(scene, _SCENE_PX) for scene in batch]
        texts = model.caption(pictures, [[seed] for _ in batch])
        right += sum(own[0] in captions(scene) for own, scene in zip(texts, batch, strict=True))
    return right / len(scenes)


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[n : n + _BATCH] for n in range(0, len(items), _BATCH)]
