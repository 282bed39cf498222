"""Each notebook is a pair: a percent script that people read and an .ipynb that papermill runs."""

from pathlib import Path

import jupytext
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
STEMS = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
PARAMETERS = ["machine", "profile", "data", "snr", "ids", "extractors", "detectors", "seeds", "weights", "settings"]


WITHOUT_DATA = ("08_open_points", "10_conformance", "12_faults", "13_scale")


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str, dict]]:
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def test_every_notebook_has_its_pair():
    """No script without a notebook, no notebook without a script."""
    assert STEMS
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_a_pair_says_the_same(stem):
    """The script and the notebook of a pair hold the same cells."""
    script = jupytext.read(NOTEBOOKS / f"{stem}.py")
    notebook = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    assert cells(script) == cells(notebook), f"run: jupytext --sync notebooks/{stem}.py"


@pytest.mark.parametrize("stem", STEMS)
def test_a_committed_notebook_holds_no_output(stem):
    """Outputs belong to executed copies, not to the repository."""
    notebook = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("stem", STEMS)
def test_the_parameters_have_the_same_names_everywhere(stem):
    """A reader who can run one notebook can run them all; pages about the library alone take a record at most."""
    notebook = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if stem in WITHOUT_DATA:
        assert all(cell.source.startswith("record = ") for cell in tagged)
        return
    assert len(tagged) == 1
    assert [line.split(" = ")[0] for line in tagged[0].source.splitlines()] == PARAMETERS
