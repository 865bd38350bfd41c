"""Checks of a dialogue against what is known of its image; each names one fault, or none.

In this order: form first, so that what comes later may take it for granted. The first fault is the
dialogue's reason in its ledger.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field, StrictInt

from schemas.context import Context
from schemas.dialogue import IMAGE_TOKEN, Dialogue, DialogueFault, Kind, Role
from transforms.instruct.checks.grounding import box_fault, count_fault, object_fault
from transforms.instruct.checks.questions import Earlier
from transforms.instruct.checks.speech import language_fault, leak, refusal
from transforms.instruct.names.vocabulary import Vocabulary
from transforms.instruct.parse import spoken


class CheckPolicy(BaseModel, extra="forbid", frozen=True):
    """Limits of what a turn may be."""

    max_turn_chars: StrictInt = Field(default=4000, ge=1, description="Of one turn.")
    max_short_chars: StrictInt = Field(
        default=200, ge=1, description="Of an answer where a short one was asked for."
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a dialogue."""

    reason: DialogueFault
    detail: str


@dataclass(frozen=True, slots=True)
class Known:
    """What a dialogue is checked against."""

    context: Context
    vocabulary: Vocabulary
    policy: CheckPolicy


Check = Callable[[Dialogue, Known], str | None]  # None: nothing found; a string says what was

SHORT = frozenset({Kind.SHORT_ANSWER, Kind.YES_NO, Kind.COUNTING, Kind.OCR})


def judge(dialogues: Sequence[Dialogue], known: Known) -> list[Fault | None]:
    """For each dialogue about one image its first fault; None: it is kept.

    A question is compared with those of the turns before it, in this dialogue and in earlier ones
    that are kept; what persons ask and what the model asks are two things."""
    by_asker = {role: Earlier() for role in Role}
    found: list[Fault | None] = []
    for dialogue in dialogues:
        earlier = by_asker[_asker(dialogue)]
        fault = first_fault(dialogue, known) or _repeated(dialogue, earlier)
        if fault is None:
            earlier.add(_questions(dialogue))
        found.append(fault)
    return found


def first_fault(dialogue: Dialogue, known: Known) -> Fault | None:
    """What is wrong with a dialogue taken by itself."""
    for reason, check in _CHECKS:
        if (detail := check(dialogue, known)) is not None:
            return Fault(reason, detail)
    return None


def _repeated(dialogue: Dialogue, earlier: Earlier) -> Fault | None:
    detail = earlier.repeated(_questions(dialogue))
    return None if detail is None else Fault(DialogueFault.REPEATED_QUESTION, detail)


def _questions(dialogue: Dialogue) -> list[str]:
    return [spoken(turn) for turn in dialogue.turns if turn.role is _asker(dialogue)]


def _asker(dialogue: Dialogue) -> Role:
    return Role.MODEL if dialogue.kind is Kind.QUESTION else Role.PERSON


def _said_by(dialogue: Dialogue, role: Role) -> Iterator[str]:
    return (spoken(turn) for turn in dialogue.turns if turn.role is role)


def _starts_with_model(dialogue: Dialogue, known: Known) -> str | None:
    return "the model speaks first" if _role_at(dialogue, 0) is not Role.PERSON else None


def _ends_with_person(dialogue: Dialogue, known: Known) -> str | None:
    return "nobody answers the last turn" if _role_at(dialogue, -1) is Role.PERSON else None


def _role_at(dialogue: Dialogue, place: int) -> Role | None:
    return dialogue.turns[place].role if dialogue.turns else None


def _roles(dialogue: Dialogue, known: Known) -> str | None:
    for number, (one, other) in enumerate(itertools.pairwise(dialogue.turns)):
        if one.role is other.role:
            return f"turns {number + 1} and {number + 2} are both by the {one.role}"
    return None


def _image_count(dialogue: Dialogue, known: Known) -> str | None:
    count = sum(turn.text.count(IMAGE_TOKEN) for turn in dialogue.turns)
    if count == dialogue.images:
        return None
    return f"{count} {IMAGE_TOKEN}, {dialogue.images} images"


def _empty_turn(dialogue: Dialogue, known: Known) -> str | None:
    for number, turn in enumerate(dialogue.turns):
        if not any(char.isalnum() for char in spoken(turn)):
            return f"turn {number + 1} says nothing"
    return None


def _long_turn(dialogue: Dialogue, known: Known) -> str | None:
    short = known.policy.max_short_chars if dialogue.kind in SHORT else known.policy.max_turn_chars
    for number, turn in enumerate(dialogue.turns):
        most = short if turn.role is Role.MODEL else known.policy.max_turn_chars
        if len(text := spoken(turn)) > most:
            return f"turn {number + 1} has {len(text)} characters, at most {most}"
    return None


def _refusal(dialogue: Dialogue, known: Known) -> str | None:
    return next(filter(None, map(refusal, _said_by(dialogue, Role.MODEL))), None)


def _leak(dialogue: Dialogue, known: Known) -> str | None:
    places = dialogue.kind is not Kind.REGION
    told = (leak(text, numbers=places) for text in _own_words(dialogue, known.context))
    return next(filter(None, told), None)


def _unknown_object(dialogue: Dialogue, known: Known) -> str | None:
    return object_fault(_exchanges(dialogue), known.context, known.vocabulary)


def _wrong_count(dialogue: Dialogue, known: Known) -> str | None:
    return count_fault(_exchanges(dialogue), known.context, known.vocabulary)


def _wrong_box(dialogue: Dialogue, known: Known) -> str | None:
    return box_fault(map(spoken, dialogue.turns), known.context)


def _other_language(dialogue: Dialogue, known: Known) -> str | None:
    told = (language_fault(text, dialogue.language) for text in _own_words(dialogue, known.context))
    return next(filter(None, told), None)


def _exchanges(dialogue: Dialogue) -> list[tuple[str, str]]:
    pairs = zip(dialogue.turns[::2], dialogue.turns[1::2], strict=False)
    return [(spoken(question), spoken(answer)) for question, answer in pairs]


def _own_words(dialogue: Dialogue, context: Context) -> Iterator[str]:
    """What is said in each turn; of answers about lettering without what is written there."""
    answers = (answer for each in context.answered for answer in each.answers)
    written = {*map(str.casefold, context.lettering), *map(str.casefold, answers)}
    words = {word for text in written for word in text.split()}
    for turn in dialogue.turns:
        text = spoken(turn)
        if dialogue.kind is Kind.OCR and turn.role is Role.MODEL:
            text = "" if text.casefold() in written else _without(text, words)
        yield text


def _without(text: str, words: set[str]) -> str:
    return " ".join(word for word in text.split() if word.casefold().strip(".,!?") not in words)


_CHECKS: tuple[tuple[DialogueFault, Check], ...] = (
    (DialogueFault.STARTS_WITH_MODEL, _starts_with_model),
    (DialogueFault.WRONG_ROLES, _roles),
    (DialogueFault.ENDS_WITH_PERSON, _ends_with_person),
    (DialogueFault.IMAGE_COUNT, _image_count),
    (DialogueFault.EMPTY_TURN, _empty_turn),
    (DialogueFault.LONG_TURN, _long_turn),
    (DialogueFault.REFUSAL, _refusal),
    (DialogueFault.LEAKED_CONTEXT, _leak),
    (DialogueFault.OTHER_LANGUAGE, _other_language),
    (DialogueFault.UNKNOWN_OBJECT, _unknown_object),
    (DialogueFault.WRONG_COUNT, _wrong_count),
    (DialogueFault.WRONG_BOX, _wrong_box),
)
