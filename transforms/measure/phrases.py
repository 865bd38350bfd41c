"""Noun phrases of a caption, as LLaVA counted them to choose CC3M-595K (Liu et al. 2023).

Two ways:

* spaCy's noun chunks, where the policy names a pipeline with a parser.
* Stop-word phrases: runs of words between stop words and marks, which RAKE takes as candidates
  (Rose et al. 2010). They need no model and know no grammar: the list is English, a verb that it
  lacks becomes a phrase, and an adjective before "and" one of its own. A word in a script that is
  written without spaces (ideographs, kana, Thai, ...) ends a phrase as a mark does, so Chinese and
  Japanese captions have none.
"""

import functools
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from schemas.errors import BadInputError
from schemas.fingerprint import Json, fingerprint
from transforms.measure.policy import PhrasesPolicy
from transforms.measure.stop_words import STOP_WORDS

PHRASES_TYPE = pa.list_(pa.string())

_SPACELESS = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
# ASCII and Latin-1 marks, general punctuation, symbols, full-width marks, pictures. Combining signs
# are no marks (they are parts of words in Hindi and Arabic), which is why this is not \W.
_MARKS = (
    r"\x00-/:-@\[-`{-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7"
    r"\u037e\u055a-\u055f\u0589\u05be\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965"
    r"\u2000-\u206f\u20a0-\u20cf\u2100-\u2bff\u3000-\u303f\ufe00-\ufe6f\ufeff-\uff0f\uff1a-\uff20"
    r"\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff\U0001f000-\U0001faff\U000e0000-\U000e0fff"
)
_LETTER = rf"[^\s{_MARKS}{_SPACELESS}]"
# A word, or whatever ends a phrase. White space does not; apostrophe, hyphen and the joiners of
# Persian and Hindi do not between two letters.
_TOKEN = re.compile(rf"({_LETTER}+(?:['’‐\u200c\u200d-]{_LETTER}+)*)|\S")
_one_at_a_time = threading.Lock()  # spaCy's pipelines are not for several threads


def noun_phrases(captions: Sequence[str], policy: PhrasesPolicy) -> pa.Array:
    """(N,) list<string>: the distinct phrases of each caption, lower case, in their order.

    A phrase of more than `max_words` words is cut to its last ones, for there is the head noun.
    Numbers, and all else without a letter, are no phrase.
    Raises: BadInputError: spaCy or its pipeline cannot be had.
    """
    texts = [caption.encode("utf-8", "replace").decode("utf-8") for caption in captions]
    runs = _noun_chunks(texts, policy.spacy) if policy.spacy else map(_stop_word_phrases, texts)
    return pa.array([_distinct(found, policy.max_words) for found in runs], PHRASES_TYPE)


def phrases_identity(policy: PhrasesPolicy) -> Json:
    """What the phrases depend on: the stop words, or the versions of pipeline and spaCy.

    Raises: BadInputError: spaCy or its pipeline cannot be had.
    """
    if policy.spacy is None:
        return {"max_words": policy.max_words, "stop_words": fingerprint(sorted(STOP_WORDS))}
    with _one_at_a_time:
        meta = _pipeline(policy.spacy).meta
    name = "{lang}_{name} {version}".format(**meta)
    return {"max_words": policy.max_words, "pipeline": name, "spacy": version("spacy")}


def _distinct(phrases: Iterable[list[str]], max_words: int) -> list[str]:
    kept = dict.fromkeys(" ".join(words[-max_words:]) for words in phrases)
    return [phrase for phrase in kept if any(map(str.isalpha, phrase))]


def _stop_word_phrases(text: str) -> Iterator[list[str]]:
    """Runs of words with nothing but spaces between."""
    run: list[str] = []
    for match in _TOKEN.finditer(text.lower()):
        word = match[1]
        if word is not None and word.replace("’", "'") not in STOP_WORDS:
            run.append(word)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _noun_chunks(texts: Sequence[str], name: str) -> list[list[list[str]]]:
    with _one_at_a_time:
        nlp = _pipeline(name)
        with nlp.memory_zone():  # else each new word stays in memory for ever
            docs = nlp.pipe(text[: nlp.max_length] for text in texts)
            return [[chunk.text.lower().split() for chunk in doc.noun_chunks] for doc in docs]


@functools.lru_cache(maxsize=1)
def _pipeline(name: str) -> Any:
    """Without the parts that noun chunks do not need; spaCy has no types that pyright can see."""
    try:
        import spacy  # pyright: ignore[reportMissingImports]  # installed only where it is asked for
    except ImportError as error:
        said = "is not installed: install it, or leave `spacy` out for stop-word phrases"
        raise BadInputError(f"Noun phrases by {name} need spaCy, which {said}.") from error
    try:
        nlp = spacy.load(name, exclude=["ner", "lemmatizer"])
        list(nlp("a cat").noun_chunks)
    except (OSError, ImportError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise BadInputError(f"The spaCy pipeline {name} gives no noun phrases: {reason}") from error
    return nlp
