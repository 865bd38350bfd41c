"""Captions as words, in the manner of the COCO caption evaluation, without its Java.

The words are NLTK's, by the rules of the Penn Treebank as the PTB tokenizer's; they are set in
lower case, and punctuation is left out (coco-caption, tokenizer/ptbtokenizer.py). A full stop
within a caption is left out too, where the original keeps that of an abbreviation. Chinese and
Japanese are cut into characters, since they part no words by spaces.
"""

import functools
import re
from collections.abc import Callable

# What coco-caption leaves out, with the brackets that its tokenizer writes as -LRB- and such.
_PUNCTUATION = frozenset(
    [*".?!,:;-()[]{}'`", "''", "``", "--", "...", '"', *"。，！？、；：（）《》「」…—"]
)
_CHARACTERS = re.compile(r"[\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff1f…—]")
_STOP = re.compile(r"(?<=\w)\.(?=\s)")
_QUOTES = str.maketrans("’‘“”", "''\"\"")


@functools.lru_cache(maxsize=1 << 16)  # every measure asks for every caption, and some for it often
def words_of(text: str) -> tuple[str, ...]:
    """The words of a caption, in lower case and without punctuation; none of an empty one."""
    spaced = _CHARACTERS.sub(r" \g<0> ", text.translate(_QUOTES))
    found = _tokenizer()(_STOP.sub(" . ", spaced).strip())
    return tuple(word.lower() for word in found if word not in _PUNCTUATION)


@functools.cache
def _tokenizer() -> Callable[[str], list[str]]:
    from nltk.tokenize.destructive import NLTKWordTokenizer  # rules only: no data to download

    return NLTKWordTokenizer().tokenize
