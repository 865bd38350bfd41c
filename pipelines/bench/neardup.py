"""`make bench-neardup`: which near duplicates each limit finds, and which it takes for such.

On real pictures: three encodings each of 120 photographs, one photograph with its edits, pairs of
photographs that a person has labelled, and all pairs among thousands of photographs. Prints
Markdown for docs, and draws precision and recall where `--out` says to. Every pair is compared:
no search has a part in this.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image
from rich.console import Console

from pipelines.bench.machine import Mark, print_marks
from transforms.dedupe.hamming import Hashes
from transforms.dedupe.near_duplicate import DEFAULT_LIMIT, Hash
from transforms.dedupe.pdq import pdq_grey, pdqs
from transforms.dedupe.phash import phashes, small_grey

LIMITS: dict[Hash, tuple[int, ...]] = {
    "phash": tuple(range(17)),
    "pdq": tuple(sorted({*range(0, 81, 8), DEFAULT_LIMIT["pdq"]})),
}
LEAST_RECALL = 0.995
ENCODINGS = ("a", "b", "c")
ORIGINAL = "aaa-orig.jpg"
EXACT, UNLIKE = "exact_duplicate", "different_photo_hard_negative"
# Two lines that often lie on each other: the one behind is wider.
BEHIND: dict[str, Any] = {"color": "#e08a3c", "marker": "s", "markersize": 9, "linewidth": 4}
BEFORE: dict[str, Any] = {"color": "#2f6db0", "marker": "o", "markersize": 4}
Hashed = dict[Hash, Hashes]  # the hashes of some pictures, (N, W)
I64 = npt.NDArray[np.int64]


class Curve(NamedTuple):
    """What the limits of a hash do; (limits,) each."""

    limits: tuple[int, ...]
    recall: npt.NDArray[np.float64]  # of the pairs of encodings of one photograph
    false: I64  # pairs of encodings of different photographs
    precision: npt.NDArray[np.float64]  # 1 where nothing is found
    among_photos: I64  # pairs of all photographs


def main(
    neardup: Annotated[Path, typer.Option(help="Pictures whose likeness is known.")] = Path(
        "../shared/data/neardup"
    ),
    photos: Annotated[Path, typer.Option(help="A folder with images/*.jpg.")] = Path(
        "../shared/data/flickr8k"
    ),
    out: Annotated[Path | None, typer.Option(help="Where to draw precision and recall.")] = None,
) -> None:
    """Print what each limit finds, then the marks."""
    groups = _lines(neardup / "reencodings" / "groups.jsonl")
    encoded = hashes_of([neardup / "reencodings" / group[e] for group in groups for e in ENCODINGS])
    files = sorted((photos / "images").glob("*.jpg"))
    among = hashes_of(files)
    curves: dict[Hash, Curve] = {
        name: curve_of(encoded[name], among[name], LIMITS[name], len(ENCODINGS)) for name in LIMITS
    }
    for name, curve in curves.items():
        _print_curve(name, curve, len(files))
    edits = _edits(neardup / "bridge")
    _print_edits(edits)
    natural = _lines(neardup / "natural_pairs.jsonl")
    apart = _natural(natural, photos)
    _print_natural(natural, apart)
    if out is not None:
        draw(curves, out)
    labels = [pair["label"] for pair in natural]
    print_marks("neardup", [m for name in curves for m in _marks(name, curves, labels, apart)])


def hashes_of(files: Sequence[Path]) -> Hashed:
    """Both hashes of each picture; it is decoded once, and not held."""
    small, large = [], []
    for number, file in enumerate(files):
        if number % 1000 == 0:
            Console(stderr=True).print(f"{number:,} of {len(files):,} pictures", style="dim")
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        small.append(small_grey(image))
        large.append(pdq_grey(image))
    return {"phash": phashes(np.stack(small))[:, None], "pdq": pdqs(np.stack(large))}


def curve_of(encoded: Hashes, among: Hashes, limits: tuple[int, ...], each: int) -> Curve:
    """What limits do where every `each` pictures on end are of one photograph."""
    left, right = np.triu_indices(len(encoded), 1)
    differing = bits_apart(encoded[left], encoded[right])
    is_true = left // each == right // each
    true = np.array([(differing[is_true] <= limit).sum() for limit in limits])
    false = np.array([(differing[~is_true] <= limit).sum() for limit in limits])
    counts = sum(
        (
            np.bincount(bits_apart(among[row + 1 :], among[row]), minlength=max(limits) + 1)[
                : max(limits) + 1
            ]
            for row in range(len(among))
        ),
        np.zeros(max(limits) + 1, np.int64),
    )
    precision = np.where(true + false > 0, true / np.maximum(true + false, 1), 1.0)
    return Curve(limits, true / is_true.sum(), false, precision, counts.cumsum()[[*limits]])


def bits_apart(ones: Hashes, others: Hashes) -> I64:
    """(N,): in how many bits hashes differ."""
    return np.bitwise_count(ones ^ others).sum(axis=1, dtype=np.int64)


def draw(curves: dict[Hash, Curve], out: Path) -> None:
    """OUT/near_duplicates.png: above what a limit finds, below what it takes for a duplicate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(curves), sharex="col", sharey="row")
    for column, (name, curve) in enumerate(curves.items()):
        above, below = axes[0][column], axes[1][column]
        above.plot(curve.limits, curve.precision, **BEHIND, label="precision")
        above.plot(curve.limits, curve.recall, **BEFORE, label="recall")
        below.plot(curve.limits, curve.false, **BEHIND, label="different ones among encodings")
        below.plot(curve.limits, curve.among_photos, **BEFORE, label="all photographs")
        below.set_yscale("symlog", linthresh=1)
        below.set_ylim(bottom=-0.3)
        below.set_xlabel(f"{name}: bits that may differ")
        for axis in (above, below):
            axis.axvline(DEFAULT_LIMIT[name], color="grey", linestyle=":", label="default limit")
            axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("share of pairs, encodings")
    axes[1][0].set_ylabel("pairs within the limit")
    for row in axes:
        row[-1].legend(loc="best")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "near_duplicates.png", dpi=150)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _edits(folder: Path) -> dict[str, dict[Hash, int]]:
    """For each edit of a photograph, how far its hashes are from the original's."""
    files = [folder / ORIGINAL, *sorted(set(folder.glob("*.jpg")) - {folder / ORIGINAL})]
    found = hashes_of(files)
    edits: dict[str, dict[Hash, int]] = {file.stem: {} for file in files[1:]}
    for name, hashes in found.items():
        apart = bits_apart(hashes[1:], hashes[0]).tolist()
        for edit, bits in zip(edits.values(), apart, strict=True):
            edit[name] = bits
    return edits


def _natural(pairs: list[dict[str, Any]], photos: Path) -> dict[Hash, I64]:
    """(pairs,): how far the two hashes of each pair are apart."""
    found = hashes_of([photos / pair[side] for pair in pairs for side in ("a", "b")])
    return {name: bits_apart(hashes[::2], hashes[1::2]) for name, hashes in found.items()}


def _print_curve(name: Hash, curve: Curve, photos: int) -> None:
    print(f"\n### {name}: what each limit finds\n")
    said = f"pairs among {photos:,} photographs"
    _print_table(
        ["bits", "recall", "false pairs", "precision", said],
        [
            [_limit(name, limit), f"{recall:.4f}", f"{false:,}", f"{precision:.4f}", f"{pairs:,}"]
            for limit, recall, false, precision, pairs in zip(*curve, strict=True)
        ],
    )


def _print_edits(edits: dict[str, dict[Hash, int]]) -> None:
    print("\n### Edits of one photograph: bits from the original\n")
    rows = [
        [edit, *(_caught(name, bits) for name, bits in found.items())]
        for edit, found in sorted(edits.items(), key=lambda item: item[1]["phash"])
    ]
    _print_table(["edit", *LIMITS], rows)


def _print_natural(pairs: list[dict[str, Any]], apart: dict[Hash, I64]) -> None:
    print("\n### Pairs labelled by eye: bits apart\n")
    rows = [
        [pair["label"].replace("_", " "), *(_caught(name, apart[name][place]) for name in LIMITS)]
        for place, pair in enumerate(pairs)
    ]
    _print_table(["what they are", *LIMITS], rows)


def _limit(name: Hash, limit: int) -> str:
    return f"**{limit}** (default)" if limit == DEFAULT_LIMIT[name] else str(limit)


def _caught(name: Hash, bits: int) -> str:
    return f"{bits}, found" if bits <= DEFAULT_LIMIT[name] else str(bits)


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (names, ["---"] * len(names), *rows):
        print(f"| {' | '.join(row)} |")


def _marks(
    name: Hash, curves: dict[Hash, Curve], labels: Sequence[str], apart: dict[Hash, I64]
) -> list[Mark]:
    """What is asked of the default limit."""
    curve, limit = curves[name], DEFAULT_LIMIT[name]
    place = curve.limits.index(limit)
    near = apart[name] <= limit
    found = {label: int(near[[one == label for one in labels]].sum()) for label in (EXACT, UNLIKE)}
    said = f"{name} within {limit} bits"
    recall = float(curve.recall[place])
    return [
        Mark(name=f"{said}: recall", value=recall, mark=LEAST_RECALL, holds=recall >= LEAST_RECALL),
        _exactly(f"{said}: false pairs", int(curve.false[place]), 0),
        _exactly(f"{said}: exact duplicates found", found[EXACT], labels.count(EXACT)),
        _exactly(f"{said}: hard negatives found", found[UNLIKE], 0),
    ]


def _exactly(name: str, value: int, mark: int) -> Mark:
    return Mark(name=name, value=value, mark=mark, holds=value == mark)


if __name__ == "__main__":
    typer.run(main)
