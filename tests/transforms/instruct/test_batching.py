"""OpenAI's Batch API, against a server of the tests' own, on loopback."""

import email
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from chat_server import reply, say
from loopback import listen

from schemas.context import Context
from schemas.dialogue import DialogueFault, Kind
from schemas.errors import RunFailedError
from transforms.instruct.batching import BatchAsker
from transforms.instruct.makers import ModelMaker, load_maker
from transforms.instruct.making import MADE_SCHEMA, make_missing
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject

TALK = "Question:\nWhat does the dog do?\n===\nAnswer:\nThe dog runs over the grass."
Speak = Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]]


@dataclass
class BatchServer:
    """Files and batches; a batch is done after so many looks."""

    url: str = ""
    speak: Speak = lambda body: reply(TALK)
    looks: int = 2
    ends_as: str = "completed"
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
def server() -> Iterator[BatchServer]:
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
                self._say(told.batches[name])

        def do_GET(self) -> None:
            if self._away():
                return
            if found := re.fullmatch(r"/v1/files/(.*)/content", self.path):
                self._say(told.files[found[1]])
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


Load = Callable[..., ModelMaker]


@pytest.fixture
def load(server: BatchServer, tmp_path: Path) -> Load:
    def load(**settings: Any) -> ModelMaker:
        asked = {"backend": "batch", "model": "m", "url": server.url, "poll_s": 0.05}
        asked |= {"shares": {"conversation": 1}, "patience_s": 5.0}
        policy = InstructPolicy.model_validate({**asked, **settings})
        made = load_maker(policy, tmp_path / "run")
        assert isinstance(made, ModelMaker)
        return made

    return load


class _NoImages:
    def read(self, key: str) -> tuple[str, bytes]:
        raise AssertionError(key)


def make(maker: ModelMaker, count: int = 6) -> list[dict[str, Any]]:
    context = Context(captions=("a dog runs on grass",))
    subjects = {
        f"{n:032x}": Subject(uid=f"{n:032x}", key="", context=context) for n in range(count)
    }
    planned = [{"uid": uid, "kind": "conversation", "number": 0} for uid in subjects]
    return make_missing(
        planned, subjects, MADE_SCHEMA.empty_table(), maker, _NoImages()
    ).to_pylist()


def test_one_batch_brings_all(server: BatchServer, load: Load) -> None:
    maker = load()
    rows = make(maker)
    assert [row["fault"] for row in rows] == [None] * 6
    assert len(server.batches) == 1
    assert server.looked >= 2
    line = server.asked[0]
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"]["messages"][0]["role"] == "system"
    assert maker.asker.replies.spend().requests == 6
    assert make(load()) == rows
    assert len(server.batches) == 1  # nothing is asked twice


def test_what_has_a_fault_is_asked_for_once_more_in_a_second_batch(
    server: BatchServer, load: Load
) -> None:
    seen: set[int] = set()

    def speak(body: dict[str, Any]) -> Any:
        repaired = len(body["messages"]) > 6
        seen.add(len(body["messages"]))
        return reply(TALK if repaired or body["seed"] % 2 else "Just words.")

    server.speak = speak
    rows = make(load())
    assert len(server.batches) == 2
    assert {row["fault"] for row in rows} == {None}
    assert {row["repaired"] for row in rows} == {True, False}


def test_a_run_that_is_stopped_goes_on_with_its_batch(server: BatchServer, load: Load) -> None:
    server.looks = 10_000
    maker = load()
    assert isinstance(maker.asker, BatchAsker)
    stopped = threading.Thread(target=lambda: make(maker), daemon=True)
    stopped.start()
    while not server.looked:
        stopped.join(0.02)
    maker.asker.replies.note_lost()  # as the next run begins: what waits is not lost
    server.looks = 1
    rows = make(load())
    stopped.join(10)
    assert [row["fault"] for row in rows] == [None] * 6
    assert len(server.batches) == 1
    spend = maker.asker.replies.spend()
    assert (spend.requests, spend.lost) == (6, 0)


@pytest.mark.parametrize("ends_as", ["failed", "expired", "cancelled"])
def test_a_batch_that_comes_to_nothing_ends_the_run_and_is_asked_anew(
    ends_as: str, server: BatchServer, load: Load
) -> None:
    server.ends_as = ends_as
    with pytest.raises(RunFailedError, match=f"batch-0 .* ended as {ends_as}.*run again"):
        make(load())
    server.ends_as = "completed"
    rows = make(load())
    assert {row["fault"] for row in rows} == {None}
    assert len(server.batches) == (1 if ends_as == "expired" else 2)  # it had given all


def test_single_failures_cost_no_other(server: BatchServer, load: Load) -> None:
    def speak(body: dict[str, Any]) -> Any:
        match body["seed"] % 3:
            case 0:
                return 400, {}, {"error": {"message": "odd"}}
            case 1:
                return say(None, refusal="I will not")
            case _:
                return reply(TALK)

    server.speak = speak
    found = {row["fault"] for row in make(load(), 12)}
    assert found == {None, DialogueFault.NO_REPLY.value, DialogueFault.REFUSED.value}


def test_a_cap_leaves_out_what_it_does_not_allow(server: BatchServer, load: Load) -> None:
    rows = make(load(budget={"max_requests": 4}))
    assert len(rows) == 4
    assert len(server.asked) == 4
    assert len(make(load())) == 6
    assert len(server.asked) == 6


def test_a_server_that_is_away_for_a_while_loses_nothing(server: BatchServer, load: Load) -> None:
    server.away = 3
    assert {row["fault"] for row in make(load())} == {None}
    server.away = 1000
    with pytest.raises(RunFailedError, match=r"was away for 0\.2 s"):
        make(load(patience_s=0.2, temperature=0.1))


def test_kinds_and_records_say_batch(server: BatchServer, load: Load) -> None:
    (row, *_) = make(load())
    assert row["made"]["backend"] == "batch"
    assert row["kind"] == Kind.CONVERSATION.value
