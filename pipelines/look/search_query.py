"""What is searched for, as one vector: of a text, of a picture, or mixed of both."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from pipelines.job import Job
from pipelines.recipe import CLIP, is_clip
from schemas.errors import BadInputError
from schemas.pair import UID_HEX_DIGITS
from transforms.fetch.decode import decode
from transforms.fetch.records import Failed
from transforms.search.nearest import F32, mix
from transforms.shards.measures import measure_parts, read_measure
from transforms.shards.pool import read_pool
from transforms.shards.vectors import read_vectors


@dataclass(frozen=True, slots=True)
class Query:
    """What the pictures are compared with."""

    vector: F32
    without: int | None  # number of a picture that is not to be found


def measured_model(job: Job, wanted: str | None) -> str:
    """The CLIP model by whose embeddings a run is searched: the one that is wanted, or the one that
    its rules ask for last, or the only one that has embeddings.

    Raises: BadInputError: there is no such model, or it has none."""
    models = list(job.recipe.clip)
    if wanted is not None and wanted not in models:
        raise BadInputError(
            f"There is no CLIP model {wanted!r} in the recipe of {job.run}; there are:"
            f" {', '.join(models)}."
        )
    asked = [name.removeprefix(CLIP) for name in job.measure_names() if is_clip(name)]
    if wanted is None and asked:
        wanted = asked[-1]
    if wanted is not None and _has_parts(job, wanted):
        return wanted
    measured = [name for name in models if name != wanted and _has_parts(job, name)]
    if wanted is None and len(measured) == 1:
        return measured[0]
    if wanted is None and not measured:
        raise BadInputError(
            f"In {job.run} nothing is embedded: no rule of its recipe reads a CLIP model."
        )
    there = f"there are those of: {', '.join(measured)}" if measured else "there are none at all"
    lacking = "no CLIP model is chosen" if wanted is None else f"{wanted} has no embeddings yet"
    raise BadInputError(f"In {job.run} {lacking}; {there}.")


def make_query(
    job: Job, model: str, text: str | None, image: str | Path | None, alpha: float
) -> Query:
    """What `pipelines.look.search.search` is asked for; a text or an image, or both, are given.

    Raises: BadInputError: the image is no uid that was embedded, and no file of an image."""
    pixels, of_image, without = None, None, None
    if image is not None and re.fullmatch(rf"[0-9a-f]{{{UID_HEX_DIGITS}}}", str(image)):
        of_image, without = _kept_vector(job, model, str(image))
    elif image is not None:
        pixels = _open_image(job, Path(image))
    of_text = None
    if text is not None or pixels is not None:
        from transforms.score.clip_model import load_clip  # torch is slow to import

        clip = load_clip(job.recipe.clip_model(model))
        of_text = None if text is None else clip.embed_texts([text])[0]
        of_image = of_image if pixels is None else clip.embed_images([pixels])[0]
    return Query(mix(of_text, of_image, alpha), without)


def _has_parts(job: Job, model: str) -> bool:
    measure = job.measure(CLIP + model)
    return any(measure_parts(measure, shard) for shard in range(job.shards))


def _open_image(job: Job, path: Path) -> Image.Image:
    """The image of a file as the pool would store it, since such are what it is compared with."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise BadInputError(
            f"The image {path} cannot be read ({err.strerror or err}); a row's uid has"
            f" {UID_HEX_DIGITS} digits of 0-9 and a-f."
        ) from err
    decoded = decode(data, job.recipe.fetch)
    if isinstance(decoded, Failed):
        raise BadInputError(f"{path} is no image to search for: {decoded.failure.value}.")
    return Image.open(io.BytesIO(decoded.jpeg)).convert("RGB")


def _kept_vector(job: Job, model: str, uid: str) -> tuple[F32, int]:
    """The kept embedding of a row's picture, and the number of that picture."""
    measure = job.measure(CLIP + model)
    for shard in range(job.shards):
        place = pc.index(read_measure(measure, shard)["uid"], uid).as_py()
        if place >= 0:
            _, vectors = read_vectors(measure, shard, "image")
            rows = read_pool(job.layout.pool, shard, columns=["uid", "image"])
            number = rows["image"][pc.index(rows["uid"], uid).as_py()].as_py()
            return vectors[place].astype(np.float32), number
    raise BadInputError(
        f"{model} has no embedding of the uid {uid}: no row of {job.run} has it, or it was dropped"
        " before it was measured."
    )
