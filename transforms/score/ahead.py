"""Make the next things in threads while the caller is busy with the one before."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    make: Callable[[T], R], items: Iterable[T], *, workers: int, depth: int
) -> Generator[R, None, None]:
    """`map(make, items)`, in order, with up to `depth` results under way beside the one given out.

    `items` is read in the caller's thread and no further than needed. Close the iterator (as
    contextlib.closing does) where its end may not be reached: what has not begun is dropped, what
    has is waited for, and no thread stays.

    Raises: what `make` raised, when the turn of that item comes."""
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
