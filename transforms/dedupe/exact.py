"""Exact duplicates: equal bytes as fetched, or equal pixels, under different URLs."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.outcome import Reason
from transforms.dedupe.duplicates import DuplicateRule, Kept, Nodes, first_of_equal
from transforms.dedupe.equal import EqualFinder, codes_of


class ExactDuplicateRule(DuplicateRule):
    """Keep one of all images that are the same."""

    reason: ClassVar[Reason] = Reason.EXACT_DUPLICATE
    of: Literal["bytes", "pixels"] = Field(
        default="bytes",
        description="What is the same: the bytes as fetched, or the pixels that the pool holds.",
    )

    @property
    def same(self) -> tuple[str, ...]:
        return ("sha256" if self.of == "bytes" else "image_hash.pixels",)

    @property
    def about(self) -> EqualFinder:
        return EqualFinder(column=self.same[0])

    def keepers(self, gathered: pa.Table, nodes: Nodes) -> Kept:
        codes = codes_of(gathered[self.same[0]])[nodes.standing]
        return Kept(first_of_equal(codes, nodes.rank), None)

    def told(self, value: float, keeper: str) -> str:
        return f"same {self.of} as {keeper}"
