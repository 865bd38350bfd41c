"""What a text says of an image's objects, against its boxes and captions."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from schemas.context import Context
from transforms.instruct.mention import Mention
from transforms.instruct.objects import Vocabulary, number_in

# What captions say of more things than anyone drew boxes around.
_MANY = re.compile(
    r"\b(group|crowd|crowded|many|several|lots?|rows?|bunch|herd|flock|pile|stack|full of|filled|"
    r"assortment|variety|collection|dozens?|multiple|numerous)\b"
    r"|[一几]群|成群|许多|很多|好几|几[个只条头匹辆位名]|一些|各种|[一几]排|[一几]堆|满是|众多|人群|羊群|牛群|象群",
    re.IGNORECASE,
)
_MOST_BOXES = 8  # with as many of a kind, annotators may have left off


def object_fault(answers: Iterable[str], context: Context, vocabulary: Vocabulary) -> str | None:
    """An object that an answer names and that neither boxes nor captions hold; None for none, or
    where nobody drew boxes."""
    if context.things is None:
        return None
    known = _held(context, vocabulary)
    for answer in answers:
        for mention in vocabulary.mentions(answer):
            if not mention.denied and mention.count != 0 and not mention.categories & known:
                return f"{mention.name!r} is neither in the boxes nor in the captions"
    return None


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
    vague = {c for c in _vague(context, vocabulary) if there[c] not in stated[c]}
    for question, answer in asked:
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
        count = number_in(answer)
        if count is not None:
            yield Mention(wanted.name, wanted.categories, count, denied=False), True
        return
    for mention in vocabulary.mentions(answer):
        if mention.count and not mention.denied and mention.name != "couple":
            yield mention, False


def _held(context: Context, vocabulary: Vocabulary) -> frozenset[str]:
    """Categories that boxes or captions may hold."""
    boxes = (vocabulary.categories(thing.label) for thing in context.things or ())
    told = (_named(text, vocabulary) for text in context.captions)
    return frozenset[str]().union(*boxes, *told)


def _vague(context: Context, vocabulary: Vocabulary) -> frozenset[str]:
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
