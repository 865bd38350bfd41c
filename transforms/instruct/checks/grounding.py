"""What a text says of an image's objects, against its boxes and captions."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from schemas.context import Context
from transforms.instruct.names.mention import Mention
from transforms.instruct.names.vocabulary import Vocabulary, number_in

# What captions say of more things than anyone drew boxes around.
_MANY = re.compile(
    r"\b(group|crowd|crowded|many|several|lots?|rows?|bunch|herd|flock|pile|stack|full of|filled|"
    r"assortment|variety|collection|dozens?|multiple|numerous)\b"
    r"|[一几]群|成群|许多|很多|好几|几[个只条头匹辆位名]|一些|各种|[一几]排|[一几]堆|满是|众多|人群|羊群|牛群|象群",
    re.IGNORECASE,
)
# Of a question that a yes makes a claim of, and of answers.
_WHETHER = re.compile(
    r"\s*(?:is|are|do|does|can you|do you)\b(?!\s+(?:this|it|that)\b)|.*(?:吗|有没有)",
    re.IGNORECASE,
)
_YES = re.compile(r"\s*(?:yes\b|有|是的|能)", re.IGNORECASE)
_NO = re.compile(r"\s*(?:no\b|没有|没|不)", re.IGNORECASE)
_NONE = re.compile(r"\s*(?:none|no|zero|there (?:is|are) no|没有|零)\b", re.IGNORECASE)
# Of a question that takes what it names for granted, and of an answer that does not.
_WH = re.compile(
    r"\s*(?:what|where|who|whose|why|which|when)\b|.*(?:什么|哪|谁|为什么|怎么)", re.IGNORECASE
)
_DENIES = re.compile(
    r"\b(?:no|not|none|nothing|nobody|never|without)\b|n't\b|没|不|无", re.IGNORECASE
)
_NUMBER = r"\s*([01]?\.\d+|[01])\s*"
_BOX = re.compile(rf"[\[(]{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])]")
_ROUNDED = 0.0051  # of a share: two decimals are near enough
_MOST_BOXES = 8  # with as many of a kind, annotators may have left off


def object_fault(
    asked: Sequence[tuple[str, str]], context: Context, vocabulary: Vocabulary
) -> str | None:
    """An object that an answer names, or says to be there, or that a question takes for granted,
    and that nothing known of the image holds; None for none, or where nobody drew boxes.

    Args: asked: questions with their answers."""
    if context.things is None:
        return None
    known = _held(context, vocabulary)
    for question, answer in asked:
        for mention in _claimed(question, answer, vocabulary):
            if not mention.denied and mention.count != 0 and not mention.categories & known:
                return f"{mention.name!r} is neither in the boxes nor in the captions"
    return None


def _claimed(question: str, answer: str, vocabulary: Vocabulary) -> Iterator[Mention]:
    yield from vocabulary.mentions(answer)
    says_yes = _YES.match(answer) is not None and _WHETHER.match(question) is not None
    takes_for_granted = _WH.match(question) is not None and not _DENIES.search(answer)
    if says_yes or takes_for_granted:
        yield from vocabulary.mentions(question)


def count_fault(
    asked: Sequence[tuple[str, str]], context: Context, vocabulary: Vocabulary
) -> str | None:
    """A number that contradicts the boxes; None for none, or where nobody drew boxes.

    Answers may speak of some of the things there are, so that only more than there are is wrong;
    but asked how many there are, less is wrong as well.

    Args: asked: questions with their answers."""
    if context.things is None:
        return None
    there = Counter(
        category for thing in context.things for category in vocabulary.categories(thing.label)
    )
    stated = _stated(context, vocabulary)
    vague = {c for c in vague_categories(context, vocabulary) if there[c] not in stated[c]}
    for question, answer in asked:
        absent = _said_absent(question, answer, vocabulary)
        if absent is not None and (boxes := sum(there[one] for one in absent.categories)):
            return f"none of {absent.name!r}, {boxes} in the boxes"
        for mention, exactly in _counted(question, answer, vocabulary):
            category, *others = mention.categories
            said, boxes = mention.count or 0, there[category]
            fewer = exactly and said < boxes
            more = said > boxes and category not in vague and boxes < _MOST_BOXES
            if not others and (fewer or more) and said not in stated[category]:
                return f"{said} of {mention.name!r}, {boxes} in the boxes"
    return None


def _counted(question: str, answer: str, vocabulary: Vocabulary) -> Iterable[tuple[Mention, bool]]:
    """What an answer gives a number of, and whether of all there are."""
    wanted = vocabulary.asked_for(question)
    if wanted is not None:
        count = 0 if _NONE.match(answer) else number_in(answer)
        if count is not None:
            yield Mention(wanted.name, wanted.categories, count, denied=False), True
        return
    for mention in vocabulary.mentions(answer):
        if mention.count and not mention.denied and mention.name != "couple":
            yield mention, False


def _said_absent(question: str, answer: str, vocabulary: Vocabulary) -> Mention | None:
    """What a question asks for, without saying more of it, and an answer says is not there."""
    return vocabulary.asked_whether(question) if _NO.match(answer) else None


def box_fault(texts: Iterable[str], context: Context) -> str | None:
    """Four coordinates that are none of the boxes'; None for none, or where nobody drew boxes."""
    if context.things is None:
        return None
    boxes = [thing.box for thing in context.things]
    for text in texts:
        for found in _BOX.finditer(text):
            told = [float(number) for number in found.groups()]
            if not any(_is_near(told, box) for box in boxes):
                return f"{found[0]} is no box"
    return None


def _is_near(told: Sequence[float], box: Sequence[float]) -> bool:
    return max(abs(one - other) for one, other in zip(told, box, strict=True)) <= _ROUNDED


def _held(context: Context, vocabulary: Vocabulary) -> frozenset[str]:
    """Categories that boxes or captions may hold."""
    boxes = (vocabulary.categories(thing.label) for thing in context.things or ())
    answers = (text for each in context.answered for text in (each.question, *each.answers))
    told = (_named(text, vocabulary) for text in (*context.captions, *answers, *context.lettering))
    return frozenset[str]().union(*boxes, *told)


def vague_categories(context: Context, vocabulary: Vocabulary) -> frozenset[str]:
    """Categories of which a caption says that there are many."""
    told = [text for text in context.captions if _MANY.search(text)]
    return frozenset[str]().union(*(_named(text, vocabulary) for text in told))


def _named(text: str, vocabulary: Vocabulary) -> frozenset[str]:
    """Every category that a text may name."""
    named = (mention.categories for mention in vocabulary.mentions(text))
    return frozenset[str]().union(*named)


def _stated(context: Context, vocabulary: Vocabulary) -> Mapping[str, set[int]]:
    """{category: numbers that captions give of it}."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for text in context.captions:
        for mention in vocabulary.mentions(text):
            for category in mention.categories:
                found[category] |= set() if mention.count is None else {mention.count}
    return found
