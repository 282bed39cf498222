"""Render the book beside the old one, which gives way when the new one is whole: ``python book/render.py``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

BUILD = Path("_build")
MADE = BUILD / ".making"


def main() -> int:
    """Run Jupyter Book; return its exit code."""
    BUILD.mkdir(exist_ok=True)
    # A run that was killed may have left a renderer at work: it ends first.
    with FileLock(BUILD / ".lock"):
        shutil.rmtree(MADE, ignore_errors=True)
        command = ["jupyter-book", "build", ".", "--path-output", str(MADE), "--all", "-q", "-W", "-n", "--keep-going"]
        # It would end by pointing at the folder that is about to move; what is wrong goes to the standard error.
        paths = os.pathsep.join(filter(None, ["book", os.environ.get("PYTHONPATH")]))
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.DEVNULL).returncode
        if done == 0:
            shutil.rmtree(BUILD / "html", ignore_errors=True)
            (MADE / "_build" / "html").rename(BUILD / "html")
        shutil.rmtree(MADE, ignore_errors=True)
    return done


if __name__ == "__main__":
    sys.exit(main())
