"""OpenAI's Batch API: submit files of requests, wait, read what they gave, however it stumbles."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from schemas.errors import RunFailedError
from transforms.chat.client import ChatClient

if TYPE_CHECKING:
    from openai.types import Batch

T = TypeVar("T")

_PATH = "/v1/chat/completions"
_MARK = "pairmill"  # a batch's metadata: a name of ours
_LISTED = 1000  # batches looked through, the latest first
_ENDED = ("completed", "failed", "expired", "cancelled")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0


class UnlistedError(Exception):
    """A server does not tell which batches it has."""


def batch_line(one: str, request: dict[str, Any]) -> bytes:
    """A request with an id of ours, as the Batch API reads it."""
    asked = {"custom_id": one, "method": "POST", "url": _PATH, "body": request}
    return json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of one server. Each call is tried anew while the server is away.

    Raises: RunFailedError: it is away for `patience_s`, or refuses what no repetition mends."""

    client: ChatClient
    patience_s: float
    poll_s: float

    def submit(self, lines: Iterable[bytes], name: str) -> str:
        """Submit lines of `batch_line` as a batch of our name. Returns the server's name of it."""
        data = b"".join(lines)
        file = self._patiently(
            lambda: self._api.files.create(file=("requests.jsonl", data), purpose="batch")
        )
        return self._patiently(lambda: self._create(file.id, name))

    def find(self, name: str) -> str | None:
        """The server's name of the batch with a name of ours, if it has it.

        Raises: UnlistedError."""
        return self._patiently(lambda: self._named(name))

    def wait(self, batch: str) -> "Batch | None":
        """A batch, once it has ended; None: the server knows no such batch."""
        while True:
            found = self._patiently(lambda: self._retrieved(batch))
            if found is None or found.status in _ENDED:
                return found
            time.sleep(self.poll_s)

    def results(self, batch: "Batch") -> Iterator[tuple[str, Any]]:
        """The id and the answer's body of each request that was answered; {"error": ...}: not
        well."""
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = self._patiently(lambda file=file: self._api.files.content(file))
            yield from _results(content.text)

    @property
    def _api(self) -> Any:
        return self.client.client

    def _create(self, file: str, name: str) -> str:
        """Submit a file, once: the server may have taken a batch and lost its answer."""
        import openai

        try:
            return self._api.batches.create(
                input_file_id=file,
                endpoint=_PATH,
                completion_window="24h",
                metadata={_MARK: name},
            ).id
        except (openai.APIConnectionError, openai.InternalServerError, openai.ConflictError):
            with contextlib.suppress(UnlistedError):
                if (batch := self._named(name)) is not None:
                    return batch
            raise

    def _retrieved(self, batch: str) -> "Batch | None":
        import openai

        try:
            return self._api.batches.retrieve(batch)
        except openai.NotFoundError:
            return None

    def _named(self, name: str) -> str | None:
        import openai

        try:
            batches = itertools.islice(self._api.batches.list(limit=100), _LISTED)
            ours = (one.id for one in batches if (one.metadata or {}).get(_MARK) == name)
            return next(ours, None)
        except openai.NotFoundError as err:
            raise UnlistedError from err

    def _patiently(self, do: Callable[[], T]) -> T:
        """What a call gives, asked again while the server is away."""
        import httpx2
        import openai

        until, pause = time.monotonic() + self.patience_s, _FIRST_PAUSE_S
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
                    f"{self.client.url} was away for {self.patience_s:g} s ({told}); what"
                    " was submitted is not lost: run again."
                ) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _results(text: str) -> Iterator[tuple[str, Any]]:
    for line in text.split("\n"):  # not splitlines: JSON may hold other ends of lines
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(one := found.get("custom_id"), str):
            yield one, _body(found)


def _body(found: dict[str, Any]) -> Any:
    """An answer's body; of what the server did not run its error, in the form of a body."""
    response = found.get("response")
    response = response if isinstance(response, dict) else {}
    body, error = response.get("body"), found.get("error")
    if error or response.get("status_code") != 200:
        told = body.get("error") if isinstance(body, dict) else None
        return {"error": error or told or {"message": f"status {response.get('status_code')}"}}
    return body
