"""How well scores tell right captions from wrong ones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """Right pairs against wrong ones, over all images with one threshold."""

    auc: float
    wrong_dropped_at_10: float  # share of wrong pairs under the threshold that loses 10 % of right
    threshold_at_10: float  # that threshold, a cosine


def auc(right: F32, wrong: F32) -> float:
    """The chance that a right pair scores above a wrong one; a tie counts half."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, side="left")
    not_above = np.searchsorted(ordered, right, side="right")
    return float((below + not_above).mean() / 2 / len(wrong))


def separation(right: F32, wrong: F32) -> Separation:
    """AUC, and the share of wrong pairs that can be dropped at the loss of 10 % of right ones.

    Args: right, wrong: (N,) and (M,), cosines."""
    threshold = float(np.quantile(right, 0.1))
    return Separation(
        auc=auc(right, wrong),
        wrong_dropped_at_10=float((wrong < threshold).mean()),
        threshold_at_10=threshold,
    )


def right_and_wrong(image: F32, text: F32, seed: int = 0) -> tuple[F32, F32]:
    """Each image with each of its captions, and with a caption of another image instead.

    Args:    image: (N, D); text: (N, K, D), K captions an image; all of norm 1; N > 1.
    Returns: (N * K,) twice: cosines; a wrong pair for each right one, the same for one seed."""
    others = derangement(len(image), np.random.default_rng(seed))
    right = np.einsum("nd,nkd->nk", image, text).reshape(-1)
    wrong = np.einsum("nd,nkd->nk", image, text[others]).reshape(-1)
    return right, wrong


def derangement(count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """A random cycle through all indexes, so that none stays in its place."""
    order = rng.permutation(count)
    others = np.empty(count, dtype=np.intp)
    others[order] = np.roll(order, 1)
    return others


def recall_at(image: F32, text: F32, k: int = 10) -> float:
    """Text to image: the share of captions whose own image is among the best k of all.

    Args: image: (N, D); text: (N, K, D), K captions an image; all of norm 1."""
    scores = text.reshape(-1, text.shape[-1]) @ image.T
    own = np.repeat(np.arange(len(image)), text.shape[1])
    # What is not worse counts against it: neither ties nor NaN are a find.
    worse = (scores < scores[np.arange(len(own)), own][:, None]).sum(axis=1)
    return float((len(image) - worse <= k).mean())
