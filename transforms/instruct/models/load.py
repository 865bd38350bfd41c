"""The models that are asked, wherever they are, and what of them a process keeps open."""

import functools
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from schemas.fingerprint import fingerprint
from transforms.chat.batches import Batches
from transforms.chat.client import ChatClient, Reply, load_chat_client
from transforms.instruct.models.batch import BatchAsker
from transforms.instruct.models.failures import Failures
from transforms.instruct.models.replies import REPLIES_FILE, Replies
from transforms.instruct.models.requests import Request
from transforms.instruct.models.server import ServerAsker
from transforms.instruct.policy import InstructPolicy, chat_identity

_opened = ExitStack()  # clients and replies, which live as long as the process


class Asker(Protocol):
    """A model that is asked."""

    @property
    def replies(self) -> Replies: ...

    def reply(self, request: Request) -> Reply | None:
        """What it says to a request; None: nothing that could be read.

        Raises: OverBudgetError; RunFailedError: it cannot be asked."""
        ...


def load_asker(policy: InstructPolicy, run: Path) -> Asker:
    """The model of a policy, and the replies that RUN holds; one client for all units of a
    process, as connections are kept open.

    Raises: BadInputError: the key is missing, or a model cannot be loaded."""
    replies = _replies(run / REPLIES_FILE)
    if policy.backend == "chat":
        return _local(policy, replies)
    url = policy.url or ""
    client = _client(url, policy.api_key_env, policy.timeout_s)
    if policy.backend == "batch":
        return BatchAsker(policy, Batches(client, policy.patience_s, policy.poll_s), replies)
    return ServerAsker(policy, client, replies, _failures(url, policy.model or ""))


def close_askers() -> None:
    """Close what is kept open, and forget models."""
    for cached in (_client, _replies, _failures):
        cached.cache_clear()
    _opened.close()
    if (local := sys.modules.get("transforms.instruct.models.local")) is not None:
        local.load_local.cache_clear()


def _local(policy: InstructPolicy, replies: Replies) -> Asker:
    from transforms.instruct.models.local import LocalAsker, load_local  # torch is slow to import

    assert policy.chat is not None
    return LocalAsker(
        policy=policy,
        weights=policy.chat,
        identity=fingerprint(chat_identity(policy.chat)),
        loaded=load_local(policy.chat, sees=policy.source == "vision"),
        replies=replies,
        failures=_failures("", policy.chat.model),
    )


@functools.cache
def _client(url: str, api_key_env: str | None, timeout_s: float) -> ChatClient:
    # What fails is asked again by `ServerAsker`, which counts it.
    client = load_chat_client(url, api_key_env, timeout_s=timeout_s, retries=0)
    _opened.callback(client.close)
    return client


@functools.cache
def _replies(path: Path) -> Replies:
    replies = Replies(path)
    _opened.callback(replies.close)
    return replies


@functools.cache
def _failures(url: str, model: str) -> Failures:
    """Of one server's model, over all units of a process."""
    return Failures()
