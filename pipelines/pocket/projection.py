"""The main parts of the teacher's features: what a small image tower is asked to copy, place by
place."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
MAP_WIDTH = 256  # numbers a place
_EVENED = 0.25  # a part's variance to this power is divided out: rare parts count for more


@dataclass(frozen=True, slots=True)
class Projection:
    """Principal components of features, the widest ones scaled down."""

    mean: F32  # (D,)
    basis: F32  # (D, MAP_WIDTH)

    @classmethod
    def fit(cls, features: F32) -> Self:
        """From the features of many places: (N, D)."""
        mean = features.mean(axis=0)
        centred = features - mean
        variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
        widest = slice(-1, -1 - MAP_WIDTH, -1)
        scale = np.maximum(variances[widest], 1e-12) ** -_EVENED
        return cls(mean.astype(np.float32), (directions[:, widest] * scale).astype(np.float32))

    def apply(self, features: F32) -> F32:
        """(..., D) to (..., MAP_WIDTH)."""
        return np.asarray((features - self.mean) @ self.basis, np.float32)
