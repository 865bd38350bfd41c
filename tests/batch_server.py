"""A server of OpenAI's Batch API, on loopback."""

import email
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from chat_server import reply
from loopback import listen

TALK = "Question:\nWhat does the dog do?\n===\nAnswer:\nThe dog runs over the grass."
Speak = Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]]


@dataclass
class BatchServer:
    """Files and batches; a batch is done after so many looks."""

    url: str = ""
    speak: Speak = lambda body: reply(TALK)
    looks: int = 2
    ends_as: str = "completed"
    deaf: int = 0  # batches that are taken without a word
    lists: bool = True
    away: int = 0  # answers with 503, before it is there again
    files: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    looked: int = 0

    @property
    def asked(self) -> list[dict[str, Any]]:
        """Every request that stood in a batch."""
        files = [self.files[one["input_file_id"]] for one in self.batches.values()]
        return [json.loads(line) for text in files for line in text.splitlines()]

    def finish(self, batch: dict[str, Any]) -> None:
        out, errors = [], []
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            status, _, body = self.speak(line["body"])
            told = {"custom_id": line["custom_id"]}
            response = {"response": {"status_code": status, "body": body}, "error": None}
            (out if status == 200 else errors).append(json.dumps(told | response))
        for name, lines in (("output_file_id", out), ("error_file_id", errors)):
            if lines:
                batch[name] = f"{name}-{batch['id']}"
                self.files[batch[name]] = "\n".join(lines) + "\n"


@pytest.fixture
def batch_server() -> Iterator[BatchServer]:
    told = BatchServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self._away():
                return
            if self.path == "/v1/files":
                head = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
                parts = email.message_from_bytes(head + data).get_payload()
                (file,) = [p for p in parts if p.get_filename()]  # pyright: ignore
                name = f"file-{len(told.files)}"
                told.files[name] = file.get_payload(decode=True).decode()  # pyright: ignore
                facts = {"bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch"}
                self._say({"id": name, "object": "file", "status": "processed", **facts})
            else:
                asked = json.loads(data)
                name = f"batch-{len(told.batches)}"
                told.batches[name] = {
                    "id": name,
                    "object": "batch",
                    "created_at": 1,
                    "status": "in_progress",
                    **asked,
                }
                if told.deaf:
                    told.deaf -= 1
                    self.close_connection = True  # and the answer is lost
                    return
                self._say(told.batches[name])

        def do_GET(self) -> None:
            if self._away():
                return
            if found := re.fullmatch(r"/v1/files/(.*)/content", self.path):
                self._say(told.files[found[1]])
                return
            if self.path.startswith("/v1/batches?"):
                if not told.lists:
                    self._say({"error": {"message": "no such page"}}, 404)
                    return
                latest = list(reversed(told.batches.values()))
                self._say({"object": "list", "data": latest, "has_more": False})
                return
            batch = told.batches[self.path.rpartition("/")[2]]
            told.looked += 1
            batch["looks"] = batch.get("looks", 0) + 1
            if batch["looks"] >= told.looks and batch["status"] == "in_progress":
                batch["status"] = told.ends_as
                if told.ends_as in ("completed", "expired"):
                    told.finish(batch)
            self._say(batch)

        def _away(self) -> bool:
            if told.away:
                told.away -= 1
                self._say({"error": {"message": "away"}}, 503)
            return bool(told.away)

        def _say(self, said: Any, status: int = 200) -> None:
            body = (said if isinstance(said, str) else json.dumps(said)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with listen(Handler) as told.url:
        yield told
