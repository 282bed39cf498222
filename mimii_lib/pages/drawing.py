"""Style of the book's figures, and their export as SVG in the text style and the colours of the page.

Black becomes ``currentColor`` and the class colours become variables of ``book.css``, for light, dark and print.
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
"""Colours of the two classes (Okabe and Ito: distinguishable by the colour-blind), and of context."""
WIDTH = 5.0
"""Width of a figure in inches: its text is still legible when scaled to the width of a phone."""

_CSS_VARIABLES = {NORMAL: "--normal", ABNORMAL: "--abnormal", QUIET: "--quiet"}
_STYLE: dict[Any, Any] = {
    "axes.facecolor": "none",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 9),
    "savefig.dpi": 150,  # of raster images within a figure
    "svg.fonttype": "none",
    "svg.hashsalt": "mimii",  # makes the same figure the same text
}


class Drawing(Figure):
    """A figure that a notebook shows as SVG, or as PNG where it cannot."""

    def _repr_svg_(self) -> str:
        return svg(self)


@contextmanager
def drawing(rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """Open a figure in the book's style, with its axes as an array (rows, columns); close it at the end."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, FigureClass=Drawing, layout="constrained", squeeze=False, **options)
        yield figure, axes
        plt.close(figure)


def svg(figure: Figure, description: str | None = None) -> str:
    """Return a figure as an SVG element for a page, with an alternative text (see :func:`with_alt_text`)."""
    buffer = io.StringIO()
    with plt.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    clutter = r"^.*?(?=<svg)|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->"
    text = re.sub(r'<g id="[^"]*"', "<g", re.sub(clutter, "", buffer.getvalue(), flags=re.S))
    # References within the figure get a prefix, so that they do not clash with those of other figures on the page.
    prefix = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>d{prefix}", text)
    for colour, variable in _CSS_VARIABLES.items():
        text = text.replace(colour, f"var({variable}, {colour})")
    return with_alt_text(re.sub(r"\n\s*", "\n", text.replace("#000000", "currentColor")), description)


def with_alt_text(text: str, description: str | None) -> str:
    """Give an SVG element an alternative text; "" hides it from screen readers, None leaves it as it is."""
    if description is None:
        return text
    role = f'role="img" aria-label="{html.escape(description)}"' if description else 'aria-hidden="true"'
    return text.replace("<svg ", f'<svg class="drawing" {role} ', 1)
