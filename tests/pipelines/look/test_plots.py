"""Plots: their marks add up to the table, the limit parts the bins, and pictures are the pool's."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from pipelines.job import Job
from pipelines.look.plots import DROPPED, KEPT, plot_funnel, plot_histogram
from pipelines.look.sheet import plot_samples
from pipelines.notebook import Run
from schemas.errors import BadInputError


@pytest.fixture
def run(done: Job) -> Run:
    record = {"input": {"sha256": "x"}, "fetch": done.recipe.fetch.identity()}
    done.layout.identity.write_text(json.dumps(record))
    return Run.open(done.run)


def _bars(axes: Axes, colour: str) -> list[Rectangle]:
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [bar for bar in bars if to_hex(bar.get_facecolor()) == colour]


def _words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def _samples(values: list[float], limit: float) -> pd.DataFrame:
    return pd.DataFrame({"score": values, "kept": [value >= limit for value in values]})


def test_each_drop_of_the_funnel_begins_where_the_one_before_ends(run: Run) -> None:
    (axes,) = plot_funnel(run.funnel()).axes
    drops = _bars(axes, DROPPED)
    assert [(bar.get_x(), bar.get_width()) for bar in drops] == [(5, 1), (4, 1), (3, 1)]
    (kept,) = _bars(axes, KEPT)
    assert kept.get_width() == 3
    assert axes.get_title(loc="left") == "3 of 6 rows are kept"
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "rows in"
    assert labels[1:3] == ["fetch  ·  not found", "basic  ·  empty caption"]


@settings(max_examples=12)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(-1e6, 1e6))
@example([0.1, 0.2, 0.3], 0.3)
@example([1, 2, 3], 2)
@example([5.0], 5.0)
def test_no_bin_holds_both_sides_of_the_limit(values: list[float], limit: float) -> None:
    samples = _samples(values, limit)
    (axes,) = plot_histogram(samples, "score", limit).axes
    for colour, kept in ((KEPT, True), (DROPPED, False)):
        full = [bar for bar in _bars(axes, colour) if bar.get_height()]
        assert sum(bar.get_height() for bar in full) == (samples["kept"] == kept).sum()
        assert all((bar.get_x() >= limit) == kept for bar in full)
    assert axes.lines[0].get_xdata() == pytest.approx([limit, limit], abs=0)


def test_rows_without_a_value_are_told_and_not_drawn() -> None:
    samples = _samples([0.5, float("nan"), float("inf"), 0.1], 0.3)
    (axes,) = plot_histogram(samples, "score", 0.3).axes
    legend = axes.get_legend()
    assert legend is not None
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["kept 1", "dropped 1", "without a value 2"]
    assert plot_histogram(samples.head(0), "score").axes[0].patches


def test_a_histogram_for_each_value_of_another_column() -> None:
    samples = _samples([0.1, 0.5, 0.9, 0.7], 0.3).assign(language=["de", "en", "en", None])
    panels = plot_histogram(samples, "score", by="language").axes
    assert [panel.texts[0].get_text() for panel in panels] == [
        "language: en",
        "language: de",
        "language: none",
    ]
    heights = [[sum(b.get_height() for b in _bars(p, c)) for c in (KEPT, DROPPED)] for p in panels]
    assert heights == [[2, 0], [0, 1], [1, 0]]


def test_text_is_counted_the_most_frequent_first() -> None:
    samples = pd.DataFrame(
        {"language": ["de", "en", "en", "中"], "kept": [True, True, False, True]}
    )
    (axes,) = plot_histogram(samples, "language").axes
    assert [bar.get_width() for bar in _bars(axes, KEPT)] == [1, 1, 1]
    assert [bar.get_width() for bar in _bars(axes, DROPPED)] == [1, 0, 0]
    with pytest.raises(BadInputError, match="language holds no numbers"):
        plot_histogram(samples, "language", 0.5)
    with pytest.raises(BadInputError, match="no column 'score'; there are: language, kept"):
        plot_histogram(samples, "score")


def test_a_sheet_tells_how_each_sample_ended(run: Run) -> None:
    words = _words(plot_samples(run, run.samples(), measure="language"))
    assert words.count("kept") == 3
    at = words.index("basic: other language")
    assert words[at + 1 : at + 3] == ["language 0, limit 0.5", "language fr"]
    assert words[words.index("fetch: not found") + 1] == "told: not_found"
    assert words[words.index("(no caption)") + 1] == "basic: empty caption"


def test_a_sheet_shows_the_pictures_of_the_pool(run: Run) -> None:
    samples = run.samples(order_by="caption")
    axes = plot_samples(run, samples, columns=3).axes
    assert len(axes) == len(samples) == 6
    for place, (uid, status) in enumerate(samples["status"].items()):
        if status == "success":
            (shown,) = axes[place].images
            assert np.array_equal(np.asarray(shown.get_array()), np.asarray(run.image(str(uid))))
        else:
            assert [text.get_text() for text in axes[place].texts] == ["no image"]
            assert not axes[place].images


def test_any_caption_can_be_drawn(run: Run) -> None:
    """Warnings are errors here: of characters that no font has, and of broken formulas."""
    wild = [
        "price: $5_{ and \\frac$",
        "line\nbreak\tand \x00",
        "\U0001f9a9 一只狗 " * 40,
        "w" * 500,
    ]
    samples = run.samples().head(4).assign(caption=wild)
    figure = plot_samples(run, samples)
    figure.savefig(io.BytesIO(), format="png")
    words = _words(figure)
    assert words[0] == wild[0]
    assert words.count("kept") == 2
    assert max(len(line) for line in words) <= 36


def test_what_a_sheet_cannot_hold_is_refused(run: Run) -> None:
    samples = run.samples()
    with pytest.raises(BadInputError, match="holds 100 samples, not 102"):
        plot_samples(run, pd.concat([samples] * 17))
    with pytest.raises(BadInputError, match="no column 'clip'"):
        plot_samples(run, samples, measure="clip")
    assert _words(plot_samples(run, samples.head(0))) == ["no samples"]


def test_a_notebook_shows_a_plot_sharp_and_in_its_size(run: Run) -> None:
    data, facts = plot_funnel(run.funnel())._repr_png_()
    assert Image.open(io.BytesIO(data)).width == 2 * facts["width"] == 1800
