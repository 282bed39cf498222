"""Files on a server, whole or by byte ranges, with patience where a server or a connection fails for a while."""

import io
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import requests
from urllib3.exceptions import HTTPError

from mimii_lib.errors import MimiiError

TIMEOUT = 60.0  # seconds without a byte after which a connection is closed
WAITS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds to wait after the 1st, 2nd, … attempt in a row without progress; one more such attempt is an error."""
CHUNK = 1 << 14  # bytes that are taken from a connection at a time
TAIL = 1 << 20  # bytes at the end of an archive that are read first; MIMII's central directories take about half
LARGEST_DIRECTORY = 1 << 26  # bytes
# Zenodo asks programs to name themselves: it has kept out those that say "python-requests".
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "mimii-image-transfer"}

Report = Callable[[str], None]
Result = TypeVar("Result")


class TooSlow(requests.ConnectionError):
    """A server gave a few bytes a minute."""


class WrongContent(requests.RequestException):
    """A server gave other bytes than the archive's directory promises; another attempt may give the right ones."""


def without_password(url: str) -> str:
    """Return an address as it may be shown: without the name and password of a user."""
    return re.sub(r"(?<=//)[^/]*@", "", url)


def chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes of a response as they arrive; raise RequestException if they stop, or come too slowly."""
    begin, arrived = time.monotonic(), 0
    try:
        while chunk := response.raw.read1(CHUNK):
            yield chunk
            arrived += len(chunk)
            if (now := time.monotonic()) - begin > TIMEOUT:
                if arrived < CHUNK:
                    raise TooSlow(f"{arrived} bytes in {TIMEOUT:.0f} s")
                begin, arrived = now, 0
    except HTTPError as error:
        raise requests.ConnectionError(str(error)) from None


def patiently(
    attempt: Callable[[], Result],
    name: str,
    url: str,
    report: Report,
    *,
    progress: Callable[[], int] = lambda: 0,
    kept: Callable[[], str] = lambda: "what is there is kept",
) -> Result:
    """Return what `attempt` returns; repeat it, after a wait, while a server or a connection fails.

    `progress` is the number of bytes that have arrived, `kept` says what of them is kept. Attempts in a row that bring
    fewer than `CHUNK` are limited by `WAITS`; one more raises MimiiError.
    """
    largest, failures, url = progress(), 0, without_password(url)
    while True:
        try:
            return attempt()
        except MimiiError:
            raise
        except (requests.RequestException, ValueError) as error:
            if not isinstance(error, requests.RequestException) or isinstance(error, ValueError):
                raise MimiiError(
                    f"mirror: {url}: not an address, or it leads to none; expected one like http://host/a"
                ) from None
            reason, minimum = f"was not reached, fell silent or broke off ({type(error).__name__})", 0.0
            if isinstance(error, WrongContent):
                reason = str(error)
            elif error.response is not None:
                reason = f"answered {error.response.status_code} {error.response.reason}"
                minimum = _retry_after(error.response.headers.get("Retry-After", ""))
            # A server may start from 0 each time and break off, or send a few bytes and fall silent.
            failures = 0 if progress() >= largest + CHUNK else failures
            largest = max(largest, progress())
            if failures == len(WAITS):
                raise MimiiError(
                    f"{name}: given up after {failures + 1} attempts in a row that brought nothing or little "
                    f"({url} {reason}); {kept()}, the same command goes on there"
                ) from None
            wait = max(WAITS[failures], min(minimum, max(WAITS)))
            failures += 1
            report(f"{name}: the server {reason}; next attempt in {wait:.0f} s")
            time.sleep(wait)


def _retry_after(text: str) -> float:
    """Return the seconds that a header Retry-After names, as a number or a date; 0 if it is neither."""
    try:
        return int(text) if text.isdecimal() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0


@contextmanager
def request(
    name: str, url: str, size: int, start: int, end: int | None = None, session: requests.Session | None = None
) -> Iterator[tuple[requests.Response, int, int]]:
    """Request the bytes of a file from `start` to before `end`, or to its end.

    Yields the response, the place of its first byte, which is `start`, or 0 if the server gives the whole file, and the
    size of the file, which is `size`, if that is not 0. A status that another attempt may change raises
    RequestException; any other one, and bytes of another file, raise MimiiError.
    """
    headers = HEADERS | {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
    with (session or requests).get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status, url = response.status_code, without_password(url)
        if status in (408, 429) or status >= 500:
            response.raise_for_status()
        if status not in (200, 206, 416):
            raise MimiiError(f"{name}: {url} answered {status} {response.reason}; name another mirror")
        length = response.headers.get("Content-Length", "?")
        extent = f"bytes 0-/{length}" if status == 200 else response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d*/(\d+)", extent)
        first, total = map(int, match.groups()) if match else (-1, -1)
        if first not in (0, start) or total != (size or total):
            raise MimiiError(
                f"{name}: {url} gave other bytes, expected bytes {start}-{f'{size - 1}/{size}' if size else ''}, found "
                f"'{extent}'; name another mirror, or the registry that belongs to it"
            )
        yield response, first, total


class RemoteFile:
    """A file on a server, read by byte ranges; a range that broke off is completed by the next attempt at it.

    `received` counts the bytes that have arrived, and `count` is called with the number of new ones.
    """

    def __init__(self, name: str, url: str, size: int):
        self.name, self.where, self.size, self._url = name, without_password(url), size, url
        self.received = 0
        self.count: Callable[[int], object] = lambda _: None
        self._session = requests.Session()
        self._version: dict[str, str] = {}
        self._begun: dict[tuple[int, int], bytearray] = {}

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`; raise RequestException if they do not arrive."""
        begun = self._begun.setdefault((start, end), bytearray())
        first = start + len(begun)
        with request(self.name, self._url, self.size, first, end, self._session) as (response, answered, _):
            if answered != first or response.status_code == 200:
                raise MimiiError(
                    f"{self.name}: {self.where} gave the whole file for a byte range, and single clips need ranges; "
                    "download whole archives (leave out --ids, --clips and --abnormal) or name another mirror"
                )
            for key in ("ETag", "Last-Modified"):
                now = response.headers.get(key) or self._version.get(key, "")
                if (before := self._version.setdefault(key, now)) not in ("", now):
                    raise MimiiError(
                        f"{self.name}: {self.where} changed between two requests ({key} {before}, then {now}); give "
                        "the same command again: it reads the new directory and fetches what differs"
                    )
            for chunk in chunks(response):
                arrived = chunk[: end - start - len(begun)]
                begun += arrived
                self.received += len(arrived)
                self.count(len(arrived))
                if len(begun) == end - start:
                    return bytes(self._begun.pop((start, end)))
        raise requests.ConnectionError("ended early")


class LocalFile:
    """A file in a folder, read as a :class:`RemoteFile` is."""

    def __init__(self, path: Path):
        self.where, self.size, self.received = str(path), path.stat().st_size, 0
        self.count: Callable[[int], object] = lambda _: None

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`."""
        with Path(self.where).open("rb") as file:
            file.seek(start)
            self.count(end - start)
            return file.read(end - start)


class SeekableFile(io.RawIOBase):
    """The file object that :mod:`zipfile` reads a central directory from; the end of the file is read first."""

    def __init__(self, file: RemoteFile | LocalFile):
        self._file, self._position, self._tail_start = file, 0, max(file.size - TAIL, 0)
        self._tail = file.read(self._tail_start, file.size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as files do."""
        self._position = (0, self._position, self._file.size)[whence] + offset
        if self._position < 0:
            raise OSError("before the first byte")
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, or all to the end."""
        rest = max(self._file.size - self._position, 0)
        start, size = self._position, rest if size is None or size < 0 else min(size, rest)
        if size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory would have {size} bytes")
        self._position += size
        if start >= self._tail_start:
            return self._tail[start - self._tail_start :][:size]
        return self._file.read(start, start + size)
