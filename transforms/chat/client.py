"""One request to a server that speaks OpenAI's chat completions, and the ways in which it fails.

Servers send all kinds of things: whatever comes back is a reply, or one of the errors here with a
sentence that never holds the key.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from schemas.errors import BadInputError, PairmillError, RunFailedError

if TYPE_CHECKING:
    import openai

# Codes of status 400 that speak of what was sent, not of how: OpenAI's and Azure's.
REFUSALS = {"content_filter", "content_policy_violation", "image_parse_error"}
BUSY = {408, 409, 429}
LONGEST = 1 << 20  # bytes of an answer
NO_KEY = "no-key-given"  # the library insists on one, and would else take OPENAI_API_KEY's


class ChatError(PairmillError):
    """A request that gave no reply; another may."""


class LostServerError(ChatError):
    """The server cannot be reached, or is over its limits: no request's fault.

    `wait_s` is how long it asks to be left alone; None where it does not say. `sent` says whether
    the request reached it, so that it may be paid for."""

    def __init__(self, message: str, *, wait_s: float | None = None, sent: bool = False) -> None:
        super().__init__(message)
        self.wait_s, self.sent = wait_s, sent


class RefusedRequestError(ChatError):
    """The server turned a request down for what it holds; it would again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, and what it cost."""

    text: str
    tokens_in: int  # 0 where the server does not tell
    tokens_out: int


@dataclass(frozen=True, slots=True)
class ChatClient:
    """A server and how long it may take. Threads may share one."""

    url: str
    timeout_s: float  # of a whole reply, each time it is tried
    client: "openai.OpenAI" = field(repr=False)
    key: str = field(repr=False)

    def ask(self, request: Mapping[str, Any]) -> Reply:
        """The reply to one request, as `chat.completions.create` takes it.

        Raises: LostServerError, RefusedRequestError, ChatError; RunFailedError: no request will
            go through: the key, the model or the URL is wrong."""
        import httpx2
        import openai

        completions = self.client.chat.completions.with_streaming_response
        try:
            with completions.create(**_unlooked_at(request)) as response:
                said = _read(response.iter_bytes(), self.timeout_s)
        except (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
        ) as err:
            # Without the server's words, which may repeat the key.
            raise RunFailedError(
                f"{self.url} refuses model {request['model']} with status {err.status_code}: see to"
                " `url`, `model` and the key in `api_key_env`."
            ) from None
        except openai.APIStatusError as err:
            raise self._of_status(err) from None
        except (openai.OpenAIError, httpx2.HTTPError, TimeoutError) as err:
            told = self._told(str(err) or type(err).__name__)
            raise LostServerError(told, sent=_was_sent(err)) from None
        except (ValueError, RecursionError) as err:
            raise ChatError(self._told(f"an answer that is no JSON ({err})")) from None
        return self.read(said, request)

    def close(self) -> None:
        self.client.close()

    def _of_status(self, err: "openai.APIStatusError") -> ChatError:
        told = self._told(f"status {err.status_code}, {err.message}")
        if err.code in REFUSALS:
            return RefusedRequestError(told)
        if err.status_code in BUSY or err.status_code >= 500:
            return LostServerError(told, wait_s=_retry_after(err.response.headers))
        return ChatError(told)

    def read(self, said: Any, request: Mapping[str, Any]) -> Reply:
        """The reply in an answer's JSON. Servers send all kinds of things.

        Raises: RefusedRequestError, ChatError."""
        choice = _item(_item(said, "choices"), 0)
        message, why = _item(choice, "message"), _item(choice, "finish_reason")
        if why == "content_filter" or _item(message, "refusal"):
            raise RefusedRequestError(self._told("a refusal"))
        if why == "length":
            most = request.get("max_tokens")
            raise ChatError(self._told(f"a reply cut off after {most} tokens (`max_tokens`)"))
        content = _item(message, "content")
        if not isinstance(message, dict) or not isinstance(content, str | None):
            raise ChatError(self._told("an answer that is no chat completion"))
        text = (content or "").encode("utf-8", "replace").decode()  # halves of characters
        if not text.strip():
            raise ChatError(self._told("an empty reply"))
        usage = _item(said, "usage")
        return Reply(text, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))

    def _told(self, why: str) -> str:
        text = " ".join(why.encode("utf-8", "replace").decode().split())
        line = text.replace(self.key, "***")[:300].rstrip(".")
        return f"{self.url} gave no reply: {line}."


def load_chat_client(
    url: str, api_key_env: str | None, *, timeout_s: float, retries: int
) -> ChatClient:
    """A client; nothing is asked of the server yet.

    Raises: BadInputError: the variable that should hold the key is not set, or holds no key."""
    import openai  # slow to import, and only endpoints need it

    key = read_key(url, api_key_env)
    client = openai.OpenAI(
        base_url=url,
        api_key=key,
        timeout=timeout_s,
        max_retries=retries,
        # Names of accounts in the environment are meant for OpenAI's own server.
        default_headers={"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()},  # pyright: ignore[reportArgumentType]
    )
    return ChatClient(url=url, timeout_s=timeout_s, client=client, key=key)


def _unlooked_at(request: Mapping[str, Any]) -> dict[str, Any]:
    """The same request, its messages past the library's look at every part of each: that takes half
    of its time, and finds nothing in messages that are plain JSON."""
    return {**request, "messages": [], "extra_body": {"messages": request["messages"]}}


def read_key(url: str, api_key_env: str | None) -> str:
    """A server's key, from the environment only.

    Raises: BadInputError: the variable that should hold it is not set, or holds no key."""
    if api_key_env is None:
        return NO_KEY
    key = os.environ.get(api_key_env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise BadInputError(
            f"The environment variable {api_key_env} should hold the key of {url}, but"
            f" {'holds no key' if key else 'is not set'}."
        )
    return key


def _was_sent(err: Exception) -> bool:
    """Whether the connection stood before it failed."""
    import httpx2

    cause = err.__cause__ or err
    return not isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def _read(parts: Iterable[bytes], seconds: float) -> Any:
    """An answer's JSON, if all of it comes in time; the library's own limit is that of a part.

    Raises: TimeoutError: it does not. ValueError, RecursionError: it is no JSON, or too long."""
    until, data = monotonic() + seconds, b""
    for part in parts:
        data += part
        if monotonic() > until:
            raise TimeoutError(f"no whole answer in {seconds:g} s")
        if len(data) > LONGEST:
            raise ValueError(f"over {LONGEST:,} bytes")
    return json.loads(data)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; servers that give a date are asked again as those that give nothing."""
    try:
        return min(3600.0, max(0.0, float(headers.get("retry-after", ""))))
    except ValueError:
        return None


def _item(of: Any, name: str | int) -> Any:
    """Of an object or a list of JSON; None where there is none."""
    if isinstance(of, dict):
        return of.get(name)
    return of[name] if isinstance(of, list) and isinstance(name, int) and len(of) > name else None


def _count(usage: Any, name: str) -> int:
    found = _item(usage, name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else 0
