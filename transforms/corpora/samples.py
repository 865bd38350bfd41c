"""From surviving texts to samples: one image, its best text, and all its texts."""

import io
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from transforms.shards.pool import PoolImages, read_pool

RECORDED = ("url", "sha256", "width", "height", "original_width", "original_height")
SCORE_DECIMALS = 6  # of a cosine in float32 no more are meaningful

Row = dict[str, Any]
PoolRows = dict[tuple[int, int], Row]  # a pool row by (shard, place)


@dataclass(frozen=True, slots=True)
class Sample:
    """What becomes KEY.jpg, KEY.txt and KEY.json. The key is the uid of the first row that is kept
    of the image."""

    key: str
    extension: str
    image: bytes
    record: Mapping[str, Any]

    def members(self) -> dict[str, bytes]:
        """Extension to bytes, in the order in which they lie in the tar."""
        record = json.dumps(self.record, ensure_ascii=False, sort_keys=True)
        text = self.record["caption"]
        return {self.extension: self.image, "txt": text.encode(), "json": record.encode()}


def make_samples(texts: pa.Table, pool: Path) -> Iterator[Sample]:
    """Samples of a slice of texts (TEXTS_SCHEMA, sorted by image, its own first), in its order."""
    found = _pool_rows(texts.filter(texts["given_by"].is_null()), pool)
    images: PoolImages | None = None
    for _, group in itertools.groupby(texts.to_pylist(), key=itemgetter("image")):
        rows = list(group)
        first = rows[0]
        if images is None or images.shard != first["shard"]:
            images = _reopen(images, pool, first["shard"])
        extension, data = images.read(found[first["shard"], first["place"]]["key"])
        yield _sample(rows, found, *_readable(extension, data))
    if images is not None:
        images.close()


def _sample(rows: list[Row], found: PoolRows, extension: str, data: bytes) -> Sample:
    """The image's first kept row gives the key, the uid and the facts; all rows give captions."""
    facts = found[rows[0]["shard"], rows[0]["place"]]
    captions = _captions(rows, found)
    record = {"uid": facts["uid"], "caption": captions[0]["text"], "captions": captions}
    record |= {name: facts[name] for name in RECORDED}
    return Sample(key=facts["uid"], extension=extension, image=data, record=record)


def _captions(rows: list[Row], found: PoolRows) -> list[dict[str, Any]]:
    """All texts of an image, best first: by CLIP score where there is one, then its own, then by
    input row. One that a duplicate gave is left out where the image has the same already."""
    own = {
        row["row"]: found[row["shard"], row["place"]]["caption"]
        for row in rows
        if row["given_by"] is None
    }
    there = {text.strip() for text in own.values()}
    captions: list[dict[str, Any]] = []
    for row in sorted(rows, key=_best_first):
        text = own.get(row["row"], row["caption"]).strip()
        if row["row"] not in own:
            if text in there:
                continue
            there.add(text)
        caption = {"text": text, "source": "web", "uid": row["uid"]}
        if row["clip_score"] is not None:
            caption["clip_score"] = round(row["clip_score"], SCORE_DECIMALS)
        captions.append(caption)
    return captions


def _best_first(row: Row) -> tuple[float, bool, int]:
    return -(row["clip_score"] or 0.0), row["given_by"] is not None, row["row"]


def _pool_rows(texts: pa.Table, pool: Path) -> PoolRows:
    """The pool's rows that the texts point to, by (shard, place)."""
    found: PoolRows = {}
    shards, places = texts["shard"].to_numpy(), texts["place"].to_numpy()
    for shard in np.unique(shards).tolist():
        here = places[shards == shard].tolist()
        rows = read_pool(pool, shard).take(here).to_pylist()
        found |= {(shard, place): row for place, row in zip(here, rows, strict=True)}
    return found


def _reopen(images: PoolImages | None, pool: Path, shard: int) -> PoolImages:
    if images is not None:
        images.close()
    return PoolImages(pool, shard)


def _readable(extension: str, data: bytes) -> tuple[str, bytes]:
    """Bytes as they are, by reference; only webp, which many loaders cannot read, becomes JPEG."""
    if extension != "webp":
        return ("jpg" if extension == "jpeg" else extension), data
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(out, "JPEG", quality=95)
    return "jpg", out.getvalue()
