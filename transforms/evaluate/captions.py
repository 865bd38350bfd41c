"""How near captions are to people's: BLEU, METEOR, ROUGE-L and CIDEr against references.

All on the scale of the COCO caption evaluation: 0 to 1, CIDEr 0 to 10. BLEU is sacreBLEU's, and
METEOR's alignment NLTK's; of ROUGE-L and CIDEr-D as that evaluation has them no package is kept
up, so these are here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from schemas.errors import BadInputError
from transforms.evaluate.cider import Scores, cider
from transforms.evaluate.meteor import meteor
from transforms.evaluate.words import words_of

ROUGE_BETA = 1.2  # coco-caption's: recall counts a little more than precision

Words = dict[str, list[str]]
References = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionScores:
    """Means over the images; BLEU is of the whole corpus."""

    images: int
    bleu_1: float
    bleu_2: float
    bleu_3: float
    bleu_4: float
    meteor: float
    rouge_l: float
    cider: float


def score_captions(candidates: Mapping[str, str], references: References) -> CaptionScores:
    """All measures of one caption an image against that image's references.

    References of images that have no candidate are left out, as coco-caption's example does; so
    CIDEr's document frequencies are those of the images that are scored.

    Raises: BadInputError: there is no candidate, or one of an image without references."""
    theirs = check_references(candidates, references)
    bleus = bleu(candidates, theirs)
    return CaptionScores(
        images=len(candidates),
        bleu_1=bleus[0],
        bleu_2=bleus[1],
        bleu_3=bleus[2],
        bleu_4=bleus[3],
        meteor=meteor(candidates, theirs).corpus,
        rouge_l=rouge_l(candidates, theirs).corpus,
        cider=cider(candidates, theirs).corpus,
    )


def check_references(
    candidates: Mapping[str, str], references: References
) -> dict[str, Sequence[str]]:
    """The references of the candidates' images, in their order.

    Raises: BadInputError: there is no candidate, or one of an image without references."""
    if not candidates:
        raise BadInputError("There are no candidates to evaluate.")
    if lacking := [image for image in candidates if not references.get(image)]:
        raise BadInputError(
            f"{len(lacking):,} of {len(candidates):,} candidates are of images without references,"
            f" the first of {lacking[0]!r}: do the two files name the same images?"
        )
    return {image: references[image] for image in candidates}


def bleu(candidates: Mapping[str, str], references: References) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4 of the corpus, 0 to 1, by sacreBLEU: unsmoothed, brevity by the reference
    of the nearest length.

    Source: Papineni et al. 2002; sacrebleu's BLEU, on words as coco-caption cuts them."""
    from sacrebleu.metrics.bleu import BLEU

    said = [" ".join(words_of(text)) for text in candidates.values()]
    theirs = [[" ".join(words_of(text)) for text in references[image]] for image in candidates]
    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    found: Any = metric.corpus_score(said, list(zip_longest(*theirs)))  # pyright: ignore
    return tuple(
        found.bp * math.prod(share / 100 for share in found.precisions[:order]) ** (1 / order)
        for order in range(1, 5)
    )


def rouge_l(candidates: Mapping[str, str], references: References) -> Scores:
    """ROUGE-L as coco-caption has it, 0 to 1: F of the best precision and the best recall among
    the references, with beta 1.2.

    Source: Lin 2004; coco-caption, pycocoevalcap/rouge/rouge.py."""
    images = {
        image: _rouge_l(words_of(text), [words_of(each) for each in references[image]])
        for image, text in candidates.items()
    }
    return Scores(corpus=sum(images.values()) / len(images), images=images)


def _rouge_l(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    common = [longest_common(said, reference) for reference in references]
    if not max(common):
        return 0.0
    precision = max(common) / len(said)
    recall = max(c / len(r) for c, r in zip(common, references, strict=True) if r)
    beta2 = ROUGE_BETA**2
    return (1 + beta2) * precision * recall / (recall + beta2 * precision)


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Words of the longest subsequence that both have."""
    lengths = [0] * (len(b) + 1)
    for word in a:
        before = 0  # of the word before this one in a, and the word before in b
        for place, other in enumerate(b, start=1):
            above = lengths[place]
            lengths[place] = before + 1 if word == other else max(above, lengths[place - 1])
            before = above
    return lengths[-1]
