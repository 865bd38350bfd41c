"""Samples of a run as a sheet of pictures, each with its caption and how it ended."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from pipelines.look.lettering import FAINT, wrapped, write
from pipelines.look.plots import KEPT, Plot
from pipelines.notebook import Run, known_column
from schemas.errors import BadInputError
from schemas.pair import Status
from schemas.texts import WEB

Lines = list[tuple[list[str], dict[str, Any]]]  # text, with its style
DROPPED_TEXT = "#b75f12"  # darker, to be read
FIELD = "#e3e5e8"
MOST_SAMPLES = 100
PICTURE_PX = 480  # longer side of a picture on a sheet
CELL_WIDTH, PICTURE_HEIGHT, LINE_HEIGHT = 2.35, 1.75, 0.165  # inches, of a sheet
CAPTION_LINES = 3


def plot_samples(
    run: Run, samples: pd.DataFrame, columns: int = 4, measure: str | None = None
) -> Plot:
    """A sheet of pictures, each with its caption and how it ended: the rule, the value, the limit.

    A row whose image was not fetched has a grey field.

    Args:
        samples: the rows to show in this order, as `Run.samples` gives them.
        columns: pictures in a line.
        measure: a column whose value is told under each picture.
    Raises: BadInputError: more samples than a sheet holds, or there is no such column."""
    if len(samples) > MOST_SAMPLES:
        raise BadInputError(
            f"A sheet holds {MOST_SAMPLES} samples, not {len(samples):,}: choose with .head."
        )
    if measure is not None:
        known_column(measure, samples)
    said = _surviving(run)
    told = [_tell(dict(sample), measure, said) for _, sample in samples.iterrows()]
    lines, text_lines = max(1, math.ceil(len(told) / columns)), max(map(_height, told), default=0)
    cell_height = PICTURE_HEIGHT + LINE_HEIGHT * (text_lines + 1)
    figure = Plot(figsize=(columns * CELL_WIDTH, lines * cell_height))
    if not told:
        write(figure, 0.5, 0.5, "no samples", ha="center", va="center", color=FAINT)
    pictures = _pictures(run, samples)
    for place, (row, text) in enumerate(zip(samples["row"].to_list(), told, strict=True)):
        line, column = divmod(place, columns)
        height = PICTURE_HEIGHT / cell_height
        x, y = (column + 0.03) / columns, 1 - (line + height) / lines
        axes = figure.add_axes((x, y, 0.94 / columns, 0.97 * height / lines))
        _draw_picture(axes, pictures.get(row))
        _write_lines(figure, x, y, text)
    return figure


def _pictures(run: Run, samples: pd.DataFrame) -> dict[int, Image.Image]:
    """By input row, small enough for a sheet. In the order of the pool: a shard is read once."""
    found: dict[int, Image.Image] = {}
    fetched = samples.loc[samples["status"] == Status.SUCCESS].sort_values("shard", kind="stable")
    for uid, row in zip(fetched.index, fetched["row"], strict=True):
        found[row] = run.image(uid)
        found[row].thumbnail((PICTURE_PX, PICTURE_PX))
    return found


def _draw_picture(axes: Axes, picture: Image.Image | None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if picture is None:
        axes.set_facecolor(FIELD)
        write(axes, 0.5, 0.5, "no image", ha="center", va="center", color=FAINT)
    else:
        axes.imshow(np.asarray(picture), aspect="equal", interpolation="antialiased")
        axes.set_anchor("SW")


def _surviving(run: Run) -> dict[int, str]:
    """The best caption of each kept row, where a rule chose among captions."""
    found = run.captions().drop_duplicates("row")
    made = np.where(found["text"] == WEB, "", " (synthetic)")
    return dict(zip(found["row"].tolist(), (found["caption"] + made).tolist(), strict=True))


def _tell(sample: dict[Any, Any], measure: str | None, said: Mapping[int, str]) -> Lines:
    """Caption, outcome and what decided, with their styles."""
    text = said.get(sample["row"]) or sample["caption"] or ""
    caption = wrapped(text, CAPTION_LINES) or ["(no caption)"]
    told: Lines = [(caption, {})]
    if sample["kept"]:
        told.append((["kept"], {"color": KEPT, "weight": "bold"}))
    else:
        outcome = f"{sample['stage']}: {sample['reason']}".replace("_", " ")
        told.append(([outcome], {"color": DROPPED_TEXT, "weight": "bold"}))
        told.append((wrapped(_decided(sample), 2), {"color": FAINT}))
    if measure is not None:
        told.append((wrapped(f"{measure} {_short(sample[measure])}", 1), {"color": FAINT}))
    return told


def _decided(sample: dict[Any, Any]) -> str:
    """The rule, the value and the limit; the ledger's detail where no number decided."""
    rule = "" if pd.isna(sample["rule"]) else sample["rule"].split(".", 2)[2]
    if pd.isna(sample["value"]) or pd.isna(sample["limit"]):
        return ": ".join(filter(None, [rule, sample["detail"]]))
    return f"{rule} {_short(sample['value'])}, limit {_short(sample['limit'])}"


def _height(told: Lines) -> int:
    return sum(len(lines) for lines, _ in told)


def _write_lines(figure: Figure, x: float, y: float, told: Lines) -> None:
    """Line under line, from a point of the figure downwards."""
    step = LINE_HEIGHT / figure.get_figheight()
    y -= step / 4
    for lines, style in told:
        for line in lines:
            y -= step
            write(figure, x, y, line, **style)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float | np.number) else str(value)
