"""Semantic duplicates: SemDeDup over the CLIP embeddings, with a guard.

Embeddings are clustered by spherical k-means; within a cluster, images are gone through in the
order in which they are to be kept, and one goes where its cosine to one that is KEPT is over
1 - eps. SemDeDup as published (Abbas et al. 2023) goes farthest from the centroid first and
compares with all earlier images, dropped ones too, so that a chain can drop what is like nothing
that is kept. This variant, SemDeDup by keepers, drops a part of what that one would in the same
order.
"""

import math
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, StrictFloat, StrictInt, model_validator

from schemas.errors import RunFailedError
from schemas.outcome import Reason
from transforms.decide.rule import I64, Mask, Vectors
from transforms.dedupe.clusters import F16, F32, Clusters, assigned, spherical_kmeans
from transforms.dedupe.duplicates import DuplicateRule, Kept, lines_of
from transforms.shards.measures import places_of

COMPARED = 512  # images that are compared with those kept at a time
ROUNDING = 1e-5  # short forms may fall short of a cosine by as much
FEW = 64  # one in so many: where more are to be looked at in full, all are


class SemanticDuplicateRule(DuplicateRule):
    """Keep one of all images that mean the same to a CLIP model.

    `keep: clip_score` goes by the score of the model whose embeddings are compared."""

    reason: ClassVar[Reason] = Reason.SEMANTIC_DUPLICATE
    model: str = Field(default="pocket", description="A name under `clip`.")
    eps: StrictFloat = Field(
        ..., gt=0, lt=1, description="Images of a cosine over 1 - eps are duplicates."
    )
    clusters: StrictInt | None = Field(
        default=None, ge=1, description="Of k-means; default: the root of the number of images."
    )
    iterations: StrictInt = Field(default=20, ge=1, description="Of k-means.")
    points_per_cluster: StrictInt = Field(
        default=256, ge=1, description="Images a cluster that k-means is trained on."
    )
    seed: StrictInt = Field(
        default=0, ge=0, lt=1 << 31, description="Of the sample, and of k-means."
    )

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.clip not in (None, self.model):
            raise ValueError("`clip` is that of `model`: leave it out")
        return self

    def with_default_keep(self, model: str) -> Self:
        return super().with_default_keep(self.model)

    @property
    def same(self) -> tuple[str, ...]:
        return ()

    @property
    def score(self) -> tuple[str, ...]:
        return self.measured if self.keep == "clip_score" else ()

    @property
    def measured(self) -> tuple[str, ...]:
        return (self._measure + ".score",)

    @property
    def limit(self) -> float:
        return 1 - self.eps

    @property
    def _measure(self) -> str:
        return f"clip-{self.model}"

    def settle_with(self, gathered: pa.Table, vectors: Vectors) -> pa.Table:
        nodes = self.nodes(gathered)
        uids = gathered["uid"].take(pa.array(nodes.best_row))
        embedded = embeddings_of(uids, vectors(self._measure))
        return lines_of(gathered, nodes, self.kept_of(embedded, nodes.rank))

    def kept_of(self, vectors: F16, rank: I64) -> Kept:
        """What is kept instead of each image, and its cosine.

        Args: vectors: (N, D) of norm 1; rank: (N,), 0 is kept before all others."""
        keeper, cosines = np.arange(len(vectors)), np.ones(len(vectors))
        if not len(vectors):
            return Kept(keeper, cosines)
        count = min(len(vectors), self.clusters or round(math.sqrt(len(vectors))))
        centroids = spherical_kmeans(
            vectors,
            count,
            iterations=self.iterations,
            points=self.points_per_cluster,
            seed=self.seed,
        )
        clusters = assigned(vectors, centroids)
        order = np.lexsort((rank, clusters.of))
        bounds = np.searchsorted(clusters.of[order], np.arange(count + 1))
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            members = order[begin:end]
            found = within_cluster(Members(vectors, clusters, members), self.limit)
            keeper[members], cosines[members] = members[found.keeper], found.value
        return Kept(keeper, cosines)

    def told(self, value: float, keeper: str) -> str:
        return f"cosine {value:.4f} to {keeper}; limit {self.limit:.4f}"


def embeddings_of(uids: pa.ChunkedArray, vectors: Iterator[tuple[pa.Array, F16]]) -> F16:
    """(N, D): the embedding of each uid, gathered from shard after shard.

    Raises: RunFailedError: one has none."""
    found: F16 | None = None
    missing = np.ones(len(uids), np.bool_)
    for there, values in vectors:
        places = places_of(there, uids)
        here = places.is_valid().to_numpy(zero_copy_only=False)
        if not here.any():
            continue
        if found is None:
            found = np.empty((len(uids), values.shape[1]), np.float16)
        at = places.drop_null().to_numpy()
        found[at], missing[at] = values[here], False
    if missing.any():
        raise RunFailedError(f"{missing.sum()} images have no embedding: run the recipe again.")
    return np.zeros((0, 1), np.float16) if found is None else found


class Members(NamedTuple):
    """Those of one cluster, in the order in which they are to be kept."""

    vectors: F16  # (N, D): all embeddings
    clusters: Clusters  # of all of them
    places: I64  # (n,): the members among all

    def exact(self, chosen: I64) -> F32:
        """(chosen, D), of norm 1."""
        places = self.places[chosen]
        return self.vectors[places].astype(np.float32) / self.clusters.norms[places, None]


def within_cluster(members: Members, least: float) -> Kept:
    """Go through a cluster in its order: one whose cosine to a kept one is over `least` is dropped
    for the first of these."""
    size = len(members.places)
    keeper, cosines = np.arange(size), np.ones(size)
    near, kept = _Near(members, least), np.zeros(0, np.int64)
    for begin in range(0, size, COMPARED):
        block = np.arange(begin, min(begin + COMPARED, size))
        ones, others, found = near.pairs(block, kept)
        dropped, firsts = np.unique(ones, return_index=True)
        keeper[dropped], cosines[dropped] = others[firsts], found[firsts]
        rest = block[keeper[block] == block]
        for one, other, cosine in zip(*near.pairs(rest, rest), strict=True):
            if keeper[one] == one and keeper[other] == other:
                keeper[one], cosines[one] = other, cosine
        kept = np.concatenate([kept, rest[keeper[rest] == rest]])
    return Kept(keeper, cosines)


class _Near:
    """Which members of a cluster are near which.

    Short forms are compared first, as long as they rule out all but a few; from then on the
    embeddings themselves are, all at once."""

    def __init__(self, members: Members, least: float) -> None:
        self._members, self._least = members, least
        self._shorts = members.clusters.shorts[members.places]
        self._in_short = True

    def pairs(self, ones: I64, others: I64) -> tuple[I64, I64, F32]:
        """(P,) three times: of `ones`, of `others` before it, and the cosine, in that order."""
        if self._in_short:
            possible = self._shorts[ones] @ self._shorts[others].T > self._least - ROUNDING
            if np.count_nonzero(possible) <= possible.size // FEW + len(ones):
                left, right = _places(possible, ones, others)
                exact = self._members.exact
                found = np.einsum("nd,nd->n", exact(left), exact(right))
                near = found > self._least
                return left[near], right[near], found[near]
            self._in_short = False
        cosines = self._members.exact(ones) @ self._members.exact(others).T
        near = (cosines > self._least) & (others < ones[:, None])
        return *_places(near, ones, others), cosines[near]


def _places(mask: Mask, ones: I64, others: I64) -> tuple[I64, I64]:
    """Where a mask (ones, others) holds, of others that come before."""
    rows, columns = np.divmod(np.flatnonzero(mask), max(1, len(others)))
    is_before = others[columns] < ones[rows]
    return ones[rows[is_before]], others[columns[is_before]]
