"""`make bench-score`: how fast CLIP scores are made, against open_clip bare and clip-retrieval.

The same photographs, captions, model and machine for all, in turn and several times over. The
model has ViT-B-32's architecture and seeded random weights: its speed is that of the published
ones, its scores mean nothing.
"""

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from pipelines.bench.bare_clip import WAYS, load_bare, run_bare
from pipelines.bench.machine import Mark, print_marks
from pipelines.bench.peers import clip_retrieval
from pipelines.bench.score_inputs import ARCHITECTURE, Inputs, draw_inputs
from pipelines.recipe import POCKET_FOLDER
from transforms.score.clip import ClipMeasure, measure_clip
from transforms.score.clip_model import load_clip
from transforms.score.policy import LOCAL_DIR, ClipPolicy
from transforms.shards.pool import PoolImages

BATCH = 64
CORES = os.cpu_count() or 1
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}

Contest = Mapping[str, Callable[[], float]]  # a contestant gives seconds for all rows


def main(
    photos: Annotated[Path, typer.Option(help="A folder with captions.jsonl.")] = Path(
        "../shared/data/flickr8k"
    ),
    rows: Annotated[int, typer.Option(min=1, help="Pairs to score; photographs may repeat.")] = 256,
    runs: Annotated[int, typer.Option(min=1, help="Rounds; the median counts.")] = 5,
) -> None:
    """Print pairs a second of each contestant, their ratios, and how near bf16 is to fp32."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as folder:
        inputs = draw_inputs(Path(folder), photos, rows)
        precisions = ["fp32", "bf16"] if has_bf16() else ["fp32"]
        with clip_retrieval(inputs, Path(folder) / "peer") as peer:
            contest = {name: run for p in precisions for name, run in _contest(inputs, p).items()}
            seconds = _rounds({**contest, "clip-retrieval fp32": peer}, runs)
        marks = [
            _mark(f"{name}, pairs/s", rows / statistics.median(seconds[name])) for name in seconds
        ]
        marks += _ratios(seconds, precisions)
        marks += [mark for p in precisions for mark in _alone(inputs, p)]
        marks += _nearness(inputs)
    print_marks(f"score ({ARCHITECTURE}, random weights: speed only; {DEVICE})", marks)


def has_bf16() -> bool:
    """Whether the device computes in bfloat16, rather than imitating it."""
    if DEVICE == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    info = Path("/proc/cpuinfo")
    return bool(info.exists() and BF16_FLAGS & set(info.read_text().split()))


def _policy(inputs: Inputs, precision: Any) -> ClipPolicy:
    return ClipPolicy(
        architecture=ARCHITECTURE,
        pretrained=str(inputs.checkpoint),
        batch_size=BATCH,
        threads=CORES,
        device=DEVICE,
        precision=precision,
    )


def _measured(inputs: Inputs, policy: ClipPolicy, rows: int | None = None) -> ClipMeasure:
    with PoolImages(inputs.pool, 0) as images:
        return measure_clip(inputs.rows.slice(0, rows), images, load_clip(policy))


def _contest(inputs: Inputs, precision: str) -> Contest:
    """Pairmill and open_clip bare by whichever way is fastest here, in one precision."""
    _say(f"the best way to call open_clip bare in {precision}")
    bare = load_bare(ARCHITECTURE, str(inputs.checkpoint), precision, DEVICE)

    def by(way: str) -> float:
        return _timed(lambda: run_bare(bare, inputs.pairs, BATCH, way))

    by("one after the other")  # what is slow only once
    best = min(WAYS, key=by)
    policy = _policy(inputs, precision)
    _measured(inputs, policy, BATCH)
    return {
        f"Pairmill {precision}": lambda: _timed(lambda: _measured(inputs, policy)),
        f"bare open_clip {precision}": lambda: by(best),
    }


def _say(what: str) -> None:
    Console(stderr=True).print(what, style="dim")


def _timed(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _rounds(contest: Contest, runs: int) -> dict[str, list[float]]:
    """Seconds of each contestant, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contest}
    for number in range(runs):
        for name, run in contest.items():
            _say(f"round {number + 1} of {runs}: {name}")
            seconds[name].append(run())
    return seconds


def _ratios(seconds: Mapping[str, list[float]], precisions: list[str]) -> list[Mark]:
    """Medians of the ratios within a round."""

    def ratio(slow: str, fast: str) -> float:
        pairs = zip(seconds[slow], seconds[fast], strict=True)
        return statistics.median(a / b for a, b in pairs)

    found = [
        _mark(
            f"Pairmill / bare open_clip, {p}", ratio(f"bare open_clip {p}", f"Pairmill {p}"), 0.95
        )
        for p in precisions
    ]
    best = precisions[-1]
    name = f"Pairmill {best} / clip-retrieval fp32"
    peer = ratio("clip-retrieval fp32", f"Pairmill {best}")
    if best == "bf16":
        return [*found, _mark(name, peer, 3.0)]
    return [*found, _mark(f"{name} (no bf16 in this CPU, so no mark)", peer)]


def _alone(inputs: Inputs, precision: str) -> list[Mark]:
    """The image tower alone on pixels that are ready, and its share of what matmul reaches."""
    clip = load_clip(_policy(inputs, precision))
    pixels = clip.new_batch()
    batches = 32 if DEVICE == "cuda" else 1

    def run() -> None:
        torch.stack([clip.encode_pixels(pixels) for _ in range(batches)]).cpu()

    run()
    images_s = batches * BATCH / min(_timed(run) for _ in range(3))
    share = images_s * _image_flop(clip.model.visual, pixels.dtype) / _matmul_flop_s(pixels.dtype)
    return [
        _mark(f"image tower alone {precision}, images/s", images_s),
        _mark(f"image tower alone {precision}, share of matmul's FLOP/s", share),
    ]


def _image_flop(tower: Any, dtype: torch.dtype) -> float:
    """Of the matrix products with weights, for one image: two for each weight and token."""
    patches = tower.grid_size[0] * tower.grid_size[1]
    blocks = sum(p.numel() for p in tower.transformer.parameters())
    return 2.0 * (blocks * (patches + 1) + tower.conv1.weight.numel() * patches)


def _matmul_flop_s(dtype: torch.dtype) -> float:
    """The most that one large product of matrices reaches here."""
    size = 8192 if DEVICE == "cuda" else 2048
    a, b = (torch.ones(size, size, dtype=dtype, device=DEVICE) for _ in range(2))

    def run() -> None:
        (a @ b)[0, 0].cpu()

    run()
    return 2.0 * size**3 / min(_timed(run) for _ in range(5))


def _nearness(inputs: Inputs) -> list[Mark]:
    """Least cosine of what bf16 gives to what fp32 gives, and how far scores move."""
    _say("how near bf16 is to fp32")
    rows = None if has_bf16() else BATCH  # imitated bf16 is slow
    pocket = {"architecture": f"{LOCAL_DIR}{POCKET_FOLDER / 'clip'}", "pretrained": None}
    marks: list[Mark] = []
    for name, update in ((ARCHITECTURE, {}), ("pocket", pocket)):
        fp32, bf16 = (
            _measured(inputs, _policy(inputs, p).model_copy(update=update), rows)
            for p in ("fp32", "bf16")
        )
        for kind in ("images", "texts"):
            cosines = np.sum(getattr(fp32, kind) * getattr(bf16, kind), axis=1, dtype=np.float64)
            marks.append(
                _mark(f"{name}: least cosine of bf16 to fp32, {kind}", cosines.min(), 0.9999)
            )
            marks.append(_mark(f"{name}: mean cosine of bf16 to fp32, {kind}", cosines.mean()))
        moved = np.abs(fp32.table["score"].to_numpy() - bf16.table["score"].to_numpy())
        marks.append(_mark(f"{name}: a score moves by at most", moved.max()))
    return marks


def _mark(name: str, value: float, least: float | None = None) -> Mark:
    holds = least is None or bool(value >= least)
    return Mark(name=name, value=float(value), mark=least, holds=holds)


if __name__ == "__main__":
    typer.run(main)
