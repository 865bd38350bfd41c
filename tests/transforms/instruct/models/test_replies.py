import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import RunFailedError
from schemas.report import Spend
from transforms.chat.client import Reply
from transforms.instruct.models.replies import (
    OverBudgetError,
    Replies,
    request_digest,
)
from transforms.instruct.policy import BudgetPolicy

SAID = Reply(text="a dog", tokens_in=100, tokens_out=10)
FREE = BudgetPolicy()


def _of(usd: float) -> BudgetPolicy:
    return BudgetPolicy(max_usd=usd, usd_per_million_in=1.0)


def priced(usd: float) -> BudgetPolicy:
    """Prices by which what was SAID costs so much."""
    return BudgetPolicy(usd_per_million_in=usd * 1e4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Replies]:
    found = Replies(tmp_path / "run" / "replies.sqlite")
    yield found
    found.close()


def test_what_was_said_is_kept_with_what_it_cost(store: Replies, tmp_path: Path) -> None:
    assert store.get("d") is None
    store.put(store.reserve(0.5, FREE), "d", SAID, priced(0.2))
    assert store.get("d") == SAID
    other = Replies(tmp_path / "run" / "replies.sqlite")
    assert other.get("d") == SAID
    assert other.spend() == Spend(requests=1, tokens_in=100, tokens_out=10, usd=0.2, lost=0)
    other.close()


def test_what_a_server_does_not_tell_costs_the_most_that_it_may(store: Replies) -> None:
    silent = Reply(text="a dog", tokens_in=None, tokens_out=None)
    store.put(store.reserve(0.5, FREE), "d", silent, priced(0.2))
    assert store.get("d") == silent
    assert store.spend() == Spend(requests=1, tokens_in=0, tokens_out=0, usd=0.5, lost=0)


def test_a_ticket_ends_once(store: Replies) -> None:
    budget = _of(1.0)
    first, other = store.reserve(0.3, budget), store.reserve(0.6, budget)
    store.put(first, "d", SAID, FREE)
    store.drop(first)
    with pytest.raises(OverBudgetError):
        store.reserve(0.5, budget)  # the other's 0.6 is still set aside
    store.lose(first)
    assert (store.spend().requests, store.spend().lost) == (1, 0)
    store.drop(other)
    store.reserve(0.5, budget)


def test_the_cap_counts_what_is_in_flight(store: Replies) -> None:
    budget = _of(1.0)
    first = store.reserve(0.6, budget)
    with pytest.raises(OverBudgetError):
        store.reserve(0.6, budget)
    store.put(first, "d", SAID, priced(0.3))
    second = store.reserve(0.6, budget)  # the first came cheaper than it might have
    store.drop(second)
    store.reserve(0.7, budget)
    assert store.spend().usd == pytest.approx(0.3)


def test_requests_are_capped_too(store: Replies) -> None:
    budget = BudgetPolicy(max_requests=2)
    store.put(store.reserve(0, budget), "d", SAID, FREE)
    store.reserve(0, budget)
    with pytest.raises(OverBudgetError):
        store.reserve(0, budget)


def test_what_was_lost_counts_as_paid(store: Replies) -> None:
    store.lose(store.reserve(0.4, FREE))
    store.reserve(0.5, FREE)  # its process dies
    store.note_lost()
    found = store.spend()
    assert (found.requests, found.lost, found.usd) == (2, 2, pytest.approx(0.9))
    store.note_lost()
    assert store.spend() == found


def test_requests_wait_for_their_turn_in_the_minute(store: Replies) -> None:
    began = time.monotonic()
    for _ in range(4):
        store.drop(store.reserve(0, BudgetPolicy(requests_per_minute=1200)))
    assert 0.15 <= time.monotonic() - began < 5


def test_threads_and_connections_share_one_budget(store: Replies, tmp_path: Path) -> None:
    other = Replies(tmp_path / "run" / "replies.sqlite")
    gone: list[int] = []

    def spend(one: Replies, name: str) -> None:
        for n in range(40):
            try:
                one.put(one.reserve(1.0, _of(50.0)), f"{name}{n}", SAID, priced(1.0))
                gone.append(1)
            except OverBudgetError:
                return

    threads = [
        threading.Thread(target=spend, args=(s, str(n)))
        for n, s in enumerate([store, other, store])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert len(gone) == 50
    assert store.spend().usd == 50


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(RunFailedError, match=r"replies in .*replies\.sqlite cannot be read"):
        Replies(path)


def test_a_full_disk_ends_the_run(store: Replies, tmp_path: Path) -> None:
    store._db.execute("PRAGMA max_page_count = 20")
    long = Reply(text="x" * 200_000, tokens_in=1, tokens_out=1)
    ticket = store.reserve(0, FREE)
    with pytest.raises(RunFailedError, match="full"):
        store.put(ticket, "d", long, FREE)
    store.put(ticket, "e", SAID, FREE)
    assert (store.get("d"), store.get("e")) == (None, SAID)


def test_the_digest_is_of_model_parameters_messages_and_image() -> None:
    shown = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}}
    text = {"type": "text", "text": "what?"}
    request = {"model": "m", "seed": 1, "messages": [{"role": "user", "content": [shown, text]}]}
    same = request_digest(request, "s1")
    again = {**shown, "image_url": {"url": "data:image/jpeg;base64,BBBB"}}
    other = {**request, "messages": [{"role": "user", "content": [again, text]}]}
    assert request_digest(other, "s1") == same
    assert request_digest(request, "s2") != same
    assert request_digest({**request, "seed": 2}, "s1") != same
    assert request_digest({**request, "model": "n"}, "s1") != same
    asked = [{"role": "user", "content": [shown, {**text, "text": "who?"}]}]
    assert request_digest({**request, "messages": asked}, "s1") != same


def test_what_waits_in_a_batch_is_not_lost_and_waits_no_more_once_it_has_ended(
    store: Replies,
) -> None:
    tickets = {name: store.reserve(0.5, FREE) for name in ("put", "dropped", "lost", "waits")}
    store.wait_for("b", tickets)
    store.note_lost()
    assert (store.spend().lost, store.batch_of("waits")) == (0, "b")
    store.put(tickets["put"], "put", SAID, priced(0.1))
    store.drop(tickets["dropped"])
    store.lose(tickets["lost"])
    assert store.waiting_in("b") == {"waits": tickets["waits"]}
    assert [store.batch_of(name) for name in ("put", "dropped", "lost")] == [None] * 3
    store.reserve(0.2, FREE)  # its number is no earlier one's
    store.note_lost()
    found = store.spend()
    assert (found.requests, found.lost) == (3, 2)
    assert found.usd == pytest.approx(0.1 + 0.5 + 0.2)
