"""Ask a server for replies: stored ones first, within the budget, however it fails."""

import time
from dataclasses import dataclass
from typing import Any

from schemas.errors import RunFailedError
from transforms.chat.client import ChatClient, ChatError, LostServerError
from transforms.instruct.failures import Failures
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.replies import Replies, Stored, Ticket, read_stored, request_digest
from transforms.instruct.requests import Request, usd_at_most

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True, slots=True)
class ServerAsker:
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
        most = usd_at_most(request["messages"], self.policy)
        until = time.monotonic() + self.policy.patience_s
        pause = _FIRST_PAUSE_S
        while True:
            ticket = self.replies.reserve(most, self.policy.budget)
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
        found = read_stored(lambda: self.client.ask(request))
        cost = self.policy.budget.usd(found.tokens_in, found.tokens_out)
        self.replies.put(ticket, digest, found, cost)
        self.failures.forget()
        return found
