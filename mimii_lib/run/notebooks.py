"""Execute a notebook of the book: papermill, with what papermill leaves to its callers.

Parameters are checked by name before anything runs, the marker ``{machine}`` is filled in where papermill
does not reach (prose, labels, captions), and a notebook that raises never becomes a page.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from mimii_lib.data.files import atomic_write
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.run.cache import exclusive_write

PLACEHOLDER = "{machine}"


def execute(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Execute `notebook` with `parameters` and write it to `output`, whole or not at all.

    Parameters
    ----------
    parameters
        By name; a text is read as YAML, so that ``seeds`` may be ``[0, 1]`` or ``0 1``.

    Raises
    ------
    MimiiError
        If there is no such notebook or parameter, or a cell raises; with the cell's error.
    """
    values = _checked(notebook, parameters)
    with tempfile.TemporaryDirectory() as folder, exclusive_write(output), atomic_write(output) as made:
        source = Path(folder) / notebook.name
        nbformat.write(_filled(notebook, values), source)
        try:
            papermill.execute_notebook(
                str(source),
                str(made),
                parameters=values,
                progress_bar=False,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],
            )
        except PapermillExecutionError as error:
            if error.ename == MimiiError.__name__:  # its sentence says all
                raise MimiiError(error.evalue) from None
            print("\n".join(error.traceback), file=sys.stderr)
            raise MimiiError(f"{notebook.name}, cell {error.exec_count}: {error.ename}: {error.evalue}") from None
        page = nbformat.read(made, as_version=4)
        _tidy(page)
        nbformat.write(page, made)


@contextmanager
def one_kernel() -> Iterator[None]:
    """Execute all notebooks within this context in one kernel, emptied before each.

    To import the libraries takes a kernel longer than most pages take.
    """
    kernel = AsyncKernelManager(kernel_name="python3")

    class OneKernel(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, *args: Any, **how: Any) -> Any:
            if kernel.has_kernel:
                client = kernel.blocking_client()
                client.start_channels()
                client.execute_interactive("%reset -f\nget_ipython().execution_count = 1")
                client.stop_channels()
            return super().execute_managed_notebook(*args, km=kernel, **how)

    before = papermill_engines.get_engine()
    papermill_engines.register(None, OneKernel)
    try:
        yield
    finally:
        papermill_engines.register(None, before)
        if kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)


def not_run(notebook: Path, output: Path, parameters: dict[str, Any], reason: str) -> None:
    """Write, in the place of the executed `notebook`, a page with its title that says why it was not run."""
    page = _filled(notebook, _checked(notebook, parameters))
    title = next(cell for cell in page.cells if cell.cell_type == "markdown")
    head = title.source.partition("\n\n")[0]
    title.source = f"{head}\n\n:::{{admonition}} Not run\n:class: open\n{reason}\n:::\n"
    page.cells = [title]
    with exclusive_write(output), atomic_write(output) as made:
        nbformat.write(page, made)


def _checked(notebook: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters' values, or raise if the notebook does not know one."""
    if not notebook.is_file():
        raise MimiiError(f"{notebook}: no such notebook")
    try:
        known = papermill.inspect_notebook(str(notebook))
    except (ValueError, nbformat.ValidationError):  # nbformat's NotJSONError is a ValueError
        raise MimiiError(f"{notebook}: not a notebook; name an .ipynb file") from None
    for name in parameters:
        if name not in known:
            raise unknown_value(f"{notebook.name}: parameter", name, known)
    return {name: _value(value) for name, value in parameters.items()}


def _value(value: Any) -> Any:
    return yaml.safe_load(value) if isinstance(value, str) else value


def _filled(notebook: Path, values: dict[str, Any]) -> nbformat.NotebookNode:
    """Return the notebook with the marker filled in, except in code."""
    page, machine = nbformat.read(notebook, as_version=4), str(values.get("machine", PLACEHOLDER))
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(PLACEHOLDER, machine)
        cell.metadata = nbformat.from_dict(_replaced(cell.metadata, machine))
    return page


def _replaced(value: Any, machine: str) -> Any:
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, machine)
    if isinstance(value, dict):
        return {name: _replaced(item, machine) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, machine) for item in value]
    return value


def _tidy(page: nbformat.NotebookNode) -> None:
    """Take out what differs between two runs or tells of this machine: times and paths.

    The injected parameters stay in the executed notebook and off the page, which states its facts in a box.
    """
    page.metadata.pop("papermill", None)
    for cell in page.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("remove-cell")
            cell.id = "injected-parameters"  # papermill's is a random one
