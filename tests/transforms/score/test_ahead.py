"""Work done ahead: in order, bounded, and with no thread left however it ends."""

import threading
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.score.ahead import ahead


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@given(
    count=st.integers(0, 20), workers=st.integers(1, 4), depth=st.integers(0, 8), slow=st.integers()
)
def test_results_come_in_order(count: int, workers: int, depth: int, slow: int) -> None:
    def square(number: int) -> int:
        time.sleep(0.002 if number == slow % (count or 1) else 0)
        return number * number

    found = list(ahead(square, range(count), workers=workers, depth=depth))
    assert found == [number * number for number in range(count)]
    assert not _threads()


def test_no_more_is_read_than_depth_allows() -> None:
    read: list[int] = []

    def items():
        for number in range(100):
            read.append(number)
            yield number

    with closing(ahead(str, items(), workers=2, depth=5)) as found:
        for taken in range(1, 50):
            next(found)
            assert len(read) == taken + 5


def test_the_next_is_made_while_the_caller_is_busy() -> None:
    """Without it, the wait would last until the time is over."""
    second = threading.Event()
    with closing(ahead(lambda do: do(), [int, second.set, int], workers=1, depth=2)) as made:
        next(made)
        assert second.wait(60)


def test_an_error_comes_in_its_turn_and_ends_all() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return 6 // (3 - number)

    found = ahead(make, range(1000), workers=1, depth=3)
    assert [next(found) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert not _threads()
    assert len(made) <= 7


def test_a_caller_that_fails_leaves_no_thread() -> None:
    begun = threading.Event()

    def wait(number: int) -> int:
        begun.set()
        time.sleep(0.01)
        return number

    def fail() -> None:
        with closing(ahead(wait, range(1000), workers=3, depth=20)) as found:
            for _ in found:
                raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert begun.is_set()
    assert not _threads()
