"""Peers to measure against, each in an environment of its own, since their pins clash with ours."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pipelines.bench.clip_retrieval_loop import PREFIX
from pipelines.bench.score_inputs import ARCHITECTURE, Inputs

FOLDER = Path(__file__).parents[2] / ".bench"
SETTINGS = ((64, 1), (64, 2), (32, 2))  # batch size and workers of clip-retrieval that are tried
CLIP_RETRIEVAL = (
    "clip-retrieval==2.45.0",
    "open_clip_torch==2.32.0",
    "transformers==4.57.6",
    "sentence-transformers==2.7.0",
    "numpy==1.26.4",
    "setuptools<81",
    f"torch=={torch.__version__.partition('+')[0]}",
)


def peer_python(name: str, requirements: Sequence[str], folder: Path = FOLDER) -> Path:
    """The interpreter of the peer's virtual environment, made where it is missing or outdated.

    Raises: subprocess.CalledProcessError: pip could not install; it has printed why."""
    wanted = "".join(f"{line}\n" for line in requirements)
    home, done = folder / name, folder / f"{name}.txt"
    python = home / "bin" / "python"
    if python.exists() and done.exists() and done.read_text() == wanted:
        return python
    Console(stderr=True).print(f"Installing {name} into {home}: some minutes, once.")
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    done.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    done.write_text(wanted)
    return python


@contextmanager
def clip_retrieval(inputs: Inputs, out: Path) -> Iterator[Callable[[], float]]:
    """Seconds of clip-retrieval's own loop over all pairs, by the best of SETTINGS.

    Its model is loaded once, before the block begins."""
    loop = Path(__file__).with_name("clip_retrieval_loop.py")
    model = f"open_clip:{ARCHITECTURE}/{inputs.checkpoint}"
    python = peer_python("clip-retrieval", CLIP_RETRIEVAL)
    command = [str(part) for part in (python, loop, model, out, *inputs.peer_tars)]
    pipe = subprocess.PIPE
    with (
        open(inputs.pool / "peer.log", "w+") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True) as peer,
    ):

        def run(setting: tuple[int, int]) -> float:
            asked = dict(zip(("batch_size", "workers"), setting, strict=True))
            print(json.dumps(asked), file=peer.stdin, flush=True)
            facts = _told(peer, Path(log.name))
            assert facts["images"] == len(inputs.pairs)
            return facts["seconds"]

        _told(peer, Path(log.name))
        best = min(SETTINGS, key=run)
        yield lambda: run(best)


def _told(peer: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """The next facts that the loop prints among what its libraries print."""
    assert peer.stdout is not None
    line = next((line for line in peer.stdout if line.startswith(PREFIX)), None)
    if line is None:
        raise RuntimeError(f"clip-retrieval's loop ended early:\n{log.read_text()[-2000:]}")
    return json.loads(line.removeprefix(PREFIX))
