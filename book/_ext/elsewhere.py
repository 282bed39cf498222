"""Say under each notebook's page which notebook it is and how to run it: here, in Binder and in Colab.

The repository's address stands in ``_config.yml`` (``repository_url``); while there is none, no link is shown.
"""

import html
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

GITHUB = "https://github.com/"


def notebook_of(root: Path, page: str) -> str | None:
    """Return the notebook, by its path in the repository, that was executed to make a page; None if there is none."""
    folder, _, name = page.rpartition("/")
    found = sorted((root / "notebooks").glob(f"*{name}.ipynb")) if folder.startswith("executed") else []
    return found[0].relative_to(root).as_posix() if found else None


def links(repository: str, branch: str, notebook: str) -> dict[str, str]:
    """Return the addresses that open a notebook of a repository on GitHub, by the service that runs it."""
    project = repository.rstrip("/").removesuffix(".git").removeprefix(GITHUB)
    if not repository.startswith(GITHUB) or project.count("/") != 1:
        raise ConfigError(f"_config.yml, repository_url: {repository!r}; expected {GITHUB}OWNER/NAME, or nothing")
    path, at = quote(notebook), quote(branch, safe="")
    return {
        "Binder": f"https://mybinder.org/v2/gh/{project}/{at}?urlpath=lab/tree/{path}",
        "Colab": f"https://colab.research.google.com/github/{project}/blob/{quote(branch)}/{path}",
    }


def told(repository: str, branch: str, notebook: str, machine: str | None) -> str:
    """Return what is said under the page of a notebook."""
    asked = f" -p machine {machine}" if machine else ""
    said = (
        f"<p>This page is <code>{notebook}</code>{f', run for the {machine}' if machine else ''}. To run it yourself: "
        f"<code>.venv/bin/mimii run {notebook} out.ipynb{asked}</code></p>"
    )
    if repository:
        services = " or ".join(
            f'<a href="{html.escape(url)}">{name}</a>' for name, url in links(repository, branch, notebook).items()
        )
        said += (
            f"<p>Or open it in {services}. Colab starts with the notebook alone; run this first, in a cell of its "
            f'own:</p><div class="highlight"><pre>!git clone --depth 1 --branch {html.escape(branch)} '
            f"{html.escape(repository)} project\n%cd project\n%pip install --quiet -e '.[book]'</pre></div>"
        )
    return f'<aside class="elsewhere" aria-label="Run this page">{said}</aside>'


def add(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Add it to the page."""
    if notebook := notebook_of(Path(app.srcdir), page):
        theme = app.config.html_theme_options
        folders = page.split("/")[1:-1]
        branch = theme.get("repository_branch") or "main"
        said = told(theme.get("repository_url", ""), branch, notebook, folders[0] if folders else None)
        context["body"] += said


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
