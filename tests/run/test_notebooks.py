"""Papermill runs each notebook by itself, and what goes wrong never becomes a page."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mimii_lib.cli import main
from mimii_lib.run import notebooks, runs_of
from mimii_lib.run.plan import plan

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))
PER_MACHINE = sorted((ROOT / "notebooks").glob("0[1-6]_*.ipynb"))  # the others are one page for all machine types
PROFILE = """{data: "%s", machines: [fan, valve], ids: [id_00], detectors: [kde, small-dcae], seeds: [0, 1],
weight_sources: [package], sensitivity: {machines: 1, seeds: 1},
settings: {imaging: {patch_offset: 281}, detectors: {n_components: 2}, autoencoders: {epochs: 1, seeds: [0]}}}"""

SMALL = """{data: "%s", machines: [fan, valve], ids: [id_00], weight_sources: [package], seeds: [3],
sensitivity: {machines: 2, seeds: 1, alternatives: 1, detectors: [gmm]},
settings: {imaging: {patch_offset: 281}, detectors: {n_components: 2}, autoencoders: {epochs: 1}}, %s}"""
CHOICES = {  # what a profile says, pages on which it shows, and those of all pages that are not run
    "baselines alone": ("detectors: [knn, level]", "04 06 09", "04 09 16"),
    "no weights, one abnormal clip": ("extractors: [resnet34], detectors: [mahalanobis]", "03 06 07 16", "03 04 09 16"),
    "an auto-encoder alone": ("detectors: [small-dcae], settings.imaging.patch_frames: 32", "04 05 07", "04 16"),
    "large pictures, pooled by the maximum": (
        "detectors: [oc-svm], settings.imaging.n_mels: 128, settings.evaluation.pooling: max",
        "02 06",
        "05",
    ),
    "machine types that differ": (
        "detectors: kde, settings.detectors.pca: 8, per_machine: {valve: {detectors: knn, settings.imaging.hop: 512}}",
        "07 15",
        "",
    ),
}


@pytest.fixture
def quick(tiny, profile) -> str:
    """Return a profile of one fast detector, one auto-encoder, one epoch and two seeds."""
    return str(profile(PROFILE % tiny))


@pytest.fixture(scope="module")
def kernel():
    with notebooks.shared_kernel() as kernel:
        yield kernel


def written(path: Path, code: str) -> Path:
    """Write a notebook of a title, a parameter and a cell of code."""
    cells = [new_markdown_cell("# A {machine}"), new_code_cell("machine = None", metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(code, metadata={"alt": "Of the {machine}"})]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def names(cell: nbformat.NotebookNode) -> tuple[set[str], set[str]]:
    """Return what a cell defines and what it uses: names of its code, keys of glue and labels of its prose."""
    if cell.cell_type == "markdown":
        labels = re.findall(r"^\((\S+)\)=$|\$\$ \((\S+)\)$|:label: (\S+)$", cell.source, re.MULTILINE)
        used = re.findall(r"\{(glue|eq|ref|numref)[:\w]*\}`(?:.*<)?([^`:>]+)", cell.source)
        return {f"label {name}" for name in map("".join, labels)}, {
            f"{'glue' if role == 'glue' else 'label'} {name}" for role, name in used if "/" not in name
        }
    nodes = list(ast.walk(ast.parse(cell.source)))
    defined = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    defined |= {(node.asname or node.name).split(".")[0] for node in nodes if isinstance(node, ast.alias)}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if "glue" in used:  # a loop may glue, so that every text can be a key
        defined |= {f"glue {node.value}" for node in nodes if isinstance(node, ast.Constant)}
    return defined, used


def read(path: Path) -> tuple[str, list[nbformat.NotebookNode]]:
    """Return the prose of a page and the outputs of its code."""
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return prose, [output for cell in cells for output in cell.get("outputs", [])]


def is_fault(output: nbformat.NotebookNode) -> bool:
    """Return whether an output is an error, or a warning as it goes to the standard error stream."""
    return output.output_type == "error" or output.get("name") == "stderr"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_papermill_runs_the_notebook(source, kernel, quick, tmp_path, request):
    """Each notebook runs, shows something, and prints no warning on its page."""
    known, page = papermill.inspect_notebook(str(source)), tmp_path / source.name
    values = {"machine": "valve" if source in PER_MACHINE else "fan, valve", "profile": quick, "system": "mahalanobis"}
    if "statements" in known:  # of the page on conformance, which would collect them in a process of its own
        values["statements"] = str(tmp_path / "statements.json")
        Path(values["statements"]).write_text(json.dumps(request.getfixturevalue("statements")))
    if "faults" in source.stem and not (ROOT / "benchmarks" / "faults.json").is_file():
        pytest.skip("needs the record of 'make faults'")
    notebooks.execute(source, page, {name: values[name] for name in values.keys() & known}, kernel)
    prose, outputs = read(page)
    kinds = {output.output_type for output in outputs}
    assert {"execute_result", "display_data"} & kinds
    assert not any(map(is_fault, outputs))
    assert source not in PER_MACHINE or ("valve" in prose and notebooks.PLACEHOLDER not in prose)


@pytest.mark.parametrize("name", CHOICES)
def test_every_page_runs_or_says_why_not(name, kernel, tiny, fan_id_00, profile, tmp_path, request):
    """Whatever a plan accepts, no page fails. Here the pages on which a choice shows; with ``--grid`` all of them."""
    choices, telling, not_run = CHOICES[name]
    for clip in sorted(fan_id_00.glob("*/fan/id_00/abnormal/*.wav"))[1:]:
        clip.unlink()
    file = str(profile(SMALL % (fan_id_00 if "one abnormal" in name else tiny, choices)))
    runs = runs_of("fan" if "one abnormal" in name else None, profile=file)
    machines = list(plan(runs, profile_options={"profile": file})["identities"])
    whole = request.config.getoption("--grid")
    for source in SOURCES if whole else [source for source in SOURCES if source.stem[:2] in telling.split()]:
        if "profile" not in papermill.inspect_notebook(str(source)):
            continue
        for machine in machines[: None if whole else 1] if source in PER_MACHINE else [" ".join(machines)]:
            page = tmp_path / f"{source.stem} {machine}.ipynb"
            notebooks.execute(source, page, {"machine": machine, "profile": file}, kernel)
            prose, outputs = read(page)
            assert not any(map(is_fault, outputs))
            if machine != "valve":  # by its pages alone, and only with --grid
                assert ("This page was not run, because" in prose) == (source.stem[:2] in not_run.split())


def test_the_same_notebook_is_the_same_page(tmp_path, quick, kernel):
    """Executed in a kernel of its own and in a shared one, a notebook is the same file: nothing in it is dated."""
    own, shared = tmp_path / "own.ipynb", tmp_path / "shared.ipynb"
    for page, of_page in ((own, None), (shared, kernel)):
        notebooks.execute(PER_MACHINE[1], page, {"machine": "valve", "profile": quick}, of_page)
    assert own.read_bytes() == shared.read_bytes()


def test_papermill_alone_runs_a_notebook(quick, tmp_path):
    """The papermill command takes one seed as a plain number, and computes what it needs."""
    page, options = tmp_path / "page.ipynb", ["-p", "machine", "fan", "-p", "profile", quick, "-p", "seeds", "0"]
    subprocess.run([sys.executable, "-m", "papermill", PER_MACHINE[3], page, *options], capture_output=True, check=True)
    assert any("text/html" in output.get("data", {}) for output in read(page)[1])


@pytest.mark.parametrize(
    ("parameter", "code", "sentence"),
    [
        ("machin", "raise SystemExit", "parameter: 'machin' is not known; expected one of machine"),
        ("machine", "from mimii_lib.run import Run\nRun(machine)", "'car' is not known; expected one of fan"),
        ("machine", "1 / 0", "cell 3: ZeroDivisionError: division by zero"),
    ],
)
def test_what_goes_wrong_never_becomes_a_page(parameter, code, sentence, tmp_path, capsys):
    """The error ends in one sentence, the earlier page is left as it was, and no other file is left."""
    source, page = written(tmp_path / "source.ipynb", code), tmp_path / "page.ipynb"
    page.write_text("the earlier page")
    assert main(["run", str(source), str(page), "-p", parameter, "car"]) == 2
    error = capsys.readouterr().err
    assert sentence in error.splitlines()[-1]
    assert ("Traceback" in error) == (code == "1 / 0")
    assert page.read_text() == "the earlier page"
    assert {*tmp_path.iterdir()} == {source, page}


def test_several_notebooks_share_a_kernel_and_nothing_else(tmp_path):
    """A module stays imported, a variable is gone; prose and metadata name the machine type, code keeps its braces."""
    first = written(tmp_path / "first.ipynb", "import sys\nsys.mark = mine = 1")
    second = written(tmp_path / "second.ipynb", "import sys\n'{machine}', hasattr(sys, 'mark'), 'mine' in dir()")
    third, pages = written(tmp_path / "third.ipynb", "1 / 0"), tmp_path / "pages"
    words = ["run", *map(str, (first, second, third, pages)), "-p", "machine", "pump", "--not-run", "It is left out."]
    assert main([*words, "--leave-out", "third"]) == 0
    prose, shown = read(pages / second.name)
    assert shown[0].data["text/plain"] == "('{machine}', True, False)"
    assert prose.startswith("# A pump")
    assert '"alt": "Of the pump"' in (pages / second.name).read_text()
    assert "It is left out." in read(pages / third.name)[0]


def test_cells_with_a_tag_are_left_out(tmp_path):
    """With --without they are neither executed nor on the page; otherwise they are both."""
    source, page = written(tmp_path / "source.ipynb", "'everywhere'"), tmp_path / "page.ipynb"
    notebook, once = nbformat.read(source, as_version=4), {"tags": ["once"]}
    notebook.cells += [new_markdown_cell("The derivation", metadata=once), new_code_cell("1 / 0", metadata=once)]
    nbformat.write(notebook, source)
    assert main(["run", str(source), str(page), "-p", "machine", "pump", "--without", "once"]) == 0
    prose, shown = read(page)
    assert prose == "# A pump"
    assert [output.data["text/plain"] for output in shown] == ["'everywhere'"]
    assert main(["run", str(source), str(page), "-p", "machine", "pump"]) == 2


@pytest.mark.parametrize("source", PER_MACHINE, ids=lambda path: path.stem)
def test_no_cell_needs_one_that_is_shown_once(source):
    """The pages of all machine types but the first are made without the cells tagged "once"."""
    cells, of_once, of_others = nbformat.read(source, as_version=4).cells, set(), set()
    for cell in cells:
        defined, used = names(cell)
        if "once" in cell.metadata.get("tags", []):
            of_once |= defined
        else:
            of_others |= defined
            assert used & (of_once - of_others) == set(), cell.source
