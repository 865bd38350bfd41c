"""Who makes dialogues: rules, or a model behind a server."""

import base64
import functools
import hashlib
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.dialogue import Dialogue, DialogueFault, Kind, Making, Turn, dialogue_id
from schemas.errors import RunFailedError
from transforms.chat.client import (
    ChatClient,
    ChatError,
    LostServerError,
    RefusedRequestError,
    load_chat_client,
)
from transforms.instruct import checks, template
from transforms.instruct.annotations import Annotations, read_annotations
from transforms.instruct.labels import Labels
from transforms.instruct.making import Maker, Row, made_row
from transforms.instruct.objects import Vocabulary
from transforms.instruct.parse import ParseError, parse_answer, parse_blocks
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.prompts import (
    Message,
    PromptFile,
    draw_question,
    load_prompts,
    make_messages,
    prompts_sha256,
    repaired_messages,
)
from transforms.instruct.replies import (
    REPLIES_FILE,
    Cap,
    OverBudgetError,
    Replies,
    Stored,
    Ticket,
    request_digest,
)
from transforms.instruct.subjects import Subject
from transforms.shards.pool import PoolImages

FAILURES_IN_A_ROW = 20
_LONGEST_PAUSE_S = 15.0
_CHARS_A_TOKEN = 2  # fewer than any tokenizer's, Chinese too: a forecast that is an upper bound
_IMAGE_TOKENS = 1500  # of a picture at full detail, on the servers that there are


@dataclass(frozen=True, slots=True)
class TemplateMaker:
    """By rule."""

    policy: InstructPolicy
    annotations: Annotations
    vocabulary: Vocabulary
    labels: Labels

    def possible(self, subject: Subject) -> list[str]:
        found = template.possible(self._known(subject))
        return [kind.value for kind in self.policy.kinds if kind in found]

    def make(self, subject: Subject, kind: Kind, number: int, images: PoolImages) -> Row:
        rng = random.Random(f"{self.policy.seed} {dialogue_id(subject.uid, kind, number)}")
        turns = template.make_turns(kind, self._known(subject), rng)
        made = Making(
            backend="template",
            model="template",
            source="symbolic",
            prompt=kind.value,
            prompt_sha256=template.templates_sha256(),
        )
        fault = (DialogueFault.NO_REPLY, "nothing known of the image gives one")
        language = self.policy.language
        return made_row(
            subject, kind, number, language, made, turns or (), None if turns else fault
        )

    def _known(self, subject: Subject) -> template.Known:
        return template.Known(subject.context, self.policy.language, self.vocabulary, self.labels)


@dataclass(frozen=True, slots=True)
class ModelMaker:
    """By a model that is asked, once for each dialogue, and once more where a reply has a fault."""

    policy: InstructPolicy
    annotations: Annotations
    vocabulary: Vocabulary
    prompts: PromptFile
    client: ChatClient
    replies: Replies
    failures: "Failures"

    def possible(self, subject: Subject) -> list[str]:
        return [kind.value for kind in self.policy.kinds if self._has_material(kind, subject)]

    def make(self, subject: Subject, kind: Kind, number: int, images: PoolImages) -> Row | None:
        name = dialogue_id(subject.uid, kind, number)
        rng = random.Random(f"{self.policy.seed} {name}")
        question = draw_question(self.prompts.kinds[kind], rng)
        shown = _shown(images, subject.key) if self.policy.source == "vision" else (None, None)
        messages = make_messages(self.prompts, kind, subject.context, question, shown[0])
        try:
            made = self._reply(messages, rng.getrandbits(31), shown[1])
            turns, fault = self._read(made, kind, question, subject, number)
            repaired = fault is not None and made is not None and self._may_repair(fault)
            if repaired and made is not None and fault is not None:
                again = repaired_messages(self.prompts, messages, made.text, fault[0].value)
                made = self._reply(again, rng.getrandbits(31), shown[1])
                turns, fault = self._read(made, kind, question, subject, number)
        except OverBudgetError:
            return None
        return made_row(
            subject,
            kind,
            number,
            self.policy.language,
            self._making(),
            turns,
            None if turns else fault,  # what turns say is judged when the ledger is written
            repaired=repaired,
        )

    def _has_material(self, kind: Kind, subject: Subject) -> bool:
        context = subject.context
        if kind not in self.prompts.kinds:
            return False
        if kind is Kind.REGION:
            return bool(context.things)
        if self.policy.source == "vision":
            return True
        if kind in (Kind.YES_NO, Kind.COUNTING):
            return bool(context.things)
        if kind is Kind.OCR:
            return bool(context.lettering or context.answered)
        return bool(context.captions)

    def _reply(self, messages: list[Message], seed: int, image_sha256: str | None) -> Stored | None:
        """What is said to messages, as it was stored or from the server; None: nothing usable.

        Raises: OverBudgetError; RunFailedError."""
        request: dict[str, Any] = {
            "model": self.policy.model,
            "messages": messages,
            "max_tokens": self.policy.max_tokens,
            "temperature": self.policy.temperature,
            "seed": seed,
        }
        digest = request_digest(request, image_sha256)
        stored = self.replies.get(digest)
        for attempt in range(self.policy.retries + 1):
            if stored is not None:
                break
            stored = self._ask(request, digest, last=attempt == self.policy.retries)
        return stored

    def _ask(self, request: dict[str, Any], digest: str, *, last: bool) -> Stored | None:
        """One request that the server answers, however long it is away; None: by nonsense."""
        until = time.monotonic() + self.policy.patience_s
        pause = 0.5
        while True:
            ticket = self.replies.reserve(self._most(request), self._cap())
            try:
                return self._stored(ticket, request, digest)
            except LostServerError as err:
                (self.replies.lose if err.sent else self.replies.drop)(ticket)
                wait = err.wait_s if err.wait_s is not None else pause
                if time.monotonic() + wait > until:
                    raise RunFailedError(
                        f"{err} It was waited for {self.policy.patience_s:g} s; every reply so far"
                        " is kept: run again."
                    ) from None
                time.sleep(wait)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            except ChatError as err:
                self.replies.lose(ticket)
                if last:
                    self.failures.count(str(err))
                return None
            except BaseException:
                self.replies.drop(ticket)
                raise

    def _stored(self, ticket: Ticket, request: dict[str, Any], digest: str) -> Stored:
        try:
            reply = self.client.ask(request)
            found = Stored(reply.text, None, reply.tokens_in, reply.tokens_out)
        except RefusedRequestError as err:
            found = Stored("", str(err), 0, 0)
        cost = self.policy.budget.usd(found.tokens_in, found.tokens_out)
        self.replies.put(ticket, digest, found, cost)
        self.failures.forget()
        return found

    def _read(
        self, stored: Stored | None, kind: Kind, question: str | None, subject: Subject, number: int
    ) -> tuple[tuple[Turn, ...], tuple[DialogueFault, str] | None]:
        """The turns of a reply, or what is wrong with it."""
        if stored is None:
            return (), (DialogueFault.NO_REPLY, "the server gave nothing that could be read")
        if stored.refused is not None:
            return (), (DialogueFault.REFUSED, stored.refused)
        try:
            turns = (
                parse_blocks(stored.text)
                if question is None
                else parse_answer(stored.text, question)
            )
        except ParseError as err:
            return (), (DialogueFault.UNPARSABLE, str(err))
        dialogue = Dialogue(
            uid=subject.uid,
            kind=kind,
            number=number,
            language=self.policy.language,
            images=1,
            turns=turns,
            made=self._making(),
        )
        known = checks.Known(subject.context, self.vocabulary, self.policy.checks)
        found = checks.first_fault(dialogue, known)
        return turns, None if found is None else (found.reason, found.detail)

    def _may_repair(self, fault: tuple[DialogueFault, str]) -> bool:
        return self.policy.repairs > 0 and fault[0] not in _NOT_OF_TEXTS

    def _making(self) -> Making:
        return Making(
            backend=self.policy.backend,
            model=self.policy.model or "",
            source=self.policy.source,
            prompt=self.prompts.title,
            prompt_sha256=prompts_sha256(self.policy.prompts, self.policy.language),
        )

    def _most(self, request: dict[str, Any]) -> float:
        """What a request may cost at most, in USD."""
        tokens_in = sum(_tokens(message) for message in request["messages"])
        return self.policy.budget.usd(tokens_in, self.policy.max_tokens)

    def _cap(self) -> Cap:
        budget = self.policy.budget
        return Cap(
            usd=budget.max_usd,
            requests=budget.max_requests,
            per_minute=budget.requests_per_minute,
        )


_NOT_OF_TEXTS = (DialogueFault.NO_REPLY, DialogueFault.REFUSED)


class Failures:
    """Requests in a row to which nothing usable was said."""

    def __init__(self) -> None:
        self._lock, self._in_a_row = threading.Lock(), 0

    def forget(self) -> None:
        with self._lock:
            self._in_a_row = 0

    def count(self, why: str) -> None:
        """Raises: RunFailedError: so many that it is hardly the requests' fault."""
        with self._lock:
            self._in_a_row += 1
            many = self._in_a_row >= FAILURES_IN_A_ROW
        if many:
            raise RunFailedError(
                f"{FAILURES_IN_A_ROW} requests in a row failed, which is hardly their fault; the"
                f" last time: {why}"
            )


def load_maker(policy: InstructPolicy, run: Path) -> Maker:
    """With the annotations that the policy names, and the replies that RUN holds.

    Raises: BadInputError: annotations, prompts or the key are missing, or not what they should be.
    """
    annotations = read_annotations(policy.annotations)
    labels = Labels(annotations.by_name.values(), policy.negatives)
    vocabulary = Vocabulary(labels.names)
    if policy.backend == "template":
        return TemplateMaker(policy, annotations, vocabulary, labels)
    return ModelMaker(
        policy=policy,
        annotations=annotations,
        vocabulary=vocabulary,
        prompts=load_prompts(policy.prompts, policy.language),
        client=_client(policy.url or "", policy.api_key_env, policy.timeout_s),
        replies=_replies(run / REPLIES_FILE),
        failures=_failures(policy.url or "", policy.model or ""),
    )


@functools.lru_cache(maxsize=8)
def _client(url: str, api_key_env: str | None, timeout_s: float) -> ChatClient:
    """One for all units of a process: connections are kept open. Retries are counted here."""
    return load_chat_client(url, api_key_env, timeout_s=timeout_s, retries=0)


@functools.lru_cache(maxsize=8)
def _replies(path: Path) -> Replies:
    return Replies(path)


@functools.lru_cache(maxsize=8)
def _failures(url: str, model: str) -> "Failures":
    """Of one server's model, over all units of a process."""
    return Failures()


def _shown(images: PoolImages, key: str) -> tuple[str, str]:
    """A picture as a data URL, and its sha256."""
    extension, data = images.read(key)
    kind = "jpeg" if extension in ("jpg", "jpeg") else extension
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return url, hashlib.sha256(data).hexdigest()


def _tokens(message: Message) -> int:
    """Of a message, at most."""
    content = message["content"]
    if isinstance(content, str):
        return len(content) // _CHARS_A_TOKEN + 8
    texts = [part["text"] for part in content if part["type"] == "text"]
    images = len(content) - len(texts)
    return sum(map(len, texts)) // _CHARS_A_TOKEN + 8 + images * _IMAGE_TOKENS
