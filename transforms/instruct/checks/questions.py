"""Questions that were asked before in nearly the same words."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from transforms.instruct.names.chinese import HAN
from transforms.instruct.names.english import NUMBER_WORDS
from transforms.measure.stop_words import STOP_WORDS

_WORD = re.compile(r"[^\W_]+")
_NEARLY = 0.8  # of words, or pairs of characters, those in common
_PARTICLES = re.compile(r"[呢吗呀啊吧]")
# Function words and numbers that make another question of the same things.
_TELLING = frozenset(
    {"what", "who", "whom", "whose", "which", "where", "when", "why", "how", "many", "much"}
    | {*NUMBER_WORDS}
)


class Earlier:
    """What was asked about one image so far."""

    def __init__(self) -> None:
        self._asked: list[tuple[str, frozenset[str]]] = []

    def add(self, questions: Iterable[str]) -> None:
        """Remember some more."""
        self._asked += [(question, _gist(question)) for question in questions]

    def repeated(self, questions: Sequence[str]) -> str | None:
        """What to say of the first that was asked before, or earlier among these."""
        asked = list(self._asked)
        for question in questions:
            gist = _gist(question)
            for before, other in asked:
                if _alike(gist, other):
                    return f"{question[:80]!r} is nearly {before[:80]!r}"
            asked.append((question, gist))
        return None


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    together = one | other
    if any(map(HAN.search, together)):  # one character may be the thing that is asked about
        return one == other
    return not together or len(one & other) / len(together) >= _NEARLY


def _gist(question: str) -> frozenset[str]:
    """What a question is about: its words without function words; of Chinese, pairs of characters.

    All of its words where it has no others."""
    text = unicodedata.normalize("NFKC", question).casefold()
    han = HAN.findall(_PARTICLES.sub("", text))
    if han:
        return frozenset(map("".join, itertools.pairwise(han))) or frozenset(han)
    words = _WORD.findall(text)
    telling = [word for word in words if word in _TELLING or word not in STOP_WORDS]
    return frozenset(telling or words)
