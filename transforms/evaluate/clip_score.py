"""CLIPScore: how well a caption fits its image by a CLIP model, without references.

Source: Hessel et al. 2021 (arXiv 2104.08718), and its code's prompt.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.errors import BadInputError
from transforms.evaluate.embed import F32
from transforms.shards.pictures import DECODER_ERRORS, ENDINGS, FORMATS, to_rgb

WEIGHT = 2.5
PROMPT = "A photo depicts "  # before every caption, candidates and references alike
COCO_DIGITS = 12  # of an image's number at the end of its file's name


def clipscores(image: F32, text: F32) -> F32:
    """2.5 * max(cosine, 0) of each image and its caption, 0 to 2.5.

    Args:    image, text: (N, D), of norm 1.
    Returns: (N,)."""
    cosines = np.einsum("nd,nd->n", image, text)
    return (WEIGHT * np.maximum(cosines, 0)).astype(np.float32)


def ref_clipscores(scores: F32, text: F32, references: Sequence[F32]) -> F32:
    """RefCLIPScore: the harmonic mean of CLIPScore and of the caption's cosine with the reference
    it is nearest to, no less than 0.

    Args:
        scores: (N,), by `clipscores`.
        text: (N, D), of norm 1: the candidates.
        references: N of (K, D), of norm 1, K >= 1 references each.
    Returns: (N,)."""
    nearest = [float((theirs @ own).max()) for own, theirs in zip(text, references, strict=True)]
    cosines = np.maximum(nearest, 0)
    total = scores + cosines
    means = np.divide(2 * scores * cosines, total, out=np.zeros_like(total), where=total > 0)
    return means.astype(np.float32)


def find_images(folder: Path, images: Iterable[str]) -> dict[str, Path]:
    """The file of each image: named as it is, or by COCO's way with 12 digits at the end.

    Raises: BadInputError: no such folder, or an image without a file."""
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS]
    except OSError as err:
        raise BadInputError(f"{folder} cannot be read: {err.strerror}.") from err
    files = {path.name: path for path in paths} | _one_each(paths, lambda path: path.stem)
    by_number = _one_each(paths, lambda path: path.stem[-COCO_DIGITS:])
    found, taken, lacking = dict[str, Path](), set[Path](), list[str]()
    for image in images:
        path = files.get(image) or files.get(Path(image).name) or files.get(Path(image).stem)
        if path is None and image.isdecimal():
            path = by_number.get(image.zfill(COCO_DIGITS))
        if path is None or path in taken:
            lacking.append(image)
        else:
            found[image] = path
            taken.add(path)
    if lacking:
        raise BadInputError(
            f"{folder} has no file of its own for {len(lacking):,} of"
            f" {len(found) + len(lacking):,} images, the first {lacking[0]!r}: files named after"
            " the images are wanted."
        )
    return found


def _one_each(paths: Iterable[Path], name: Callable[[Path], str]) -> dict[str, Path]:
    """Paths by a name that no other has."""
    named: dict[str, list[Path]] = {}
    for path in paths:
        named.setdefault(name(path), []).append(path)
    return {key: same[0] for key, same in named.items() if len(same) == 1}


def open_image(path: Path) -> Image.Image:
    """In RGB. Raises: BadInputError: the file is no picture that can be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return to_rgb(image)
    except DECODER_ERRORS as err:
        raise BadInputError(f"{path} is no picture that can be read: {err}.") from err
