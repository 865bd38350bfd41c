"""Exact duplicates: equal bytes as fetched, or equal pixels, under different URLs."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.outcome import Reason
from transforms.dedupe.equal import EqualRule


class ExactDuplicateRule(EqualRule):
    """Keep one of all images that are the same."""

    reason: ClassVar[Reason] = Reason.EXACT_DUPLICATE
    of: Literal["bytes", "pixels"] = Field(
        default="bytes",
        description="What is the same: the bytes as fetched, or the pixels that the pool holds.",
    )

    @property
    def same(self) -> tuple[str, ...]:
        return ("sha256" if self.of == "bytes" else "image_hash.pixels",)

    def told(self, value: float, keeper: str) -> str:
        return f"same {self.of} as {keeper}"
