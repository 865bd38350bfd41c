import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.engines.lock import run_lock
from schemas.errors import BadInputError


def test_a_second_run_on_one_folder_is_refused(tmp_path: Path) -> None:
    with (
        run_lock(tmp_path / "run"),
        pytest.raises(BadInputError, match="Another run"),
        run_lock(tmp_path / "run"),
    ):
        pass
    with run_lock(tmp_path / "run"):
        pass


def test_a_killed_process_frees_the_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pipelines.engines.lock import run_lock\n"
        "with run_lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    with run_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be written"), run_lock(tmp_path / "file"):
        pass
