"""Ask by OpenAI's Batch API: cheaper, and hours later. Submit, poll, and go on where a run stood.

Which requests wait in which batch is kept with the replies, so that a run that is stopped asks for
nothing again: it polls the batches that are under way. A batch gets a name of ours, which is kept
before it is submitted, so that one is found again of which a run that died never heard.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.errors import RunFailedError
from transforms.chat.batches import Batches, UnlistedError
from transforms.chat.client import ChatError
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

if TYPE_CHECKING:
    from openai.types import Batch

Sent = dict[str, Any]  # a request, as chat completions take it

MOST_IN_A_BATCH = 10_000  # requests; OpenAI takes 50,000 and 200 MB
_UNHEARD = "submitting-"  # a batch's name of ours, until the server has told its own


@dataclass(frozen=True, slots=True)
class BatchAsker:
    """A server's batches. `reply` gives only what `fetch` has brought."""

    policy: InstructPolicy
    batches: Batches
    replies: Replies
    over_budget: set[str] = field(default_factory=set, repr=False)

    def fetch(self, requests: Sequence[Request]) -> None:
        """Bring the replies to all requests that are not stored, however long it takes; those that
        the budget does not allow are noted.

        Raises: RunFailedError: the server takes no batch, or a batch came to nothing."""
        sent = [(request.as_sent(self.policy), request.image_sha256) for request in requests]
        wanted = {request_digest(one, image): one for one, image in sent}
        for name in self._waited_for(wanted):
            if name.startswith(_UNHEARD):
                self._find(name)
        new = [
            (digest, one)
            for digest, one in wanted.items()
            if self.replies.get(digest) is None and self.replies.batch_of(digest) is None
        ]
        for start in range(0, len(new), MOST_IN_A_BATCH):
            self._submit(dict(new[start : start + MOST_IN_A_BATCH]))
        for batch in self._waited_for(wanted):
            self._collect(batch)

    def reply(self, request: Request) -> Stored | None:
        """What was said; None: nothing usable. Raises: OverBudgetError: it was not asked for."""
        digest = request_digest(request.as_sent(self.policy), request.image_sha256)
        if digest in self.over_budget:
            raise OverBudgetError
        return self.replies.get(digest)

    def _waited_for(self, digests: Iterable[str]) -> list[str]:
        """The batches in which requests wait."""
        return sorted({self.replies.batch_of(digest) or "" for digest in digests} - {""})

    def _find(self, name: str) -> None:
        """Look for a batch that a run may have submitted before it died; where the server does not
        tell, it may have to be paid for, and what it gives is lost."""
        tickets = self.replies.waiting_in(name)
        end = self.replies.drop
        try:
            batch = self.batches.find(name)
        except UnlistedError:
            batch, end = None, self.replies.lose
        if batch is not None:
            self.replies.wait_for(batch, tickets)
            return
        for ticket in tickets.values():
            end(ticket)

    def _submit(self, requests: Mapping[str, Sent]) -> None:
        tickets = self._reserved(requests)
        if not tickets:
            return
        name = _UNHEARD + uuid.uuid4().hex
        self.replies.wait_for(name, tickets)
        asked = ((digest, requests[digest]) for digest in tickets)
        self.replies.wait_for(self.batches.submit(asked, name), tickets)

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
        batch = self.batches.wait(name)
        waiting = self.replies.waiting_in(name)
        for digest, body in self.batches.results(batch):
            if digest in waiting:
                self._store(digest, waiting.pop(digest), body)
        for ticket in waiting.values():
            self.replies.drop(ticket)
        if batch.status != "completed":
            raise RunFailedError(self._why(batch))

    def _why(self, batch: "Batch") -> str:
        """Why a batch came to nothing, or to a part of what it might have been."""
        told = " ".join(str(batch.errors or "").split())[:200]
        return (
            f"The batch {batch.id} of {self.policy.url} ended as {batch.status}"
            f"{f' ({told})' if told else ''}; every reply that it gave is kept: run again."
        )

    def _store(self, digest: str, ticket: Ticket, body: Any) -> None:
        """One result of a batch; what cannot be read was paid for and gave nothing."""
        asked = {"max_tokens": self.policy.max_tokens}
        try:
            found = read_stored(lambda: self.batches.client.read(body, asked))
        except ChatError:
            self.replies.lose(ticket)
            return
        cost = self.policy.budget.usd(found.tokens_in, found.tokens_out)
        self.replies.put(ticket, digest, found, cost)
