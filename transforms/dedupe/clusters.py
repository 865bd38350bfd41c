"""Spherical k-means over embeddings, and short forms of them that tell which are far apart."""

from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

F16 = npt.NDArray[np.float16]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
BLOCK = 1 << 14  # embeddings that are made float32 at a time
AXES = 64  # of a short form
ROUNDING = 1e-6  # of a squared length in float32: what is left out is never taken for less


class Clusters(NamedTuple):
    """To which cluster each embedding belongs, and what two of them are compared by."""

    of: npt.NDArray[np.int32]  # (N,)
    norms: F32  # (N,): near 1, for float16 rounds
    shorts: F32  # (N, AXES + 1)


def spherical_kmeans(
    vectors: F16, clusters: int, *, iterations: int, points: int, seed: int
) -> F32:
    """(clusters, D) centroids of norm 1, by faiss, from a sample of `points` a cluster.

    Args: vectors: (N, D) of norm 1, N at least the number of clusters."""
    size = min(len(vectors), clusters * points)
    sample = np.sort(np.random.default_rng(seed).choice(len(vectors), size, replace=False))
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=iterations,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=points,
    )
    kmeans.train(vectors[sample].astype(np.float32))
    assert kmeans.centroids is not None
    return kmeans.centroids


def assigned(vectors: F16, centroids: F32) -> Clusters:
    """The nearest centroid of each embedding by cosine, its exact norm, and its short form.

    A short form has an embedding's coordinates along the axes in which centroids differ most, and
    the length of what these leave out. So the dot product of two is never under the cosine."""
    axes = _principal_axes(centroids)
    both = np.concatenate([centroids, axes]).T.copy()
    of, norms = np.empty(len(vectors), np.int32), np.empty(len(vectors), np.float32)
    shorts = np.empty((len(vectors), len(axes) + 1), np.float32)
    # Made once: new memory for each block would take as long as to multiply.
    room, products = (np.empty((min(BLOCK, len(vectors)), n), np.float32) for n in both.shape)
    for begin in range(0, len(vectors), BLOCK):
        block = slice(begin, begin + BLOCK)
        found, dots = room[: len(of[block])], products[: len(of[block])]
        np.copyto(found, vectors[block])
        np.matmul(found, both, out=dots)
        of[block] = dots[:, : len(centroids)].argmax(axis=1)
        norms[block] = np.sqrt(np.einsum("nd,nd->n", found, found))
        along = dots[:, len(centroids) :] / norms[block, None]
        left_out = 1 - np.einsum("nd,nd->n", along, along)
        shorts[block, :-1], shorts[block, -1] = along, np.sqrt(left_out.clip(0) + ROUNDING)
    return Clusters(of, norms, shorts)


def _principal_axes(centroids: F32) -> F32:
    """(A, D), orthonormal, A at most AXES."""
    _, directions = np.linalg.eigh(centroids.T.astype(np.float64) @ centroids)
    return np.ascontiguousarray(directions[:, ::-1][:, :AXES].T, np.float32)
