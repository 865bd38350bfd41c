"""What the stage asks of a model, and the one way in which models fail."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from transforms.hub.errors import ModelError


class LostModelError(ModelError):
    """A server cannot be reached, or is over its limits: no picture's fault."""


class RefusedError(ModelError):
    """A server turned a picture down for what it shows; it is not lost."""


def without_frames(err: ModelError) -> ModelError:
    """The same fault with nothing but its words: frames, its own and those of what it came from,
    would hold on to a batch's tensors."""
    return type(err)(str(err))


class Captioner(Protocol):
    """Writes candidate captions."""

    def caption(
        self, images: Sequence[Image.Image], seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """A caption for each seed of each image, drawn by that seed alone.

        Args:    images: RGB; seeds: as many for each image.
        Raises:  OutOfMemoryError, ModelError: nothing was captioned."""
        ...


class Matcher(Protocol):
    """Says how well texts match an image."""

    def match(
        self, images: Sequence[Image.Image], texts: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The probability that each text matches its image, which is encoded once for all of them.

        Args:    images: RGB; texts: any number for each image.
        Raises:  OutOfMemoryError, ModelError: nothing was matched."""
        ...
