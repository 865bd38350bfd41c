"""Views of the training photographs, each with the teacher's features of the very same pixels.

A student that sees what its teacher saw (crops, flips and mixtures, not only whole photographs)
copies it as a function (Beyer et al. 2022, "A good teacher is patient and consistent").
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipelines.pocket.photos import U8, Photo
from pipelines.pocket.projection import Projection
from pipelines.pocket.teacher import FEATURE_WIDTH, TEACHER_PX, Teacher

F16 = npt.NDArray[np.float16]
VIEW_PX = 128  # the size at which the student reads a picture
_BATCH, _PROJECTED = 256, 1024  # photographs read at a time; those that the projection is made from
# What view number n shows: w a whole photograph, c a crop of it, m two photographs' crops mixed.
_KINDS = "wccmcmcccmcm"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of each photograph, in their order."""

    pixels: U8  # (N, VIEW_PX, VIEW_PX, 3)
    features: F16 | None  # (N, FEATURE_WIDTH), the mean over places; None without a teacher
    maps: F16 | None  # (N, MAP_SIDE**2, MAP_WIDTH), the main parts of the features at each place
    mixed: bool  # shows two photographs, so no caption is true of it


def teach(
    photos: Sequence[Photo],
    teacher: Teacher | None,
    cache: Path,
    *,
    views: int,
    threads: int,
    say: Callable[[str], None] = print,
) -> list[View]:
    """The first `views` views of each photograph; those already in `cache` are read from it."""
    folder = cache / _fingerprint(photos, taught=teacher is not None)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(views) if not _file(folder, n, "pixels").exists()]
    projection = _projection(photos, teacher, folder, threads) if teacher and missing else None
    for number in missing:
        taught = (teacher, projection) if teacher and projection else None
        _save_view(photos, taught, folder, number, threads)
        say(f"view {number + 1} of {views}: {len(photos)} photographs")
    return [_load(folder, number, taught=teacher is not None) for number in range(views)]


def _load(folder: Path, number: int, *, taught: bool) -> View:
    return View(
        pixels=np.load(_file(folder, number, "pixels"), mmap_mode="r"),
        features=np.load(_file(folder, number, "features")) if taught else None,
        maps=np.load(_file(folder, number, "maps"), mmap_mode="r") if taught else None,
        mixed=_kind(number) == "m",
    )


def _projection(
    photos: Sequence[Photo], teacher: Teacher, folder: Path, threads: int
) -> Projection:
    """Made from the maps of some whole photographs, once for all views in `folder`."""
    mean, basis = folder / "mean.npy", folder / "basis.npy"
    if not basis.exists():
        images = [_shown(photos, n, 0) for n in range(min(_PROJECTED, len(photos)))]
        fitted = Projection.fit(teacher.maps_of(images, threads).reshape(-1, FEATURE_WIDTH))
        _save(mean, fitted.mean)
        _save(basis, fitted.basis)
    return Projection(np.load(mean), np.load(basis))


def _kind(number: int) -> str:
    return _KINDS[number] if number < len(_KINDS) else "cm"[number % 2]


def _fingerprint(photos: Sequence[Photo], *, taught: bool) -> str:
    digest = hashlib.sha256(f"{_KINDS} {VIEW_PX} maps{'' if taught else ' untaught'}".encode())
    for photo in photos:
        digest.update(photo.uid.encode() + photo.pixels.tobytes())
    return digest.hexdigest()[:16]


def _file(folder: Path, number: int, what: str) -> Path:
    return folder / f"{number:02d}.{what}.npy"


def _save(file: Path, array: npt.NDArray[np.generic]) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as sink:
        np.save(sink, array)
    os.replace(part, file)


def _save_view(
    photos: Sequence[Photo],
    taught: tuple[Teacher, Projection] | None,
    folder: Path,
    number: int,
    threads: int,
) -> None:
    """The pixels last: a view is there once they are."""
    pixels, features, maps = [], [], []
    for start in range(0, len(photos), _BATCH):
        indexes = range(start, min(start + _BATCH, len(photos)))
        images = [_shown(photos, index, number) for index in indexes]
        if taught is not None:
            teacher, projection = taught
            found = teacher.maps_of(images, threads)
            features.append(found.mean(axis=1).astype(np.float16))
            maps.append(projection.apply(found).astype(np.float16))
        pixels += [np.asarray(_shrunk(image)) for image in images]
    if taught is not None:
        _save(_file(folder, number, "features"), np.concatenate(features))
        _save(_file(folder, number, "maps"), np.concatenate(maps))
    _save(_file(folder, number, "pixels"), np.stack(pixels))


def _shrunk(image: Image.Image) -> Image.Image:
    return image.resize((VIEW_PX, VIEW_PX), Image.Resampling.BICUBIC)


def _shown(photos: Sequence[Photo], index: int, number: int) -> Image.Image:
    """View `number` of one photograph: TEACHER_PX square, the same for ever."""
    rng = np.random.default_rng((number, index))
    kind, pixels = _kind(number), photos[index].pixels
    if kind == "w":
        return _squashed(Image.fromarray(pixels))
    if kind == "c":
        return _crop(pixels, rng)
    other = photos[int(rng.integers(len(photos)))].pixels
    return _mixture(_crop(pixels, rng), _crop(other, rng), rng)


def _squashed(image: Image.Image) -> Image.Image:
    return image.resize((TEACHER_PX, TEACHER_PX), Image.Resampling.BICUBIC)


def _crop(pixels: U8, rng: np.random.Generator) -> Image.Image:
    """A part of 40 to 100 % of the area, up to a quarter out of shape, mirrored half the time."""
    share, stretch = rng.uniform(0.4, 1.0), np.exp(rng.uniform(-0.25, 0.25))
    height, width = pixels.shape[:2]
    w, h = min(1.0, np.sqrt(share * stretch)) * width, min(1.0, np.sqrt(share / stretch)) * height
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    image = Image.fromarray(pixels).resize(
        (TEACHER_PX, TEACHER_PX), Image.Resampling.BICUBIC, box=(left, top, left + w, top + h)
    )
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def _mixture(a: Image.Image, b: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Two pictures blended (Zhang et al. 2018), or a part of one pasted on the other."""
    if rng.random() < 0.5:
        return Image.blend(a, b, float(rng.uniform(0.2, 0.5)))
    side = int(TEACHER_PX * rng.uniform(0.4, 0.7))
    left, top = (int(at) for at in rng.integers(0, TEACHER_PX - side, size=2))
    a.paste(b.resize((side, side), Image.Resampling.BICUBIC), (left, top))
    return a
