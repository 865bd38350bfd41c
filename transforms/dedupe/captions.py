"""Text duplicates: the same caption, whatever its case, spacing and punctuation."""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from schemas.outcome import Reason
from transforms.dedupe.equal import EqualRule

DIGEST_BYTES = 16
CAPTION_HASH_SCHEMA = pa.schema(
    [
        ("caption", pa.binary(DIGEST_BYTES)),  # of the normalised caption; null of an empty one
        ("url_and_caption", pa.binary(DIGEST_BYTES)),  # of the URL as it is, and that caption
    ]
)


class TextDuplicateRule(EqualRule):
    """Keep one of all rows whose captions are the same once normalised; rows without a caption
    have nothing in common."""

    reason: ClassVar[Reason] = Reason.TEXT_DUPLICATE
    of: Literal["caption", "url_and_caption"] = Field(
        default="caption", description="What is the same: the caption, or URL and caption."
    )

    @model_validator(mode="after")
    def _gives_nothing(self) -> Self:
        if self.give_captions:
            raise ValueError("`give_captions` is for images: these rows have the same caption")
        return self

    @property
    def same(self) -> tuple[str, ...]:
        return (f"caption_hash.{self.of}",)

    @property
    def of_rows(self) -> bool:
        return True

    def told(self, value: float, keeper: str) -> str:
        return f"same {self.of.replace('_', ' ')} as {keeper}"


def normalised(caption: str) -> str:
    """Compatibility forms folded (NFKC), case folded, punctuation and white space one space.

    Letters with their marks, digits and symbols stay: a caption of emoji is still a caption. What
    only formats, such as soft hyphens, goes."""
    folded = unicodedata.normalize("NFKC", caption).casefold()
    kept = "".join(_kept(character) for character in folded)
    return " ".join(kept.split()) or " ".join(folded.split())


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category[0] in "PZC" else character


def caption_hashes(urls: Sequence[str], captions: Sequence[str]) -> pa.Table:
    """CAPTION_HASH_SCHEMA of each row."""
    texts = [normalised(caption) for caption in captions]
    pairs = zip(urls, texts, strict=True)
    columns = {
        "caption": [_digest(text) if text else None for text in texts],
        "url_and_caption": [_digest(f"{url}\0{text}") for url, text in pairs],
    }
    return pa.table(columns, CAPTION_HASH_SCHEMA)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
