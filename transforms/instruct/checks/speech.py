"""What an answer must not say: that the model will not, what it was given, or another language."""

import re
from functools import cache, lru_cache

from schemas.dialogue import Language
from transforms.instruct.names.chinese import HAN
from transforms.measure.detectors import FastText, model_path
from transforms.measure.stop_words import STOP_WORDS

_QUOTED = re.compile(r"\"[^\"]{1,80}\"|“[^”]{1,80}”|「[^」]{1,80}」|‘[^’]{1,80}’")
_REFUSAL = re.compile(
    r"""\b(?:
    i(?:'m|\ am)\ (?:(?:very|so|truly|really|terribly|afraid\ i(?:'m|\ am))\ )?
        (?:sorry|unable|not\ able|not\ allowed)
    | i\ (?:do\ |sincerely\ |must\ |would\ like\ to\ )?apologi[sz]e | (?:my\ )?apologies
    | sorry,?\ (?:but\ )?(?:i|this|that|no)\b | i(?:'m|\ am)\ afraid\b
    | i\ (?:must|have\ to|will\ have\ to|need\ to)\ (?:respectfully\ |politely\ )?decline
    | against\ (?:my|our|the)\ (?:guidelines|polic(?:y|ies)|programming|rules)
    | as\ an?\ (?:ai|artificial\ intelligence|(?:large\ )?language\ model|text-(?:based|only))\b
    | i(?:\ am|'m)\ (?:just\ |only\ )?an?\ (?:ai|(?:large\ )?language\ model)\b
    | i\ (?:can\ ?not|can't|couldn't|could\ not|won't|will\ not)\ (?:\w+\ ){0,3}
        (?:view|access|open|tell|say|discuss|comment|help|assist|comply|fulfil|respond|continue|answer
        |describe|provide|determine|identify|generate|interpret|process|analy[sz]e)
    | i\ (?:can\ ?not|can't|do\ not|don't|couldn't|could\ not)\ (?:\w+\ ){0,2}(?:see|look\ at)
        (?:\ (?:an?|the|this|that|your|any)\ (?:\w+\ )?(?:image|picture|photo)
        |\ (?:it|images|pictures)\b | \s*(?:[.,!;]|$))
    | (?:it\ is|it's)\ (?:not\ possible|impossible)\ to\ (?:determine|tell|say|know|identify|see)
    | (?:can\ ?not|can't)\ be\ (?:determined|identified|known|answered)
    | unable\ to\ (?:determine|tell|say|see|view|identify|answer|provide|process)
    | (?:image|picture|photo)\ (?:is|was|has)(?:\ not|n't)\ (?:been\ )?
        (?:attached|provided|shown|loaded)
    | (?:please|(?:can|could|would)\ you(?:\ please)?)\ (?:upload|attach|provide|share|send)\b
    | no\ (?:image|picture|photo)\ (?:is\ |was\ |has\ been\ )?(?:attached|provided|shared|uploaded)
    | not\ enough\ (?:information|details?|context)\ to
    | (?:can\ ?not|can't)\ (?:\w+ly\ )?(?:determine|identify|confirm|ascertain|verify)
    | i\ (?:do\ not|don't)\ (?:actually\ )?have\ (?:access|the\ ability|enough|any\ image)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_REFUSAL_ZH = re.compile(
    r"抱歉|对不起|很遗憾，?我|作为一(?:个|名)(?:AI|人工智能|语言模型)|我(?:无法|不能|没有办法|没法)"
    r"(?:看|查看|回答|提供|帮助|描述|确定|识别|访问)"
    r"|无法(?:判断|确定|得知|回答|识别|辨认)|不能(?:判断|确定|得知)|请(?:上传|提供)"
)
_CONTEXT = re.compile(
    r"""\b(?:
    captions? | bounding[-\ ]box(?:es)? | bbox(?:es)? | coordinates? | annotations?
    | (?:given|provided|above|accompanying|supplied)\ (?:text|sentences?|descriptions?|information
        |context|details?|object\ list|data|list|labels?)
    | (?:text|sentences?|descriptions?|information|context|data|details|labels?|list)\ (?:that\ )?
        (?:(?:was|were|is|are|has\ been|have\ been|you|i\ was|i\ have\ been)\ )?
        (?:provided|given|supplied|above|shared|gave)
    | (?:based\ on|according\ to|judging\ by|going\ by|given|from|per)\ (?:the|these|this|your)
        \ (?:descriptions?|sentences?|text|information|context|data|metadata|labels?|input|prompt)
    | (?:mentioned|stated|described|listed|noted|indicated|specified|reported)\ in\ the
        \ (?:descriptions?|sentences?|context|prompt|text|input|data|metadata|information|list)
    | (?:descriptions?|prompt|input|metadata|sentences?|labels)
        \ (?:says?|states?|mentions?|indicates?|describes?|notes?|tells?|suggests?|specif(?:y|ies))
    | (?:list|set)\ of\ (?:detected\ |labell?ed\ )?(?:objects|labels|detections)
    | (?:object|detection)\ (?:list|labels|data|detections|detector|detection)
    | detected\ (?:objects?|labels?) | normali[sz]ed\ (?:coordinates|values)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_CONTEXT_ZH = re.compile(
    r"标题(?:中|里|说|写|提到)|图片说明|说明文字|边界框|方框|坐标|标注"
    r"|根据(?:所给|提供|上述)?的?(?:描述|说明|标题)|(?:描述|说明)中提到"
)
# Two or more shares of width and height: 0.25, 0.4 or [.1 .2 .3 .4]; pixels: [120, 45, 300, 200],
# (120, 45); x = 0.25.
_NUMBERS = re.compile(
    r"(?<![\d.])[01]?\.\d{1,4}\s*[,，\s]\s*[01]?\.\d{1,4}(?!\d)"
    r"|[\[(]\s*\d{1,4}(?:\s*[,，]\s*\d{1,4}){3}\s*[\])]|[\[(]\s*\d{2,4}\s*[,，]\s*\d{2,4}\s*[\])]"
    r"|\b[xy][12]?\s*=\s*[\d.]"
)
_LETTERS = re.compile(r"[^\W\d_]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_LEAST_LETTERS = 9  # fewer may be a name, or a word that all languages have
_LEAST_WORDS = 4  # shorter texts have no language that could be told
_SURE, _HARDLY = 0.5, 0.15  # probabilities: of another language, and of English
_REMEMBERED = 1 << 12  # texts: what is made is checked twice, before a repair and for the ledger
_ENGLISH = 0.3  # share of English function words that no other language has


@lru_cache(maxsize=_REMEMBERED)
def refusal(text: str) -> str | None:
    """The words by which a model refuses or apologises, outside quotation marks."""
    spoken = _QUOTED.sub(" ", text.replace("’", "'"))
    found = _REFUSAL.search(spoken) or _REFUSAL_ZH.search(spoken)
    return None if found is None else repr(found[0])


@lru_cache(maxsize=_REMEMBERED)
def leak(text: str, *, numbers: bool) -> str | None:
    """Words that speak of captions or boxes, or, with `numbers`, coordinates."""
    found = _CONTEXT.search(text) or _CONTEXT_ZH.search(text)
    if found is None and numbers:
        found = _NUMBERS.search(text)
    return None if found is None else repr(found[0])


@lru_cache(maxsize=_REMEMBERED)
def language_fault(text: str, wanted: Language) -> str | None:
    """The language of a text that is hardly in the one wanted; None where that cannot be told."""
    letters, han = len(_LETTERS.findall(text)), len(HAN.findall(text))
    if len(_KANA.findall(text)) > 0.1 * letters:
        return "Japanese"
    if wanted == "zh":
        foreign = letters >= _LEAST_LETTERS and han < 0.2 * letters
        return "hardly a Chinese character" if foreign else None
    if han > 0.2 * letters:
        return "Chinese"
    if letters >= _LEAST_LETTERS and len(_LATIN.findall(text)) < 0.5 * letters:
        return "another script"
    if len(text.split()) < _LEAST_WORDS:
        return None
    return None if _has_english_words(text) else _foreign(text)


def _has_english_words(text: str) -> bool:
    """Enough function words: fastText takes `girls climb up a snowy hill` for Polish."""
    words = text.casefold().split()
    return sum(word.strip(".,!?") in STOP_WORDS for word in words) >= _ENGLISH * len(words)


def _foreign(text: str) -> str | None:
    """The code of another language than English that fastText is sure of."""
    found = _detector().detect([text.casefold()])[0] or [("en", 1.0)]
    code, likely = found[0]
    is_foreign = likely >= _SURE and dict(found).get("en", 0.0) <= _HARDLY
    return code if is_foreign else None


@cache
def _detector() -> FastText:
    return FastText(model_path(None))
