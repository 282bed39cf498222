"""Papermill runs each notebook by itself, and what goes wrong never becomes a page."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest

from mimii_lib.cli import main
from mimii_lib.errors import MimiiError
from mimii_lib.pages import scale
from mimii_lib.run import notebooks

FOLDER = Path(__file__).parents[2] / "notebooks"
STEMS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
PER_MACHINE = sorted(path.stem for path in FOLDER.glob("0[1-6]_*.ipynb"))  # the others are one page for all machines


@pytest.fixture(scope="session")
def tiny_profile(tiny, tmp_path_factory) -> Path:
    """Return a profile that is over in seconds: one fast detector, one auto-encoder, one epoch, two seeds.

    Eleven patches a clip are as few as leave enough training patches for 64 principal components.
    """
    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    path.write_text(
        f"data: {tiny}\nmachines: [fan, valve]\nids: [id_00]\ndetectors: [kde, small-dcae]\nseeds: [0, 1]\n"
        "weight_sources: [package]\nsensitivity: {machines: 1, seeds: 1}\n"
        "settings: {imaging: {patch_offset: 56}, detectors: {n_components: 2}, autoencoders: {epochs: 1, seeds: [0]}}\n"
    )
    return path


def written(path: Path, *sources: str) -> Path:
    """Write a notebook of code cells, the first of which is tagged as its parameters."""
    cells = [nbformat.v4.new_markdown_cell("# Title of the {machine}\n\nText.")]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    cells[1].metadata["tags"] = ["parameters"]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


def outputs(path: Path) -> list[dict]:
    page = nbformat.read(path, as_version=4)
    return [output for cell in page.cells if cell.cell_type == "code" for output in cell.outputs]


def parameters(stem: str) -> set[str]:
    """Return the names that a notebook's cell of parameters assigns."""
    cells = nbformat.read(FOLDER / f"{stem}.ipynb", as_version=4).cells
    sources = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    return {node.targets[0].id for source in sources for node in ast.parse(source).body}


def execute(stem: str, made: Path, profile: Path) -> None:
    """Execute a notebook with a profile, on one machine type where the page is of one."""
    machine = "valve" if stem in PER_MACHINE else "fan, valve"
    said = {"machine": machine, "profile": str(profile)}
    notebooks.execute(FOLDER / f"{stem}.ipynb", made, {name: said[name] for name in said if name in parameters(stem)})


@pytest.fixture(scope="module")
def warm() -> Iterator[None]:
    """Keep one kernel, as the book does for the notebooks of a machine type."""
    with notebooks.one_kernel():
        yield


def test_the_same_notebook_is_the_same_page(tmp_path, tiny_profile):
    """Executed twice with the same parameters, a notebook is the same file: nothing in it is drawn or dated."""
    for name in ("once.ipynb", "again.ipynb"):
        with notebooks.one_kernel():
            execute("01_dataset", tmp_path / name, tiny_profile)
    assert (tmp_path / "once.ipynb").read_bytes() == (tmp_path / "again.ipynb").read_bytes()


@pytest.mark.parametrize("stem", STEMS)
def test_papermill_runs_the_notebook(stem, request, of_the_book, tmp_path):
    """Each notebook runs, shows something, and prints no warning on its page."""
    if stem == "13_scale" and not any(record for folder in scale.FOLDERS for record in folder.glob("rehearsal_*.json")):
        pytest.skip("needs the record of a rehearsal")
    name = f"valve/{stem}" if stem in PER_MACHINE else stem[3:]
    made = of_the_book(f"executed/{name}.ipynb", FOLDER / f"{stem}.ipynb")
    if not made or not outputs(made):  # the book may be one of other machines, whose pages were not run
        request.getfixturevalue("warm")
        made = tmp_path / f"{stem}.ipynb"
        execute(stem, made, request.getfixturevalue("tiny_profile"))
    shown = outputs(made)
    assert any(output.output_type in ("execute_result", "display_data") for output in shown)
    assert not [output for output in shown if output.output_type in ("stream", "error")]
    text = " ".join(cell.source for cell in nbformat.read(made, as_version=4).cells if cell.cell_type == "markdown")
    if stem in PER_MACHINE:
        assert "valve" in text
        assert notebooks.PLACEHOLDER not in text


@pytest.mark.parametrize("stem", [stem for stem in STEMS if parameters(stem)])
def test_papermill_knows_every_parameter(stem):
    """Whatever a notebook's cell of parameters assigns can be set from outside, settings among them."""
    assert {"machine", "profile", "data", "seeds", "settings"} <= parameters(stem) or stem == "10_conformance"
    assert set(papermill.inspect_notebook(str(FOLDER / f"{stem}.ipynb"))) == parameters(stem)


def test_bare_papermill_is_a_front_door(tiny_profile, tmp_path):
    """The papermill command takes one seed as a plain number, and computes what it needs."""
    made = tmp_path / "out.ipynb"
    words = ["-p", "machine", "fan", "-p", "profile", str(tiny_profile), "-p", "seeds", "0"]
    command = [sys.executable, "-m", "papermill", str(FOLDER / "04_detectors.ipynb"), str(made), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert any("text/html" in output.get("data", {}) for output in outputs(made))


def test_an_unknown_parameter_stops_before_anything_runs(tmp_path, capsys):
    """A mistyped parameter is an error with the known names, not a warning."""
    source = written(tmp_path / "page.ipynb", "machine = None", "raise SystemExit")
    assert main(["run", str(source), str(tmp_path / "out.ipynb"), "-p", "machin", "fan"]) == 2
    said = capsys.readouterr().err
    assert "machin" in said
    assert "machine" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.ipynb").exists()


def test_a_cell_that_raises_never_becomes_a_page(tmp_path, capsys):
    """The cell's error is on the terminal, the earlier page is left as it was, and nothing else is left."""
    source = written(tmp_path / "page.ipynb", "machine = None", "1 / 0")
    made = tmp_path / "made" / "page.ipynb"
    made.parent.mkdir()
    made.write_text("the earlier page")
    with pytest.raises(MimiiError, match="ZeroDivisionError"):
        notebooks.execute(source, made, {"machine": "fan"})
    assert "division by zero" in capsys.readouterr().err
    assert made.read_text() == "the earlier page"
    assert [path.name for path in made.parent.iterdir()] == ["page.ipynb"]


def test_the_marker_is_filled_in_prose_and_metadata_but_not_in_code(tmp_path):
    """The same notebook gives pages with titles of their own; code keeps its braces."""
    source = written(tmp_path / "page.ipynb", "machine = None", 'f"{machine}!"')
    notebook = nbformat.read(source, as_version=4)
    notebook.cells[2].metadata["mystnb"] = {"image": {"alt": "A picture of the {machine}"}}
    nbformat.write(notebook, source)
    notebooks.execute(source, tmp_path / "out.ipynb", {"machine": "pump"})
    made = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert made.cells[0].source.startswith("# Title of the pump")
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert code[-1].metadata["mystnb"]["image"]["alt"] == "A picture of the pump"
    assert code[-1].source == 'f"{machine}!"'
    assert code[-1].outputs[0].data["text/plain"] == "'pump!'"


def test_several_notebooks_share_a_kernel_and_nothing_else(tmp_path):
    """What one imports the next has at hand, what one names the next does not know; one may be left out."""
    first = written(tmp_path / "first.ipynb", "machine = None", "import sys\nsys.mark = mine = True")
    second = written(tmp_path / "second.ipynb", "machine = None", 'import sys\nhasattr(sys, "mark"), "mine" in dir()')
    third = written(tmp_path / "third.ipynb", "machine = None", "1 / 0")
    words = ["run", str(first), str(second), str(third), str(tmp_path / "made"), "-p", "machine", "pump"]
    assert main([*words, "--not-run", "It was left out.", "--leave-out", "third"]) == 0
    assert outputs(tmp_path / "made" / "second.ipynb")[0].data["text/plain"] == "(True, False)"
    assert "It was left out." in nbformat.read(tmp_path / "made" / "third.ipynb", as_version=4).cells[0].source
    assert main([*words, "--not-run", "It was left out.", "--leave-out", "fourth"]) == 2


def test_a_page_that_was_not_run_says_why(tmp_path):
    """A machine that is left out keeps its page, with the title and the reason and no code."""
    source = written(tmp_path / "page.ipynb", "machine = None", "1 / 0")
    notebooks.not_run(source, tmp_path / "out.ipynb", {"machine": "pump"}, "It was left out.")
    made = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert [cell.cell_type for cell in made.cells] == ["markdown"]
    assert "Title of the pump" in made.cells[0].source
    assert "It was left out." in made.cells[0].source


def test_what_is_the_readers_to_mend_is_one_sentence(tmp_path, capsys):
    """A parameter with an impossible value ends a notebook in its sentence alone, without a traceback."""
    words = [str(FOLDER / "01_dataset.ipynb"), str(tmp_path / "out.ipynb"), "-p", "machine", "car"]
    assert main(["run", *words]) == 2
    said = capsys.readouterr().err
    assert "'car' is not known; expected one of fan" in said
    assert len(said.splitlines()) == 1
