"""Lead through the pages of one machine type at a time.

The contents list the method's pages of one type, the first of the run. The same pages of the other types are built
beside them; a switch at the head of each page leads from one to the other. They are not searched, since they repeat
most of the first type's text.
"""

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from mimii_lib import paper

PAGE = re.compile(rf"executed/({'|'.join(paper.MACHINES)})/(\w+)")
LINK = re.compile(r"(?<=[(/])fan/(?=0[1-6]_\w+\.ipynb)")  # as the sources write it, whatever type comes first


def first_type(app: Sphinx) -> str:
    """Return the machine type whose pages the contents list."""
    return next(page[1] for page in map(PAGE.fullmatch, app.config.external_site_map) if page)


def page_of(page: str, machine: str) -> str:
    """Return the page of another machine type; pages that are not on a machine type stay as they are."""
    return PAGE.sub(rf"executed/{machine}/\2", page)


def include_all_types(app: Sphinx, config: Config) -> None:
    """Build the pages of the contents for every machine type, and nothing else that may lie beside them."""
    pages = {page_of(page, machine) for page in config.external_site_map for machine in paper.MACHINES}
    config.include_patterns = [f"{page}.*" for page in sorted(pages)]


def lead_to_the_first_type(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links to the method's pages lead to those of the type that the contents list."""
    source[0] = LINK.sub(f"{first_type(app)}/", source[0])


def leave_out_of_contents_and_search(app: Sphinx, doctree: nodes.document) -> None:
    """Mark a page of another type as one that the contents and the search do not know."""
    if app.env.docname not in app.config.external_site_map:
        app.env.metadata[app.env.docname] |= {"orphan": True, "nosearch": True}
        app.env.domains["index"].data["entries"].pop(app.env.docname, None)


def switch(app: Sphinx, page: str, machine: str) -> str:
    """Return the switch between the machine types, as HTML, with a link to what only the first type's page has."""
    first = first_type(app)

    def link(other: str, text: str, current: str = "") -> str:
        target = app.builder.get_relative_uri(page, page_of(page, other)) if not current else "#"
        return f'<a href="{escape(target)}"{current}>{text}</a>'

    others = [name for name in paper.MACHINES if page_of(page, name) in app.env.found_docs]
    items = [link(name, name.capitalize(), ' aria-current="page"' if name == machine else "") for name in others]
    text = f'<nav class="types" aria-label="Machine type"><ul><li>{"</li><li>".join(items)}</li></ul></nav>'
    if machine != first:
        text += f'<p class="types">Derivations and exercises are on {link(first, f"the page of the {first}")}.</p>'
    return text


def guide(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Put the switch under a page's title; contents, previous and next stay with the page's machine type."""
    if not (match := PAGE.fullmatch(page)):
        return
    machine, same_of_first = match[1], page_of(page, first_type(app))
    context["body"] = context["body"].replace("</h1>", f"</h1>{switch(app, page, machine)}", 1)
    # Seen from the first type's page, links to its other pages are those of this type as well: all are relative.
    context["toctree"] = lambda **options: app.builder._get_local_toctree(same_of_first, **options)
    _, *neighbours = app.builder.relations[same_of_first]
    for place, neighbour in zip(("prev", "next"), neighbours, strict=True):
        target = page_of(neighbour, machine)
        title = app.builder.render_partial(app.env.titles[target])["title"]
        context[place] = {"link": app.builder.get_relative_uri(page, target), "title": title}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", include_all_types, priority=900)  # after the contents are read
    app.connect("source-read", lead_to_the_first_type)
    app.connect("doctree-read", leave_out_of_contents_and_search)
    app.connect("html-page-context", guide)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
