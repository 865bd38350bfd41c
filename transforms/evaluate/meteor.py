"""METEOR 1.5 without its tables of synonyms and paraphrases, which its Java program brings.

NLTK aligns the words: exactly alike, or of one stem. Its own score has the parameters of 2007,
which give numbers far from those that captioning papers print (0.48 where 1.5 says 0.30), so the
parameters of 1.5 are used here. What is missing makes it lower than the original; the list of
function words, which the original counted in its own text, is ours.

Source: Denkowski and Lavie 2014; its English parameters, as coco-caption runs it.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from transforms.evaluate.cider import Scores
from transforms.evaluate.words import words_of

ALPHA = 0.85  # how much more recall counts than precision
BETA, GAMMA = 0.2, 0.6  # shape and weight of the penalty for order
DELTA = 0.75  # weight of a content word; a function word has the rest
STEM_WEIGHT = 0.6  # of a match by stem; an exact one counts 1

# Words that are more than one in a thousand of English text.
_LISTED = (
    "a about after all also an and any are as at be been but by can could do first for from had"
    " has have he her him his i if in into is it its may me more my new no not of on one only or"
    " other our out over said she so some than that the their them there they this time to two up"
    " us was we were what when which who will with would you your"
)
FUNCTION_WORDS = frozenset(_LISTED.split())


@dataclass(frozen=True, slots=True)
class _Match:
    """How a candidate meets a reference: sums that add up over a corpus, words by weight."""

    said: float = 0.0  # all words of the candidate
    wanted: float = 0.0  # all words of the reference
    said_matched: float = 0.0
    wanted_matched: float = 0.0
    words: int = 0  # matched
    chunks: int = 0  # runs of matched words in the same order in both
    unmatched: int = 0  # of either

    def __add__(self, other: "_Match") -> "_Match":
        return _Match(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def score(self) -> float:
        if not self.words:
            return 0.0
        precision, recall = self.said_matched / self.said, self.wanted_matched / self.wanted
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        same = self.chunks == 1 and not self.unmatched
        return mean if same else mean * (1 - GAMMA * (self.chunks / self.words) ** BETA)


def meteor(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Scores:
    """METEOR, 0 to 1, by the reference that a candidate meets best; of the corpus it is not the
    mean but the score of all counts together, as the original's. So several captions that are
    just their references have 1 each, and a little less together: each begins a run of its own.

    Args: each candidate's image has at least one reference."""
    best = {
        image: max(
            (_match(words_of(text), words_of(each)) for each in references[image]),
            key=lambda match: match.score,
        )
        for image, text in candidates.items()
    }
    total = sum(best.values(), start=_Match())
    return Scores(total.score, {image: match.score for image, match in best.items()})


def _match(said: Sequence[str], wanted: Sequence[str]) -> _Match:
    from nltk.translate.meteor_score import align_words

    tools: dict[str, Any] = {"stemmer": _Stemmer(), "wordnet": _NoSynonyms()}
    pairs, said_left, wanted_left = align_words(said, wanted, **tools)
    how = [1.0 if said[i] == wanted[j] else STEM_WEIGHT for i, j in pairs]
    follows = [(i + 1, j + 1) for i, j in pairs[:-1]]
    return _Match(
        said=sum(map(_weight, said)),
        wanted=sum(map(_weight, wanted)),
        said_matched=sum(w * _weight(said[i]) for w, (i, _) in zip(how, pairs, strict=True)),
        wanted_matched=sum(w * _weight(wanted[j]) for w, (_, j) in zip(how, pairs, strict=True)),
        words=len(pairs),
        chunks=len(pairs) - sum(a == b for a, b in zip(follows, pairs[1:], strict=True)),
        unmatched=len(said_left) + len(wanted_left),
    )


def _weight(word: str) -> float:
    return 1 - DELTA if word in FUNCTION_WORDS else DELTA


class _Stemmer:
    """Porter's, which NLTK would ask for every word of every reference anew."""

    def stem(self, word: str) -> str:
        return _stem(word)


@functools.lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return _porter().stem(word)


@functools.cache
def _porter() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


class _NoSynonyms:
    """Stands where NLTK takes WordNet, which would have to be downloaded: no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        return []
