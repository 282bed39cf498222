"""§4 Dataset: download MIMII's archives and unpack them; an interrupted download is resumed by the same call.

An archive has 7 to 11 GB, and its clips have eight channels, of which a run reads one. Archives are processed one
after another: downloaded to ``archives/<name>.part`` until size and md5 are the registered ones, unpacked clip by clip,
by default one channel of each, and removed. The clips are collected in a hidden folder, which is renamed to
``<snr>_dB_<machine>`` once it is complete.
"""

import csv
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import requests
import soundfile
from filelock import FileLock
from tqdm import tqdm

from mimii_lib import dataset
from mimii_lib.data.files import file_digest, wait_for
from mimii_lib.data.unpacking import CHANNELS, check_room, unpack
from mimii_lib.errors import MimiiError

URL = "https://zenodo.org/records/3384388/files/{name}?download=1"  # of MIMII's archives
TIMEOUT = 60.0  # seconds without a byte after which a connection is closed
WAITS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds to wait after the 1st, 2nd, … attempt in a row without progress; one more such attempt is an error."""
EXPANSION = 1.6  # estimate of the size of all clips over that of their archive; MIMII's is at most 1.55
_COLUMNS = {"name": r"-?\d+_dB_\w+\.zip", "bytes": r"[1-9]\d{0,14}", "md5": r"[0-9a-fA-F]{32}"}

Report = Callable[[str], None]


class Archive(NamedTuple):
    """A registered archive: file name, size in bytes, md5."""

    name: str
    bytes: int
    md5: str


def read_registry(file: Path | None = None) -> dict[str, Archive]:
    """Return the archives of a CSV with the columns name, bytes and md5, by name; None: MIMII's own.

    A file that cannot be read, or a row that is not such an archive, raises MimiiError.
    """
    expected = f"expected a CSV of {', '.join(_COLUMNS)}, such as -6_dB_fan.zip, its size, 32 hexadecimal digits"
    archives = {}
    try:
        with (file or resources.files("mimii_lib.data") / "archives.csv").open(encoding="utf-8-sig") as lines:
            for row in (reader := csv.DictReader(lines)):
                for column, pattern in _COLUMNS.items():
                    if not re.fullmatch(pattern, text := row.get(column) or ""):
                        raise MimiiError(f"{file}: line {reader.line_num}: {column} is '{text}'; {expected}")
                if row["name"] in archives:
                    raise MimiiError(f"{file}: line {reader.line_num}: {row['name']} a second time; expected it once")
                archives[row["name"]] = Archive(row["name"], int(row["bytes"]), row["md5"].lower())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MimiiError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}); {expected}") from None
    if not archives:
        raise MimiiError(f"{file}: no archive in it; {expected}")
    return archives


def fetch(
    dest: Path,
    *,
    snr: int,
    machines: Sequence[str],
    mirror: str | None = None,
    registry: Path | None = None,
    channel: int | None = 0,
    keep_archives: bool = False,
    report: Report = print,
) -> None:
    """Download and unpack the recordings of machine types that are not there yet.

    Parameters
    ----------
    dest
        The folder to hold ``<snr>_dB_<machine>/<machine>/id_00/normal/00000000.wav`` and the like; archives that are
        kept lie in its folder ``archives``.
    snr
        Signal-to-noise ratio in dB.
    mirror
        Where the archives are: an http(s) address, or a folder, which is only read; None: Zenodo.
    registry
        See :func:`read_registry`.
    channel
        The channel to keep, from 0; None: all of them.

    Raises
    ------
    MimiiError
        If the registered recordings cannot be had. What has arrived stays, and the same call resumes.
    """
    if channel is not None and channel not in range(CHANNELS):
        raise MimiiError(f"channel: found {channel}, expected a whole number from 0 to {CHANNELS - 1}")
    registered = read_registry(registry)
    names = [f"{snr}_dB_{machine}.zip" for machine in dict.fromkeys(machines)]
    if unknown := [name for name in names if name not in registered]:
        raise MimiiError(
            f"{registry or 'MIMII'}: no archive {unknown[0]}; expected one of {', '.join(registered)}: "
            "change the SNR or the machine types"
        )
    remote = mirror is None or mirror.lower().startswith(("http://", "https://"))
    folder = None if remote else Path(str(mirror)).expanduser()
    if folder and not (mirror and folder.is_dir()):
        raise MimiiError(f"mirror: {mirror}: no such folder; expected a folder of archives or an http(s) address")
    url = f"{mirror.rstrip('/')}/{{name}}" if mirror else URL
    dest = Path(dest).expanduser()
    if missing := _missing([ArchiveFiles(dest, registered[name], channel) for name in names], report):
        with _locked(dest, report):
            _fetch_missing(_missing(missing, report), folder, url, keep_archives, report)


def _missing(targets: Sequence["ArchiveFiles"], report: Report) -> list["ArchiveFiles"]:
    """Return the archives without recordings; report the others and remove what earlier attempts left of them."""
    missing = [target for target in targets if not target.is_there()]
    for target in targets:
        if target not in missing:
            report(f"{target.folder.name}: is there already")
            target.remove_leftovers()
    return missing


def _fetch_missing(
    targets: Sequence["ArchiveFiles"], folder: Path | None, url: str, keep_archives: bool, report: Report
) -> None:
    """Fetch and unpack one archive after another, from a folder or else from an address."""
    sizes = [0 if folder else max(target.archive.bytes - target.received(), 0) for target in targets]
    needed = sum(sizes) if keep_archives else max(sizes, default=0)
    needed += sum(target.bytes_to_unpack() for target in targets)
    if targets:
        check_room(targets[0].dest, needed, ", ".join(target.folder.name for target in targets))
    for target in targets:
        name, address = target.archive.name, url.replace("{name}", target.archive.name)  # it may hold other braces
        path = _from_folder(folder, target.archive) if folder else _from_server(target, address, report)
        others = unpack(path, target.unpacked, name=name, channel=target.channel)
        if keep_archives and not folder:
            path.replace(target.kept)
        target.unpacked.rename(target.folder)
        target.remove_leftovers()
        channels = "all channels" if target.channel is None else f"channel {target.channel}"
        report(f"{target.folder.name}: unpacked, {channels}" + f"; {others} other files left out" * bool(others))


@contextmanager
def _locked(dest: Path, report: Report) -> Iterator[None]:
    """Exclude other downloads to a folder, and turn errors of the file system into a sentence."""
    lock = FileLock(dest / ".download.lock")
    try:
        dest.mkdir(parents=True, exist_ok=True)
        wait_for(lock, f"{dest}: another download is at work here; waiting until it is done", report)
        yield
    except OSError as error:
        raise MimiiError(
            f"{error.filename or dest}: cannot be used ({error.strerror or error}); see that {dest} is a folder that "
            "can be written to and has room, and give the same command again: it goes on where it stopped"
        ) from None
    finally:
        lock.release()


class ArchiveFiles:
    """The files of one archive below the destination."""

    def __init__(self, dest: Path, archive: Archive, channel: int | None):
        self.dest, self.archive, self.channel = dest, archive, channel
        self.folder = dest / archive.name.removesuffix(".zip")  # of the clips, when all are unpacked
        channels = "all" if channel is None else channel
        self.unpacked = dest / f".{self.folder.name}.{channels}.{archive.md5[:8]}.part"  # clips so far
        self.part = dest / "archives" / f"{archive.name}.part"  # bytes received so far
        self.kept = dest / "archives" / archive.name  # by keep_archives

    def is_there(self) -> bool:
        """Return whether there are recordings of this SNR and machine type; raise if there are other files."""
        snr, machine = self.folder.name.split("_dB_")
        trees = dataset.trees(self.dest) if self.dest.is_dir() else {}
        tree = trees.get((int(snr), machine)) or trees.get((None, machine))
        labels = dataset.recordings(tree).values() if tree else []
        clips = [wav for wavs in labels for wav in (*wavs["normal"], *wavs["abnormal"])]
        if not clips and (tree or (self.folder.is_dir() and any(self.folder.iterdir()))):
            raise MimiiError(f"{self.folder}: is there and holds no recordings; take it away and repeat the command")
        with suppress(soundfile.SoundFileError):
            if clips and self.channel is None and soundfile.info(clips[0]).channels == 1:
                raise MimiiError(
                    f"{tree}: is there with one channel, all were asked for; take it away or name another folder"
                )
        return bool(clips)

    def received(self) -> int:
        """Return the bytes of the archive that have arrived."""
        return max((path.stat().st_size for path in (self.part, self.kept) if path.is_file()), default=0)

    def bytes_to_unpack(self) -> int:
        """Estimate the bytes of the clips that are still to be written."""
        size = int(EXPANSION * self.archive.bytes) // (1 if self.channel is None else CHANNELS)
        return max(size - sum(path.stat().st_size for path in self.unpacked.rglob("*.wav")), 0)

    def remove_leftovers(self) -> None:
        """Remove what attempts at this archive left."""
        self.part.unlink(missing_ok=True)
        for folder in self.dest.glob(f".{self.folder.name}.*.part"):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it is missing or holds other archives
            self.part.parent.rmdir()


def _from_folder(folder: Path, archive: Archive) -> Path:
    path = folder / archive.name
    if not path.is_file():
        raise MimiiError(f"{path}: no such archive; put it there or name another mirror")
    properties = (f"{path.stat().st_size} bytes", f"md5 {file_digest(path, 'md5')}")
    for value, expected in zip(properties, (f"{archive.bytes} bytes", f"md5 {archive.md5}"), strict=True):
        if value != expected:
            raise MimiiError(f"{path}: has {value}, expected {expected}; replace it or name another mirror")
    return path


def _from_server(target: ArchiveFiles, url: str, report: Report) -> Path:
    """Return the complete part of an archive; if its md5 is wrong, it is fetched once more, from the start."""
    name, expected = target.archive.name, target.archive.md5
    target.part.parent.mkdir(exist_ok=True)
    if target.kept.is_file():
        target.kept.replace(target.part)
    for attempt in (1, 2):
        _complete(target, url, report)
        if (md5 := file_digest(target.part, "md5")) == expected:
            return target.part
        target.part.unlink()
        if attempt == 1:
            report(f"{name}: has md5 {md5}, expected {expected}; fetched once more from the start")
    raise MimiiError(
        f"{name}: {url} gave md5 {md5}, expected {expected}; name another mirror, or the registry that belongs to it"
    )


def _complete(target: ArchiveFiles, url: str, report: Report) -> None:
    """Request the missing bytes until none is missing."""
    name, size = target.archive.name, target.archive.bytes
    largest, failures = target.received(), 0
    while target.received() < size:
        try:
            _request(target, url)
        except requests.RequestException as error:
            if isinstance(error, ValueError):
                raise MimiiError(f"mirror: {url}: not an address ({error}); expected one like {URL}") from None
            reason, retry_after = f"was not reached, fell silent or broke off ({type(error).__name__})", ""
            if error.response is not None:
                reason = f"answered {error.response.status_code} {error.response.reason}"
                retry_after = error.response.headers.get("Retry-After", "")
            # Progress is a larger part than ever: a server may start from 0 each time and break off.
            failures, largest = (0, target.received()) if target.received() > largest else (failures, largest)
            if failures == len(WAITS):
                raise MimiiError(
                    f"{name}: given up after {failures + 1} attempts in a row that brought nothing ({url} {reason}); "
                    f"{target.received()} of {size} bytes are kept, the same command goes on there"
                ) from None
            wait = max(WAITS[failures], min(int(retry_after), max(WAITS)) if retry_after.isdecimal() else 0)
            failures += 1
            report(f"{name}: the server {reason}; next attempt in {wait:.0f} s")
            time.sleep(wait)


def _request(target: ArchiveFiles, url: str) -> None:
    """Append the response to a request for the missing bytes, or replace the part if it begins at byte 0."""
    name, size, received = target.archive.name, target.archive.bytes, target.received()
    headers = {"Range": f"bytes={received}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status = response.status_code
        if status in (408, 429) or status >= 500:  # another attempt may be answered
            response.raise_for_status()
        if status not in (200, 206, 416):
            raise MimiiError(f"{name}: {url} answered {status} {response.reason}; name another mirror")
        length = response.headers.get("Content-Length", "?")
        extent = f"bytes 0-/{length}" if status == 200 else response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d*/(\d+)", extent)
        start, total = map(int, match.groups()) if match else (-1, -1)
        if total != size or start not in (0, received):  # checked before the part is touched
            raise MimiiError(
                f"{name}: {url} gave other bytes, expected bytes {received}-{size - 1}/{size}, found '{extent}'; "
                "name another mirror, or the registry that belongs to it"
            )
        bar = tqdm(desc=name, total=size, initial=start, unit="B", unit_scale=True, disable=None)
        with target.part.open("ab" if start else "wb") as part, bar:
            for chunk in response.iter_content(1 << 14):
                start += len(chunk)
                if start > size:
                    target.part.unlink()
                    raise MimiiError(f"{name}: {url} gave more than the {size} bytes expected; name another mirror")
                part.write(chunk)
                bar.update(len(chunk))
    if start < size:
        raise requests.ConnectionError("ended early")
