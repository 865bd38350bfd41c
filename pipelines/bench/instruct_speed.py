"""How fast dialogues are made by a server on loopback, against its client called bare."""

import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai
import psutil

from pipelines.bench.contest import at_least, at_most
from pipelines.bench.machine import Mark
from schemas.context import Context, Thing
from schemas.dialogue import Kind
from transforms.chat.client import load_chat_client
from transforms.instruct.ledger import judge_made
from transforms.instruct.makers import ModelMaker, load_maker
from transforms.instruct.making import MADE_SCHEMA, make_missing
from transforms.instruct.models.load import close_askers
from transforms.instruct.models.prompts import load_prompts
from transforms.instruct.models.requests import first_request
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject

REQUESTS, CONCURRENCY, PAIRS = 400, 16, 5
LEAST_OF_BARE = 0.7  # mark
MOST_GROWTH_MB = 16.0  # mark, from the first pair to the last


def speed_marks() -> list[Mark]:
    """Requests a second of all three, in turn, medians of their ratios, and how memory grows."""
    with _server() as url, TemporaryDirectory() as folder:
        rounds: list[tuple[float, float, float]] = []
        sizes: list[float] = []
        for number in range(PAIRS + 1):  # the first warms up
            ours = _ours(url, number, Path(folder))
            rounds.append((_plain(url, number), _bare(url, number), ours))
            sizes.append(psutil.Process().memory_info().rss / 2**20)
        close_askers()
    of_bare = statistics.median(ours / bare for _, bare, ours in rounds[1:])
    of_plain = statistics.median(ours / plain for plain, _, ours in rounds[1:])
    growth = sizes[-1] - sizes[1]
    plain, bare, ours = (statistics.median(one) for one in zip(*rounds[1:], strict=True))
    return [
        at_least("openai's client, requests/s", plain),
        at_least("our client called bare, requests/s", bare),
        at_least("dialogues/s, stored and checked", ours),
        at_least("of openai's client's", of_plain),
        at_least("of our bare client's", of_bare, LEAST_OF_BARE),
        at_most(f"MB more after {REQUESTS * (PAIRS - 1)} more", growth, MOST_GROWTH_MB),
    ]


def _policy(url: str) -> InstructPolicy:
    asked = {"backend": "endpoint", "model": "m", "url": url, "concurrency": CONCURRENCY}
    return InstructPolicy.model_validate({**asked, "shares": {"conversation": 1}})


def _subjects(number: int) -> list[Subject]:
    dog = Thing(label="dog", box=(0.1, 0.2, 0.5, 0.9))
    context = Context(captions=("A dog runs over the grass beside a river.",), things=(dog,))
    return [Subject(uid=f"{number:016x}{n:016x}", key="", context=context) for n in range(REQUESTS)]


def _plain(url: str, number: int) -> float:
    """By openai's library as its documentation shows."""
    with openai.OpenAI(base_url=url, api_key="none") as client:
        return _rate(number, url, lambda one: client.chat.completions.create(**one))


def _bare(url: str, number: int) -> float:
    """By the client that ours asks with."""
    with contextlib.closing(load_chat_client(url, None, timeout_s=60.0, retries=0)) as client:
        return _rate(number, url, client.ask)


def _rate(number: int, url: str, ask: Callable[[dict[str, Any]], object]) -> float:
    """The very requests; what they give is not read further."""
    policy, prompts = _policy(url), load_prompts(None, "en")

    def unread(_key: str) -> tuple[str, bytes]:
        return "jpg", b""

    asked: list[dict[str, Any]] = [
        first_request(one, Kind.CONVERSATION, 0, policy, prompts, unread).as_sent(policy)
        for one in _subjects(number)
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(ask, asked))
    return REQUESTS / (time.perf_counter() - began)


def _ours(url: str, number: int, run: Path) -> float:
    """Asked, stored, read, checked and judged."""
    maker = load_maker(_policy(url), run)
    assert isinstance(maker, ModelMaker)
    subjects = {one.uid: one for one in _subjects(number)}
    planned = [
        {"uid": uid, "shard": 0, "kind": Kind.CONVERSATION.value, "number": 0} for uid in subjects
    ]
    began = time.perf_counter()
    made = make_missing(planned, subjects, MADE_SCHEMA.empty_table(), maker, _NoImages())
    ledger, kept = judge_made(made.to_pylist(), subjects, maker)
    seconds = time.perf_counter() - began
    assert len(kept) == ledger.num_rows == REQUESTS, ledger["reason"].unique()
    return REQUESTS / seconds


class _NoImages:
    """A symbolic source reads none."""

    def read(self, key: str) -> tuple[str, bytes]:
        raise AssertionError(key)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipelines.bench.reply_server", str(port)]
    process = subprocess.Popen(command)
    try:
        _wait(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError("the server did not start")
