"""The peers of `make bench-dedupe`, run by the interpreter of their own environment.

For each line of JSON on stdin one task is done, timed, and its facts are printed:
{"task": "hash", "who", "photos": [FILE...]} gives {"seconds", "hashes"}, pictures being decoded
before the clock starts; {"task": "search", "who", "hashes": FILE.npy, "limit", "pairs": FILE.npy}
gives {"seconds"} and writes (P, 2) places, left < right. Of imagededup only what hashes is
imported: the rest needs torch.
"""
# pyright: reportMissingImports=false

import functools
import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PREFIX = "facts: "  # the libraries print to stdout too
NEIGHBOURS = 10  # that usearch is asked for, the hash itself among them


def main() -> None:
    """Serve until stdin ends."""
    tell({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        tell(hash_all(asked) if asked["task"] == "hash" else search_all(asked))


def tell(facts: dict[str, Any]) -> None:
    print(PREFIX + json.dumps(facts), flush=True)


def hash_all(asked: dict[str, Any]) -> dict[str, Any]:
    """Seconds for all pictures, and their hashes as hex digits."""
    hash_one, as_hex, as_array = hasher(asked["who"])
    pictures = decoded(tuple(asked["photos"]))
    given = [np.asarray(picture) for picture in pictures] if as_array else pictures
    began_s = time.perf_counter()
    found = [hash_one(picture) for picture in given]
    seconds = time.perf_counter() - began_s
    return {"seconds": seconds, "hashes": [as_hex(one) for one in found]}


@functools.cache
def decoded(photos: Sequence[str]) -> list[Image.Image]:
    return [Image.open(photo).convert("RGB") for photo in photos]


@functools.cache
def hasher(who: str) -> tuple[Callable[..., Any], Callable[..., str], bool]:
    """What hashes one picture, what writes its hash, and whether it wants an array of pixels."""
    if who == "imagehash":
        import imagehash

        return imagehash.phash, str, False
    if who == "pdqhash":
        import pdqhash

        return pdqhash.compute, lambda found: np.packbits(found[0]).tobytes().hex(), True
    phash = imagededup_phash()
    return lambda pixels: phash.encode_image(image_array=pixels), str, True


def imagededup_phash() -> Any:
    """imagededup's PHash, without the modules beside it that import torch and matplotlib."""
    found = importlib.util.find_spec("imagededup")
    assert found is not None
    assert found.origin is not None
    for name in ("methods", "utils"):
        package = types.ModuleType(f"imagededup.{name}")
        package.__path__ = [str(Path(found.origin).parent / name)]
        sys.modules.setdefault(package.__name__, package)
    from imagededup.methods.hashing import PHash

    return PHash(verbose=False)


def search_all(asked: dict[str, Any]) -> dict[str, Any]:
    """Seconds from the hashes in memory to what the library gives, the index included."""
    hashes = np.load(asked["hashes"])
    search = with_usearch if asked["who"] == "usearch" else with_imagededup(asked["who"])
    seconds, pairs = search(hashes, asked["limit"])
    np.save(asked["pairs"], np.unique(pairs, axis=0))
    return {"seconds": seconds}


def with_usearch(hashes: Any, limit: int) -> tuple[float, Any]:
    """Its graph index over bits, with its default settings: the nearest of each hash."""
    from usearch.index import Index, MetricKind, ScalarKind

    octets = hashes.view(np.uint8).reshape(-1, 8)
    began_s = time.perf_counter()
    index = Index(ndim=64, metric=MetricKind.Hamming, dtype=ScalarKind.B1)
    index.add(np.arange(len(octets), dtype=np.uint64), octets)
    found = index.search(octets, NEIGHBOURS)
    seconds = time.perf_counter() - began_s
    ones, columns = np.nonzero(np.asarray(found.distances) <= limit)
    others = np.asarray(found.keys).astype(np.int64)[ones, columns]
    pairs = np.stack([np.minimum(ones, others), np.maximum(ones, others)], axis=1)
    return seconds, pairs[pairs[:, 0] < pairs[:, 1]]


def with_imagededup(way: str) -> Callable[[Any, int], tuple[float, Any]]:
    """Its find_duplicates, by one of its search methods."""

    def search(hashes: Any, limit: int) -> tuple[float, Any]:
        phash = imagededup_phash()
        encodings = {str(place): f"{value:016x}" for place, value in enumerate(hashes.tolist())}
        began_s = time.perf_counter()
        found = phash.find_duplicates(
            encoding_map=encodings, max_distance_threshold=limit, search_method=way
        )
        seconds = time.perf_counter() - began_s
        pairs = [
            sorted((int(one), int(other))) for one, others in found.items() for other in others
        ]
        return seconds, np.array(pairs, np.int64).reshape(-1, 2)

    return search


if __name__ == "__main__":
    main()
