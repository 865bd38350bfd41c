"""Ask by OpenAI's Batch API: cheaper, and hours later. Submit, poll, and go on where a run stood.

Which requests wait in which batch is kept with the replies, so that a run that is stopped asks for
nothing again: it polls the batches that are under way.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from schemas.errors import RunFailedError
from transforms.chat.client import ChatClient, ChatError
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.replies import (
    OverBudgetError,
    Replies,
    Stored,
    Ticket,
    read_stored,
    request_digest,
)
from transforms.instruct.requests import Request, usd_at_most

T = TypeVar("T")
Sent = dict[str, Any]  # a request, as chat completions take it

MOST_IN_A_BATCH = 10_000  # requests; OpenAI takes 50,000 and 200 MB
_PATH = "/v1/chat/completions"
_ENDED = ("completed", "failed", "expired", "cancelled")
_LONGEST_PAUSE_S = 15.0


@dataclass(frozen=True, slots=True)
class BatchAsker:
    """A server's batches. `reply` gives only what `fetch` has brought."""

    policy: InstructPolicy
    client: ChatClient
    replies: Replies
    over_budget: set[str] = field(default_factory=set, repr=False)

    def fetch(self, requests: Sequence[Request]) -> None:
        """Bring the replies to all requests that are not stored, however long it takes; those that
        the budget does not allow are noted.

        Raises: RunFailedError: the server takes no batch, or a batch came to nothing."""
        sent = [(request.as_sent(self.policy), request.image_sha256) for request in requests]
        wanted = {request_digest(one, image): one for one, image in sent}
        new = {
            digest: one
            for digest, one in wanted.items()
            if self.replies.get(digest) is None and self.replies.batch_of(digest) is None
        }
        for some in _chunks(list(new.items()), MOST_IN_A_BATCH):
            self._submit(dict(some))
        for batch in sorted({self.replies.batch_of(digest) or "" for digest in wanted} - {""}):
            self._collect(batch)

    def reply(self, request: Request) -> Stored | None:
        """What was said; None: nothing usable. Raises: OverBudgetError: it was not asked for."""
        digest = request_digest(request.as_sent(self.policy), request.image_sha256)
        if digest in self.over_budget:
            raise OverBudgetError
        return self.replies.get(digest)

    def _submit(self, requests: Mapping[str, Sent]) -> None:
        tickets = self._reserved(requests)
        if not tickets:
            return
        lines = (_line(digest, requests[digest]) for digest in tickets)
        data = "".join(lines).encode()
        try:
            file = self._patiently(
                lambda: self.client.client.files.create(
                    file=("requests.jsonl", data), purpose="batch"
                )
            )
            batch = self._patiently(
                lambda: self.client.client.batches.create(
                    input_file_id=file.id, endpoint=_PATH, completion_window="24h"
                )
            )
        except RunFailedError:
            for ticket in tickets.values():
                self.replies.drop(ticket)
            raise
        self.replies.wait_for(batch.id, tickets)

    def _reserved(self, requests: Mapping[str, Sent]) -> dict[str, Ticket]:
        """Tickets for as many as the budget allows."""
        budget = self.policy.budget.model_copy(update={"requests_per_minute": None})
        tickets: dict[str, Ticket] = {}
        for digest, request in requests.items():
            most = usd_at_most(request["messages"], self.policy)
            try:
                tickets[digest] = self.replies.reserve(most, budget)
                self.over_budget.discard(digest)
            except OverBudgetError:
                self.over_budget.add(digest)
        return tickets

    def _collect(self, name: str) -> None:
        """Wait for a batch and store what it gave."""
        while True:
            batch = self._patiently(lambda: self.client.client.batches.retrieve(name))
            if batch.status in _ENDED:
                break
            time.sleep(self.policy.poll_s)
        waiting = self.replies.waiting_in(name)
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = self._patiently(lambda file=file: self.client.client.files.content(file))
            for digest, body in _results(content.text):
                if digest in waiting:
                    self._store(digest, waiting.pop(digest), body)
        for ticket in waiting.values():
            self.replies.drop(ticket)
        if batch.status != "completed":
            told = " ".join(str(getattr(batch, "errors", "") or "").split())[:200]
            raise RunFailedError(
                f"The batch {name} of {self.client.url} ended as {batch.status}"
                f"{f' ({told})' if told else ''}; every reply that it gave is kept: run again."
            )

    def _store(self, digest: str, ticket: Ticket, body: Any) -> None:
        """One result of a batch; what cannot be read was paid for and gave nothing."""
        asked = {"max_tokens": self.policy.max_tokens}
        try:
            found = read_stored(lambda: self.client.read(body, asked))
        except ChatError:
            self.replies.lose(ticket)
            return
        cost = self.policy.budget.usd(found.tokens_in, found.tokens_out)
        self.replies.put(ticket, digest, found, cost)

    def _patiently(self, do: Callable[[], T]) -> T:
        """What a call gives, asked again while the server is away.

        Raises: RunFailedError: it is away for `patience_s`, or refuses what no repetition mends."""
        import httpx2
        import openai

        until, pause = time.monotonic() + self.policy.patience_s, 0.5
        while True:
            try:
                return do()
            except openai.APIStatusError as err:
                told = f"status {err.status_code}"
                if err.status_code < 500 and err.status_code not in (408, 409, 429):
                    raise RunFailedError(
                        f"{self.client.url} refuses a batch with {told}: see to `url`, `model` and"
                        " the key in `api_key_env`, and whether it has a Batch API."
                    ) from None
            except (openai.OpenAIError, httpx2.HTTPError) as err:
                told = type(err).__name__
            if time.monotonic() + pause > until:
                raise RunFailedError(
                    f"{self.client.url} was away for {self.policy.patience_s:g} s ({told}); what"
                    " was submitted is not lost: run again."
                ) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _line(digest: str, request: Sent) -> str:
    """As the Batch API reads requests."""
    asked = {"custom_id": digest, "method": "POST", "url": _PATH, "body": request}
    return json.dumps(asked, ensure_ascii=False) + "\n"


def _results(text: str) -> Iterator[tuple[str, Any]]:
    """The digest and the answer's body of each line; of one that failed its error."""
    for line in text.splitlines():
        try:
            found = json.loads(line)
            digest = found["custom_id"]
        except (ValueError, KeyError, TypeError):
            continue
        response = found.get("response") or {}
        yield digest, response.get("body") if response.get("status_code") == 200 else None


def _chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]
