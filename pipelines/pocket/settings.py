"""What a training run of the pocket CLIP depends on; the defaults gave the weights that ship."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a training run depends on, besides its shards and its teacher."""

    views: int = 12  # of each photograph
    text_epochs: int = 24
    steps: int = 6000  # of the student
    photos: int = 128  # in a batch
    scenes: int = 16  # in a batch
    drawn: int = 12_000  # scenes to draw
    rate: float = 1.2e-3  # of the image tower
    blend: float = 0.0  # up to what share photographs without captions show another
    seed: int = 0
    threads: int = 2
