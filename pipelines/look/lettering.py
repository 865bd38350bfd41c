"""Captions in a figure: fonts for any script that has one here, wrapped lines, no formulas."""

import functools
import textwrap
import unicodedata
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT = "#22272b", "#6b747c"
# For other scripts than Latin, Greek and Cyrillic, where a machine has one of them.
OTHER_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "PingFang SC", "SimHei")
NO_GLYPH = "□"
LINE_CHARS = 34  # under a picture


def write(on: Axes | Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Text as it is: a dollar sign begins no formula."""
    style = {"color": INK, "fontsize": 9, "parse_math": False, "family": fonts()} | style
    on.text(x, y, text, **style)


def wrapped(text: str, lines: int) -> list[str]:
    """At most so many lines that fit under a picture, the last shortened where there are more.

    Chinese characters and such are twice as wide as others."""
    text = drawable(" ".join(text.split()))
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    width = LINE_CHARS // 2 if 2 * wide > len(text) else LINE_CHARS
    return textwrap.wrap(text, width, max_lines=lines, placeholder=" …")


def drawable(text: str) -> str:
    """The same with a box for each character that no font here has: matplotlib warns of those."""
    return "".join(char if ord(char) in _glyphs() else NO_GLYPH for char in text)


@functools.cache
def fonts() -> list[str]:
    """Names of the fonts to draw with, in the order in which they are tried."""
    there = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in OTHER_FONTS if name in there)]


@functools.cache
def _glyphs() -> frozenset[int]:
    """Code points that can be drawn."""
    paths = (font_manager.findfont(name) for name in fonts())
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))
