"""Kept results on disk, each under a cache key of exactly what it depends on.

A result is a folder ``<stage>/<digest of the key>`` with the result, its key in plain text (settings, identities of the
inputs, digest of the code, versions), the seconds that it took, and a seal: a digest of key and result together. What a
seal does not fit, such as the result of another key, is computed anew. Results are arrays (npy), tables (parquet) and
state dicts: reading them executes nothing. A result is written to a temporary name and moved into place, so that it is
there as a whole or not at all, whatever is killed; while one process computes it, others wait for it.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.lib.format import open_memmap
from platformdirs import user_cache_dir

from mimii_lib.data.files import atomic_write, file_digest, wait_for
from mimii_lib.errors import MimiiError
from mimii_lib.run.code_digest import code_digest, package_versions
from mimii_lib.run.profiles import IN_CHECKOUT, ROOT
from mimii_lib.settings import as_json


@dataclass(frozen=True)
class Format:
    """How a kind of result is written to a file and read back without executing anything."""

    suffix: str
    write: Callable[[Any, Path], Any]
    read: Callable[[Path], Any]


ARRAY = Format(
    ".npy",
    lambda array, file: np.save(file, array, allow_pickle=False),
    partial(open_memmap, mode="r"),
)
"""Arrays come back mapped read-only from disk."""
TABLE = Format(".parquet", lambda table, file: table.to_parquet(file), pd.read_parquet)
STATE = Format(
    ".pt",
    lambda state, file: import_module("torch").save(state, file),  # which takes seconds to import
    lambda file: import_module("torch").load(file, weights_only=True),
)
"""Dictionaries of tensors and numbers."""
SEAL = "seal.txt"


@dataclass(frozen=True)
class CacheKey:
    """What a kept result is and depends on."""

    stage: str  # the folder of its results
    function: Callable[..., Any]  # computes it: its code and all that it reaches by imports belong to the key
    inputs: Mapping[str, Any]  # settings and identities of the inputs; an earlier stage by the digest of its key
    format: Format = ARRAY

    @cached_property
    def text(self) -> str:
        """The key in plain text: one line of JSON."""
        code = {"code": code_digest(self.function), "versions": package_versions(self.function)}
        return as_json(dict(self.inputs) | code)

    @cached_property
    def digest(self) -> str:
        """A digest of the key."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


def default_folder() -> Path:
    """Return where results are kept: ``$MIMII_CACHE``, or ``.cache`` in a checkout, or the user's cache."""
    if named := os.environ.get("MIMII_CACHE"):
        return Path(os.path.expanduser(named))
    return ROOT / ".cache" if IN_CHECKOUT else Path(user_cache_dir("mimii"))


class ResultCache:
    """A folder of kept results (None: :func:`default_folder`); raises if it cannot be written to."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or default_folder()
        self._checked: set[tuple[Any, ...]] = set()  # files, by name, size and dates, whose seal this object has seen
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise _cannot_keep(self.folder, error) from None

    def get(self, key: CacheKey, compute: Callable[[], Any]) -> Any:
        """Return the result of `compute`, which is called only if no result is kept under this key."""
        file = self._file(key)
        with suppress(Exception):  # a missing or damaged file is computed anew, whatever its reader says of it
            return self._sealed(key, file)
        with _locked(file.with_name("lock")):
            with suppress(Exception):  # another process has computed it meanwhile
                return self._sealed(key, file)
            for path in file.parent.iterdir():  # what a killed process left, and what is no file of ours
                if path.name[0] == "." or not _is_regular(path):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            start = perf_counter()
            result = compute()
            timing = {"seconds": perf_counter() - start, "threads": import_module("torch").get_num_threads()}
            with atomic_write(file) as temporary:
                key.format.write(result, temporary)
                texts = {"key.json": key.text, "timing.json": json.dumps(timing), SEAL: _seal(key, temporary)}
                for name, text in texts.items():
                    with atomic_write(file.with_name(name)) as beside:
                        beside.write_text(text, encoding="utf-8")
        return key.format.read(file)

    def _sealed(self, key: CacheKey, file: Path) -> Any:
        """Return what a file holds; raise if there is none, or its seal is not that of its key and content."""
        if not (_is_regular(file) and _is_regular(file.with_name(SEAL))):
            raise ValueError("nothing that can be read")
        status = file.stat()
        known = (file, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if known not in self._checked:
            if file.with_name(SEAL).read_text() != _seal(key, file):
                raise ValueError("another content or key")
            self._checked.add(known)
        return key.format.read(file)

    def has(self, key: CacheKey) -> bool:
        """Tell whether the result of a key is kept."""
        return self._file(key).is_file()

    def timing(self, key: CacheKey) -> tuple[float, int]:
        """Return the seconds that a kept result took, 0 where that is not known, and the threads of that process."""
        file = self._file(key).with_name("timing.json")
        with suppress(OSError, ValueError, KeyError, TypeError):
            timing = json.loads(file.read_text() if _is_regular(file) else "")
            return float(timing["seconds"]), int(timing["threads"])
        return 0.0, 1

    def _file(self, key: CacheKey) -> Path:
        return self.folder / key.stage / key.digest / f"result{key.format.suffix}"


def _is_regular(file: Path) -> bool:
    """Return whether this is a file, and no link or pipe, which may never end."""
    return file.is_file() and not file.is_symlink()


def _seal(key: CacheKey, file: Path) -> str:
    return hashlib.sha256(f"{key.digest} {file_digest(file)}".encode()).hexdigest()


def exclusive_write(path: Path) -> AbstractContextManager[None]:
    """Serialise the processes that write a file: the last one wins.

    A job can outlive a workflow that was killed; the job of the next workflow waits for it and replaces its file.
    """
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    # Not beside the file, where the lock would stay behind.
    return _locked(default_folder() / "locks" / name, f"{path}: another process is writing it; waiting for its end")


@contextmanager
def _locked(file: Path, waiting: str | None = None) -> Iterator[None]:
    """Let one process at a time into the block; `waiting` is printed while another is in it."""
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        wait_for(lock, waiting)
    except OSError as error:
        raise _cannot_keep(file.parent, error) from None
    try:
        yield
    finally:
        lock.release()


def _cannot_keep(folder: Path, error: OSError) -> MimiiError:
    return MimiiError(
        f"{folder}: results cannot be kept here ({error.strerror}); "
        "name a folder that can be written to in the environment variable MIMII_CACHE"
    )
