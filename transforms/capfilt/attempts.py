"""Work through batches when some of their items fail: halve, and count what fails alone."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.errors import RunFailedError
from transforms.capfilt.models import LostModelError, RefusedError, without_frames
from transforms.hub.errors import ModelError

T = TypeVar("T")
R = TypeVar("R")

FAILURES_IN_A_ROW = 20


class Attempts:
    """How often in a row one model has failed; kept as long as the model is loaded."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._in_a_row = 0

    def work(
        self, do: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]
    ) -> list[R | ModelError]:
        """What `do` gives for each item; for one that fails even alone, its fault.

        A batch that fails, of memory or by one bad picture, is halved and tried again.

        Raises: RunFailedError: so many single items failed in a row that it is the model's fault,
            not theirs."""
        try:
            found = list(do(items))
        except ModelError as err:
            fault = without_frames(err)
        else:
            self._in_a_row = 0
            return list(found)
        if len(items) == 1:
            self._count(fault)
            return [fault]
        half = len(items) // 2
        return [*self.work(do, items[:half]), *self.work(do, items[half:])]

    def refuse_if_all_failed(self, found: Sequence[R | ModelError]) -> None:
        """A unit in which nothing went well is not to be committed: it would never be tried again.
        What a server turned down for what it shows may be, as it would be so again; and what a
        model fails at may be a single bad picture.

        Raises: RunFailedError: all items failed, several or by a server that was lost."""
        faults = [one for one in found if isinstance(one, ModelError)]
        grave = [one for one in faults if not isinstance(one, RefusedError)]
        lost = any(isinstance(one, LostModelError) for one in grave)
        if len(faults) == len(found) and (lost or len(grave) > 1):
            raise RunFailedError(
                f"The model {self._model} failed at all {len(found)} pictures of a unit; the last"
                f" time: {grave[-1]}"
            ) from grave[-1]

    def _count(self, fault: ModelError) -> None:
        self._in_a_row += 1
        if self._in_a_row >= FAILURES_IN_A_ROW:
            self._in_a_row = 0  # for a next run of this process
            raise RunFailedError(
                f"The model {self._model} failed at {FAILURES_IN_A_ROW} pictures in a row, which is"
                f" hardly their fault; the last time: {fault}"
            ) from fault
