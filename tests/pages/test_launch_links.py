"""What stands under a notebook's page: which notebook it is, and the links that open it elsewhere."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

elsewhere = pytest.importorskip("elsewhere")


def executed_pages() -> list[str]:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [file for file in chapters if file.startswith("executed/")]


def test_every_executed_page_is_a_notebook_of_the_repository():
    """A page comes from the notebook of its name; a page of words comes from none."""
    found = {page: elsewhere.notebook_of(ROOT, page) for page in executed_pages()}
    assert all(notebook and (ROOT / notebook).is_file() for notebook in found.values())
    assert set(found.values()) == {path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert found["executed/pump/03_feature_extraction"] == "notebooks/03_feature_extraction.ipynb"
    assert found["executed/table1"] == "notebooks/07_table1.ipynb"
    assert elsewhere.notebook_of(ROOT, "book/index") is None


def test_the_address_stands_where_jupyter_book_passes_it_on():
    """_config.yml has the address among the theme's options: none yet, or one that the services can open."""
    theme = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]["html_theme_options"]
    address = theme["repository_url"]
    assert address == "" or elsewhere.links(address, theme["repository_branch"], "notebooks/x.ipynb")


@pytest.mark.parametrize("address", ["https://github.com/a/b", "https://github.com/a/b/", "https://github.com/a/b.git"])
def test_links_open_the_notebook_on_the_branch(address):
    """However the address is written, Binder opens the file in JupyterLab and Colab opens it from GitHub."""
    assert elsewhere.links(address, "main", "notebooks/07_table1.ipynb") == {
        "Binder": "https://mybinder.org/v2/gh/a/b/main?urlpath=lab/tree/notebooks/07_table1.ipynb",
        "Colab": "https://colab.research.google.com/github/a/b/blob/main/notebooks/07_table1.ipynb",
    }


def test_a_branch_may_have_a_slash():
    """Binder takes a branch as one part of its address."""
    found = elsewhere.links("https://github.com/a/b", "of/mine", "notebooks/x.ipynb")
    assert "/b/of%2Fmine?" in found["Binder"]
    assert "/blob/of/mine/notebooks/" in found["Colab"]


@pytest.mark.parametrize("address", ["https://example.org/a/b", "github.com/a/b", "https://github.com/a", "a/b"])
def test_an_address_that_neither_can_open_is_refused(address):
    """Better no book than links that lead nowhere."""
    with pytest.raises(elsewhere.ConfigError, match="OWNER/NAME"):
        elsewhere.links(address, "main", "notebooks/x.ipynb")


@pytest.mark.parametrize("address", ["", "https://github.com/owner/name"])
def test_a_rendered_page_has_the_links_where_there_is_an_address(tmp_path, address):
    """The address of the configuration arrives on the page; without one there is no link, and the notebook is named."""
    (tmp_path / "conf.py").write_text(
        "extensions, html_theme = ['myst_nb', 'elsewhere'], 'sphinx_book_theme'\n"
        "nb_execution_mode, exclude_patterns = 'off', ['notebooks', 'html']\n"
        f"html_theme_options = {{'repository_url': '{address}', 'repository_branch': 'next'}}\n"
    )
    (tmp_path / "index.md").write_text("# Book\n\n```{toctree}\nexecuted/pump/01_dataset\n```\n")
    for folder in ("notebooks", "executed/pump"):
        (tmp_path / folder).mkdir(parents=True)
        page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Dataset: pump")])
        nbformat.write(page, tmp_path / folder / "01_dataset.ipynb")
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", str(tmp_path), str(tmp_path / "html")],
        check=True,
        env={"PYTHONPATH": f"{ROOT / 'book' / '_ext'}:{ROOT}", "PATH": "/usr/bin"},
    )
    made = (tmp_path / "html" / "executed" / "pump" / "01_dataset.html").read_text()
    assert "mimii run notebooks/01_dataset.ipynb out.ipynb -p machine pump" in made
    assert ("mybinder.org/v2/gh/owner/name/next?urlpath=lab/tree/notebooks/01_dataset.ipynb" in made) == bool(address)
    assert ("!git clone --depth 1 --branch next https://github.com/owner/name project" in made) == bool(address)
