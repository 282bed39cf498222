"""The book's drawings: SVG that takes on the type and the colours of its page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from mimii_lib.pages import drawing
from mimii_lib.pages.drawing import ABNORMAL, NORMAL, QUIET


def drawn(label: str = "clips", top: float = 1.0) -> Figure:
    with drawing.drawing(figsize=(drawing.WIDTH, 2)) as (figure, axes):
        axes[0, 0].plot([0, top], color=NORMAL)
        axes[0, 0].plot([top, 0], "x", color=ABNORMAL)
        axes[0, 0].axhline(0.5, color=QUIET)
        axes[0, 0].plot([0.2, 0.2], color="black")
        axes[0, 0].imshow(np.eye(4), extent=(0, 1, 0, 1))
        axes[0, 0].set_xlabel(label)
    return figure


def test_a_drawing_is_one_element_whose_words_stay_words():
    """What a page takes in is well-formed, and what is written in it can be found, read out and set in another type."""
    root = ElementTree.fromstring(drawing.svg(drawn("test clips <by> rank")))
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert root.tag.endswith("svg")
    assert "test clips <by> rank" in words


def test_black_and_the_classes_are_the_pages_colours():
    """No line is black, which the dark would swallow; a class has its colour from the page, or ours without one."""
    text = drawing.svg(drawn())
    assert "#000000" not in text
    assert "currentColor" in text
    for name, colour in (("normal", NORMAL), ("abnormal", ABNORMAL), ("quiet", QUIET)):
        assert f"var(--{name}, {colour})" in text
        assert text.count(colour) == text.count(f"var(--{name}, {colour})")


def test_two_drawings_on_a_page_share_no_name():
    """What one drawing refers to inside itself is found there, and is nowhere in the other one."""

    def names(text: str) -> set[str]:
        return set(re.findall(r'\bid="([^"]*)"', text))

    one, other = drawing.svg(drawn()), drawing.svg(drawn(top=2.0))
    referred = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', one))
    assert {name for pair in referred for name in pair if name} <= names(one)
    assert names(one)
    assert not names(one) & names(other)


def test_the_same_drawing_is_the_same_text():
    """Nothing in it tells the time or is drawn by lot."""
    assert drawing.svg(drawn()) == drawing.svg(drawn())


@pytest.mark.parametrize("described", ['a line that rises to "1" & falls', ""])
def test_what_is_seen_is_said_or_kept_from_those_who_cannot_see_it(described):
    """A described drawing is an image with that name; one that the words beside it describe is passed over."""
    root = ElementTree.fromstring(drawing.svg(drawn(), described))
    assert (root.get("role"), root.get("aria-label")) == (("img", described) if described else (None, None))
    assert root.get("aria-hidden") == (None if described else "true")


def test_its_type_is_read_on_a_phone():
    """At 340 pixels, what a phone leaves to a figure, no word of it is set smaller than 8 pixels."""
    text = drawing.svg(drawn())
    scale = 340 / float(re.search(r'viewBox="0 0 ([\d.]+)', text).group(1))
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", text)]
    assert sizes
    assert min(sizes) * scale >= 8
