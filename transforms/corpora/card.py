"""The dataset card of a corpus of pairs."""

from typing import Any


def card(facts: dict[str, Any]) -> str:
    """A dataset card: YAML front matter that `datasets` reads, then what the members are."""
    return f"""---
pretty_name: {facts["name"]}
task_categories: [image-to-text]
configs:
  - config_name: default
    data_files: "*.tar"
---
# {facts["name"]}

{facts["samples"]} images with {facts["texts"]} captions in {len(facts["shards"])} WebDataset
shards, built by Pairmill (fingerprint `{facts["fingerprint"]}`).

Each sample is `KEY.jpg` (or `.png`), `KEY.txt` (its best caption) and `KEY.json`: `uid`, `url`,
`caption`, `captions` (all that survived, best first, each with its source, uid and scores),
sizes in pixels, and the sha256 of the image as it was fetched. `manifest.json` has the size and
sha256 of every shard; `pairmill verify` checks the folder against it. The rights to the images
and captions stay with their owners.
"""
