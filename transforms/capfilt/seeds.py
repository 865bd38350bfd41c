"""Seeds of captions: of the picture, so that nothing else has a part in what is drawn for it."""

import hashlib


def seeds_of(image: bytes, seed: int, count: int) -> list[int]:
    """The seeds of an image's candidates, from its bytes and the recipe's seed: below 2**63."""
    digest = hashlib.sha256(image).digest()
    return [
        int.from_bytes(hashlib.sha256(digest + f"{seed}:{number}".encode()).digest()[:8]) >> 1
        for number in range(count)
    ]
