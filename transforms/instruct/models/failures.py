"""Count what fails in a row: so many failures are hardly the requests' fault."""

import math
import threading
import time

from schemas.errors import RunFailedError

FAILURES_IN_A_ROW = 20


class Failures:
    """Requests in a row to which nothing usable was said, and when something last was."""

    def __init__(self) -> None:
        self._lock, self._in_a_row = threading.Lock(), 0
        self._answered = -math.inf

    def forget(self) -> None:
        """A request was answered."""
        with self._lock:
            self._in_a_row, self._answered = 0, time.monotonic()

    def answered_since(self, moment: float) -> bool:
        """Whether any request was, since a moment of `time.monotonic`."""
        with self._lock:
            return self._answered >= moment

    def count(self, why: str) -> None:
        """Raises: RunFailedError: so many that it is hardly the requests' fault."""
        with self._lock:
            self._in_a_row += 1
            many = self._in_a_row >= FAILURES_IN_A_ROW
        if many:
            raise RunFailedError(
                f"{FAILURES_IN_A_ROW} requests in a row failed, which is hardly their fault; the"
                f" last time: {why}"
            )
