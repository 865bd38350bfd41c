"""Real processes on every engine: what passes, and how each kind of loss ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from pipelines.engines.journals import Journals, Unit
from pipelines.engines.supervise import (
    EXIT_GRACE_S,
    IDLE_FACTOR,
    PATIENCE_S,
    POLL_S,
    REPORT_GRACE_S,
    WAITING_LOOKS,
    _Watch,
    supervise,
)
from schemas.errors import BadInputError, CorruptPoolError, PairmillError, RunFailedError

WriteJob = Callable[..., Path]


def run_toy(
    job: Path,
    flags: Sequence[str],
    *,
    on_look: Callable[[Sequence[Unit]], None] = lambda _: None,
    patience_s: float = 30,
) -> None:
    supervise(
        run=job.parent,
        graph="toy_graph:build",
        job=job,
        flags=flags,
        on_look=on_look,
        patience_s=patience_s,
    )


def workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    running = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in running if "pipelines.engines.worker" in child.cmdline()]


def test_a_graph_runs_to_its_end(write_job: WriteJob, flags: list[str], none_left: None) -> None:
    seen: list[Sequence[Unit]] = []
    job = write_job()
    run_toy(job, flags, on_look=seen.append)
    assert [(job.parent / f"colour-{unit}").read_text() for unit in range(4)] == ["6"] * 4
    assert seen[-1] == []


def test_a_unit_that_takes_longer_than_patience_is_not_lost(
    write_job: WriteJob, portable_flags: list[str]
) -> None:
    """On workers that are not ours to watch, its beats alone tell that it goes on."""
    job = write_job("long")
    run_toy(job, portable_flags, patience_s=3)
    assert (job.parent / "gathered").read_text() == "6"


def test_a_loss_is_told_within_a_minute() -> None:
    slowest_s = max(PATIENCE_S * IDLE_FACTOR, EXIT_GRACE_S) + REPORT_GRACE_S + POLL_S
    assert slowest_s < 60


def test_a_units_error_arrives_whole(
    write_job: WriteJob, flags: list[str], none_left: None
) -> None:
    with pytest.raises(CorruptPoolError) as caught:
        run_toy(write_job("raise"), flags)
    assert str(caught.value) == "The pool's shard 00001 is torn: fetch it again."
    assert "in _misbehave" in "".join(caught.value.__notes__)


def test_a_bug_ends_in_one_sentence(write_job: WriteJob, flags: list[str], none_left: None) -> None:
    with pytest.raises(RunFailedError) as caught:
        run_toy(write_job("bug"), flags)
    assert "ZeroDivisionError: nothing to divide by;" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_worker_killed_in_a_unit_is_noticed(
    write_job: WriteJob, two_workers: list[str], none_left: None
) -> None:
    with pytest.raises(RunFailedError, match=r"SIGKILL.*unit 00001 of stage draw"):
        run_toy(write_job("killed"), two_workers)


def test_an_external_worker_killed_in_a_unit_is_noticed(
    write_job: WriteJob, portable_flags: list[str], none_left: None
) -> None:
    with pytest.raises(RunFailedError, match=r"unit 00001 of stage draw"):
        run_toy(write_job("killed"), portable_flags, patience_s=4)


def test_a_worker_that_hangs_in_a_unit_is_noticed(
    write_job: WriteJob, two_workers: list[str], none_left: None
) -> None:
    with pytest.raises(RunFailedError, match=r"lost at unit 00001 of stage draw"):
        run_toy(write_job("frozen"), two_workers, patience_s=4)


def test_an_engine_that_hangs_with_nobody_at_work_is_noticed(
    write_job: WriteJob, two_workers: list[str], none_left: None
) -> None:
    with pytest.raises(RunFailedError, match=r"no worker has been at work for"):
        run_toy(write_job("frozen between"), two_workers, patience_s=3)


def test_an_idle_worker_killed_is_noticed(
    write_job: WriteJob, two_workers: list[str], none_left: None
) -> None:
    job = write_job("slow")
    at_work = job.parent / "worker.pid"

    def kill_the_other(in_hand: Sequence[Unit]) -> None:
        if at_work.exists() and len(in_hand) == 1:
            for worker in workers():
                if worker.pid != int(at_work.read_text()):
                    worker.kill()

    with pytest.raises(RunFailedError, match=r"worker process ended by signal SIGKILL"):
        run_toy(job, two_workers, on_look=kill_the_other)


def test_a_driver_killed_is_noticed(
    write_job: WriteJob, two_workers: list[str], none_left: None
) -> None:
    job = write_job("slow")

    def kill_driver(in_hand: Sequence[Unit]) -> None:
        if in_hand:
            workers()[0].parent().kill()

    with pytest.raises(RunFailedError, match=r"driver ended by signal SIGKILL"):
        run_toy(job, two_workers, on_look=kill_driver)


def test_a_package_that_cannot_be_imported_is_named(
    write_job: WriteJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "transforms.py").write_text("import a_package_that_is_missing")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    with pytest.raises(RunFailedError, match="No module named 'a_package_that_is_missing'"):
        run_toy(write_job(), [])


def test_a_worker_that_cannot_start_is_noticed(
    write_job: WriteJob,
    two_workers: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    none_left: None,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'pipelines.engines.worker' in sys.orig_argv:\n"
        "    os.write(2, b'ImportError: no such library\\n')\n"
        "    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    with pytest.raises(RunFailedError, match=r"exit code 1 \(ImportError: no such library\)"):
        run_toy(write_job(), two_workers, patience_s=2)


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--no_such_flag=1", "--no_such_flag"),
        ("--direct_num_workers=two", "--direct_num_workers"),
        ("--direct_num_workers=0", "at least one worker"),
        ("--direct_num_workers=-1", "at least one worker"),
        ("--setup_file=no/such/setup.py", "there is no such file"),
        ("--runner=DaskRunner", "DaskRunner"),
        ("--runner=NoSuchRunner", "NoSuchRunner"),
    ],
)
def test_flags_that_cannot_be_used_are_bad_input(
    write_job: WriteJob, flag: str, named: str
) -> None:
    with pytest.raises(BadInputError, match=named):
        run_toy(write_job(), [flag])


@pytest.mark.parametrize(
    ("sent", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, RunFailedError)]
)
def test_a_signal_ends_everything(
    write_job: WriteJob,
    two_workers: list[str],
    none_left: None,
    sent: signal.Signals,
    raised: type[BaseException],
) -> None:
    def stop(in_hand: Sequence[Unit]) -> None:
        if in_hand:
            signal.raise_signal(sent)

    with pytest.raises(raised):
        run_toy(write_job("slow"), two_workers, on_look=stop)


def test_all_ends_with_a_supervisor_that_was_killed(
    write_job: WriteJob, two_workers: list[str]
) -> None:
    job = write_job("slow")
    code = (
        "import sys; from pathlib import Path; from pipelines.engines.supervise import supervise\n"
        "job = Path(sys.argv[1])\n"
        "supervise(run=job.parent, graph='toy_graph:build', job=job, flags=sys.argv[2:],"
        " on_look=lambda _: None)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code, str(job), *two_workers])
    while not (job.parent / "worker.pid").exists():
        assert supervisor.poll() is None
        time.sleep(0.1)
    started = psutil.Process(supervisor.pid).children(recursive=True)
    supervisor.kill()
    supervisor.wait()
    assert len(started) == 3  # a driver and two workers
    assert psutil.wait_procs(started, timeout=20)[1] == []


def test_what_waits_for_a_core_is_not_idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine that is full of other work: ready to run at each look, and hardly run."""

    class Starved:
        pid = 1
        state = psutil.STATUS_RUNNING

        def status(self) -> str:
            return self.state

    watch, process = _Watch(Journals(tmp_path), patience_s=1), Starved()
    for _ in range(WAITING_LOOKS - 1):
        assert not watch._waits_for_a_core([process])  # pyright: ignore
    assert watch._waits_for_a_core([process])  # pyright: ignore
    process.state = psutil.STATUS_SLEEPING
    assert not watch._waits_for_a_core([process])  # pyright: ignore


def test_supervise_works_outside_the_main_thread(write_job: WriteJob) -> None:
    caught: list[PairmillError] = []

    def target() -> None:
        try:
            run_toy(write_job("raise"), ["--direct_running_mode=in_memory"])
        except PairmillError as error:
            caught.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    assert [type(error) for error in caught] == [CorruptPoolError]


def test_the_supervisor_imports_neither_beam_nor_torch() -> None:
    code = (
        "import sys, pipelines.engines.supervise\n"
        "sys.exit(bool({'apache_beam', 'torch'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
