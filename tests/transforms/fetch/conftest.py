"""A web server on loopback whose every byte a test decides, and pictures drawn in code."""

import asyncio
import contextlib
import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from schemas.pair import ROWS_SCHEMA, make_uid

TLS_HANDSHAKE = b"\x16"  # first byte of a client that expects TLS


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of an answer in parts, with a pause after each; then the connection ends."""

    parts: Sequence[bytes]
    pause_s: float = 0.0


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """A whole HTTP answer; a header's name has _ for -."""
    told = {"Content-Length": str(len(body)), **headers}
    return Answer([head(status, told), body])


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Told", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(*parts: bytes) -> Answer:
    """A body without a Content-Length, whole to its end."""
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    return Answer([head(200, {"Transfer-Encoding": "chunked"}), *chunks, b"0\r\n\r\n"])


def trickle(body: bytes) -> Answer:
    """A body that keeps coming, a byte at a time, for far longer than any deadline here."""
    told = head(200, {"Content-Length": "50000"})
    return Answer([told, *slowly(body[:1] * 10_000).parts], pause_s=0.02)


def slowly(text: bytes) -> Answer:
    """Exactly these bytes, one at a time."""
    return Answer([text[at : at + 1] for at in range(len(text))], pause_s=0.02)


@dataclass
class Site:
    """`answers[path]` is what a path answers: always the same, or one after another."""

    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    requests: list[dict[str, str]] = field(default_factory=list)  # path and headers, lower case
    port: int = 0

    answer = staticmethod(answer)
    chunked = staticmethod(chunked)
    trickle = staticmethod(trickle)
    slowly = staticmethod(slowly)
    raw = staticmethod(lambda *parts: Answer(parts))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                begin = await reader.readexactly(1)
                if begin == TLS_HANDSHAKE:
                    writer.write(b"no TLS here\r\n")
                    return
                request = begin + await reader.readuntil(b"\r\n\r\n")
                for part in (told := self._answer(request.decode("latin-1"))).parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(told.pause_s)
        finally:
            writer.close()

    def _answer(self, request: str) -> Answer:
        first, *lines = request.split("\r\n")
        path = first.split(" ")[1]
        headers = [line.partition(": ") for line in lines if line]
        self.requests.append({"path": path, **{name.lower(): text for name, _, text in headers}})
        self.asked[path] += 1
        told = self.answers.get(path, answer(404))
        return told[min(self.asked[path], len(told)) - 1] if isinstance(told, list) else told


@pytest.fixture
def site() -> Iterator[Site]:
    """A Site that serves on loopback, in a thread of its own, until the test ends."""
    site, started = Site(), Future[asyncio.Event]()
    thread = threading.Thread(target=asyncio.run, args=(_serve(site, started),))
    thread.start()
    stop = started.result(timeout=30)
    yield site
    stop_loop.pop(stop).call_soon_threadsafe(stop.set)
    thread.join()


stop_loop: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}


async def _serve(site: Site, started: Future[asyncio.Event]) -> None:
    clients: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(site.serve(reader, writer))
        clients.add(task)
        task.add_done_callback(clients.discard)

    stop = asyncio.Event()
    stop_loop[stop] = asyncio.get_running_loop()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        site.port = server.sockets[0].getsockname()[1]
        started.set_result(stop)
        await stop.wait()
        for task in list(clients):
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)  # closed transports let go of their sockets a turn later


Draw = Callable[..., bytes]


@pytest.fixture(scope="session")
def draw() -> Draw:
    """`draw(format, size, seed, mode, **save_options)`: the bytes of a picture with detail."""
    return _draw_picture


def _draw_picture(
    kind: str = "JPEG",
    size: tuple[int, int] = (80, 60),
    seed: int = 0,
    mode: str = "RGB",
    **options: object,
) -> bytes:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def make_rows() -> Callable[[Sequence[tuple[str, str]]], pa.Table]:
    """`make_rows([(url, caption), ...])`: a unit's rows."""
    return _make_rows


def _make_rows(pairs: Sequence[tuple[str, str]]) -> pa.Table:
    """A unit's rows from (url, caption), ordered by image and then by row."""
    first: dict[str, int] = {}
    rows = [
        {
            "row": row,
            "uid": make_uid(url, caption),
            "url": url,
            "caption": caption,
            "image": first.setdefault(url, row),
            "repeated": False,
        }
        for row, (url, caption) in enumerate(pairs)
    ]
    rows.sort(key=lambda row: (row["image"], row["row"]))
    return pa.Table.from_pylist(rows, schema=ROWS_SCHEMA)
