"""Where a number came from: versions and commit."""

import hashlib
import json
import platform
import subprocess
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
    head = _git("rev-parse", "HEAD")
    if head is None:
        return "unknown"
    return f"{head}, with changes" if _git("status", "--porcelain", "--untracked-files=no") else head


def short(commit: str) -> str:
    """Return a commit in ten digits, with the mark."""
    digits, _, mark = commit.partition(",")
    return digits[:10] + (f",{mark}" if mark else "")


def digest(value: Any) -> str:
    """Return a digest of what JSON can hold, the same for the same value."""
    return hashlib.sha256(as_json(value).encode()).hexdigest()


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(*words: str) -> str | None:
    try:
        process = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()
