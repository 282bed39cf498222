"""Link the library's names in the code of a page to their entries on the API page.

The imports of a notebook's cells say what a name means. Names that the API page does not document stay as they are.
"""

import ast
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

DOT = r'<span class="o">\.</span>'
NAME = re.compile(rf'(?<!{DOT})<span class="n">(\w+)</span>(?:{DOT}<span class="n">(\w+)</span>)?')


def imported(doctree: nodes.document) -> dict[str, str]:
    """Return the full names of what a page's code imports, such as ``{"log_mel": "mimii_lib.imaging.log_mel"}``."""
    full = {}
    for block in doctree.findall(nodes.literal_block):
        try:
            statements = ast.walk(ast.parse(block.astext()))
        except SyntaxError:  # an output, or a command
            continue
        for one in statements:
            if isinstance(one, ast.ImportFrom) and (one.module or "").startswith("mimii_lib"):
                full |= {alias.asname or alias.name: f"{one.module}.{alias.name}" for alias in one.names}
    return full


def link(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Replace the names in a page's HTML by links."""
    names = imported(doctree) if doctree is not None else {}
    documented = app.env.domains["py"].objects if names else {}

    def linked(match: re.Match[str]) -> str:
        first = names.get(match[1])
        for name in (f"{first}.{match[2]}", first) if first else ():
            if entry := documented.get(name):
                target = app.builder.get_relative_uri(page, entry.docname)
                return f'<a class="code" href="{target}#{entry.node_id}">{match[0]}</a>'
        return match[0]

    if names:
        context["body"] = NAME.sub(linked, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
