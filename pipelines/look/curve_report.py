"""A curve for people and for programs: tables in a terminal, a PNG, and JSON.

Hosts and captions' languages are strangers' text: no control character of theirs reaches the
terminal, and none of their letters asks the picture for a font.
"""

import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.look.console import printable
from pipelines.look.curve import OTHER, Curve
from transforms.shards.commit import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind tell apart; grey for the rest.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A900")
_PICTURE_DPI = 150
_LEAST_DRAWN = 20  # rows: the line of fewer is noise


def write_curve(curve: Curve, folder: Path) -> tuple[Path, Path]:
    """The curve as a PNG and as JSON: the paths of both.

    Raises: RunFailedError: the folder cannot be written."""
    name = "curve-" + re.sub(r"[^A-Za-z0-9_.-]", "_", curve.measure)
    picture, numbers_ = folder / f"{name}.png", folder / f"{name}.json"
    write_atomically(picture, _png(curve))
    write_atomically(numbers_, (curve_json(curve) + "\n").encode())
    return picture, numbers_


def curve_json(curve: Curve) -> str:
    return json.dumps(dataclasses.asdict(curve), ensure_ascii=False)


def print_curve(curve: Curve, console: Console) -> None:
    """A table by language, one by source, and one of top fractions."""
    for by in [name for name in curve.kept if name != "all"] or ["all"]:
        console.print(_table(curve, by))
    table = Table("top", "threshold", "rows kept", title="DataComp's top fractions", box=None)
    for fraction, line in curve.fractions.items():
        table.add_row(f"{float(fraction):.0%}", f"{line['threshold']:.6g}", f"{line['kept']:,}")
    console.print(table)
    console.print(
        f"{curve.rows:,} rows reached {curve.measure}"
        + (f"; {curve.without:,} more have no number there." if curve.without else "."),
        highlight=False,
        markup=False,
    )


def _table(curve: Curve, by: str) -> Table:
    groups: Mapping[str, Sequence[int]] = {} if by == "all" else curve.kept[by]
    title = f"What a threshold of {curve.measure} keeps" + ("" if by == "all" else f", by {by}")
    told = None if curve.limit is None else "→ the recipe's limit"
    table = Table(title=title, caption=told, box=None)
    for name in ("at least", "rows kept", "all"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in groups:
        broken = printable(name).replace(".", ".\n")  # a host, which else breaks anywhere
        head = Text(f"{broken}\n{curve.of[by][name]:,}")
        table.add_column(head, justify="right", overflow="fold")
    for place, threshold in enumerate(curve.thresholds):
        count = curve.kept["all"][place]
        shares = [groups[name][place] / curve.of[by][name] for name in groups]
        is_limit = threshold == curve.limit
        table.add_row(
            ("→ " if is_limit else "") + f"{threshold:.6g}",
            f"{count:,}",
            *(f"{share:.1%}" for share in [count / curve.rows, *shares]),
            style="bold" if is_limit else None,
        )
    return table


def _png(curve: Curve) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    panels = [by for by in ("language", "source") if by in curve.kept]
    figure = Figure(figsize=(10.5, 4 * len(panels)), dpi=_PICTURE_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, by in zip(axes, panels, strict=True):
        _draw_panel(ax, curve, by)
    axes[-1].set_xlabel(f"threshold of {_ascii(curve.measure)}", parse_math=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _draw_panel(ax: "Axes", curve: Curve, by: str) -> None:
    drawn = {name: rows for name, rows in curve.of[by].items() if rows >= _LEAST_DRAWN}
    for number, (name, rows) in enumerate(drawn.items()):
        colour = "0.6" if name == OTHER else _COLOURS[number % len(_COLOURS)]
        style = "-" if number < len(_COLOURS) else "--"
        shares = 100 * np.array(curve.kept[by][name]) / rows
        label = f"{rows:,}  {_ascii(name)}"  # never begins with _, which would hide it
        ax.plot(curve.thresholds, shares, style, color=colour, linewidth=1.2, label=label)
    shares = 100 * np.array(curve.kept["all"]) / curve.rows
    ax.plot(curve.thresholds, shares, "o-", color="black", linewidth=2.6, markersize=4)
    ax.lines[-1].set_label(f"{curve.rows:,}  all")
    if curve.limit is not None:
        line = ax.axvline(curve.limit, color="0.3", linestyle=":", linewidth=1.4)
        line.set_label(f"recipe's limit, {curve.limit:.6g}")
    if left_out := len(curve.of[by]) - len(drawn):
        ax.plot([], [], " ", label=f"{left_out} not drawn: under {_LEAST_DRAWN} rows")
    ax.set(ylim=(0, 102), ylabel="rows kept, %", title=f"by {by}")
    ax.grid(color="0.9")
    legend = ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, title="rows")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _ascii(text: str) -> str:
    """As the font can draw it: a host may be in any script."""
    told = printable(text).encode("ascii", "backslashreplace").decode()
    return told if len(told) <= 40 else f"{told[:37]}..."
