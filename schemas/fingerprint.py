"""Fingerprints of settings and digests of files: equal where these are, on any machine."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

HEX_DIGITS = 16


def fingerprint(content: Json) -> str:
    """First 16 hex digits of sha256 over canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HEX_DIGITS]


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, in hex. Raises: OSError: it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
