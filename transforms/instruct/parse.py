"""From what a model replied to turns, by the form that its prompt asked for."""

import re
from collections.abc import Iterator, Sequence

from schemas.dialogue import IMAGE_TOKEN, Role, Turn

# Of questions and answers, in either language, each in a line of its own: LLaVA's form.
_QUESTION, _ANSWER = ("Question:", "问题：", "问题:"), ("Answer:", "回答：", "回答:")
_PARTED = re.compile(r"^[ \t]*={3,}[ \t]*$", re.MULTILINE)
_THINKING = "<think>"
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^```\w*\n(.*)\n```$", re.DOTALL)


class ParseError(Exception):
    """A reply that does not have the form that was asked for."""


def parse_blocks(reply: str) -> tuple[Turn, ...]:
    """Turns of `Question:` and `Answer:` blocks with `===` between them, the image in the first.

    Whether they alternate is not asked here. Raises: ParseError: a block begins otherwise."""
    blocks = [block.strip() for block in _PARTED.split(_bare(reply))]
    turns = [turn for block in filter(None, blocks) for turn in _turns_of(block)]
    if not turns:
        raise ParseError("no question and no answer")
    return with_image(turns)


def parse_answer(reply: str, question: str) -> tuple[Turn, ...]:
    """Two turns: the question that was asked for the person, and the whole reply.

    Raises: ParseError: it is a talk."""
    text = _bare(reply)
    if _PARTED.search(text) or text.startswith((*_QUESTION, *_ANSWER)):
        raise ParseError("questions and answers where one answer was asked for")
    asked, said = Turn(role=Role.PERSON, text=question), Turn(role=Role.MODEL, text=text)
    return with_image([asked, said])


def with_image(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The same, the image before what is said first."""
    first = turns[0]
    return (first.model_copy(update={"text": f"{IMAGE_TOKEN}\n{first.text}"}), *turns[1:])


def spoken(turn: Turn) -> str:
    """What is said in a turn, without the image."""
    return turn.text.replace(IMAGE_TOKEN, "").strip()


def _bare(reply: str) -> str:
    """Without the fence that some models put around all they say, and without their thinking.

    Raises: ParseError: it thinks to the end."""
    text = _THOUGHT.sub("", reply).strip()
    if _THINKING in text:
        raise ParseError("a thought without an end")
    fenced = _FENCE.match(text)
    return fenced[1].strip() if fenced else text


def _turns_of(block: str) -> Iterator[Turn]:
    """One turn, or several where the model left out what parts them."""
    said: list[str] = []
    for line in block.split("\n"):
        if said and line.strip().startswith((*_QUESTION, *_ANSWER)):
            yield _turn_of(said)
            said = []
        said.append(line)
    yield _turn_of(said)


def _turn_of(lines: Sequence[str]) -> Turn:
    role, text = _headed("\n".join(lines).strip())
    return Turn(role=role, text=text.strip())


def _headed(block: str) -> tuple[Role, str]:
    for role, heads in ((Role.PERSON, _QUESTION), (Role.MODEL, _ANSWER)):
        for head in heads:
            if block.startswith(head):
                return role, block.removeprefix(head)
    raise ParseError(f"neither a question nor an answer: {block[:60]!r}")
