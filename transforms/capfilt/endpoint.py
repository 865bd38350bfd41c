"""A captioner behind a server that speaks OpenAI's chat completions.

Each candidate is one request with its own seed. Servers draw as they like: whether a seed gives the
same caption again is theirs to keep. The protocol knows no repetition penalty and no least length.
"""

import base64
import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from schemas.errors import RunFailedError
from transforms.capfilt.models import LostModelError, RefusedError, without_frames
from transforms.capfilt.policy import CaptionerPolicy, question
from transforms.chat.client import (
    ChatClient,
    ChatError,
    LostServerError,
    RefusedRequestError,
    load_chat_client,
)
from transforms.hub.errors import ModelError

JPEG_QUALITY = 95
REMEMBERED = 1 << 16  # answers that wait for a retry of their batch; the oldest go first
Answer = str | ModelError
Asked = tuple[bytes, int]  # digest of a picture, seed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's model. `caption` is that of `Captioner`.

    If the server fails at one picture, its neighbours' answers wait here for the caller to come
    again with smaller batches, and nothing is asked twice."""

    policy: CaptionerPolicy
    client: ChatClient
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
        try:
            said = self.client.ask_text(_request(self.policy, jpeg, seed))
        except RefusedRequestError as err:
            raise RefusedError(str(err)) from None
        except LostServerError as err:
            raise LostModelError(str(err)) from None
        except ChatError as err:
            raise ModelError(str(err)) from None
        return " ".join(said.split())

    def _remember(self, found: dict[Asked, Answer]) -> None:
        self.waiting.update(found)
        while len(self.waiting) > REMEMBERED:
            self.waiting.popitem(last=False)


def load_endpoint(policy: CaptionerPolicy) -> Endpoint:
    """The captioner of a policy whose backend is endpoint; nothing is asked of the server yet.

    Raises: BadInputError: the variable that should hold the key is not set, or holds no key."""
    assert policy.url is not None
    client = load_chat_client(
        policy.url, policy.api_key_env, timeout_s=policy.timeout_s, retries=policy.retries
    )
    return Endpoint(policy=policy, client=client)


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
