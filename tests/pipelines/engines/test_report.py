import pytest

from pipelines.engines.report import MAX_LINE_BYTES, Report, read_report, report_of
from schemas.errors import BadInputError, LimitReachedError, RunFailedError

FLINK = """java.lang.Exception: Error received from SDK harness for instruction 5: Traceback (...):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
schemas.errors.LimitReachedError: The budget of 3 dollars is spent. [while running 'caption']

\tat java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:395)
"""


def test_an_error_object_keeps_its_class_and_loses_beams_suffix() -> None:
    report = report_of(BadInputError("No list. [while running 'read']"), "text")
    assert (report.kind, report.error) == ("BadInputError", "No list.")
    assert isinstance(report.to_error(), BadInputError)


def test_an_error_is_found_in_the_text_of_a_remote_engine() -> None:
    error = report_of(RuntimeError(FLINK), FLINK).to_error()
    assert isinstance(error, LimitReachedError)
    assert str(error) == "The budget of 3 dollars is spent."


def test_a_full_disk_is_said_plainly() -> None:
    text = "Traceback:\nOSError: [Errno 28] No space left on device: '/run/pool/00000.tar'\n"
    report = report_of(RuntimeError(text), text)
    assert report.kind == "RunFailedError"
    assert report.error.startswith("The disk is full (OSError: [Errno 28]")


def test_a_report_fits_one_write_and_survives_it() -> None:
    report = Report(error="Stopped.", kind="RunFailedError", traceback="\n\u4e2d" * 3000 + "end")
    line = report.line()
    assert len(line) <= MAX_LINE_BYTES
    back = read_report(line.decode())
    assert back is not None
    assert (back.error, back.traceback[-3:]) == ("Stopped.", "end")


@pytest.mark.parametrize(
    "line", ["", "100%", "[1]", "3", '{"loss": 1}', '{"pairmill": "report", "x": 1}']
)
def test_other_output_is_no_report(line: str) -> None:
    assert read_report(line) is None


def test_a_kind_that_is_no_error_of_ours_becomes_a_failed_run() -> None:
    assert isinstance(Report(error="x", kind="annotations").to_error(), RunFailedError)
