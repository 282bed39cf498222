"""Move embedded sounds and images out of the pages, into files that the pages link to.

An executed notebook embeds its media as data URIs, so that it is one portable file. As web pages they would be
megabytes large. Each sound and image becomes a file named by the digest of its content, so media that several pages
show are stored once. Links are relative: the book opens from disk.
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
DATA_URI = re.compile(r'(?<=")data:((?:audio|image)/[\w.+-]+);base64,([A-Za-z0-9+/=\s]+)(?=")')


def externalise(body: str, root: Path, link: Callable[[str], str]) -> str:
    """Write the media that a page embeds to files below `root`, and return the page's HTML with links to them.

    Players are told to load nothing before they are played.

    Parameters
    ----------
    link
        Converts a path relative to `root` into a link of the page.
    """

    def write(match: re.Match[str]) -> str:
        media_type, content = match[1], base64.b64decode(match[2])
        name = f"{FOLDER}/{hashlib.sha256(content).hexdigest()[:32]}{mimetypes.guess_extension(media_type) or ''}"
        file = root / name
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return link(name)

    return DATA_URI.sub(write, body).replace('preload="metadata"', 'preload="none"')


def externalise_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Move the media of a page just before Sphinx writes it."""
    if "body" in context:
        context["body"] = externalise(context["body"], Path(app.outdir), lambda name: context["pathto"](name, True))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", externalise_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
