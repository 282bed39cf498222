"""SVG figures that follow the text style and the colours of their page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from mimii_lib.pages import drawing
from mimii_lib.pages.drawing import ABNORMAL, NORMAL, QUIET


def example(label: str = "clips", top: float = 1.0) -> Figure:
    with drawing.drawing(figsize=(drawing.WIDTH, 2)) as (figure, axes):
        axes[0, 0].plot([0, top], color=NORMAL)
        axes[0, 0].plot([top, 0], "x", color=ABNORMAL)
        axes[0, 0].axhline(0.5, color=QUIET)
        axes[0, 0].plot([0.2, 0.2], color="black")
        axes[0, 0].imshow(np.eye(4), extent=(0, 1, 0, 1))
        axes[0, 0].set_xlabel(label)
    return figure


def test_text_stays_text_and_the_same_figure_is_the_same_svg():
    """The SVG is well-formed, its text can be searched and read out, and nothing in it is dated or random."""
    root = ElementTree.fromstring(drawing.svg(example("test clips <by> rank")))
    assert root.tag.endswith("svg")
    assert "test clips <by> rank" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert drawing.svg(example()) == drawing.svg(example())


def test_colours_are_those_of_the_page():
    """Black follows the page's text; the class colours are CSS variables with the default colour as fallback."""
    text = drawing.svg(example())
    assert "#000000" not in text
    assert "currentColor" in text
    for name, colour in (("normal", NORMAL), ("abnormal", ABNORMAL), ("quiet", QUIET)):
        assert text.count(colour) == text.count(f"var(--{name}, {colour})") > 0


def test_references_resolve_within_their_figure():
    """Every reference of a figure has its target in the figure, and two figures of a page share no identifier."""
    text, other = drawing.svg(example()), drawing.svg(example(top=2.0))
    targets, others = (set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (text, other))
    references = {name for pair in re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', text) for name in pair if name}
    assert set() < references <= targets
    assert not targets & others


@pytest.mark.parametrize("description", ['a line that rises to "1" & falls', ""])
def test_a_figure_has_an_alternative_text_or_is_hidden(description):
    """A described figure is an image with a label for screen readers; with an empty description it is hidden."""
    attributes = ElementTree.fromstring(drawing.svg(example(), description)).attrib
    expected = {"role": "img", "aria-label": description} if description else {"aria-hidden": "true"}
    assert {name: attributes.get(name) for name in expected} == expected
    assert ("aria-hidden" in attributes) == (not description)
