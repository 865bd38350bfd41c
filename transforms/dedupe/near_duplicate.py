"""Near duplicates: pictures whose perceptual hashes differ in a few bits only."""

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, StrictInt, model_validator

from schemas.outcome import Reason
from transforms.decide.rule import I64, FinderRule, as_found
from transforms.dedupe import pdq, phash
from transforms.dedupe.duplicates import DuplicateRule, Kept, Nodes
from transforms.dedupe.hamming import WORD_BITS, Hashes, as_words, near_pair_blocks
from transforms.dedupe.keepers import collapsed, keepers

Hash = Literal["phash", "pdq"]
HASHED: dict[Hash, tuple[str, int]] = {  # the column and its bits
    "phash": ("image_hash.phash", phash.BITS),
    "pdq": ("pdq.hash", pdq.BITS),
}
DEFAULT_LIMIT: dict[Hash, int] = {"phash": 4, "pdq": 40}
# Beyond these most pairs are of pictures that have nothing to do with each other.
MOST_LIMIT: dict[Hash, int] = {"phash": 16, "pdq": 80}
KEY_BITS = 3  # of a hash, that make one of the keys under which it travels
assert all((MOST_LIMIT[kind] + 1) * KEY_BITS <= bits for kind, (_, bits) in HASHED.items())


class NearFinder(FinderRule):
    """Find the images that are within the limit of another one."""

    hash: Hash
    within_bits: int

    @property
    def measured(self) -> tuple[str, ...]:
        return (HASHED[self.hash][0],)

    @property
    def gathers(self) -> tuple[str, ...]:
        return ("image", HASHED[self.hash][0])

    def scatter(self, gathered: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """Each hash under `within_bits + 1` keys, each of some bits of its own: of two that are
        near, all the bits of one key at least are the same."""
        words = as_words(_hashes_of(gathered[HASHED[self.hash][0]]))
        for band in range(self.within_bits + 1):
            begin = band * KEY_BITS
            keys = _bits(words, begin)
            for key in np.unique(keys).tolist():
                yield f"{band:02d}-{key}", gathered.filter(pa.array(keys == key))

    def find(self, together: pa.Table) -> I64:
        return self._found(together, threads=1)  # other workers search other keys

    def settle(self, gathered: pa.Table) -> pa.Table:
        return as_found([self._found(gathered, threads=None)])

    def _found(self, together: pa.Table, threads: int | None) -> I64:
        images = together["image"].to_numpy()
        hashes, group = collapsed(_hashes_of(together[HASHED[self.hash][0]]))
        only = _only_image(images, group, len(hashes))
        found = only < 0
        for left, right, _ in near_pair_blocks(hashes, self.within_bits, threads):
            others = (only[left] != only[right]) | found[left]
            found[left[others]] = found[right[others]] = True
        return np.unique(images[found[group]])


def _only_image(images: I64, group: I64, groups: int) -> I64:
    """(groups,): the one image that has a hash, or -1 where several have it."""
    least, most = np.full(groups, np.iinfo(np.int64).max), np.full(groups, -1)
    np.minimum.at(least, group, images)
    np.maximum.at(most, group, images)
    return np.where(least == most, least, -1)


class NearDuplicateRule(DuplicateRule):
    """Keep one of all images that look the same: resized, compressed anew, slightly edited.

    Whatever is dropped is within the limit of what is kept instead, and no two images that are
    kept are within it of each other."""

    reason: ClassVar[Reason] = Reason.NEAR_DUPLICATE
    hash: Hash = Field(
        default="phash", description="`phash`, 64 bits; or `pdq`, 256 bits, which takes longer."
    )
    within_bits: StrictInt | None = Field(
        default=None, ge=0, description="How many bits may differ; default 4, of pdq 40."
    )

    @model_validator(mode="after")
    def _limit_is_sane(self) -> Self:
        if self.bits > (most := MOST_LIMIT[self.hash]):
            raise ValueError(f"within_bits of {self.hash}: at most {most}, not {self.bits}")
        return self

    @property
    def bits(self) -> int:
        """How many bits may differ."""
        return DEFAULT_LIMIT[self.hash] if self.within_bits is None else self.within_bits

    @property
    def same(self) -> tuple[str, ...]:
        return (HASHED[self.hash][0],)

    @property
    def finder(self) -> NearFinder:
        return NearFinder(hash=self.hash, within_bits=self.bits)

    @property
    def limit(self) -> float:
        return self.bits

    def keepers(self, gathered: pa.Table, nodes: Nodes) -> Kept:
        hashes = _hashes_of(gathered[self.same[0]])[nodes.best_row]
        distinct, group = collapsed(hashes)
        best = np.full(len(distinct), len(group))
        np.minimum.at(best, group, nodes.rank)
        kept = keepers(distinct, self.bits, np.argsort(np.argsort(best)))
        by_rank = np.argsort(nodes.rank)
        keeper = by_rank[best[kept[group]]]
        differing = np.bitwise_count(as_words(hashes ^ hashes[keeper]))
        return Kept(keeper, differing.sum(axis=1).astype(np.float64))

    def told(self, value: float, keeper: str) -> str:
        return f"{value:.0f} bits from {keeper}; limit {self.bits}"


def _hashes_of(column: pa.ChunkedArray) -> Hashes:
    """(rows,) of 64 bits, or (rows, 4) of 256, from whole numbers or bytes."""
    if pa.types.is_integer(column.type):
        return column.to_numpy()
    chunks = [chunk.cast(pa.binary(pdq.BITS // 8)) for chunk in column.chunks]
    raw = b"".join(_bytes_of(chunk) for chunk in chunks)
    return np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, pdq.BITS // WORD_BITS)


def _bytes_of(chunk: pa.FixedSizeBinaryArray) -> bytes:
    width = pdq.BITS // 8
    begin = chunk.offset * width
    return chunk.buffers()[1].to_pybytes()[begin : begin + len(chunk) * width]


def _bits(words: Hashes, begin: int) -> I64:
    """(rows,): KEY_BITS bits from bit `begin`, which may lie in two words."""
    word, shift = divmod(begin, WORD_BITS)
    keys = words[:, word] >> np.uint64(shift)
    if shift + KEY_BITS > WORD_BITS:
        keys |= words[:, word + 1] << np.uint64(WORD_BITS - shift)
    return (keys & np.uint64((1 << KEY_BITS) - 1)).astype(np.int64)
