"""Render the book into ``_build/html``, replacing an earlier one when complete: ``python book/render.py``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

BUILD = Path("_build")
UNFINISHED = BUILD / ".making"


def main() -> int:
    """Run Jupyter Book in the current folder and return its exit code."""
    BUILD.mkdir(exist_ok=True)
    # The lock waits for a renderer that outlived a killed run.
    with FileLock(BUILD / ".lock"):
        shutil.rmtree(UNFINISHED, ignore_errors=True)
        command = ["jupyter-book", "build", ".", "--path-output", str(UNFINISHED)]
        command += ["--all", "-q", "-W", "-n", "--keep-going"]
        # Standard output is dropped: it ends with the path of the folder that is about to move. Warnings go to stderr.
        paths = os.pathsep.join(filter(None, ["book", os.environ.get("PYTHONPATH")]))
        code = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.DEVNULL).returncode
        if code == 0:
            shutil.rmtree(BUILD / "html", ignore_errors=True)
            (UNFINISHED / "_build" / "html").rename(BUILD / "html")
        shutil.rmtree(UNFINISHED, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
