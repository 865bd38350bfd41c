"""From surviving texts to samples: one image, its best text, and all its texts."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.texts import WEB
from transforms.shards.pool import PoolShards, readable
from transforms.shards.texts import PoolRows, Row, best_first, pool_rows, text_of

RECORDED = ("url", "sha256", "width", "height", "original_width", "original_height")
SCORE_DECIMALS = 6  # of a cosine in float32 no more are meaningful


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
    found = pool_rows(texts.filter(texts["given_by"].is_null()), pool)
    with PoolShards(pool) as shards:
        for _, group in itertools.groupby(texts.to_pylist(), key=itemgetter("image")):
            rows = list(group)
            shard, place = rows[0]["shard"], rows[0]["place"]
            extension, data = shards.images(shard).read(found[shard, place]["key"])
            yield _sample(rows, found, *readable(extension, data))


def _sample(rows: list[Row], found: PoolRows, extension: str, data: bytes) -> Sample:
    """The image's first kept row gives the key, the uid and the facts; all rows give captions."""
    facts = found[rows[0]["shard"], rows[0]["place"]]
    captions = _captions(rows, found)
    record = {"uid": facts["uid"], "caption": captions[0]["text"], "captions": captions}
    record |= {name: facts[name] for name in RECORDED}
    return Sample(key=facts["uid"], extension=extension, image=data, record=record)


def _captions(rows: list[Row], found: PoolRows) -> list[dict[str, Any]]:
    """All texts of an image, best first. One that a duplicate gave is left out where the image has
    the same already."""
    texts = [(row, text_of(row, found)) for row in rows]
    there = {text for row, text in texts if row["given_by"] is None}
    captions: list[dict[str, Any]] = []
    for row, text in sorted(texts, key=lambda one: best_first(one[0])):
        if row["given_by"] is not None:
            if text in there:
                continue
            there.add(text)
        captions.append({"text": text, "source": row["source"], "uid": row["uid"], **_scores(row)})
    return captions


def _scores(row: Row) -> dict[str, float | int]:
    """Those there are."""
    scores = {name: row[name] for name in ("itm", "clip_score") if row[name] is not None}
    rounded = {name: round(score, SCORE_DECIMALS) for name, score in scores.items()}
    number = {"candidate": row["text"]} if row["text"] != WEB else {}
    return number | rounded | ({} if row["rank"] is None else {"rank": row["rank"]})
