"""Make the pages accessible: figures follow the page's colours and carry alt text; invalid ARIA roles are corrected.

SVG figures of notebooks are inlined instead of linked, so that the page's style sheet applies to them.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from mimii_lib.pages import drawing

# HTML that docutils, pandas and the notebooks write, and its accessible form.
CORRECTIONS = (
    ('role="doc-biblioentry"', 'role="listitem"'),  # the enclosing element has the role "list"
    ("<th></th>", "<td></td>"),  # the corner of a table is no header
)


def inline_figures(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Replace links to a notebook's SVG figures by the figures themselves, with their alt text."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg") and "jupyter_execute" in image["uri"]:
            figure = (Path(app.srcdir) / image["uri"]).read_text()
            image.replace_self(nodes.raw("", drawing.with_alt_text(figure, image.get("alt")), format="html"))


def correct(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Correct a page's HTML."""
    for source, accessible in CORRECTIONS:
        context["body"] = context.get("body", "").replace(source, accessible)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", inline_figures)
    app.connect("html-page-context", correct, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
