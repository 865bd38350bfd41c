"""Drawn scenes for training, as the mill would hand them to the model: resized and as JPEG."""

import io
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from PIL import Image

from pipelines.demo.scenes import Scene, captions, draw, sample_scene
from pipelines.pocket.photos import U8, decode
from pipelines.pocket.views import VIEW_PX

_SIZES_PX = (64, 96, 128, 160, 224, 288)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Scenes, their pictures and all their captions."""

    scenes: tuple[Scene, ...]
    pixels: U8  # (N, VIEW_PX, VIEW_PX, 3)
    captions: tuple[tuple[str, ...], ...]  # as many for each scene


def draw_scenes(count: int, seed: int, *, held_out: bool, processes: int) -> Drawn:
    """`count` scenes, the same for the same seed whatever the number of processes."""
    scenes = tuple(_scenes(count, random.Random(seed), held_out))
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            pictures = list(pool.map(_picture, scenes, chunksize=64))
    else:
        pictures = [_picture(scene) for scene in scenes]
    return Drawn(
        scenes=scenes,
        pixels=np.stack(pictures),
        captions=tuple(tuple(captions(scene)) for scene in scenes),
    )


def _scenes(count: int, rng: random.Random, held_out: bool) -> Iterator[Scene]:
    return (sample_scene(rng, held_out) for _ in range(count))


def _picture(scene: Scene) -> U8:
    """One scene as the model gets to see it, after a size and a JPEG quality by chance."""
    rng = random.Random(scene.jitter ^ 0x5EED)
    pixels = draw(scene, rng.choice(_SIZES_PX))
    jpeg = io.BytesIO()
    pixels.save(jpeg, "JPEG", quality=rng.randint(70, 95))
    image = Image.fromarray(decode(jpeg.getvalue()))
    return np.asarray(image.resize((VIEW_PX, VIEW_PX), Image.Resampling.BICUBIC))


def captions_of_scenes(count: int, seed: int) -> list[str]:
    """All wordings of `count` training scenes, for the tokenizer."""
    scenes = _scenes(count, random.Random(seed), held_out=False)
    return [caption for scene in scenes for caption in captions(scene)]
