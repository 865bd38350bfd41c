"""OpenAI's Batch API, against a server of the tests' own, on loopback."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_server import TALK, BatchServer, batch_server
from chat_server import reply, say

from schemas.context import Context
from schemas.dialogue import DialogueFault, Kind
from schemas.errors import RunFailedError
from transforms.chat.batches import Batches
from transforms.instruct.makers import ModelMaker, load_maker
from transforms.instruct.making import MADE_SCHEMA, make_missing
from transforms.instruct.models.batch import BatchAsker
from transforms.instruct.policy import InstructPolicy
from transforms.instruct.subjects import Subject

__all__ = ["batch_server"]
Load = Callable[..., ModelMaker]


@pytest.fixture
def load(batch_server: BatchServer, tmp_path: Path) -> Load:
    def load(**settings: Any) -> ModelMaker:
        asked = {"backend": "batch", "model": "m", "url": batch_server.url, "poll_s": 0.05}
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


def test_one_batch_brings_all(batch_server: BatchServer, load: Load) -> None:
    maker = load()
    rows = make(maker)
    assert [row["fault"] for row in rows] == [None] * 6
    assert len(batch_server.batches) == 1
    assert batch_server.looked >= 2
    line = batch_server.asked[0]
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"]["messages"][0]["role"] == "system"
    assert maker.asker.replies.spend().requests == 6
    assert make(load()) == rows
    assert len(batch_server.batches) == 1  # nothing is asked twice


def test_what_has_a_fault_is_asked_for_once_more_in_a_second_batch(
    batch_server: BatchServer, load: Load
) -> None:
    seen: set[int] = set()

    def speak(body: dict[str, Any]) -> Any:
        repaired = len(body["messages"]) > 6
        seen.add(len(body["messages"]))
        return reply(TALK if repaired or body["seed"] % 2 else "Just words.")

    batch_server.speak = speak
    rows = make(load())
    assert len(batch_server.batches) == 2
    assert {row["fault"] for row in rows} == {None}
    assert {row["repaired"] for row in rows} == {True, False}


def test_a_run_that_is_stopped_goes_on_with_its_batch(
    batch_server: BatchServer, load: Load
) -> None:
    batch_server.looks = 10_000
    maker = load()
    assert isinstance(maker.asker, BatchAsker)
    stopped = threading.Thread(target=lambda: make(maker), daemon=True)
    stopped.start()
    while not batch_server.looked:
        stopped.join(0.02)
    maker.asker.replies.note_lost()  # as the next run begins: what waits is not lost
    batch_server.looks = 1
    rows = make(load())
    stopped.join(10)
    assert [row["fault"] for row in rows] == [None] * 6
    assert len(batch_server.batches) == 1
    spend = maker.asker.replies.spend()
    assert (spend.requests, spend.lost) == (6, 0)


def test_a_batch_whose_answer_is_lost_is_not_submitted_again(
    batch_server: BatchServer, load: Load
) -> None:
    batch_server.deaf = 1
    assert {row["fault"] for row in make(load())} == {None}
    assert len(batch_server.batches) == 1


def test_what_could_not_be_submitted_costs_nothing(batch_server: BatchServer, load: Load) -> None:
    batch_server.away = 1000
    with pytest.raises(RunFailedError, match=r"away for 0\.6 s .*run again"):
        make(load(patience_s=0.6))
    batch_server.away = 0
    maker = load()
    assert {row["fault"] for row in make(maker)} == {None}
    spend = maker.asker.replies.spend()
    assert (len(batch_server.batches), spend.requests, spend.lost) == (1, 6, 0)


def test_a_run_that_dies_before_it_submits_pays_nothing(
    batch_server: BatchServer, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = load()

    def die(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Batches, "submit", die)
    with pytest.raises(KeyboardInterrupt):
        make(maker)
    monkeypatch.undo()
    maker.asker.replies.note_lost()  # as the next run begins
    assert {row["fault"] for row in make(load())} == {None}
    spend = maker.asker.replies.spend()
    assert (len(batch_server.batches), spend.requests, spend.lost) == (1, 6, 0)


@pytest.mark.parametrize("lists", [True, False])
def test_a_run_that_dies_between_submitting_and_hearing_finds_its_batch(
    lists: bool, batch_server: BatchServer, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = load()
    monkeypatch.setattr(Batches, "_create", _create_and_die)
    with pytest.raises(KeyboardInterrupt):
        make(maker)
    monkeypatch.undo()
    batch_server.lists = lists
    maker.asker.replies.note_lost()  # as the next run begins
    rows = make(load())
    assert [row["fault"] for row in rows] == [None] * 6
    spend = maker.asker.replies.spend()
    assert len(batch_server.batches) == (1 if lists else 2)
    assert (spend.requests, spend.lost) == ((6, 0) if lists else (12, 6))


def _create_and_die(batches: Batches, file: str, name: str) -> None:
    batches.client.client.batches.create(
        input_file_id=file,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"pairmill": name},
    )
    raise KeyboardInterrupt


@pytest.mark.parametrize("ends_as", ["failed", "expired", "cancelled"])
def test_a_batch_that_comes_to_nothing_ends_the_run_and_is_asked_anew(
    ends_as: str, batch_server: BatchServer, load: Load
) -> None:
    batch_server.ends_as = ends_as
    with pytest.raises(RunFailedError, match=f"batch-0 .* ended as {ends_as}.*run again"):
        make(load())
    batch_server.ends_as = "completed"
    rows = make(load())
    assert {row["fault"] for row in rows} == {None}
    assert len(batch_server.batches) == (1 if ends_as == "expired" else 2)  # it had given all


def test_single_failures_cost_no_other(batch_server: BatchServer, load: Load) -> None:
    def speak(body: dict[str, Any]) -> Any:
        match body["seed"] % 3:
            case 0:
                return 400, {}, {"error": {"message": "odd"}}
            case 1:
                return say(None, refusal="I will not")
            case _:
                return reply(TALK)

    batch_server.speak = speak
    found = {row["fault"] for row in make(load(), 12)}
    assert found == {None, DialogueFault.NO_REPLY.value, DialogueFault.REFUSED.value}


def test_a_cap_leaves_out_what_it_does_not_allow(batch_server: BatchServer, load: Load) -> None:
    rows = make(load(budget={"max_requests": 4}))
    assert len(rows) == 4
    assert len(batch_server.asked) == 4
    assert len(make(load())) == 6
    assert len(batch_server.asked) == 6


def test_a_server_that_is_away_for_a_while_loses_nothing(
    batch_server: BatchServer, load: Load
) -> None:
    batch_server.away = 3
    assert {row["fault"] for row in make(load())} == {None}
    batch_server.away = 1000
    with pytest.raises(RunFailedError, match=r"was away for 0\.2 s"):
        make(load(patience_s=0.2, temperature=0.1))


def test_kinds_and_records_say_batch(batch_server: BatchServer, load: Load) -> None:
    (row, *_) = make(load())
    assert row["made"]["backend"] == "batch"
    assert row["kind"] == Kind.CONVERSATION.value
