"""Every error that Pairmill raises on purpose.

    PairmillError
    ├── BadInputError       exit 2: what was asked for cannot be done; nothing was started
    ├── RunFailedError      exit 1: a run stopped; the same command goes on where it stood
    │   └── CorruptPoolError     a pool shard that was committed can no longer be read
    ├── FaultsFoundError    exit 3: `verify` found a corpus that is not what it says
    └── LimitReachedError   exit 4: a limit the user set was reached

A message is one clear sentence that says what is wrong and what to do. A row that cannot be
used is no error: it becomes an outcome in the ledger (schemas/outcome.py).
"""


class PairmillError(Exception):
    """Base of all; `exit_code` is what the command ends with."""

    exit_code = 1


class BadInputError(PairmillError):
    """The recipe, the list or the command line cannot be used; nothing was started."""

    exit_code = 2


class RunFailedError(PairmillError):
    """The run stopped; what was committed stays, and the same command resumes."""

    exit_code = 1


class CorruptPoolError(RunFailedError):
    """A pool shard is committed but its bytes are not what its manifest says."""


class FaultsFoundError(PairmillError):
    """A finished corpus has faults."""

    exit_code = 3


class LimitReachedError(PairmillError):
    """A limit that the user set was reached."""

    exit_code = 4
