"""Two selections against each other, as people read it."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.look.console import printable
from pipelines.look.diff import Difference, OneSide
from pipelines.look.kept import Shift


def print_difference(found: Difference, console: Console) -> None:
    """Counts, reasons, samples near the border, and shifts."""
    for name, folder in (("A", found.a), ("B", found.b)):
        console.print(f"{name}: {folder}", soft_wrap=True, highlight=False, markup=False)
    counts = [
        ("kept by both", found.both),
        ("only by A", found.only_a.rows),
        ("only by B", found.only_b.rows),
        ("by neither", found.neither),
        ("rows", found.input_rows),
    ]
    console.print(_table("Rows", ["", "rows"], [[name, f"{n:,}"] for name, n in counts]))
    for mine, other, side in (("A", "B", found.only_a), ("B", "A", found.only_b)):
        if side.rows:
            _print_side(mine, other, side, console)
    for title, shifts in (
        ("Languages of what is kept", found.language),
        ("Concepts that shift most", found.concepts),
    ):
        if moved := [shift for shift in shifts if shift.a != shift.b]:
            console.print(_shift_table(title, moved, "{:.2%}"))
    if found.size:
        console.print(_shift_table("Sizes of what is kept", found.size, "{:,.0f}"))


def _print_side(mine: str, other: str, side: OneSide, console: Console) -> None:
    reasons = [[name, f"{n:,}"] for name, n in side.reasons.items()]
    console.print(
        _table(f"Only {mine} keeps: {other}'s reasons", ["rule: reason", "rows"], reasons)
    )
    console.print(f"Nearest to {other}'s limits:", style="bold")
    for sample in side.samples:
        told = f"  row {sample.row} {sample.uid}: {sample.reason} ({printable(sample.detail)})"
        console.print(told, soft_wrap=True, highlight=False, markup=False)
        console.print(
            f"    {printable(sample.caption or '')}", soft_wrap=True, highlight=False, markup=False
        )


def _shift_table(title: str, shifts: list[Shift], form: str) -> Table:
    lines = [[shift.name, form.format(shift.a), form.format(shift.b)] for shift in shifts]
    return _table(title, ["", "A", "B"], lines)


def _table(title: str, names: list[str], lines: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left")
    for line in lines:
        table.add_row(*(Text(printable(cell)) for cell in line))
    return table
