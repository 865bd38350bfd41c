"""Count what fails in a row: so many failures are hardly the requests' fault."""

import threading

from schemas.errors import RunFailedError

FAILURES_IN_A_ROW = 20


class Failures:
    """Requests in a row to which nothing usable was said."""

    def __init__(self) -> None:
        self._lock, self._in_a_row = threading.Lock(), 0

    def forget(self) -> None:
        with self._lock:
            self._in_a_row = 0

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
