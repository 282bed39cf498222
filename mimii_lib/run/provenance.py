"""Where a number came from: versions and commit."""

import hashlib
import json
import platform
import re
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mimii_lib.run.code_digest import COMPUTING
from mimii_lib.run.profiles import ROOT
from mimii_lib.settings import as_json


@cache
def describe() -> dict[str, str]:
    """Return the versions, as one line of JSON, and the commit, marked where files were changed since."""
    versions = {name: version(name) for name in COMPUTING}
    versions |= {"python": platform.python_version(), "mimii-image-transfer": version("mimii-image-transfer")}
    return {"versions": json.dumps(versions, sort_keys=True), "commit": commit()}


@cache
def commit() -> str:
    """Return the checkout's commit, ``unknown`` where there is none."""
    head, changes = _git("rev-parse", "--verify", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return f"{head}, with changes" if head and changes else head or "unknown"


def short(commit: str) -> str:
    """Return a commit in ten digits, with the mark."""
    return re.sub(r"(?<=^\w{10})\w*", "", commit)


def digest(value: Any) -> str:
    """Return a digest of what JSON can hold, the same for the same value."""
    return hashlib.sha256(as_json(value).encode()).hexdigest()


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)", info.read_text() if info.is_file() else "", flags=re.M)
    return names[0] if names else platform.processor() or platform.machine()


def _git(*words: str) -> str:
    with suppress(OSError):  # git is not installed; without a checkout it prints nothing
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True).stdout.strip()
    return ""
