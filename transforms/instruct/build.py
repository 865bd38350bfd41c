"""Kept dialogues as WebDataset shards of KEY.jpg and KEY.json, and as files that trainers read.

KEY is the dialogue's id. An image lies in the shards once for each dialogue about it, as loaders
of such shards expect."""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.dialogue import Dialogue, read_record
from transforms.instruct.formats import EXPORTERS, Picture, Shown, write_format
from transforms.shards.commit import Draft
from transforms.shards.pool import PoolShards, readable
from transforms.shards.tar import sample_writer

HOLDS = "dialogues"
KEPT_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),  # of the pool
        ("key", pa.string()),  # of the image in the pool shard's tar
        ("record", pa.string()),  # the dialogue as JSON
    ]
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept dialogue and where its image lies."""

    shard: int
    key: str
    dialogue: Dialogue


def kept_table(kept: Iterable[Kept]) -> pa.Table:
    """KEPT_SCHEMA."""
    rows = [
        {"shard": one.shard, "key": one.key, "record": one.dialogue.model_dump_json()}
        for one in kept
    ]
    return pa.Table.from_pylist(rows, schema=KEPT_SCHEMA)


def write_samples(kept: pa.Table, pool: Path, tar: Path) -> tuple[int, int]:
    """Write one shard from KEPT_SCHEMA, in its order. Returns how many samples, and their turns."""
    turns = 0
    with sample_writer(tar) as writer, PoolShards(pool) as shards:
        for row in kept.to_pylist():
            extension, data = readable(*shards.images(row["shard"]).read(row["key"]))
            dialogue = Dialogue.model_validate_json(row["record"])
            turns += len(dialogue.turns)
            writer.write(dialogue.id, {extension: data, "json": dialogue.as_record()})
    return kept.num_rows, turns


def read_samples(tars: Iterable[Path]) -> Iterator[Shown]:
    """Every dialogue of a corpus's shards with its image, in their order."""
    for path in tars:
        picture: Picture | None = None
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                if member.name.endswith(".json"):
                    yield read_record(file.read()), picture
                    picture = None
                else:
                    picture = member.name, file.read()


def write_formats(corpus: Path, tars: Iterable[str], formats: Iterable[str], draft: Draft) -> None:
    """Write the files of all formats into a draft, a dialogue at a time."""
    paths = [corpus / tar for tar in tars]
    for name in formats:
        write_format(name, draft.path(EXPORTERS[name][0]), read_samples(paths))


def card(facts: dict[str, Any]) -> str:
    """A dataset card: YAML front matter that `datasets` reads, then what the members are."""
    return f"""---
pretty_name: {facts["name"]}
task_categories: [visual-question-answering, image-text-to-text]
configs:
  - config_name: default
    data_files: "*.tar"
---
# {facts["name"]}

{facts["samples"]} dialogues of {facts["texts"]} turns in {len(facts["shards"])} WebDataset shards,
built by Pairmill (fingerprint `{facts["fingerprint"]}`).

Each sample is `KEY.jpg` (or `.png`) and `KEY.json`, where KEY is the dialogue's id, uid-kind-n. The
record has `id`, `uid`, `kind`, `number`, `language`, `images`, `turns` (each with `role`, person or
model, and `text`; `<image>` stands where the image is shown) and `made`: by which backend, model
and prompt. The other files hold the same dialogues as trainers read them, images by the names that
they have in the shards. `manifest.json` has the size and sha256 of every file; `pairmill verify`
checks the folder against it. The rights to the images and texts stay with their owners.
"""
