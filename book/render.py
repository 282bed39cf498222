"""Render the book into ``_build/html``, replacing an earlier one when complete: ``python book/render.py``.

The contents list the pages of one machine type, the fan, or the one that is named: ``python book/render.py pump``.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

BUILD = Path("_build")
UNFINISHED = BUILD / ".making"


def main(first: str = "fan") -> int:
    """Run Jupyter Book in the current folder and return its exit code; the contents list the `first` machine type."""
    BUILD.mkdir(exist_ok=True)
    # The lock waits for a renderer that outlived a killed run.
    with FileLock(BUILD / ".lock"):
        shutil.rmtree(UNFINISHED, ignore_errors=True)
        UNFINISHED.mkdir()
        contents = UNFINISHED / "contents.yml"
        contents.write_text(Path("_toc.yml").read_text().replace("executed/fan/", f"executed/{first}/"))
        command = ["jupyter-book", "build", ".", "--path-output", str(UNFINISHED), "--toc", str(contents)]
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
    sys.exit(main(*sys.argv[1:]))
