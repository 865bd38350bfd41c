"""The files that make a folder of tars a corpus: manifest, sizes and dataset card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transforms.shards.commit import Draft, read_manifest

MANIFEST = "manifest.json"
SIZES = "sizes.json"


def finish_corpus(name: str, corpus: Path, shard_manifests: Sequence[Path]) -> None:
    """Commit `manifest.json` over all shards. Nothing in it depends on when or where it was made.

    `sizes.json` is what open_clip reads: {tar basename: samples}.
    """
    shards: dict[str, dict[str, Any]] = {}
    for path in shard_manifests:
        facts = read_manifest(path)
        assert facts is not None, path
        for tar, file in facts["files"].items():
            shards[tar] = {**file, "samples": facts["samples"], "texts": facts["texts"]}
    with Draft(corpus / MANIFEST) as draft:
        sizes = {tar: shard["samples"] for tar, shard in shards.items()}
        draft.path(SIZES).write_text(json.dumps(sizes, indent=1) + "\n")
        draft.facts["name"] = name
        draft.facts["fingerprint"] = corpus.name
        draft.facts["samples"] = sum(sizes.values())
        draft.facts["texts"] = sum(shard["texts"] for shard in shards.values())
        draft.facts["shards"] = shards
        draft.path("README.md").write_text(_card(name, draft.facts))


def _card(name: str, facts: dict[str, Any]) -> str:
    """A dataset card: YAML front matter that `datasets` reads, then what the members are."""
    return f"""---
pretty_name: {name}
task_categories: [image-to-text]
configs:
  - config_name: default
    data_files: "*.tar"
---
# {name}

{facts["samples"]} images with {facts["texts"]} captions in {len(facts["shards"])} WebDataset
shards, built by Pairmill (fingerprint `{facts["fingerprint"]}`).

Each sample is `KEY.jpg` (or `.png`), `KEY.txt` (its best caption) and `KEY.json`: `uid`, `url`,
`caption`, `captions` (all that survived, best first, each with its source, uid and scores),
sizes in pixels, and the sha256 of the image as it was fetched. `manifest.json` has the size and
sha256 of every shard; `pairmill verify` checks the folder against it. The rights to the images
and captions stay with their owners.
"""
