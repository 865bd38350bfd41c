"""The files that make a folder of tars a corpus: a manifest over all, sizes and a dataset card."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transforms.shards.commit import Draft, read_manifest

MANIFEST = "manifest.json"
SIZES = "sizes.json"


def finish_corpus(
    name: str,
    corpus: Path,
    shard_manifests: Sequence[Path],
    *,
    holds: str,
    card: Callable[[dict[str, Any]], str],
    more: Callable[[Draft], None] | None = None,
) -> None:
    """Commit `manifest.json` over all shards. Nothing in it depends on when or where it was made.

    `sizes.json` is what open_clip reads: {tar basename: samples}.

    Args: holds: what its samples are; card: README.md, from the manifest's facts; more: writes
        further files into the draft."""
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
        draft.facts["holds"] = holds
        draft.facts["fingerprint"] = corpus.name
        draft.facts["samples"] = sum(sizes.values())
        draft.facts["texts"] = sum(shard["texts"] for shard in shards.values())
        draft.facts["shards"] = shards
        if more is not None:
            more(draft)
        draft.path("README.md").write_text(card(draft.facts))
