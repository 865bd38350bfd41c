"""CIDEr-D, as the COCO caption evaluation computes it: 1 to 4 words, sigma 6, times 10.

Source: Vedantam et al. 2015; coco-caption, pycocoevalcap/cider/cider_scorer.py. The values are on
that code's scale, where a good model reaches 1.2; papers often print them times 100. aac-metrics,
which is kept up, cuts words with a Java program.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from transforms.evaluate.words import words_of

LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # of the penalty for another length, in words
SCALE = 10.0

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """A number for all images together, and one for each."""

    corpus: float
    images: dict[str, float]


@dataclass(frozen=True, slots=True)
class DocumentFrequencies:
    """Of how many images the references have an n-gram: how little it says of one of them."""

    counts: Mapping[Gram, int]
    images: int


@dataclass(frozen=True, slots=True)
class _Vector:
    """A caption: weighted n-grams by their length, the norms of these, and its length in pairs of
    words, which the original takes for its length."""

    grams: tuple[dict[Gram, float], ...]
    norms: tuple[float, ...]
    pairs: int


@dataclass(frozen=True, slots=True)
class CiderReferences:
    """References made ready once, for scoring any number of candidates against any of them."""

    frequencies: DocumentFrequencies
    vectors: Mapping[str, tuple[_Vector, ...]]

    def score(self, image: str, caption: str) -> float:
        """CIDEr-D of one caption against one image's references, 0 to 10."""
        return self.score_each(caption, [image])[image]

    def score_each(self, caption: str, images: Iterable[str] | None = None) -> dict[str, float]:
        """CIDEr-D of one caption against the references of each image; None: of all of them."""
        found = _vector(_count(caption), self.frequencies)
        return {
            image: _mean(_similarity(found, other) for other in self.vectors[image]) * SCALE
            for image in (self.vectors if images is None else images)
        }


def count_frequencies(references: Mapping[str, Sequence[str]]) -> DocumentFrequencies:
    """Document frequencies over images, each with all its references.

    Of a single image all weights are 0, and so is every score."""
    counts: Counter[Gram] = Counter()
    for captions in references.values():
        counts.update({gram for text in captions for gram in _count(text)})
    return DocumentFrequencies(counts=counts, images=len(references))


def make_references(
    references: Mapping[str, Sequence[str]], frequencies: DocumentFrequencies | None = None
) -> CiderReferences:
    """References by image, weighted once.

    Args: frequencies: those of another set; default those of these references."""
    if frequencies is None:
        frequencies = count_frequencies(references)
    vectors = {
        image: tuple(_vector(_count(text), frequencies) for text in captions)
        for image, captions in references.items()
    }
    return CiderReferences(frequencies=frequencies, vectors=vectors)


def cider(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]] | CiderReferences,
    frequencies: DocumentFrequencies | None = None,
) -> Scores:
    """CIDEr-D of one caption an image against that image's references.

    Args:
        candidates: caption by image; each image has a reference.
        references: captions by image, or the same made ready by `make_references`.
        frequencies: as `make_references` takes; of no use with references made ready."""
    if not isinstance(references, CiderReferences):
        references = make_references(references, frequencies)
    images = {image: references.score(image, text) for image, text in candidates.items()}
    return Scores(corpus=_mean(images.values()), images=images)


def _count(caption: str) -> Counter[Gram]:
    """How often each n-gram of 1 to 4 words is in the caption."""
    words = words_of(caption)
    later = [words[start:] for start in range(LONGEST)]
    return Counter(
        chain.from_iterable(zip(*later[:n], strict=False) for n in range(1, LONGEST + 1))
    )


def _vector(counts: Counter[Gram], frequencies: DocumentFrequencies) -> _Vector:
    """Each n-gram's count, times the logarithm of how rare it is; one that no image has counts as
    had by one."""
    images, seen = math.log(frequencies.images), frequencies.counts
    grams: tuple[dict[Gram, float], ...] = tuple({} for _ in range(LONGEST))
    pairs = 0
    for gram, count in counts.items():
        grams[len(gram) - 1][gram] = count * (images - math.log(seen.get(gram, 1)))
        pairs += count if len(gram) == 2 else 0
    norms = tuple(math.sqrt(sum(w * w for w in weights.values())) for weights in grams)
    return _Vector(grams=grams, norms=norms, pairs=pairs)


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """The mean over the lengths of n-grams of the cosine, in which a word said more often than in
    the reference gains nothing, lessened where the lengths differ."""
    total = 0.0
    for length in range(LONGEST):
        norm = candidate.norms[length] * reference.norms[length]
        if norm:
            there = reference.grams[length]
            shared = (
                min(weight, there[gram]) * there[gram]
                for gram, weight in candidate.grams[length].items()
                if gram in there
            )
            total += sum(shared) / norm
    differ = candidate.pairs - reference.pairs
    return total / LONGEST * math.exp(-(differ**2) / (2 * SIGMA**2))


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
