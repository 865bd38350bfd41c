"""Decontamination: drop whatever matches an image of an evaluation set."""
# pyright: reportAttributeAccessIssue=false
# pyarrow makes its compute functions when it is imported.

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PrivateAttr, StrictInt, field_validator

from schemas.errors import RunFailedError
from schemas.fingerprint import Json
from schemas.outcome import Reason, Stage
from transforms.decide.rule import I64, Rule, Verdict
from transforms.dedupe.hamming import nearest
from transforms.dedupe.hash_list import check_hashes, digest_of, read_hashes
from transforms.dedupe.near_duplicate import DEFAULT_LIMIT, HASHED, MOST_LIMIT

PHASH, PIXELS = HASHED["phash"][0], "image_hash.pixels"


class DecontaminateRule(Rule):
    """Drop an image that has the bytes or the pixels of an evaluation image, or looks like one."""

    stage = Stage.DEDUPE
    against: tuple[Path, ...] = Field(
        ..., min_length=1, description="Folders or tars of evaluation images, or lists of hashes."
    )
    within_bits: StrictInt = Field(
        default=DEFAULT_LIMIT["phash"],
        ge=0,
        le=MOST_LIMIT["phash"],
        description="How many bits of pHash may differ.",
    )
    _digests: Json = PrivateAttr(default=None)  # what a pinned rule reads

    @field_validator("against", mode="before")
    @classmethod
    def _one_or_several(cls, against: Any) -> Any:
        return [against] if isinstance(against, str) else against

    @property
    def columns(self) -> tuple[str, ...]:
        return ("sha256",)

    @property
    def measured(self) -> tuple[str, ...]:
        return (PHASH, PIXELS)

    @property
    def whole_pool(self) -> bool:
        """Its outcome is the hashes of the evaluation images: one worker makes them for all."""
        return True

    def identity(self) -> Json:
        return {"against": self._digests or self._digests_now(), "within_bits": self.within_bits}

    def pinned(self, identity: Json) -> Self:
        assert isinstance(identity, Mapping)
        rule = self.model_copy()
        rule._digests = identity["against"]
        return rule

    def check(self) -> None:
        for path in self.against:
            check_hashes(path)

    def settle(self, gathered: pa.Table) -> pa.Table:
        """HASH_LIST_SCHEMA of all evaluation images."""
        if self._digests not in (None, self._digests_now()):
            raise RunFailedError(
                "An evaluation set of the rule decontaminate was edited while the run went on:"
                " run again."
            )
        sets = [(path, read_hashes(path)) for path in self.against]
        if len(sets) > 1:  # which of them it is
            sets = [(path, _named_by(path.name, hashes)) for path, hashes in sets]
        return pa.concat_tables([hashes for _, hashes in sets])

    def judge(self, rows: pa.Table, outcome: pa.Table | None) -> list[Verdict]:
        assert outcome is not None
        places, bits, ways = matches(rows, outcome, self.within_bits)
        names = outcome["name"]

        def told(i: int) -> str:
            if places[i] < 0:  # as `not` asks
                return "like no evaluation image"
            name = names[int(places[i])].as_py()
            if ways[i] == "bits":
                return f"{bits[i]} bits from {name}; limit {self.within_bits}"
            return f"same {ways[i]} as {name}"

        return [
            Verdict(
                reason=Reason.EVALUATION_IMAGE,
                dropped=places >= 0,
                detail=told,
                value=np.where(places >= 0, bits, np.nan),
                limit=self.within_bits,
            )
        ]

    def _digests_now(self) -> Json:
        return [digest_of(path) for path in self.against]


def _named_by(name: str, hashes: pa.Table) -> pa.Table:
    names = pc.binary_join_element_wise(name, hashes["name"], ": ")
    return hashes.set_column(0, "name", names)


class Matches(NamedTuple):
    """The evaluation image that each row matches, by the surest way."""

    places: I64  # (rows,): among the hashes, or -1
    bits: I64  # (rows,): in which the pHash differs; 0 by bytes or pixels
    ways: npt.NDArray[np.str_]  # (rows,): bytes, pixels or bits


def matches(rows: pa.Table, hashes: pa.Table, within_bits: int) -> Matches:
    """Compare rows (sha256, PIXELS, PHASH) with HASH_LIST_SCHEMA."""
    known = np.flatnonzero(hashes["phash"].is_valid().to_numpy())
    base = hashes["phash"].drop_null().to_numpy()
    places, bits = nearest(rows[PHASH].to_numpy(), base, within_bits)
    found = places >= 0
    places[found] = known[places[found]]
    ways = np.full(rows.num_rows, "bits", "U6")
    for way, ours, theirs in (("pixels", PIXELS, "pixels"), ("bytes", "sha256", "sha256")):
        column = rows[ours].combine_chunks()
        same = pc.index_in(column, hashes[theirs].combine_chunks(), skip_nulls=True)
        equal = same.is_valid().to_numpy(zero_copy_only=False)
        places[equal], bits[equal], ways[equal] = same.drop_null().to_numpy(), 0, way
    return Matches(places, bits, ways)
