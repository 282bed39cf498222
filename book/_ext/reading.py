"""Let everyone read the book: drawings in the colours of their page, and what a keyboard and a screen reader need.

Drawings of notebooks are pages' own elements instead of files, so that they take on its type and its colours. What the
theme and docutils leave in the way of those who cannot see or point is mended.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from mimii_lib.pages import drawing

# Words that hardly mend in the source: what makes it is docutils, pandas or a table of our own.
MENDED = (
    ('role="doc-biblioentry"', 'role="listitem"'),  # which the list around it asks for
    ("<th></th>", "<td></td>"),  # a corner heads nothing
    ('<div class="wide">', '<div class="wide" tabindex="0" role="region" aria-label="A wide table, to be scrolled">'),
)


def inline(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put the drawings of a page's notebook into the page, with what they show told in words."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg") and "jupyter_execute" in image["uri"]:
            drawn = (Path(app.srcdir) / image["uri"]).read_text()
            image.replace_self(nodes.raw("", drawing.said(drawn, image.get("alt")), format="html"))


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Mend the page's HTML."""
    for wrong, right in MENDED:
        context["body"] = context.get("body", "").replace(wrong, right)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", inline)
    app.connect("html-page-context", mend, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
