"""Ask a server for replies: stored ones first, within the budget, however it fails."""

import time
from dataclasses import dataclass
from typing import Any, NoReturn

from schemas.errors import RunFailedError
from transforms.chat.client import (
    ChatClient,
    ChatError,
    LostServerError,
    Reply,
    WrongRequestError,
)
from transforms.instruct.models.failures import Failures
from transforms.instruct.models.replies import Replies, Ticket, request_digest
from transforms.instruct.models.requests import Request, usd_at_most
from transforms.instruct.policy import InstructPolicy

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


@dataclass(frozen=True, slots=True)
class ServerAsker:
    """A server's model, the replies that were paid for, and what may be spent."""

    policy: InstructPolicy
    client: ChatClient
    replies: Replies
    failures: Failures

    def reply(self, request: Request) -> Reply | None:
        """What is said to a request, as it was stored or from the server; None: nothing that could
        be read.

        Raises: OverBudgetError; RunFailedError: no request will go through."""
        sent = request.as_sent(self.policy)
        digest = request_digest(sent, request.image_sha256)
        return self.replies.get(digest) or self._ask(sent, digest)

    def _ask(self, request: dict[str, Any], digest: str) -> Reply | None:
        """Ask until there is an answer, it is this request that cannot be answered, or the server
        has been away for too long.

        A server that fails at one request and answers others is well, so that the request is given
        up after `retries`; so is one over which a run has ended before."""
        most = usd_at_most(request["messages"], self.policy)
        is_suspect = self.replies.is_suspect(digest)
        faults, lost_since, pause, last = 0, None, _FIRST_PAUSE_S, ""
        while faults <= self.policy.retries:
            ticket = self.replies.reserve(most, self.policy.budget)
            try:
                return self._answer(ticket, request, digest)
            except LostServerError as err:
                (self.replies.lose if err.sent else self.replies.drop)(ticket)
                last, now = str(err), time.monotonic()
                lost_since = now if lost_since is None else lost_since
                is_well = self.failures.answered_since(lost_since)
                if (is_suspect or is_well) and not err.is_busy:
                    faults += 1
                if is_well:
                    lost_since = now
                wait_s = max(pause, err.wait_s or 0.0)
                if now + wait_s > lost_since + self.policy.patience_s:
                    self._end_run(err, digest)
                time.sleep(wait_s)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            except WrongRequestError as err:
                self.replies.drop(ticket)
                last = str(err)
                break
            except ChatError as err:
                self.replies.lose(ticket)
                last, faults = str(err), faults + 1
            except RunFailedError:
                raise  # what could not be stored stays in flight, and is lost for the next run
            except BaseException:
                self.replies.lose(ticket)
                raise
        self.failures.count(last)
        return None

    def _answer(self, ticket: Ticket, request: dict[str, Any], digest: str) -> Reply:
        try:
            reply = self.client.ask(request)
        except RunFailedError:
            self.replies.drop(ticket)  # the server took none of it
            raise
        self.replies.put(ticket, digest, reply, self.policy.budget)
        if reply.fault is None or reply.refused is not None:
            self.failures.forget()
        else:
            self.failures.count(f"{self.policy.url} gave {reply.fault}")
        return reply

    def _end_run(self, err: LostServerError, digest: str) -> NoReturn:
        if err.is_there and not err.is_busy:
            self.replies.suspect(digest)
        raise RunFailedError(
            f"{err} It was waited for {self.policy.patience_s:g} s; every reply so far is kept:"
            " run again."
        ) from None
