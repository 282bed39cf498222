"""A copy of the project to make a book in, so that its own pages and results stay as they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("Makefile", "Snakefile", "_config.yml", "_toc.yml", "constraints.txt", "pyproject.toml")
FOLDERS = ("book", "notebooks", "mimii_lib", "profiles", "tests", "benchmarks")


class Copy:
    """A copy of the project's sources in a folder, made where the folder has none yet, with the same environment.

    Attributes
    ----------
    env
        Environment variables of the commands that are started in the copy.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.env = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".venv").exists():
            for name in FILES:
                shutil.copy(ROOT / name, folder)
            for name in FOLDERS:
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            (folder / ".venv").symlink_to(sys.prefix)

    def start(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command in the copy, in a process group of its own; append what it prints to a log."""
        with log.open("ab") as out:
            return subprocess.Popen(
                words, cwd=self.folder, env=self.env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def book(self, log: Path, *config: str) -> subprocess.Popen[bytes]:
        """Start Snakemake, with configuration of the form ``name=value``."""
        words = ["--cores", str(os.cpu_count()), "--nolock", "--rerun-incomplete", "--quiet", "all"]
        words += ["--config", *config] if config else []
        return self.start([sys.executable, "-m", "snakemake", *words], log)
