"""What every benchmark prints: a table for people and, last, one JSON line for machines."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One figure, with the mark it is held to; `mark` is None where there is none."""

    name: str
    value: float
    mark: float | None
    holds: bool


def print_marks(bench: str, marks: Sequence[Mark]) -> None:
    """The table, then {"bench", "machine", "marks"} on one line."""
    table = Table(title=bench, title_justify="left")
    for name in ("name", "value", "mark", "holds"):
        table.add_column(name)
    for mark in marks:
        limit = "" if mark.mark is None else f"{mark.mark:g}"
        table.add_row(mark.name, f"{mark.value:.4g}", limit, "yes" if mark.holds else "NO")
    Console().print(table)
    line = {"bench": bench, "machine": machine(), "marks": [asdict(mark) for mark in marks]}
    print(json.dumps(line))


def machine() -> str:
    """Cores and processor, as benchmarks name the machine they ran on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor()}"
