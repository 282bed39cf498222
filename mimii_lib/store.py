"""Results on disk, each under a key that is made of exactly what it depends on.

joblib's ``Memory`` does the work: it writes to a temporary name and moves the file into place, and keeps the
key in plain text (``metadata.json``) beside each result.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from joblib import Memory
from platformdirs import user_cache_dir

from mimii_lib import provenance
from mimii_lib.errors import MimiiError
from mimii_lib.settings import ROOT, as_json


def default_folder() -> Path:
    """Return where results are kept: ``$MIMII_CACHE``, or ``.cache`` in a checkout, or the user's cache."""
    if named := os.environ.get("MIMII_CACHE"):
        return Path(named)
    return ROOT / ".cache" if (ROOT / "pyproject.toml").is_file() else Path(user_cache_dir("mimii"))


def _result(stage: str, key: str, compute: Callable[[], Any]) -> Any:
    return compute()


class Store:
    """A folder of results.

    Parameters
    ----------
    folder
        Where the results are kept; :func:`default_folder` if None.

    Raises
    ------
    MimiiError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder or default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MimiiError(
                f"{self.folder}: results cannot be kept here ({error.strerror}); "
                "name a folder that can be written to in the environment variable MIMII_CACHE"
            ) from None
        self._kept = Memory(self.folder, mmap_mode="r", verbose=0).cache(_result, ignore=["compute"])

    def get(self, stage: str, key: dict[str, Any], compute: Callable[[], Any], *code: ModuleType) -> Any:
        """Return what `compute` gives, computed once for this `stage` and `key`.

        Parameters
        ----------
        stage
            Name of the stage, for the reader of the folder.
        key
            Everything the result depends on: settings, and the identity of the input.
        compute
            Makes the result; called only if it is not there. Arrays come back mapped read-only from disk.
        code
            Modules whose source the result depends on: a change in one of them makes it anew, and so does
            another version of a package that computes.
        """
        key = key | {"code": {module.__name__: source_digest(module) for module in code}}
        key |= {"versions": provenance.describe()["versions"]}
        return self._kept(stage, as_json(key), compute)


@cache
def source_digest(module: ModuleType) -> str:
    """Return a short digest of a module's source."""
    return file_digest(Path(str(module.__file__)))[:16]


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` to write to, which takes its place when all is written, or never."""
    if not path.name:
        raise MimiiError("file to write: found an empty name; name a file")
    made = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield made
        made.replace(path)
    except OSError as error:
        raise MimiiError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            made.unlink()
