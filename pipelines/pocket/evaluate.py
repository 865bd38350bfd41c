"""What the pocket CLIP can do, computed from its weights each time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from pipelines.demo.pictures import photographs
from pipelines.pocket.drawn import draw_scenes
from pipelines.pocket.metrics import F32, recall_at, right_and_wrong, separation
from pipelines.pocket.model import load_model
from pipelines.pocket.photos import is_dev, read_photos
from schemas.errors import BadInputError

_BATCH = 64
Report = dict[str, dict[str, float]]


def evaluate(
    model: Path,
    *,
    scenes: int,
    photos: Path | None,
    split: str = "val",
    shards: Path | None = None,
    thresholds: Sequence[float] = (),
    seed: int = 0,
) -> Report:
    """Figures by data set: `scenes` (held-out combinations only), `photos` (one split) and `dev`,
    the photographs of the training shards that training kept apart, to choose a threshold by.

    AUC: each image with each of its captions (a scene: with one wording by chance), against each
    image with as many captions of another image, drawn by `seed`; one threshold for all images.
    R@10: for every caption, whether its image is among the ten best of all images.

    Raises: BadInputError: the photographs or the shards cannot be used."""
    towers = _Towers(model)
    report: Report = {}
    if scenes:
        report["scenes"] = _figures(*_of_scenes(towers, scenes, seed), thresholds, seed)
    if photos is not None:
        report["photos"] = _figures(*_of_photos(towers, photos, split), thresholds, seed)
    if shards is not None:
        report["dev"] = _figures(*_of_dev(towers, shards), thresholds, seed)
    return report


class _Towers:
    """The two encoders, as a user of open_clip would call them."""

    def __init__(self, folder: Path) -> None:
        self._model, self._preprocess, self._tokenizer = load_model(folder)

    @torch.inference_mode()
    def images(self, images: Sequence[Image.Image]) -> F32:
        batches = [images[at : at + _BATCH] for at in range(0, len(images), _BATCH)]
        rows = [
            self._model.encode_image(torch.stack([self._preprocess(image) for image in batch]))
            for batch in batches
        ]
        return F.normalize(torch.cat(rows), dim=-1).numpy()

    @torch.inference_mode()
    def texts(self, captions: Sequence[Sequence[str]]) -> F32:
        flat = [text for texts in captions for text in texts]
        rows = [
            self._model.encode_text(self._tokenizer(flat[at : at + 8 * _BATCH]))
            for at in range(0, len(flat), 8 * _BATCH)
        ]
        return (
            F.normalize(torch.cat(rows), dim=-1)
            .numpy()
            .reshape(len(captions), -1, rows[0].shape[-1])
        )


def _of_scenes(towers: _Towers, count: int, seed: int) -> tuple[F32, F32]:
    drawn = draw_scenes(count, seed, held_out=True, processes=1)
    rng = np.random.default_rng(seed)
    said = [[texts[int(rng.integers(len(texts)))]] for texts in drawn.captions]
    return towers.images([Image.fromarray(p) for p in drawn.pixels]), towers.texts(said)


def _of_photos(towers: _Towers, folder: Path, split: str) -> tuple[F32, F32]:
    pictures = photographs(folder, split)
    fewest = min(len(picture.captions) for picture in pictures)
    images = []
    for picture in pictures:
        assert isinstance(picture.source, Path)
        with Image.open(picture.source) as image:
            images.append(image.convert("RGB"))
    return towers.images(images), towers.texts([p.captions[:fewest] for p in pictures])


def _of_dev(towers: _Towers, shards: Path) -> tuple[F32, F32]:
    photos = [photo for photo in read_photos(shards) if is_dev(photo.uid)]
    if len(photos) < 2:
        raise BadInputError(f"{shards}: training kept no two photographs of these shards apart")
    fewest = min(len(photo.captions) for photo in photos)
    images = towers.images([Image.fromarray(photo.pixels) for photo in photos])
    return images, towers.texts([photo.captions[:fewest] for photo in photos])


def _figures(image: F32, text: F32, thresholds: Sequence[float], seed: int) -> dict[str, float]:
    right, wrong = right_and_wrong(image, text, seed)
    found = separation(right, wrong)
    figures = {
        "images": float(len(image)),
        "auc": found.auc,
        "recall_at_10": recall_at(image, text),
        "wrong_dropped_at_10_percent_loss": found.wrong_dropped_at_10,
        "threshold_at_10_percent_loss": found.threshold_at_10,
    }
    for threshold in thresholds:
        figures[f"wrong_dropped_under_{threshold:g}"] = float((wrong < threshold).mean())
        figures[f"right_lost_under_{threshold:g}"] = float((right < threshold).mean())
    return figures
