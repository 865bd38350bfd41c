"""What `make bench-score` scores: photographs with captions, and a model of random weights."""

from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from pipelines.bench.bare_clip import Pair
from pipelines.demo.pictures import Picture, original_bytes, photographs
from schemas.layout import pool_manifest, shard_name
from schemas.pair import image_key, make_uid
from transforms.shards.commit import Draft
from transforms.shards.tar import sample_writer

ARCHITECTURE = "ViT-B-32"
PEER_TARS = 2  # clip-retrieval's readers take whole tars, so two can read at once
LEAST_SIDE_PX = 193  # of the longer side: the squares of 192 px in the test data are squashed


@dataclass(frozen=True, slots=True)
class Inputs:
    """The same pairs as a committed pool shard, in memory and as tars for a peer; the weights."""

    pool: Path
    rows: pa.Table  # key, caption, uid
    pairs: list[Pair]
    checkpoint: Path
    peer_tars: list[Path]


def draw_inputs(folder: Path, photos: Path, rows: int) -> Inputs:
    """Native photographs of the train split, again from the first where they do not suffice."""
    pictures = [p for p in photographs(photos, "train") if _is_native(p)]
    pairs = [(original_bytes(p), p.captions[0]) for p in islice(cycle(pictures), rows)]
    keys = [image_key(0, number) for number in range(rows)]
    name = f"{shard_name(0)}.tar"
    with Draft(pool_manifest(folder, 0)) as draft:
        _write_tar(draft.path(name), keys, pairs)
        draft.facts["tar"] = name
    peer_tars = [folder / f"peer-{number}.tar" for number in range(PEER_TARS)]
    for number, tar in enumerate(peer_tars):
        _write_tar(tar, keys[number::PEER_TARS], pairs[number::PEER_TARS])
    captions = [caption for _, caption in pairs]
    uids = [make_uid(key, caption) for key, caption in zip(keys, captions, strict=True)]
    table = pa.table({"key": keys, "caption": captions, "uid": uids})
    return Inputs(folder, table, pairs, _seeded_weights(folder / "weights.pt"), peer_tars)


def _is_native(picture: Picture) -> bool:
    source: Any = picture.source
    with Image.open(source) as image:
        return max(image.size) >= LEAST_SIDE_PX


def _write_tar(path: Path, keys: list[str], pairs: list[Pair]) -> None:
    with sample_writer(path) as writer:
        for key, (data, caption) in zip(keys, pairs, strict=True):
            writer.write(key, {"jpg": data, "txt": caption.encode()})


def _seeded_weights(path: Path) -> Path:
    import open_clip

    torch.manual_seed(0)
    torch.save(open_clip.create_model(ARCHITECTURE).state_dict(), path)
    return path
