"""How well texts find their images among all images of a corpus, and images their texts.

Recall@K is what CLIP's and BLIP's papers call so: the share of queries with one of their own among
the best K, trec_eval's `success`. It and NDCG are trec_eval's, by pytrec_eval; here it is only told
at which ranks a query's own stand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.errors import BadInputError
from transforms.evaluate.embed import F32

DEPTH = 10  # the deepest rank that any of the measures looks at
_BLOCK_NUMBERS = 1 << 24  # of similarities at a time: 64 MB

Owned = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One way of searching."""

    queries: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    ndcg_at_10: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Both ways over one corpus."""

    images: int
    texts: int
    text_to_image: Found
    image_to_text: Found


def measure_retrieval(image: F32, text: F32, texts_of: Sequence[int]) -> Retrieval:
    """Every text searches all images, and every image all texts.

    What scores no less than a query's own stands before it: a tie is no find.

    Args:
        image: (N, D), of norm 1, N >= 1.
        text: (M, D), of norm 1: the texts of image 0, then of image 1, and so on.
        texts_of: N numbers, how many texts each image has; at least 1, M in all.
    Raises: BadInputError: there are no images, or the numbers do not add up."""
    ends = np.cumsum(texts_of)
    if not len(image) or len(ends) != len(image) or ends[-1] != len(text) or min(texts_of) < 1:
        raise BadInputError("Retrieval is measured over images with at least one text each.")
    starts = ends - np.asarray(texts_of)
    own = np.repeat(np.arange(len(image)), texts_of)
    return Retrieval(
        images=len(image),
        texts=len(text),
        text_to_image=_measure(text, image, own, own + 1),
        image_to_text=_measure(image, text, starts, ends),
    )


def _measure(queries: F32, documents: F32, starts: Owned, ends: Owned) -> Found:
    """The own documents of query i are those from starts[i] to ends[i]."""
    from pytrec_eval import RelevanceEvaluator

    wanted, runs = dict[str, dict[str, int]](), dict[str, dict[str, float]]()
    for number, ranks in enumerate(own_ranks(queries, documents, starts, ends)):
        name = str(number)
        wanted[name] = {f"own-{place}": 1 for place in range(len(ranks))}
        runs[name] = {f"other-{rank}": float(-rank) for rank in range(DEPTH) if rank not in ranks}
        runs[name] |= {f"own-{p}": float(-r) for p, r in enumerate(ranks) if r < DEPTH}
    evaluator = RelevanceEvaluator(wanted, {"success.1,5,10", f"ndcg_cut.{DEPTH}"})
    found = list(evaluator.evaluate(runs).values())
    means = {name: float(np.mean([of[name] for of in found])) for name in found[0]}
    return Found(
        queries=len(queries),
        recall_at_1=means["success_1"],
        recall_at_5=means["success_5"],
        recall_at_10=means["success_10"],
        ndcg_at_10=means[f"ndcg_cut_{DEPTH}"],
    )


def own_ranks(
    queries: F32, documents: F32, starts: Owned, ends: Owned
) -> Iterator[tuple[int, ...]]:
    """For each query the ranks, from 0, at which its own documents stand, ascending.

    A rank past DEPTH is only so much: past it."""
    step = max(_BLOCK_NUMBERS // len(documents), 1)
    for at in range(0, len(queries), step):
        block = queries[at : at + step] @ documents.T
        for row, start, end in zip(
            block, starts[at : at + step], ends[at : at + step], strict=True
        ):
            yield _ranks(row, int(start), int(end))


def _ranks(scores: F32, start: int, end: int) -> tuple[int, ...]:
    # A NaN is no find where it is a query's own, and stands before all where it is not.
    own = np.sort(np.nan_to_num(scores[start:end], nan=-np.inf))[::-1]
    others = np.nan_to_num(np.concatenate([scores[:start], scores[end:]]), nan=np.inf)
    if len(others) > DEPTH:  # more than these no rank that counts can have before it
        others = -np.partition(-others, DEPTH)[: DEPTH + 1]
    before = (others[None, :] >= own[:, None]).sum(axis=1)
    return tuple(int(rank) for rank in before + np.arange(len(own)))
