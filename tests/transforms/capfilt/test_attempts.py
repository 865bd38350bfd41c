import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from schemas.errors import RunFailedError
from transforms.capfilt.attempts import FAILURES_IN_A_ROW, Attempts
from transforms.capfilt.models import LostModelError, RefusedError
from transforms.hub.errors import ModelError, OutOfMemoryError
from transforms.hub.load import faults


class _Model:
    """Doubles numbers, at most `room` at once, and none of `bad`."""

    def __init__(self, room: int = 100, bad: Sequence[int] = ()) -> None:
        self.room, self.bad, self.calls = room, bad, []

    def work(self, items: Sequence[int]) -> list[int]:
        self.calls.append(len(items))
        if len(items) > self.room:
            raise OutOfMemoryError("too many")
        if set(items) & set(self.bad):
            raise ModelError("a bad one")
        return [2 * item for item in items]


def test_a_batch_out_of_memory_is_halved() -> None:
    model = _Model(room=2)
    assert Attempts("m").work(model.work, range(8)) == [2 * n for n in range(8)]
    assert model.calls == [8, 4, 2, 2, 4, 2, 2]


def test_one_bad_item_costs_no_other() -> None:
    found = Attempts("m").work(_Model(bad=[5]).work, range(8))
    assert [n for n, one in enumerate(found) if isinstance(one, ModelError)] == [5]
    assert [one for one in found if not isinstance(one, ModelError)] == [0, 2, 4, 6, 8, 12, 14]


def test_failures_in_a_row_end_the_run() -> None:
    attempts, model = Attempts("blip-large"), _Model(bad=range(100))
    attempts.work(model.work, range(FAILURES_IN_A_ROW - 1))
    with pytest.raises(RunFailedError, match=f"blip-large failed at {FAILURES_IN_A_ROW} pictures"):
        attempts.work(model.work, [50])
    attempts.work(model.work, [50])  # a next run of the same process counts anew


def test_a_success_between_starts_the_count_anew() -> None:
    attempts, bad = Attempts("m"), _Model(bad=range(100))
    for _ in range(3):
        attempts.work(bad.work, range(FAILURES_IN_A_ROW - 1))
        attempts.work(_Model().work, [1])


def test_a_fault_holds_on_to_nothing_of_its_batch() -> None:
    """Nor do the faults it came from, by their frames: else memory that ran out stays taken."""
    held: list[weakref.ref[Any]] = []

    def work(items: Sequence[int]) -> list[int]:
        assert not [one for one in held if one() is not None]
        batch = torch.zeros(len(items))
        held.append(weakref.ref(batch))
        with faults():
            if len(items) > 1 or items[0] == 2:
                raise RuntimeError("not enough memory")
        return list(items)

    found = Attempts("m").work(work, range(4))
    assert [one for one in found if not isinstance(one, ModelError)] == [0, 1, 3]
    assert len(held) == 7
    assert not [one for one in held if one() is not None]


def test_other_errors_are_not_swallowed() -> None:
    def broken(items: Sequence[int]) -> list[int]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Attempts("m").work(broken, [1, 2])


def test_a_unit_in_which_nothing_went_well_is_refused() -> None:
    attempts, fault = Attempts("m"), ModelError("no answer")
    with pytest.raises(RunFailedError, match=r"failed at all 2 pictures of a unit.*no answer"):
        attempts.refuse_if_all_failed([fault, fault])
    with pytest.raises(RunFailedError):
        attempts.refuse_if_all_failed([fault, fault, fault])
    refused = RefusedError("it shows what it should not")
    attempts.refuse_if_all_failed([refused, refused])  # they would be refused again
    attempts.refuse_if_all_failed([refused, fault])
    attempts.refuse_if_all_failed([fault])  # one bad picture in a unit of one
    with pytest.raises(RunFailedError, match=r"all 1 pictures.*no answer"):
        attempts.refuse_if_all_failed([LostModelError("no answer")])  # no picture's fault
    attempts.refuse_if_all_failed([fault, ["a dog"]])
    attempts.refuse_if_all_failed([])
