"""Files on disk: digests, locks, and writing that is whole or not at all."""

import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from mimii_lib.errors import MimiiError


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


REMEDY = "free some space or name another folder; nothing is lost, and the same command goes on"
"""What to do where a file cannot be written."""


def wait_for(lock: FileLock, sentence: str, report: Callable[[str], None] | None = None) -> None:
    """Acquire a lock; where another process holds it, report this sentence and wait."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        (report or partial(print, file=sys.stderr))(sentence)
        lock.acquire()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` to write to, which takes its place when all is written, or never.

    What was written is on the disk before it takes its place, so that a power cut leaves no empty file there.
    """
    if not path.name:
        raise MimiiError("file to write: found an empty name; name a file")
    made = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield made
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        made.replace(path)
    except OSError as error:
        raise MimiiError(f"{path}: cannot be written ({error.strerror or error}); {REMEDY}") from None
    finally:
        with suppress(OSError):
            made.unlink()
