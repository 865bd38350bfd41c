"""A server that speaks chat completions as a test tells it to, on loopback."""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from loopback import listen

KEY = "sk-very-secret-1234"
DROPPED = 0  # a status: the connection ends without a word
Reply = tuple[int, dict[str, str], Any]
Speak = Callable[[dict[str, Any]], Reply]


@dataclasses.dataclass
class Server:
    """What was asked, and what is said to it."""

    url: str
    speak: Speak
    asked: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    headers: list[dict[str, str]] = dataclasses.field(default_factory=list)
    most_at_once: int = 0

    @property
    def seeds(self) -> list[int]:
        return sorted(one["seed"] for one in self.asked)


def say(text: str | None, **more: Any) -> Reply:
    choice = {"index": 0, "finish_reason": "stop", **more.pop("choice", {})}
    message = {"role": "assistant", "content": text, **more}
    said = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return 200, {}, {**said, "choices": [{**choice, "message": message}]}


def reply(text: str, tokens_in: int = 100, tokens_out: int = 10) -> Reply:
    """With what it cost."""
    status, headers, said = say(text)
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": 0}
    return status, headers, {**said, "usage": usage}


def by_seed(asked: dict[str, Any]) -> Reply:
    return say(f" a caption\nof seed {asked['seed']} ")


def fail(status: int, message: str = "no", **headers: str) -> Reply:
    return status, headers, {"error": {"message": message}}


@pytest.fixture
def server() -> Iterator[Server]:
    lock, at_once = threading.Lock(), 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal at_once
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                at_once += 1
                server.most_at_once = max(server.most_at_once, at_once)
                server.asked.append({**asked, "path": self.path})
                server.headers.append({k.lower(): v for k, v in self.headers.items()})
            status, headers, said = server.speak(asked)
            with lock:
                at_once -= 1
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            if status == DROPPED:
                self.close_connection = True
                return
            self.send_response(status)
            told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
            for name, value in told.items():
                self.send_header(name.replace("_", "-"), value)
            self.close_connection = told["Content-Length"] != str(len(body))  # half-sent
            with contextlib.suppress(BrokenPipeError):  # who asked may have given up
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with listen(Handler) as url:
        server = Server(url, by_seed)
        yield server
