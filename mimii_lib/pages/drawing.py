"""One hand for the book's figures: one style, and drawings that take on the type and the colours of their page.

A drawing shows itself as SVG with its text as text. Black becomes the colour of the page's own type, so that it can be
read on light, on dark and in print, and lines take the page's variables ``--normal``, ``--abnormal`` and ``--quiet``.
"""

import hashlib
import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray

NORMAL, ABNORMAL, QUIET = "#0072b2", "#d55e00", "#8a8a8a"
"""Colours of the classes (Okabe and Ito: they survive colour blindness), and of what stays behind."""

WIDTH = 5.0
"""Of a figure, in inches: its type is still read when that has become the width of a phone."""

_PAGE = {
    "#000000": "currentColor",
    NORMAL: f"var(--normal, {NORMAL})",
    ABNORMAL: f"var(--abnormal, {ABNORMAL})",
    QUIET: f"var(--quiet, {QUIET})",
}
_STYLE: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,  # of pictures within a drawing
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "mimii",  # the same figure is the same text
}


class Drawing(Figure):
    """A figure that notebooks show as SVG, and as PNG where they cannot."""

    def _repr_svg_(self) -> str:
        return svg(self)


@contextmanager
def drawing(rows: int = 1, columns: int = 1, **said: Any) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """Open a drawing in the book's style: the figure, and its axes as an array (rows, columns). It ends closed."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, FigureClass=Drawing, layout="constrained", squeeze=False, **said)
        yield figure, axes
        plt.close(figure)


def svg(figure: Figure, described: str | None = None) -> str:
    """Return a figure as an SVG element to stand inside a page.

    Parameters
    ----------
    described
        What one would see, for those who cannot; empty if the words beside the picture say it.
    """
    buffer = io.StringIO()
    with plt.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
    # What a drawing refers to inside itself goes by a name that no other drawing of the page has.
    mark = hashlib.sha256(drawn.encode()).hexdigest()[:8]
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>d{mark}", drawn)
    for ours, pages in _PAGE.items():
        drawn = drawn.replace(ours, pages)
    return said(re.sub(r"\n\s*", "\n", drawn), described)


def said(drawn: str, described: str | None) -> str:
    """Return an SVG element that says what it shows to those who cannot see it; the empty text hides it from them."""
    if described is None:
        return drawn
    role = f'role="img" aria-label="{html.escape(described)}"' if described else 'aria-hidden="true"'
    return drawn.replace("<svg ", f'<svg class="drawing" {role} ', 1)
