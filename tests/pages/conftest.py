"""A small book, rendered from the tests' own miniature."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
import yaml
from filelock import FileLock

from mimii_lib.run import notebooks

ROOT = Path(__file__).parents[2]
EXECUTED = (
    "executed/fan/02_spectrogram_imaging",
    "executed/table1",
    "executed/real_mimii",
)
"""Pages whose notebooks are executed; of the other notebooks, the small book holds only the titles."""


@pytest.fixture(scope="session")
def html(request, tmp_path_factory) -> Path:
    """Return the rendered small book: all pages for two machine types. It is made once for all workers."""
    if book := request.config.getoption("--book"):
        return book.resolve()
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "book"
    rendered = folder / "_build" / "html"
    with FileLock(f"{folder}.lock"):
        if not rendered.is_dir():
            write_sources(folder, request.getfixturevalue("tiny"))
            paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
            done = subprocess.run([sys.executable, "book/render.py"], cwd=folder, env=os.environ | paths)
            assert done.returncode == 0
    return rendered


def write_sources(folder: Path, data: Path) -> None:
    """Write the sources of the small book: the project's own, and notebooks of the fan; the valve is not run."""
    for name in ("book", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = (ROOT / "_config.yml").read_text()
    (folder / "_config.yml").write_text(
        re.sub('repository_url: ".*"', 'repository_url: "https://github.com/a/b"', config)
    )
    shutil.copy(ROOT / "_toc.yml", folder)
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    (folder / "tiny.yaml").write_text(
        f"data: {data}\nmachines: [fan]\nids: [id_00]\ndetectors: [kde]\nseeds: [0]\nweight_sources: [package]\n"
        "settings: {imaging: {patch_offset: 281}, detectors: {n_components: 2}}\n"
    )
    pages = [page["file"] for part in contents["parts"] for page in part["chapters"]]
    pages += [page.replace("fan", "valve") for page in pages if "/fan/" in page]
    with notebooks.shared_kernel() as kernel:
        for page in (Path(page) for page in pages if page.startswith("executed/")):
            source, target = next(folder.glob(f"notebooks/*{page.name}.ipynb")), folder / f"{page}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            if page.as_posix() in EXECUTED:
                known = papermill.inspect_notebook(str(source))
                parameters = {"machine": "fan", "profile": str(folder / "tiny.yaml")}
                notebooks.execute(
                    source, target, {name: parameters[name] for name in parameters.keys() & known}, kernel
                )
            else:
                of_type = {"machine": page.parts[1]} if len(page.parts) == 3 else {}
                notebooks.not_run(source, target, of_type, "not executed")
