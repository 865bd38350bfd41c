"""Ask by OpenAI's Batch API: cheaper, and hours later. Submit, poll, and go on where a run stood.

Which requests wait in which batch is kept with the replies, so that a run that is stopped asks for
nothing again: it polls the batches that are under way. A batch gets a name of ours, which is kept
before it is submitted, so that one is found again of which a run that died never heard.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.errors import RunFailedError
from transforms.chat.batches import Batches, UnlistedError, batch_line
from transforms.chat.client import ChatError, LostServerError, Reply, WrongRequestError
from transforms.instruct.models.replies import (
    OverBudgetError,
    Replies,
    Ticket,
    request_digest,
)
from transforms.instruct.models.requests import Request, usd_at_most
from transforms.instruct.policy import InstructPolicy

if TYPE_CHECKING:
    from openai.types import Batch

Sent = dict[str, Any]  # a request, as chat completions take it

MOST_IN_A_BATCH, MOST_BYTES = 10_000, 100_000_000  # OpenAI takes 50,000 requests and 200 MB
_UNHEARD = "submitting-"  # a batch's name of ours, until the server has told its own


@dataclass(frozen=True, slots=True)
class BatchAsker:
    """A server's batches. `reply` gives only what `collect` has brought."""

    policy: InstructPolicy
    batches: Batches
    replies: Replies
    over_budget: set[str] = field(default_factory=set, repr=False)

    def submit(self, requests: Iterable[Request]) -> None:
        """Ask for all that is neither stored nor waited for; what the budget does not allow is
        noted.

        Raises: RunFailedError: the server takes no batch."""
        lines: list[bytes] = []
        name, size = _new_name(), 0
        for digest, sent in self._new(requests):
            if not self._is_reserved(digest, sent, name):
                continue
            lines.append(batch_line(digest, sent))
            size += len(lines[-1])
            if len(lines) >= MOST_IN_A_BATCH or size >= MOST_BYTES:
                self._submit(lines, name)
                lines, name, size = [], _new_name(), 0
        if lines:
            self._submit(lines, name)

    def collect(self, requests: Iterable[Request]) -> None:
        """Bring all that is waited for, however long it takes.

        Raises: RunFailedError: a batch came to nothing."""
        batches = {self.replies.batch_of(self._digest(one)) or "" for one in requests}
        for batch in sorted(batches - {""}):
            self._collect(batch)

    def reply(self, request: Request) -> Reply | None:
        """What was said; None: nothing that could be read.

        Raises: OverBudgetError: it was not asked for."""
        digest = self._digest(request)
        if digest in self.over_budget:
            raise OverBudgetError
        return self.replies.get(digest)

    def _digest(self, request: Request) -> str:
        return request_digest(request.as_sent(self.policy), request.image_sha256)

    def _new(self, requests: Iterable[Request]) -> Iterator[tuple[str, Sent]]:
        """Digests and requests that are neither stored nor waited for, each once."""
        seen: set[str] = set()
        for request in requests:
            digest = self._digest(request)
            waiting = self.replies.batch_of(digest) or ""
            if waiting.startswith(_UNHEARD) and digest not in seen:
                self._find(waiting)
            is_there = self.replies.get(digest) or self.replies.batch_of(digest)
            if digest not in seen and not is_there:
                seen.add(digest)
                yield digest, request.as_sent(self.policy)

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

    def _submit(self, lines: Sequence[bytes], name: str) -> None:
        """Requests that wait already, under a name of ours."""
        tickets = self.replies.waiting_in(name)
        self.replies.wait_for(self.batches.submit(lines, name), tickets)

    def _is_reserved(self, digest: str, request: Sent, name: str) -> bool:
        """Whether the budget allows a request in the batch of a name."""
        budget = self.policy.budget.model_copy(update={"requests_per_minute": None})
        most = usd_at_most(request["messages"], self.policy)
        try:
            self.replies.reserve(most, budget, (digest, name))
        except OverBudgetError:
            self.over_budget.add(digest)
            return False
        self.over_budget.discard(digest)
        return True

    def _collect(self, name: str) -> None:
        """Wait for a batch and store what it gave."""
        batch = self.batches.wait(name)
        waiting = self.replies.waiting_in(name)
        if batch is None:
            for ticket in waiting.values():
                self.replies.lose(ticket)
            raise RunFailedError(
                f"{self.policy.url} knows no batch {name} any more (another key, another server?);"
                " what it was asked for is taken for paid and lost: run again to ask anew."
            )
        faults: list[str] = []
        asked = len(waiting)
        for digest, body in self.batches.results(batch):
            if digest in waiting:
                faults += self._store(digest, waiting.pop(digest), body)
        end = self.replies.lose if batch.status == "completed" else self.replies.drop
        for ticket in waiting.values():
            end(ticket)
        if batch.status != "completed":
            raise RunFailedError(self._why(batch))
        if asked and len(faults) + len(waiting) == asked:
            told = f"; the first: {faults[0]}" if faults else ""
            raise RunFailedError(
                f"The batch {name} of {self.policy.url} gave nothing that can be used{told}"
            )

    def _why(self, batch: "Batch") -> str:
        """Why a batch came to nothing, or to a part of what it might have been."""
        told = self.batches.client.hide(" ".join(str(batch.errors or "").split()))[:200]
        return (
            f"The batch {batch.id} of {self.policy.url} ended as {batch.status}"
            f"{f' ({told})' if told else ''}; every reply that it gave is kept: run again."
        )

    def _store(self, digest: str, ticket: Ticket, body: Any) -> list[str]:
        """One result of a batch; what cannot be read was paid for, but for an error.

        Returns: what was wrong, if something was."""
        try:
            reply = self.batches.client.read(body)
        except (WrongRequestError, LostServerError) as err:
            self.replies.drop(ticket)
            return [str(err)]
        except ChatError as err:
            self.replies.lose(ticket)
            return [str(err)]
        self.replies.put(ticket, digest, reply, self.policy.budget)
        return []


def _new_name() -> str:
    return _UNHEARD + uuid.uuid4().hex
