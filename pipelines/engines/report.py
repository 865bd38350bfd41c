"""What a driver or a worker says about its end: one JSON line on the driver's stdout.

An error that a unit raised reaches the driver as an object on the in-memory engine only. Every
other engine hands on the worker's traceback as text, so the error's class and sentence are read
back from that text.
"""

import errno
import json
import re
from dataclasses import asdict, dataclass, replace

from schemas import errors
from schemas.errors import PairmillError, RunFailedError

WORKER_LOST = "worker lost"  # a report's kind: `error` says how the worker ended
MAX_LINE_BYTES = 4096  # PIPE_BUF: lines that several processes write to one pipe are never torn
MAX_TRACEBACK_CHARS = 3000
MAX_ERROR_CHARS = 600
_CLOSED = "Channel closed prematurely"  # Beam's, where it does notice that a worker is gone
_STEP = re.compile(r" \[while running '[^']*'\]")  # what Beam adds to a message
_OURS = re.compile(r"^(?:RuntimeError: )?schemas\.errors\.(\w+): (.+)$", re.MULTILINE)
_BEAM_FRAME = re.compile(r'^ +File "apache_beam/.*\n', re.MULTILINE)  # compiled: no source line
_LAST = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?:: .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a driver ended; `error` is empty where the graph ran to its end."""

    error: str = ""
    kind: str = ""  # class in schemas/errors.py, or WORKER_LOST
    traceback: str = ""

    def line(self) -> bytes:
        """One line of JSON, cut to fit one write: of the traceback, the end is kept."""
        report = self
        while len(line := _line(report)) > MAX_LINE_BYTES and report.traceback:
            cut = len(report.traceback) // 4 + 1
            report = replace(report, traceback=report.traceback[cut:])
        return line

    def to_error(self) -> PairmillError:
        """The error as it was raised; the traceback is its note, shown under --debug only."""
        error = _error_class(self.kind)(self.error)
        error.add_note(self.traceback)
        return error


def _line(report: Report) -> bytes:
    return json.dumps({"pairmill": "report", **asdict(report)}).encode() + b"\n"


def read_report(line: str) -> Report | None:
    """The report in one line of output; None where the line is something else."""
    try:
        fields = json.loads(line)
        if fields.pop("pairmill", None) == "report":
            return Report(**fields)
    except (ValueError, TypeError, AttributeError):  # a unit may print what it likes
        pass
    return None


def report_of(error: BaseException, text: str) -> Report:
    """One clear sentence for `error`, whose traceback is `text`."""
    sentence, kind = _sentence(error, text)
    return Report(
        error=sentence[:MAX_ERROR_CHARS],
        kind=kind,
        traceback=_BEAM_FRAME.sub("", text)[-MAX_TRACEBACK_CHARS:],
    )


def _sentence(error: BaseException, text: str) -> tuple[str, str]:
    if isinstance(error, PairmillError):
        return _STEP.sub("", str(error)), type(error).__name__
    if ours := _OURS.findall(text):
        kind, sentence = ours[-1]
        return _STEP.sub("", sentence), kind
    if _CLOSED in text:
        return "without a word", WORKER_LOST
    last = _STEP.sub("", (_LAST.findall(text) or text.strip().splitlines() or ["unknown"])[-1])
    if f"[Errno {errno.ENOSPC}]" in last:
        return f"The disk is full ({last}): free some space; the same command goes on.", _FAILED
    return f"The pipeline stopped with {last}; the same command goes on where it stood.", _FAILED


_FAILED = RunFailedError.__name__


def _error_class(kind: str) -> type[PairmillError]:
    found = getattr(errors, kind, None)
    return found if isinstance(found, type) and issubclass(found, PairmillError) else RunFailedError
