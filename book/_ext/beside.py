"""Put the sounds and pictures that a page embeds into files beside it.

A notebook carries what it shows and plays within itself, so that it can be handed on. In the book that would make
pages of megabytes, read as a whole before the first line shows. Each sound and picture becomes a file named by its
content: what several pages embed is there once. Links are relative, so the book still opens from disk. A sound is
not read before it is played.
"""

import base64
import hashlib
import mimetypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FOLDER = "_static/embedded"
EMBEDDED = re.compile(r'(?<=")data:((?:audio|image)/[\w.+-]+);base64,([A-Za-z0-9+/=\s]+)(?=")')


def moved(body: str, root: Path, link: Callable[[str], str]) -> str:
    """Return a page's HTML with links in the place of what it embeds, which becomes files below `root`.

    Parameters
    ----------
    link
        Takes a path from the book's root and returns it as the page has to link it.
    """

    def replace(found: re.Match[str]) -> str:
        kind, content = found[1], base64.b64decode(found[2])
        name = f"{FOLDER}/{hashlib.sha256(content).hexdigest()[:32]}{mimetypes.guess_extension(kind) or ''}"
        file = root / name
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return link(name)

    return EMBEDDED.sub(replace, body).replace('preload="metadata"', 'preload="none"')


def move(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Move what a page embeds before it is written."""
    if "body" in context:
        context["body"] = moved(context["body"], Path(app.outdir), lambda name: context["pathto"](name, True))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", move)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
