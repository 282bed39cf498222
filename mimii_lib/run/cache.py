"""Results on disk, each under a key that is made of exactly what it depends on.

A result is a folder ``<stage>/<digest of the key>`` with the result, as joblib writes it, its key in plain text (the
settings and the identities of the inputs), and how long it took. It is written to a temporary name and moved into
place, so that it is there as a whole or not at all, whatever is killed; while one process computes it, others wait.
joblib's own ``Memory`` is not used, since it goes on with a warning where the disk is full.
"""

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import joblib
from filelock import FileLock
from platformdirs import user_cache_dir

from mimii_lib.data.files import atomic_write, file_digest, wait_for
from mimii_lib.errors import MimiiError
from mimii_lib.run import provenance
from mimii_lib.run.profiles import ROOT
from mimii_lib.settings import as_json


def default_folder() -> Path:
    """Return where results are kept: ``$MIMII_CACHE``, or ``.cache`` in a checkout, or the user's cache."""
    if named := os.environ.get("MIMII_CACHE"):
        return Path(named)
    return ROOT / ".cache" if (ROOT / "pyproject.toml").is_file() else Path(user_cache_dir("mimii"))


TOOK = "took.json"
"""Name of the file beside a result that says how long it took."""


class CacheKey:
    """What a result is and depends on.

    Parameters
    ----------
    stage
        Name of the stage: the folder of its results.
    key
        Everything the result depends on: settings, and the identity of the input.
    code
        Modules whose source the result depends on: a change in one of them makes it anew, and so does another version
        of a package that computes.
    """

    def __init__(self, stage: str, key: dict[str, Any], *code: ModuleType):
        self.stage = stage
        sources = {module.__name__: source_digest(module) for module in code}
        self.text = as_json(key | {"code": sources, "versions": provenance.describe()["versions"]})


class _Watches(threading.local):
    """The watches that run in a thread, the innermost last."""

    def __init__(self) -> None:
        self.running: list[dict[str, float]] = []


_WATCHES = _Watches()


@contextmanager
def timed(part: str) -> Iterator[dict[str, float]]:
    """Time a part of what a thread computes, apart from what surrounds it.

    Yields the seconds by part, which are there at the end: the part's own, and those of other parts within it.
    """
    seconds = {part: 0.0}
    began = perf_counter()
    _WATCHES.running.append(seconds)
    try:
        yield seconds
    finally:
        _WATCHES.running.pop()
        whole = perf_counter() - began
        seconds[part] += whole
        if _WATCHES.running:
            around = _WATCHES.running[-1]
            around[next(iter(around))] -= whole
            for name, spent in seconds.items():
                around[name] = around.get(name, 0.0) + spent


class ResultCache:
    """A folder of results.

    Parameters
    ----------
    folder
        Where the results are kept; :func:`default_folder` if None.
    threads
        Threads of this process, which are noted beside the time that a result took.

    Raises
    ------
    MimiiError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path | None = None, threads: int = 1):
        self.folder, self.threads = folder or default_folder(), threads
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise _not_kept(self.folder, error) from None

    def get(self, place: CacheKey, compute: Callable[[], Any]) -> Any:
        """Return what `compute` gives, computed once for this `place`.

        Parameters
        ----------
        place
            What the result is and depends on.
        compute
            Makes the result; called only if it is not there. Arrays come back mapped read-only from disk.

        Raises
        ------
        MimiiError
            If the result cannot be written.
        """
        result = self._file(place)
        if result.is_file():
            with suppress(Exception):  # a damaged file, whatever joblib says of it, is made anew
                return joblib.load(result, mmap_mode="r")
        with _locked(result.parent):
            if not _is_readable(result):
                with timed(place.stage) as seconds:
                    made = compute()
                    with atomic_write(result.with_name("key.json")) as file:
                        file.write_text(place.text)
                    with atomic_write(result) as file:
                        joblib.dump(made, file)
                with atomic_write(result.with_name(TOOK)) as file:
                    file.write_text(json.dumps({"threads": self.threads, "seconds": seconds}))
        return joblib.load(result, mmap_mode="r")

    def has(self, place: CacheKey) -> bool:
        """Tell whether the result of a `place` is there."""
        return self._file(place).is_file()

    def took(self, place: CacheKey) -> tuple[dict[str, float], int]:
        """Return the seconds that a result took, and the threads of the process that made it.

        The seconds are by part, its own under the name of its stage; there are none where that is not known.
        """
        with suppress(OSError, ValueError, KeyError):
            found = json.loads(self._file(place).with_name(TOOK).read_text())
            return dict(found["seconds"]), int(found["threads"])
        return {}, 1

    def _file(self, place: CacheKey) -> Path:
        return self.folder / place.stage / hashlib.sha256(place.text.encode()).hexdigest()[:32] / "result.joblib"


def _is_readable(result: Path) -> bool:
    """Tell whether a result is there and can be read."""
    try:
        joblib.load(result, mmap_mode="r")
    except Exception:
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a result's folder, and clear what a killed one left there."""
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with timed("waited"):
            lock.acquire()
    except OSError as error:
        raise MimiiError(
            f"{folder / 'lock'}: cannot be locked ({error.strerror}); see to its rights, or name another folder in the "
            "environment variable MIMII_CACHE"
        ) from None
    try:
        for left in folder.glob(".*"):
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


@cache
def source_digest(module: ModuleType) -> str:
    """Return a short digest of a module's source."""
    return file_digest(Path(str(module.__file__)))[:16]


@contextmanager
def exclusive_write(path: Path) -> Iterator[None]:
    """Let one process at a time work on a file: who comes later has the last word.

    A job can outlive a workflow that was killed. What the next one makes waits for it, and replaces what it made.
    """
    # Not beside the file, where it would stay behind.
    folder = default_folder() / "locks"
    lock = FileLock(folder / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        wait_for(lock, f"{path}: another process is at work on it; this one waits for its end")
    except OSError as error:
        raise _not_kept(folder, error) from None
    try:
        yield
    finally:
        lock.release()


def _not_kept(folder: Path, error: OSError) -> MimiiError:
    return MimiiError(
        f"{folder}: results cannot be kept here ({error.strerror}); "
        "name a folder that can be written to in the environment variable MIMII_CACHE"
    )
