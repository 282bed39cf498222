"""The six pages of the method show their code, and stand on the first machine type and on the others."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from mimii_lib import paper
from mimii_lib.pages import machines

PAGES = sorted((Path(__file__).parents[2] / "notebooks").glob("0[1-6]_*.ipynb"))
HIDDEN = {"remove-cell", "remove-input", "hide-input"}
FOLDED = {"hide-cell"}  # answers and solutions: neither shown nor hidden
ONCE = "once"  # on the page of the first machine type only
SHOWN_TO_HIDDEN = 3


def cells(page: Path, kind: str) -> list[tuple[set[str], str]]:
    """Return the tags and the sources of a page's cells of a kind, code or markdown."""
    chosen = [cell for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == kind]
    return [(set(cell.metadata.get("tags", [])), cell.source) for cell in chosen]


def n_lines(sources: list[str]) -> int:
    """Return the number of lines of code, without blank ones."""
    return sum(bool(line.strip()) for source in sources for line in source.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_shows_its_code(page):
    """At least three lines of code are shown for each one that is hidden; parameters and glue count as hidden."""
    code = cells(page, "code")
    shown = n_lines([source for tags, source in code if not tags & (HIDDEN | FOLDED)])
    hidden = n_lines([source for tags, source in code if tags & HIDDEN])
    assert shown >= SHOWN_TO_HIDDEN * hidden, f"{shown} lines shown, {hidden} hidden"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_other_machine_types_need_no_cell_of_the_first(page):
    """No cell of every machine type needs a name, or a computed number, of a cell that only the first one has."""
    first, every = [], []
    for tags, source in cells(page, "code"):
        (first if ONCE in tags else every).append(ast.parse(source))
    own = defined(first) - defined(every)
    assert not own & loaded(every)
    numbers = glued(first) - glued(every)
    prose = "\n".join(source for tags, source in cells(page, "markdown") if ONCE not in tags)
    assert not numbers & set(re.findall(r"\{glue:\w+\}`(\w+)", prose))


def test_every_machine_type_is_described():
    """The page on the recordings says something else of each machine type."""
    assert len({machines.character(machine).data for machine in paper.MACHINES}) == len(paper.MACHINES)


def defined(trees: list[ast.Module]) -> set[str]:
    """Return the names that code assigns, imports or defines."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return names | {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}


def loaded(trees: list[ast.Module]) -> set[str]:
    """Return the names that code uses."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def glued(trees: list[ast.Module]) -> set[str]:
    """Return the names under which code inserts numbers into the prose."""
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    of_glue = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "glue"]
    return {call.args[0].value for call in of_glue if isinstance(call.args[0], ast.Constant)}
