"""Ask a server for replies: stored ones first, within the budget, however it fails."""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import RunFailedError
from schemas.fingerprint import fingerprint
from transforms.chat.client import (
    ChatClient,
    ChatError,
    LostServerError,
    RefusedRequestError,
    load_chat_client,
)
from transforms.instruct.batching import BatchAsker
from transforms.instruct.failures import Failures
from transforms.instruct.policy import InstructPolicy, chat_identity
from transforms.instruct.replies import REPLIES_FILE, Cap, Replies, Stored, Ticket, request_digest
from transforms.instruct.requests import Request, tokens_at_most

if TYPE_CHECKING:
    from transforms.instruct.local import LocalAsker

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True, slots=True)
class Asker:
    """A server's model, the replies that were paid for, and what may be spent."""

    policy: InstructPolicy
    client: ChatClient
    replies: Replies
    failures: Failures

    def reply(self, request: Request) -> Stored | None:
        """What is said to a request, as it was stored or from the server; None: nothing usable.

        Raises: OverBudgetError; RunFailedError: no request will go through."""
        sent = request.as_sent(self.policy)
        digest = request_digest(sent, request.image_sha256)
        stored = self.replies.get(digest)
        for attempt in range(self.policy.retries + 1):
            if stored is not None:
                break
            stored = self._ask(sent, digest, last=attempt == self.policy.retries)
        return stored

    def _ask(self, request: dict[str, Any], digest: str, *, last: bool) -> Stored | None:
        """One request that the server answers, however long it is away; None: by nonsense."""
        until = time.monotonic() + self.policy.patience_s
        pause = _FIRST_PAUSE_S
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
            except RunFailedError:
                self.replies.drop(ticket)  # the server took none of it
                raise
            except BaseException:
                self.replies.lose(ticket)
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

    def _most(self, request: dict[str, Any]) -> float:
        """What a request may cost at most, in USD."""
        tokens_in = tokens_at_most(request["messages"])
        return self.policy.budget.usd(tokens_in, self.policy.max_tokens)

    def _cap(self) -> Cap:
        budget = self.policy.budget
        return Cap(
            usd=budget.max_usd,
            requests=budget.max_requests,
            per_minute=budget.requests_per_minute,
        )


def load_asker(policy: InstructPolicy, run: Path) -> Asker:
    """The server of a policy, and the replies that RUN holds; one client for all units of a
    process, as connections are kept open.

    Raises: BadInputError: the key is missing."""
    url = policy.url or ""
    return Asker(
        policy=policy,
        client=_client(url, policy.api_key_env, policy.timeout_s),
        replies=_replies(run / REPLIES_FILE),
        failures=_failures(url, policy.model or ""),
    )


def load_batch_asker(policy: InstructPolicy, run: Path) -> BatchAsker:
    """The same, by batches. Raises: BadInputError: the key is missing."""
    one_by_one = load_asker(policy, run)
    return BatchAsker(policy, one_by_one.client, one_by_one.replies)


def load_local_asker(policy: InstructPolicy, run: Path) -> "LocalAsker":
    """A model on this machine. Raises: BadInputError: it cannot be loaded."""
    from transforms.instruct.local import LocalAsker, load_local  # torch is slow to import

    assert policy.chat is not None
    model, processor = load_local(policy.chat, sees=policy.source == "vision")
    return LocalAsker(
        policy=policy,
        weights=policy.chat,
        identity=fingerprint(chat_identity(policy.chat)),
        model=model,
        processor=processor,
        replies=_replies(run / REPLIES_FILE),
        failures=_failures("", policy.chat.model),
    )


def forget_servers() -> None:
    """Close what is kept open."""
    for cached in (_client, _replies, _failures):
        cached.cache_clear()


@functools.lru_cache(maxsize=8)
def _client(url: str, api_key_env: str | None, timeout_s: float) -> ChatClient:
    # What fails is asked again by `Asker`, which counts it.
    return load_chat_client(url, api_key_env, timeout_s=timeout_s, retries=0)


@functools.lru_cache(maxsize=8)
def _replies(path: Path) -> Replies:
    return Replies(path)


@functools.lru_cache(maxsize=8)
def _failures(url: str, model: str) -> Failures:
    """Of one server's model, over all units of a process."""
    return Failures()
