"""A captioner behind a server that speaks OpenAI's chat completions.

Each candidate is one request with its own seed. Servers draw as they like: whether a seed gives the
same caption again is theirs to keep. The protocol knows no repetition penalty and no least length.
"""

import base64
import hashlib
import io
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from PIL import Image

from schemas.errors import BadInputError, RunFailedError
from transforms.capfilt.models import LostModelError, ModelError, RefusedError, without_frames
from transforms.capfilt.policy import CaptionerPolicy, question

if TYPE_CHECKING:
    import openai

# Codes of status 400 that speak of the picture, not of the request: OpenAI's and Azure's.
REFUSALS = {"content_filter", "content_policy_violation", "image_parse_error"}
BUSY = {408, 409, 429}
LONGEST = 1 << 20  # bytes of an answer
JPEG_QUALITY = 95
REMEMBERED = 1 << 16  # answers that wait for a retry of their batch; the oldest go first
_NO_KEY = "no-key-given"  # the library insists on one, and would else take OPENAI_API_KEY's

Answer = str | ModelError
Asked = tuple[bytes, int]  # digest of a picture, seed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's model. `caption` is that of `Captioner`.

    If the server fails at one picture, its neighbours' answers wait here for the caller to come
    again with smaller batches, and nothing is asked twice."""

    policy: CaptionerPolicy
    client: "openai.OpenAI" = field(repr=False)
    key: str = field(repr=False)
    waiting: OrderedDict[Asked, Answer] = field(default_factory=OrderedDict, repr=False)

    def caption(
        self, images: Sequence[Image.Image], seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        jpegs = [_jpeg(image) for image in images]
        digests = [hashlib.sha256(jpeg).digest() for jpeg in jpegs]
        asked = [
            [(digest, seed) for seed in own] for digest, own in zip(digests, seeds, strict=True)
        ]
        found = self._answers(asked, dict(zip(digests, jpegs, strict=True)))
        faults = [one for one in found.values() if isinstance(one, ModelError)]
        if faults and len(images) > 1:
            self._remember(found)
        if faults:
            raise faults[0]
        return [[str(found[key]) for key in keys] for keys in asked]

    def _answers(
        self, asked: Iterable[Iterable[Asked]], jpegs: dict[bytes, bytes]
    ) -> dict[Asked, Answer]:
        """For each picture and seed what waits here, or else what the server says."""
        wanted = list(dict.fromkeys(key for keys in asked for key in keys))
        found = {key: self.waiting.pop(key) for key in wanted if key in self.waiting}
        with ThreadPoolExecutor(self.policy.concurrency) as pool:
            under_way = {
                key: pool.submit(self._ask, jpegs[key[0]], key[1])
                for key in wanted
                if key not in found
            }
            try:
                found |= {key: _result(future) for key, future in under_way.items()}
            except RunFailedError:
                pool.shutdown(cancel_futures=True)  # a wrong key is not tried again and again
                raise
        return found

    def _ask(self, jpeg: bytes, seed: int) -> str:
        import httpx
        import openai

        completions = self.client.chat.completions.with_streaming_response
        try:
            with completions.create(**_request(self.policy, jpeg, seed)) as response:
                said = _read(response.iter_bytes(), self.policy.timeout_s)
        except (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
        ) as err:
            # Without the server's words, which may repeat the key.
            raise RunFailedError(
                f"{self.policy.url} refuses model {self.policy.model} with status"
                f" {err.status_code}: see to `url`, `model` and the key in `api_key_env`."
            ) from None
        except openai.APIStatusError as err:
            kind = _kind_of(err.code, err.status_code)
            raise kind(self._told(f"status {err.status_code}, {err.message}")) from None
        except (openai.OpenAIError, httpx.HTTPError, TimeoutError) as err:
            raise LostModelError(self._told(str(err) or type(err).__name__)) from None
        except (ValueError, RecursionError) as err:
            raise ModelError(self._told(f"an answer that is no JSON ({err})")) from None
        return self._text(said)

    def _text(self, said: Any) -> str:
        """A completion's text in one line. Servers send all kinds of things."""
        choice = _item(_item(said, "choices"), 0)
        message, why = _item(choice, "message"), _item(choice, "finish_reason")
        if why == "content_filter" or _item(message, "refusal"):
            raise RefusedError(self._told("a refusal"))
        if why == "length":
            cut = f"a caption cut off after {self.policy.max_tokens} tokens (`max_tokens`)"
            raise ModelError(self._told(cut))
        content = _item(message, "content")
        if not isinstance(message, dict) or not isinstance(content, str | None):
            raise ModelError(self._told("an answer that is no chat completion"))
        text = _in_one_line(content or "")
        if not text:
            raise ModelError(self._told("an empty caption"))
        return text

    def _told(self, why: str) -> str:
        line = _in_one_line(why).replace(self.key, "***")[:300].rstrip(".")
        return f"{self.policy.url} gave no caption: {line}."

    def _remember(self, found: dict[Asked, Answer]) -> None:
        self.waiting.update(found)
        while len(self.waiting) > REMEMBERED:
            self.waiting.popitem(last=False)


def load_endpoint(policy: CaptionerPolicy) -> Endpoint:
    """The captioner of a policy whose backend is endpoint; nothing is asked of the server yet.

    Raises: BadInputError: the variable that should hold the key is not set, or holds no key."""
    import openai  # slow to import, and only endpoints need it

    key = _NO_KEY
    if policy.api_key_env is not None:
        key = os.environ.get(policy.api_key_env, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise BadInputError(
                f"The environment variable {policy.api_key_env} should hold the key of"
                f" {policy.url}, but {'holds no key' if key else 'is not set'}."
            )
    client = openai.OpenAI(
        base_url=policy.url,
        api_key=key,
        timeout=policy.timeout_s,
        max_retries=policy.retries,
        # Names of accounts in the environment are meant for OpenAI's own server.
        default_headers={"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()},  # pyright: ignore[reportArgumentType]
    )
    return Endpoint(policy=policy, client=client, key=key)


def _request(policy: CaptionerPolicy, jpeg: bytes, seed: int) -> dict[str, Any]:
    url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": question(policy)},
    ]
    draws = policy.decoding == "nucleus"
    return {
        "model": policy.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": policy.max_tokens,
        "temperature": policy.temperature if draws else 0.0,
        "top_p": policy.top_p if draws else 1.0,
        "seed": seed,
    }


def _kind_of(code: str | None, status: int) -> type[ModelError]:
    """Whose fault an answer with such a status is: the picture's, the server's or the request's."""
    if code in REFUSALS:
        return RefusedError
    return LostModelError if status in BUSY or status >= 500 else ModelError


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


def _item(of: Any, name: str | int) -> Any:
    """Of an object or a list of JSON; None where there is none."""
    if isinstance(of, dict):
        return of.get(name)
    return of[name] if isinstance(of, list) and isinstance(name, int) and len(of) > name else None


def _in_one_line(text: str) -> str:
    """Without halves of characters, which UTF-8 cannot hold."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _result(future: "Future[str]") -> Answer:
    try:
        return future.result()
    except ModelError as err:
        return without_frames(err)


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    try:
        image.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY)
    except (OSError, ValueError) as err:
        raise ModelError(f"The picture cannot be sent: {err}.") from err
    return file.getvalue()
