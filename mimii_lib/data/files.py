"""Files on disk: digests, locks, and atomic writes."""

import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from mimii_lib.errors import MimiiError


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def wait_for(lock: FileLock, sentence: str | None, report: Callable[[str], None] | None = None) -> None:
    """Acquire a lock; while another process holds it, report `sentence` (by default on stderr) and wait."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if sentence:
            report(sentence) if report else print(sentence, file=sys.stderr)
        lock.acquire()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that replaces it when the block ends without an error.

    The content is flushed to the disk before the replacement, so that a power cut leaves no empty file. A link stays,
    and what it leads to is replaced; a pipe, a device, or what the process prints to is written to.
    """
    if not path.name:
        raise MimiiError("file to write: found an empty name; name a file")
    printed = next((stream for stream in (1, 2) if _is_open_as(path, stream)), None)
    if printed is not None or (path.exists() and not path.is_file() and not path.is_dir()):
        with TemporaryDirectory() as folder:
            yield (content := Path(folder, path.name))
            try:
                sys.stdout.flush()
                with path.open("wb") if printed is None else open(printed, "wb", closefd=False) as stream:
                    stream.write(content.read_bytes())
            except OSError as error:
                raise _cannot_be_written(path, error) from None
        return
    path = path.resolve()
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_be_written(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _cannot_be_written(path: Path, error: OSError) -> MimiiError:
    return MimiiError(
        f"{path}: cannot be written ({error.strerror or error}); free some space or name another folder; "
        "nothing is lost, and the same command goes on"
    )


def _is_open_as(path: Path, descriptor: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def write_text(file: Path | str, text: str) -> None:
    """Write a text and a line break to a file at once, or to the standard output where it is called -."""
    if str(file) == "-":
        print(text)
        return
    with atomic_write(Path(file)) as part:
        part.write_text(text + "\n", encoding="utf-8")
