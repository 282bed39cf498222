"""Make the book independent of the network: MathJax is copied into it, Thebe's remote scripts are removed."""

import shutil
from importlib.metadata import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

MATHJAX = "tex-svg-full.js"  # a single file that includes its fonts


def set_mathjax_path(app: Sphinx, config: object) -> None:
    """Load MathJax from the book; runs last, since other extensions set the path too."""
    app.config.mathjax_path = f"mathjax/{MATHJAX}"


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax into the book's static files."""
    if exception is None and app.builder.format == "html":
        source = next(path for path in files("sphinx-mathjax-offline") or [] if path.name == MATHJAX)
        target = Path(app.outdir) / "_static" / "mathjax"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(source.locate()), target / MATHJAX)


def remove_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Remove Thebe, which Jupyter Book loads from a server on every page even where it is turned off."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{getattr(script, 'filename', '')}{getattr(script, 'attributes', {}).get('body', '')}"
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("config-inited", set_mathjax_path, priority=999)
    app.connect("html-page-context", remove_thebe, priority=999)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
