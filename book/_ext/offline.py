"""Let the book open from disk with the network off.

Its mathematics comes from a copy beside the pages, and what would run cells on a server is left out.
"""

import shutil
from importlib.metadata import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

MATHJAX = "tex-svg-full.js"  # one file that holds its own fonts


def set_path(app: Sphinx, config: object) -> None:
    """Point the pages at the copy instead of a server; other extensions have had their say by now."""
    app.config.mathjax_path = f"mathjax/{MATHJAX}"


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Put the file where the pages look for it."""
    if exception is None and app.builder.format == "html":
        found = next(path for path in files("sphinx-mathjax-offline") or [] if path.name == MATHJAX)
        target = Path(app.outdir) / "_static" / "mathjax"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(found.locate()), target / MATHJAX)


def without_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Leave out thebe, which Jupyter Book loads from a server on every page, twice, even where it is turned off."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{getattr(script, 'filename', '')}{getattr(script, 'attributes', {}).get('body', '')}"
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", set_path, priority=999)
    app.connect("html-page-context", without_thebe, priority=999)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
