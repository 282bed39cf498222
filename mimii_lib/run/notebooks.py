"""Execute the notebooks of the book by papermill, or write a page that says why one was not run."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from papermill.exceptions import PapermillExecutionError

from mimii_lib.data.files import atomic_write
from mimii_lib.errors import MimiiError, NotRun, unknown_value
from mimii_lib.run.cache import exclusive_write
from mimii_lib.run.profiles import YamlLoader

PLACEHOLDER = "{machine}"  # in prose, labels and captions, where papermill fills nothing in


@contextmanager
def shared_kernel() -> Iterator[AsyncKernelManager]:
    """Yield a kernel for several notebooks: to import the libraries takes longer than most notebooks."""
    kernel = AsyncKernelManager(kernel_name="python3")
    try:
        yield kernel
    finally:
        if kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    kernel: AsyncKernelManager | None = None,
    without: str | None = None,
) -> None:
    """Execute `notebook` and write it to `output`, unless a parameter is not known or a cell raises: MimiiError.

    Where a cell raises :class:`~mimii_lib.errors.NotRun`, the page is that of :func:`not_run` with its reason.

    Parameters are given by name; a text is read as YAML, so that ``seeds`` may be ``[0, 1]`` or ``0 1``. The `kernel`
    of :func:`shared_kernel` is emptied first; None: a kernel of its own. Cells with the tag `without` are left out.
    """
    source, values = _filled(notebook, parameters)
    source.cells = [cell for cell in source.cells if without not in cell.metadata.get("tags", [])]
    if kernel is not None and kernel.has_kernel:
        client = kernel.blocking_client()
        client.start_channels()
        client.execute_interactive("%reset -f\nget_ipython().execution_count = 1")
        client.stop_channels()
    options = {"km": kernel, "progress_bar": False, "extra_arguments": ["--IPKernelApp.log_level=ERROR"]}
    with exclusive_write(output):
        try:
            _write(papermill.execute_notebook(source, None, values, **options), output)
        except PapermillExecutionError as error:
            if error.ename == NotRun.__name__:
                print(f"{notebook.name}: not run, because {error.evalue}", file=sys.stderr)
                return not_run(notebook, output, parameters, f"This page was not run, because {error.evalue}.")
            if error.ename == MimiiError.__name__:  # its sentence says all
                raise MimiiError(error.evalue) from None
            print("\n".join(error.traceback), file=sys.stderr)
            raise MimiiError(f"{notebook.name}, cell {error.exec_count}: {error.ename}: {error.evalue}") from None


def not_run(notebook: Path, output: Path, parameters: dict[str, Any], reason: str) -> None:
    """Write, instead of the executed `notebook`, a page of its title and the reason why it was not run."""
    page, _ = _filled(notebook, parameters)
    page.cells = [cell for cell in page.cells if cell.cell_type == "markdown"][:1]
    title = page.cells[0].source.partition("\n\n")[0]
    page.cells[0].source = f"{title}\n\n:::{{admonition}} Not run\n:class: open\n{reason}\n:::\n"
    _write(page, output)


def run_command(
    sources: Sequence[Path], output: Path, parameters: Sequence[tuple[str, str]] = (), **options: str
) -> None:
    """Execute notebooks, or write pages that give the reason why they were not executed.

    The `options` are those of the command line: ``not_run``, ``leave_out`` and ``without``.
    """
    names, reason, left_out = [notebook.stem for notebook in sources], options.get("not_run"), options.get("leave_out")
    pages = [output if len(sources) == 1 else output / notebook.name for notebook in sources]
    if same := {page.resolve() for page in pages} & {notebook.resolve() for notebook in sources}:
        raise MimiiError(
            f"{same.pop()}: is a notebook to execute, so no page can be written to it; name another output"
        )
    if left_out not in (None, *names):
        raise unknown_value("--leave-out", left_out, names)
    with shared_kernel() as kernel:
        for notebook, page in zip(sources, pages, strict=True):
            if reason and left_out in (None, notebook.stem):
                not_run(notebook, page, dict(parameters), reason)
            else:
                execute(notebook, page, dict(parameters), kernel, options.get("without"))


def _value(name: str, text: str) -> Any:
    try:
        json.dumps(value := yaml.load(text, YamlLoader))  # as papermill hands it on: no date, and no list within itself
        return value
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise MimiiError(f"{name}: {text!r} cannot be read as YAML ({' '.join(str(error).split())[:80]})") from None


def _filled(notebook: Path, parameters: dict[str, Any]) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
    try:
        page, known = nbformat.read(notebook, as_version=4), papermill.inspect_notebook(str(notebook))
    except (OSError, ValueError, nbformat.ValidationError):  # nbformat's NotJSONError is a ValueError
        raise MimiiError(f"{notebook}: found no notebook; expected an .ipynb file") from None
    if unknown := [name for name in parameters if name not in known]:
        raise unknown_value(f"{notebook.name}: parameter", unknown[0], known)
    values = {name: _value(name, value) if isinstance(value, str) else value for name, value in parameters.items()}
    machine = str(values.get("machine", PLACEHOLDER))
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(PLACEHOLDER, machine)
        cell.metadata = nbformat.from_dict(json.loads(json.dumps(cell.metadata).replace(PLACEHOLDER, machine)))
    return page, values


def _write(page: nbformat.NotebookNode, output: Path) -> None:
    """Write a page without the times and paths in which two runs differ, and mark its parameters as hidden."""
    page.metadata.pop("papermill", None)
    for cell in page.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("remove-cell")  # the page shows them in a box
            cell.id = "injected-parameters"  # papermill draws one at random
    with atomic_write(output) as file:
        nbformat.write(page, file)
