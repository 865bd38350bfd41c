"""Objects that a text names, in English or Chinese: COCO's categories, and the labels of boxes."""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence

from transforms.instruct.names import english
from transforms.instruct.names.chinese import HAN, ChineseNames
from transforms.instruct.names.chinese import number_in as number_in_chinese
from transforms.instruct.names.mention import Mention
from transforms.measure.stop_words import STOP_WORDS

# After these a thing is named that is not there.
_DENYING = frozenset(
    {
        "no",
        "not",
        "never",
        "without",
        "neither",
        "nor",
        "none",
        "lack",
        "lacks",
        "lacking",
        "absent",
    }
)
# Of a question that asks for all there are, and not for some of them.
_HOW_MANY = re.compile(
    r"^\s*how many\b.*\b(are there|are (?:in|shown in|visible in|seen in) (?:the|this)|"
    r"are (?:visible|present|shown)|can (?:be seen|you (?:see|count))|do you see|appear)\b"
    r"(?P<rest>.*)$",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"^(?:\s*(?:in|on)?\s*(?:the|this)?\s*(?:image|picture|photo|photograph|scene)?)?\s*\??\s*$",
    re.IGNORECASE,
)
_AUXILIARIES = frozenset({"is", "are", "do", "does", "can", "could", "has", "have"})
# Of a question whether a thing is there, all words but its name.
_OF_PRESENCE = _AUXILIARIES | {
    *("a", "an", "any", "some", "there", "here", "it", "i", "we", "you", "one", "of", "in", "on"),
    *("the", "this", "that", "be", "seen", "see", "spot", "find", "notice", "show", "contain"),
    *("include", "visible", "present", "shown", "depicted", "appear", "anywhere", "somewhere"),
    *("around", "image", "picture", "photo", "photograph", "scene"),
}
# Texts: captions are read for each dialogue, answers before a repair and after.
_REMEMBERED = 1 << 14
_CLAUSE_ENDS = re.compile(r"[.!?;:\n]|,? but |, (?=and |while |though )")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
_BETWEEN = 2  # words at most between a number and what it counts: `two small dogs`
_LONGEST = 3  # words of a name
# Between a number and a noun these show that the number counts something else.
_PARTING = frozenset(
    {
        "of",
        "in",
        "on",
        "at",
        "with",
        "and",
        "or",
        "to",
        "by",
        "for",
        "from",
        "is",
        "are",
        "was",
        "were",
        "a",
        "an",
        "the",
        "has",
        "have",
        "that",
        "who",
        "which",
    }
)


class Vocabulary:
    """Names of things, singular, and the categories that each may mean."""

    def __init__(self, labels: Iterable[str] = ()) -> None:
        """COCO's categories, and `labels`, each a category of its own unless it is COCO's."""
        self._names: dict[tuple[str, ...], frozenset[str]] = {}
        self._first_words: set[str] = set()  # of names of several words
        for category, names in english.categories().items():
            for name in names:
                self._add(name, category)
        labels = list(labels)
        for label in labels:
            key = _key(label)
            if key and key not in self._names and label.lower() not in STOP_WORDS:
                self._add(label, label)
        self._chinese = ChineseNames(label for label in labels if HAN.search(label))
        self._found = functools.lru_cache(maxsize=_REMEMBERED)(self._find)

    def categories(self, label: str) -> frozenset[str]:
        """What a box's label may mean; itself where the vocabulary does not know it."""
        known = self._names.get(_key(label)) or self._chinese.categories(label)
        return known or frozenset({label})

    def mentions(self, text: str) -> Iterator[Mention]:
        """What a text names in English, then what it names in Chinese, each in its order; of names
        within names only the longest."""
        yield from self._found(text)

    def _find(self, text: str) -> tuple[Mention, ...]:
        return (*self._find_english(text), *self._chinese.mentions(text))

    def _find_english(self, text: str) -> Iterator[Mention]:
        for clause in _CLAUSE_ENDS.split(text.lower().replace("’", "'")):
            words = _WORD.findall(clause)
            at = 0
            while at < len(words):
                length = self._length_at(words, at)
                if length:
                    yield self._mention(words, at, length)
                at += length or 1

    def asked_for(self, question: str) -> Mention | None:
        """What a question asks the number of, all over the image."""
        found = _HOW_MANY.match(question.strip())
        if found is None or not _WHOLE.match(found["rest"]):
            return self._chinese.asked_for(question)
        mentions = list(self.mentions(question))
        return mentions[0] if len(mentions) == 1 else None

    def asked_whether(self, question: str) -> Mention | None:
        """What a question asks the presence of, without saying more of it."""
        words = _WORD.findall(question.lower())
        mentions = list(self.mentions(question))
        if not words or words[0] not in _AUXILIARIES or len(mentions) != 1:
            return self._chinese.asked_whether(question)
        names = set(mentions[0].name.split())
        rest = {word for word in words if english.singular(word) not in names}
        return mentions[0] if rest <= _OF_PRESENCE else None

    def _add(self, name: str, category: str) -> None:
        key = _key(name)
        self._names[key] = self._names.get(key, frozenset()) | {category}
        if len(key) > 1:
            self._first_words.add(key[0])

    def _length_at(self, words: Sequence[str], at: int) -> int:
        """Words of the longest name that begins there; 0 for none."""
        if words[at] not in self._first_words:
            return int((english.singular(words[at]),) in self._names)
        lengths = range(min(_LONGEST, len(words) - at), 0, -1)
        return next((n for n in lengths if _singular_key(words[at : at + n]) in self._names), 0)

    def _mention(self, words: Sequence[str], at: int, length: int) -> Mention:
        key = _singular_key(words[at : at + length])
        before = words[:at]
        denied = any(word in _DENYING or word.endswith("n't") for word in before)
        return Mention(" ".join(key), self._names[key], _count_before(before), denied)


def number_in(text: str) -> int | None:
    """The first number in a text: in digits, in English words up to twelve, or in Chinese."""
    words = map(english.number, _WORD.findall(text.lower()))
    found = next((value for value in words if value is not None), None)
    return number_in_chinese(text) if found is None else found


def _count_before(words: Sequence[str]) -> int | None:
    for word in reversed(words[-1 - _BETWEEN :]):
        if word in _PARTING:
            return None
        if (number := english.number(word)) is not None:
            return number
    return None


def _key(name: str) -> tuple[str, ...]:
    return _singular_key(_WORD.findall(name.lower()))


def _singular_key(words: Sequence[str]) -> tuple[str, ...]:
    return (*words[:-1], english.singular(words[-1])) if words else ()
