"""Texts of several images in one row, for filters that read text by text."""

from collections.abc import Callable, Sequence


def match_flat(
    texts: Sequence[Sequence[str]],
    size: int,
    match: Callable[[list[int], list[str]], list[float]],
) -> list[list[float]]:
    """What `match` gives for each text of each image, `size` texts at a time.

    Args: match: from the places of images, one a text, and the texts."""
    owners = [place for place, own in enumerate(texts) for _ in own]
    flat = [text for own in texts for text in own]
    scores = [
        score
        for n in range(0, len(flat), size)
        for score in match(owners[n : n + size], flat[n : n + size])
    ]
    ahead = iter(scores)
    return [[next(ahead) for _ in own] for own in texts]
