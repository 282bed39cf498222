"""Each notebook is a pair: a percent script that people read and an .ipynb that papermill runs."""

from pathlib import Path

import jupytext
import papermill
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
STEMS = sorted({path.stem for suffix in ("py", "ipynb") for path in NOTEBOOKS.glob(f"*.{suffix}")})
PARAMETERS = {"machine", "profile", "data", "snr", "ids", "extractors", "detectors", "seeds", "weights", "settings"}


@pytest.mark.parametrize("stem", STEMS)
def test_a_script_and_its_notebook_are_the_same(stem):
    """Both hold the same cells; the committed notebook holds no output, and papermill knows its parameters."""
    script, notebook = (jupytext.read(NOTEBOOKS / f"{stem}.{suffix}") for suffix in ("py", "ipynb"))
    cells = [[(cell.cell_type, cell.source, cell.metadata) for cell in page.cells] for page in (script, notebook)]
    assert cells[0] == cells[1], f"run: jupytext --sync notebooks/{stem}.py"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    known = set(papermill.inspect_notebook(str(NOTEBOOKS / f"{stem}.ipynb")))
    assert known >= PARAMETERS or not known & PARAMETERS  # a page on the project itself takes none of a run's
