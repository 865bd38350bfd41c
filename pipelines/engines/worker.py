"""A worker process of the local engine: `python -m pipelines.engines.worker`.

Beam's own worker, with three things added: it dies with its driver, it fails at once where the
package cannot be imported, and it reports the first error of a unit itself, because the driver
hears of it only when every other worker has finished its share of the bundle.
"""

import logging
import os
import signal
import sys
import traceback

from pipelines.engines.lifeline import PARENT, die_with_parent
from pipelines.engines.report import report_of

_RAISED_BY_UNITS = "apache_beam.runners.common"  # logs what a DoFn raised, with the exception


class _Reporting(logging.Handler):
    """Print a report line for an exception that a unit raised."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and (error := record.exc_info[1]) is not None:
            text = "".join(traceback.format_exception(error))
            os.write(1, report_of(error, text).line())


def main() -> None:
    die_with_parent(
        int(os.environ.get(PARENT, os.getppid())), lambda: os._exit(1), sent=signal.SIGKILL
    )
    # After the line above: should these imports take long or fail, we still end with the driver.
    from apache_beam.runners.worker import sdk_worker_main

    import transforms  # noqa: F401

    logging.getLogger(_RAISED_BY_UNITS).addHandler(_Reporting())
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
