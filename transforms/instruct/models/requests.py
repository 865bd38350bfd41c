"""What is asked of a model for one dialogue, and what that may cost."""

import base64
import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from schemas.context import Context
from schemas.dialogue import Kind, dialogue_id
from transforms.instruct.models.prompts import (
    Message,
    PromptFile,
    make_messages,
    nth_of,
    repaired_messages,
)
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject

Picture = tuple[str, bytes]  # extension and encoded bytes
_LEAST_CHARS, _CHARS = 2.0, 4.0  # of a token, at least and as a rule; Chinese: half, and one
_TOKENS_A_MESSAGE = 8
_WIDE = re.compile(r"[\u2e81-\U0010ffff]")  # Chinese and the like


@dataclass(frozen=True, slots=True)
class Request:
    """Messages, the seed that goes with them, and our question where the model only answers."""

    messages: Sequence[Message]
    seed: int
    question: str | None
    image_sha256: str | None

    def as_sent(self, policy: InstructPolicy) -> dict[str, Any]:
        """As `chat.completions.create` takes it."""
        return {
            "model": policy.model,
            "messages": list(self.messages),
            "max_tokens": policy.max_tokens,
            "temperature": policy.temperature,
            "seed": self.seed,
        }


def first_request(
    subject: Subject,
    kind: Kind,
    number: int,
    policy: InstructPolicy,
    prompts: PromptFile,
    picture: Callable[[str], Picture],
) -> Request:
    """The same for the same dialogue. `picture` reads the image of a key, if it is to be shown."""
    rng = random.Random(f"{policy.seed} {dialogue_id(subject.uid, kind, number)}")
    first = random.Random(f"{policy.seed} {subject.uid} {kind}").random()
    question = nth_of(prompts.kinds[kind].questions, first, number)
    wish = nth_of(prompts.kinds[kind].wishes, first, number)
    url = sha256 = None
    if policy.source == "vision":
        url, sha256 = _shown(picture(subject.key))
    messages = make_messages(prompts, kind, subject.context, question or wish, url)
    return Request(messages, rng.getrandbits(31), question, sha256)


def repair_request(request: Request, prompts: PromptFile, reply: str, fault: str) -> Request:
    """Once more, with the reply and what was wrong with it."""
    messages = repaired_messages(prompts, request.messages, reply, fault)
    return replace(request, messages=messages)


def possible_kinds(context: Context, policy: InstructPolicy, prompts: PromptFile) -> list[str]:
    """The kinds of the policy for which there is something to ask about."""
    return [k.value for k in policy.kinds if has_material(k, context, policy, prompts)]


def has_material(kind: Kind, context: Context, policy: InstructPolicy, prompts: PromptFile) -> bool:
    """Whether there is something to ask about: of regions boxes; of a model that sees no picture
    captions, boxes to count, lettering to read."""
    if kind not in prompts.kinds:
        return False
    if kind is Kind.REGION:
        return bool(context.things)
    if policy.source == "vision":
        return True
    if kind in (Kind.YES_NO, Kind.COUNTING):
        return bool(context.things)
    if kind is Kind.OCR:
        return bool(context.lettering)
    return bool(context.captions)


def usd_at_most(messages: Sequence[Message], policy: InstructPolicy) -> float:
    """What a request may cost at most: so many tokens that a tokenizer hardly has more."""
    tokens_in = _tokens(messages, _LEAST_CHARS, policy.budget.tokens_per_image)
    return policy.budget.usd(tokens_in, policy.max_tokens)


def tokens_expected(messages: Sequence[Message], tokens_per_image: int) -> int:
    """Prompt tokens, as a rule."""
    return _tokens(messages, _CHARS, tokens_per_image)


def _tokens(messages: Sequence[Message], chars: float, tokens_per_image: int) -> int:
    return sum(_count(message, chars, tokens_per_image) for message in messages)


def _count(message: Message, chars: float, tokens_per_image: int) -> int:
    content = message["content"]
    texts = (
        [content]
        if isinstance(content, str)
        else [part["text"] for part in content if part["type"] == "text"]
    )
    images = 0 if isinstance(content, str) else len(content) - len(texts)
    wide = sum(len(_WIDE.findall(text)) for text in texts if not text.isascii())
    narrow = sum(map(len, texts)) - wide
    words = round((narrow + _CHARS * wide) / chars)
    return words + images * tokens_per_image + _TOKENS_A_MESSAGE


def _shown(picture: Picture) -> tuple[str, str]:
    """A picture as a data URL, and its sha256."""
    extension, data = picture
    kind = "jpeg" if extension in ("jpg", "jpeg") else extension
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return url, hashlib.sha256(data).hexdigest()
