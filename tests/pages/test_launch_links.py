"""The box under a notebook's page: which notebook it is, and how to run it."""

import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

launch_links = pytest.importorskip("launch_links")


def test_every_executed_page_is_a_notebook_of_the_repository():
    """The pages of the table of contents come from all notebooks; a page of text comes from none."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [page["file"] for part in contents["parts"] for page in part["chapters"]]
    sources = {page: launch_links.notebook_of(ROOT, page) for page in pages}
    assert {source for source in sources.values() if source} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")
    }
    assert (
        launch_links.notebook_of(ROOT, "executed/pump/03_feature_extraction") == "notebooks/03_feature_extraction.ipynb"
    )
    assert sources["executed/table1"] == "notebooks/07_table1.ipynb"
    assert all(source is None for page, source in sources.items() if page.startswith("book/"))


@pytest.mark.parametrize("suffix", ["", "/", ".git"])
def test_the_box_opens_the_notebook_on_its_branch(suffix):
    """Binder opens the file in JupyterLab, Colab from GitHub; only Binder needs a slash in a branch quoted."""
    box = launch_links.launch_box(f"https://github.com/a/b{suffix}", "of/mine", "notebooks/07_table1.ipynb", None)
    assert re.findall('href="([^"]*)"', box) == [
        "https://mybinder.org/v2/gh/a/b/of%2Fmine?urlpath=lab/tree/notebooks/07_table1.ipynb",
        "https://colab.research.google.com/github/a/b/blob/of/mine/notebooks/07_table1.ipynb",
    ]
    assert f"!git clone --depth 1 --branch of/mine https://github.com/a/b{suffix} project" in box


@pytest.mark.parametrize("address", ["https://example.org/a/b", "github.com/a/b", "https://github.com/a", "a/b"])
def test_an_address_that_no_service_can_open_is_refused(address):
    """A wrong repository_url stops the rendering of the book."""
    with pytest.raises(launch_links.ConfigError, match="OWNER/NAME"):
        launch_links.launch_urls(address, "main", "notebooks/x.ipynb")


def test_a_rendered_page_says_how_to_run_it(html):
    """A page has the command, with the machine type, and links to the repository of the configuration, if any."""
    page = (html / "executed" / "fan" / "01_dataset.html").read_text()
    assert "mimii run notebooks/01_dataset.ipynb out.ipynb -p machine fan" in page
    assert "https://mybinder.org/v2/gh/a/b/main?urlpath=lab/tree/notebooks/01_dataset.ipynb" in page
    assert 'aria-label="Run this page"' not in (html / "book" / "index.html").read_text()
    assert "href" not in launch_links.launch_box("", "main", "notebooks/01_dataset.ipynb", "fan")
