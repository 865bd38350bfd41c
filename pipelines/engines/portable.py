"""A portable runner on this machine, to try a graph as a cluster would run it.

Beam's local job service and an external worker pool, each a process of its own on a free port.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.engines.child import driver_env
from pipelines.engines.lifeline import end_processes, tree
from schemas.errors import RunFailedError

START_S = 60.0
_JOB_SERVICE = "apache_beam.runners.portability.local_job_service_main"
_WORKER_POOL = "apache_beam.runners.worker.worker_pool_main"


@contextlib.contextmanager
def portable_engine() -> Iterator[list[str]]:
    """Beam flags for an engine that lives as long as the block."""
    job_port, pool_port = _free_port(), _free_port()
    with (
        _service(_JOB_SERVICE, "--port", str(job_port)),
        _service(_WORKER_POOL, "--service_port", str(pool_port)),
    ):
        _wait_for(job_port)
        _wait_for(pool_port)
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{job_port}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool_port}",
        ]


@contextlib.contextmanager
def _service(module: str, *argv: str) -> Iterator[None]:
    # The pool starts "python", whichever the path finds first: let that be this one.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        [sys.executable, "-m", module, *argv],
        env={**driver_env(), "PATH": path},
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        end_processes(tree(process.pid))
        process.wait()


def _free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


def _wait_for(port: int) -> None:
    """Raises: RunFailedError: nobody listens at `port` in time."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
            return
        time.sleep(0.1)
    raise RunFailedError("Beam's local job service or its worker pool did not start: try again.")
