"""Photographs and their captions, read from the universal shards that Pairmill builds."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import webdataset as wds
from PIL import Image

from schemas.errors import BadInputError

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One sample of a shard, decoded."""

    uid: str
    pixels: U8  # (H, W, 3)
    captions: tuple[str, ...]  # at least one, the best first


def read_photos(shards: Path) -> list[Photo]:
    """All samples of a folder of universal shards, in order of uid.

    Raises: BadInputError: no shard is there, or a sample lacks its image or captions."""
    tars = sorted(shards.glob("*.tar"))
    if not tars:
        raise BadInputError(f"{shards}: no .tar shards are there")
    return sorted(_samples(tars), key=lambda photo: photo.uid)


def _samples(tars: list[Path]) -> Iterator[Photo]:
    for tar in tars:
        with tar.open("rb") as stream:  # opened here: webdataset would leave it open
            files = wds.tariterators.tar_file_expander([{"url": str(tar), "stream": stream}])
            yield from map(_photo, wds.tariterators.group_by_keys(files))


def _photo(sample: dict[str, Any]) -> Photo:
    where = f"{sample['__url__']}: {sample['__key__']}"
    try:
        facts = json.loads(sample["json"])
        texts = tuple(str(entry["text"]) for entry in facts["captions"])
        uid, jpeg = str(facts["uid"]), sample["jpg"]
    except (KeyError, TypeError, ValueError) as err:
        raise BadInputError(f"{where}: lacks {err}") from err
    if not texts:
        raise BadInputError(f"{where}: has no caption")
    return Photo(uid=uid, pixels=decode(jpeg), captions=texts)


def decode(jpeg: bytes) -> U8:
    """The pixels of an encoded image: (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def is_dev(uid: str, one_in: int = 12) -> bool:
    """Whether a photograph is held out of training, for every choice made while training.

    Depends on the uid's hash only, so all captions of a photograph fall on one side."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8]) % one_in == 0
