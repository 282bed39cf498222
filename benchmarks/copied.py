"""A copy of the project to make a book in, so that its own pages and results stay as they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mimii_lib.run.profiles import ROOT

FILES = ("Snakefile", "_config.yml", "_toc.yml", "pyproject.toml")
FOLDERS = ("book", "notebooks", "mimii_lib", "profiles", "tests", "benchmarks")


class Copy:
    """A copy of the project's sources.

    Parameters
    ----------
    folder
        An empty folder, or one to make.

    Attributes
    ----------
    env
        Variables for what is started in it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.env = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
        folder.mkdir(parents=True, exist_ok=True)
        for each in FILES:
            shutil.copy(ROOT / each, folder)
        for each in FOLDERS:
            shutil.copytree(ROOT / each, folder / each, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "results").mkdir()
        (folder / "results" / "faults.json").write_text("[]")  # or the book would break things on purpose, too

    def start(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command in the copy, in a process group of its own, and append what it prints to a file."""
        with log.open("ab") as out:
            return subprocess.Popen(
                words, cwd=self.folder, env=self.env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def book(self, log: Path, *config: str) -> subprocess.Popen[bytes]:
        """Start the making of a book, with words of the form ``name=value``."""
        cores = ["--cores", str(os.cpu_count()), "--nolock", "--rerun-incomplete", "--quiet", "all"]
        return self.start([sys.executable, "-m", "snakemake", *cores, "--config", *config], log)
