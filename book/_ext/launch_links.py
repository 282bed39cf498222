"""Add to each notebook's page how to run it: by command, in Binder or in Colab.

The repository's address is ``repository_url`` in ``_config.yml``; without one, only the command is shown.
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
    """Return the repository path of the notebook behind an executed page; None for other pages."""
    folder, _, name = page.rpartition("/")
    notebooks = sorted((root / "notebooks").glob(f"*{name}.ipynb")) if folder.startswith("executed") else []
    return notebooks[0].relative_to(root).as_posix() if notebooks else None


def launch_urls(repository: str, branch: str, notebook: str) -> dict[str, str]:
    """Return the URLs that open a notebook of a GitHub repository, by service (Binder, Colab)."""
    project = repository.rstrip("/").removesuffix(".git").removeprefix(GITHUB)
    if not repository.startswith(GITHUB) or project.count("/") != 1:
        raise ConfigError(f"_config.yml, repository_url: {repository!r}; expected {GITHUB}OWNER/NAME, or nothing")
    path, revision = quote(notebook), quote(branch, safe="")
    return {
        "Binder": f"https://mybinder.org/v2/gh/{project}/{revision}?urlpath=lab/tree/{path}",
        "Colab": f"https://colab.research.google.com/github/{project}/blob/{quote(branch)}/{path}",
    }


def launch_box(repository: str, branch: str, notebook: str, machine: str | None) -> str:
    """Return the box under a notebook's page, as HTML."""
    parameters = f" -p machine {machine}" if machine else ""
    text = (
        f"<p>This page is <code>{notebook}</code>{f', run for the {machine}' if machine else ''}. To run it yourself: "
        f"<code>.venv/bin/mimii run {notebook} out.ipynb{parameters}</code></p>"
    )
    if repository:
        urls = launch_urls(repository, branch, notebook)
        services = " or ".join(f'<a href="{html.escape(url)}">{name}</a>' for name, url in urls.items())
        text += (
            f"<p>Or open it in {services}. Colab starts with the notebook alone; run this first, in a cell of its "
            f'own:</p><div class="highlight"><pre>!git clone --depth 1 --branch {html.escape(branch)} '
            f"{html.escape(repository)} project\n%cd project\n%pip install --quiet -e '.[book]'</pre></div>"
        )
    return f'<aside class="launch" aria-label="Run this page">{text}</aside>'


def add(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Append the box to a notebook's page."""
    if notebook := notebook_of(Path(app.srcdir), page):
        theme = app.config.html_theme_options
        machine = next(iter(page.split("/")[1:-1]), None)
        branch = theme.get("repository_branch") or "main"
        context["body"] += launch_box(theme.get("repository_url", ""), branch, notebook, machine)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
