"""Dialogues by rule: what captions, boxes and people's answers state, put into wordings of ours.

No model is asked, so nothing is said that was not known; and nothing that takes thought: reasoning,
chains of thought and detailed descriptions cannot be made this way.
"""

import functools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from schemas.context import Context, Thing
from schemas.dialogue import Kind, Language, Role, Turn
from schemas.fingerprint import file_sha256
from transforms.instruct.annotations import Annotations
from transforms.instruct.checks.grounding import vague_categories
from transforms.instruct.checks.speech import language_fault
from transforms.instruct.names.chinese import HAN, name_in_chinese
from transforms.instruct.names.colours import coloured
from transforms.instruct.names.english import NUMBER_WORDS, plural
from transforms.instruct.names.labels import Negatives
from transforms.instruct.parse import with_image

TEMPLATES_FILE = Path(__file__).with_name("templates.yaml")
KINDS = (
    Kind.SHORT_ANSWER,
    Kind.YES_NO,
    Kind.COUNTING,
    Kind.REGION,
    Kind.QUESTION,
    Kind.CONVERSATION,
)
_MOST_COUNTED = 8  # with more boxes of a kind, annotators may have left off
_LONGEST_TALK = 4  # exchanges
_LEAST_SIDE = 0.02  # of a box, as a share: smaller things are hardly seen
_UNCOUNTED = frozenset({"skis", "scissors", "broccoli"})  # neither `a skis` nor `two skis`
_YES_NO: Mapping[Language, tuple[str, str]] = {"en": ("no", "yes"), "zh": ("没有", "有")}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question with what is known of its answer."""

    question: str
    answer: str
    bare: str  # the question without a wording around it, for the model to ask
    family: str  # of the wording
    sentence: str = ""  # the answer as it is said in a talk, where it is not the same
    thing: str = ""  # that it is about


@dataclass(frozen=True, slots=True)
class Material:
    """What an image's dialogues are made from."""

    context: Context
    language: Language
    annotations: Annotations  # of all images
    negatives: Negatives


def make_turns(
    kind: Kind, material: Material, seed: str, number: int = 0
) -> tuple[Turn, ...] | None:
    """The dialogue of a kind and number; None where nothing known gives one. The same seed gives
    the same; numbers take other facts in turn."""
    rng = random.Random(f"{seed} {number}")
    match kind:
        case Kind.QUESTION:
            made = _asked(material, rng, seed, number)
        case Kind.CONVERSATION:
            made = _joined(material, rng)
        case _:
            found = list(_MAKERS[kind](material, rng))
            made = _nth(found, seed, number)
    if not made:
        return None
    turns = [
        Turn(role=role, text=text)
        for each in made
        for role, text in ((Role.PERSON, each.question), (Role.MODEL, _said(each, kind)))
    ]
    return with_image(turns)


def _said(each: Exchange, kind: Kind) -> str:
    """In a talk whole sentences, where there are."""
    return (kind is Kind.CONVERSATION and each.sentence) or each.answer


def possible(material: Material) -> frozenset[Kind]:
    """The kinds that can be made of what is known, whatever the seed."""
    return frozenset(kind for kind in KINDS if make_turns(kind, material, "") is not None)


def _nth(found: Sequence[Exchange], seed: str, number: int) -> list[Exchange]:
    """One after the other, in an order of the seed's; none once all have been."""
    order = random.Random(seed).sample(range(len(found)), len(found))
    return [found[place] for place in order[number : number + 1]]


def templates_sha256() -> str:
    """Of the file with the wordings."""
    return file_sha256(TEMPLATES_FILE)


def _short_answers(material: Material, rng: random.Random) -> Iterator[Exchange]:
    """People's answers, if there are; else what a caption says of a colour, or all it says."""
    answered = list(_of_people(material, rng))
    if answered:
        yield from answered
        return
    if material.language == "en":  # colours are read in English only
        several = _several(material)
        for thing, colour in sorted(coloured(material.context.captions).items()):
            if thing not in several:
                exchange = _worded(material, rng, "colour", colour, thing=thing)
                yield replace(exchange, sentence=f"The {thing} is {colour}.", thing=thing)
    yield from _descriptions(material, rng)


def _of_people(material: Material, rng: random.Random) -> Iterator[Exchange]:
    for each in material.context.answered:
        if language_fault(each.question, material.language) is not None:
            continue
        answer, _ = Counter(each.answers).most_common(1)[0]
        question = each.question[:1].upper() + each.question[1:]
        worded = _wording(material, rng, "short").format(question=question)
        yield Exchange(worded, answer, question, "short")


def _descriptions(material: Material, rng: random.Random) -> Iterator[Exchange]:
    told = (c for c in material.context.captions if language_fault(c, material.language) is None)
    for caption in told:
        yield _worded(material, rng, "describe", _as_sentence(caption))


def _several(material: Material) -> frozenset[str]:
    """Names of which a caption has more than one: there is no such thing as the dog."""
    found: set[str] = set()
    for caption in material.context.captions:
        mentions = list(material.annotations.vocabulary.mentions(caption))
        often = Counter(mention.name for mention in mentions)
        found |= {m.name for m in mentions if often[m.name] > 1 or (m.count or 1) > 1}
    return frozenset(found)


def _presences(material: Material, rng: random.Random) -> Iterator[Exchange]:
    """As many that are there as that are not (POPE, Li et al. 2023)."""
    there = sorted({thing.label for thing in material.context.things or ()} - _UNCOUNTED)
    everywhere, how = material.annotations, material.negatives
    absent = everywhere.labels.absent(material.context, everywhere.vocabulary, how, rng)
    if material.context.things is None or not there or absent is None:
        return
    is_there = rng.random() < 0.5
    name = _name(material, rng.choice(there) if is_there else absent)
    if name is None or name in _UNCOUNTED:
        return
    answer = _YES_NO[material.language][is_there]
    if material.language == "zh":
        yield replace(_worded(material, rng, "yes_no", answer, a_thing=name), thing=name)
        return
    exchange = _worded(material, rng, "yes_no", answer, a_thing=_with_article(name))
    told = f"Yes, there is {_with_article(name)}." if is_there else f"No, there is no {name}."
    yield replace(exchange, sentence=told, thing=name)


def _counts(material: Material, rng: random.Random) -> Iterator[Exchange]:
    """How many boxes have a label; without boxes, how many a caption says."""
    for name, count in sorted(_counted(material).items()):
        if material.language == "zh":
            exchange = _worded(material, rng, "counting", str(count), things=name)
            yield replace(exchange, thing=name)
            continue
        exchange = _worded(material, rng, "counting", str(count), things=plural(name))
        verb, things = ("is", name) if count == 1 else ("are", plural(name))
        told = f"There {verb} {NUMBER_WORDS[count]} {things}."
        yield replace(exchange, sentence=told, thing=name)


def _counted(material: Material) -> dict[str, int]:
    """{name: how many there are}."""
    if material.context.things is not None:
        boxes = Counter(thing.label for thing in material.context.things)
        counted = boxes.keys() - _UNCOUNTED
        few = ((_name(material, x), boxes[x]) for x in counted if boxes[x] < _MOST_COUNTED)
        return {name: count for name, count in few if name is not None}
    said: dict[str, set[int]] = {}
    vague = vague_categories(material.context, material.annotations.vocabulary)
    for caption in material.context.captions:
        for mention in material.annotations.vocabulary.mentions(caption):
            is_ours = mention.name.isascii() == (material.language == "en")
            is_told = is_ours and not mention.denied and not mention.categories & vague
            count = mention.count or 0
            if is_told and 0 < count < _MOST_COUNTED:
                said.setdefault(mention.name, set()).add(count)
    return {name: counts.pop() for name, counts in said.items() if len(counts) == 1}


def _regions(material: Material, rng: random.Random) -> Iterator[Exchange]:
    """What is in a box, and where the only thing of its kind is."""
    things = material.context.things or ()
    alone = Counter(thing.label for thing in things)
    for thing in things:
        box, name = _as_text(thing), _name(material, thing.label)
        if name is None or _is_tiny(thing):
            continue
        yield _worded(material, rng, "region_to_name", name, box=box)
        if alone[thing.label] == 1:
            yield _worded(material, rng, "name_to_region", box, thing=name)


def _name(material: Material, label: str) -> str | None:
    """A label in the language of the dialogue, where we know it."""
    if material.language == "en":
        return label if label.isascii() else None
    return name_in_chinese(label) if label.isascii() else label


def _is_tiny(thing: Thing) -> bool:
    left, top, right, bottom = thing.box
    return min(right - left, bottom - top) < _LEAST_SIDE


def _as_text(thing: Thing) -> str:
    """As LLaVA writes boxes: shares of width and height with three decimals."""
    return f"[{', '.join(f'{share:.3f}' for share in thing.box)}]"


_MAKERS: Mapping[Kind, Callable[[Material, random.Random], Iterator[Exchange]]] = {
    Kind.SHORT_ANSWER: _short_answers,
    Kind.YES_NO: _presences,
    Kind.COUNTING: _counts,
    Kind.REGION: _regions,
}


def _asked(material: Material, rng: random.Random, seed: str, number: int) -> list[Exchange]:
    """The model asks what one of the other kinds has an answer to."""
    makers = (_of_people, _colours, _more_than_one)
    found = [each for maker in makers for each in maker(material, rng)]
    family = rng.choice(("ask", "ask_for"))
    return [
        Exchange(question, chosen.bare, question, family)
        for chosen in _nth(found, seed, number)
        for question in [_wording(material, rng, family).format(answer=chosen.answer)]
    ]


def _more_than_one(material: Material, rng: random.Random) -> Iterator[Exchange]:
    return (each for each in _counts(material, rng) if each.answer != "1")


def _colours(material: Material, rng: random.Random) -> Iterator[Exchange]:
    return (each for each in _short_answers(material, rng) if each.family == "colour")


def _joined(material: Material, rng: random.Random) -> list[Exchange]:
    """A description, then some of all else that is known, each of another thing."""
    first = list(_descriptions(material, rng))[:1]
    makers = (_of_people, _colours, _more_than_one, _presences)
    others = [each for maker in makers for each in maker(material, rng)]
    rng.shuffle(others)
    by_thing = {each.thing or each.question: each for each in others}
    talk = [*first, *by_thing.values()][:_LONGEST_TALK]
    return talk if len(talk) > 1 else []


def _worded(
    material: Material, rng: random.Random, family: str, answer: str, **words: str
) -> Exchange:
    question = _wording(material, rng, family).format(**words)
    plain = _templates()[material.language][family][0].format(**words)
    return Exchange(question, answer, plain, family)


def _wording(material: Material, rng: random.Random, family: str) -> str:
    return rng.choice(_templates()[material.language][family])


@functools.cache
def _templates() -> dict[str, Any]:
    return yaml.safe_load(TEMPLATES_FILE.read_text(encoding="utf-8"))


def _with_article(label: str) -> str:
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def _as_sentence(caption: str) -> str:
    """With a capital and one full stop, without the space that some data sets put before it."""
    text = re.sub(r"\s+([.,!?])", r"\1", " ".join(caption.split()))
    text = text.lower() if text.isupper() else text
    ended = text.endswith((".", "!", "?", "。", "！", "？"))
    stop = "。" if HAN.search(text) else "."
    return text[:1].upper() + text[1:] + ("" if ended else stop)
