"""§4 Dataset: fetch MIMII's archives and unpack them, in steps that can be interrupted anywhere and repeated.

An archive is 7 to 11 GB, and its clips have eight channels of which a run reads one. So archives are taken one
after another: fetched into ``archives/`` (on from where an earlier attempt stopped, until size and md5 are the
registered ones), unpacked clip by clip, one channel of each by default, and removed. The clips gather in a hidden
folder that gets its name ``<snr>_dB_<machine>`` when it is whole.
"""

import csv
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pooch
import requests
import soundfile
from filelock import FileLock
from tqdm import tqdm

from mimii_lib import dataset, paper
from mimii_lib.data.files import wait_for
from mimii_lib.data.unpacking import ALL_CHANNELS, CHANNELS, ONE_CHANNEL, check_room, unpack
from mimii_lib.errors import MimiiError

URL = "https://zenodo.org/records/3384388/files/{name}?download=1"
"""Where MIMII's archives lie."""

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""

WAITS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds to wait after the 1st, 2nd, … attempt in a row that brought nothing; after one more it is given up."""


_CHUNK = 1 << 16
_BUSY = (408, 429)  # with 5xx: answers that another attempt may change
_COLUMNS = {"name": r"-?\d+_dB_\w+\.zip", "bytes": r"[1-9]\d{0,14}", "md5": r"[0-9a-fA-F]{32}"}

_BAR: dict[str, Any] = {"unit": "B", "unit_scale": True, "disable": None}

Report = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """An archive as it is registered."""

    name: str
    bytes: int
    md5: str

    @property
    def stem(self) -> str:
        """The name of the folder that it is unpacked to: ``<snr>_dB_<machine>``."""
        return self.name.removesuffix(".zip")

    @property
    def machine(self) -> str:
        """The machine type."""
        return self.stem.split("_dB_")[1]


def read_registry(file: Path | None = None) -> dict[str, Archive]:
    """Return the archives that a CSV with the columns name, bytes, md5 registers, by name.

    Parameters
    ----------
    file
        The CSV; None: MIMII's own archives.

    Raises
    ------
    MimiiError
        If the file cannot be read or a row of it is not of this kind.
    """
    expected = f"expected a CSV of {', '.join(_COLUMNS)}, such as -6_dB_fan.zip, its size, 32 hexadecimal digits"
    try:
        with (file or files("mimii_lib.data") / "archives.csv").open(encoding="utf-8-sig") as lines:
            rows = [(reader.line_num, row) for reader in [csv.DictReader(lines)] for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise MimiiError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}); {expected}") from None
    archives: dict[str, Archive] = {}
    for number, row in rows:
        for column, pattern in _COLUMNS.items():
            if not re.fullmatch(pattern, found := row.get(column) or ""):
                raise MimiiError(f"{file}: line {number}: {column} is '{found}'; {expected}")
        if row["name"] in archives:
            raise MimiiError(f"{file}: line {number}: {row['name']} a second time; expected one row per archive")
        archives[row["name"]] = Archive(row["name"], int(row["bytes"]), row["md5"].lower())
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
    """Fetch and unpack the recordings of machine types, where they are not there yet.

    Parameters
    ----------
    dest
        The folder to hold ``<snr>_dB_<machine>/<machine>/id_00/normal/00000000.wav`` and the like.
    snr
        Signal-to-noise ratio in dB.
    machines
        Machine types.
    mirror
        Where the archives are: an http(s) address below which they lie, or a folder, in which they are only read;
        None: Zenodo.
    registry
        A CSV of the archives' names, sizes and md5s; None: those of MIMII.
    channel
        The channel to keep, from 0; None: all of them.
    keep_archives
        Leave a fetched archive in ``dest/archives``.
    report
        Called with a line on each thing that is worth telling.

    Raises
    ------
    MimiiError
        If the recordings cannot be had as they are registered. What has arrived so far stays, and the same call
        goes on from there.
    """
    if channel is not None and channel not in range(CHANNELS):
        raise MimiiError(f"channel: found {channel}, expected a whole number from 0 to {CHANNELS - 1}")
    registered = read_registry(registry)
    names = [f"{snr}_dB_{machine}.zip" for machine in dict.fromkeys(machines)]
    for name in names:
        if name not in registered:
            raise MimiiError(
                f"{registry or 'MIMII'}: no archive {name}; expected one of {', '.join(registered)}: "
                "change the SNR or the machine types"
            )
    remote = mirror is None or mirror.lower().startswith(("http://", "https://"))
    folder = None if remote else Path(str(mirror)).expanduser()
    if folder and not (mirror and folder.is_dir()):
        raise MimiiError(f"mirror: {mirror}: no such folder; expected a folder of archives or an http(s) address")
    url = f"{mirror.rstrip('/')}/{{name}}" if mirror else URL  # filled in by replace: an address may hold braces

    dest = Path(dest).expanduser()
    places = [_Place(dest, registered[name], channel) for name in names]
    if dest.is_dir():
        told = [place.there() for place in places]
        if all(told) and not any(place.left() for place in places):  # also in a folder that can only be read
            for line in told:
                report(str(line))
            return
    with _alone_in(dest, report):
        for stray in (dest / "archives").glob("tmp????????"):  # pooch's, of a process that was killed
            stray.unlink()
        missing = []
        for place in places:
            if line := place.there():
                report(line)
                place.tidy()
            else:
                missing.append(place)
        sizes = [0 if folder else place.to_fetch() for place in missing]
        needed = (sum(sizes) if keep_archives else max(sizes, default=0)) + sum(place.to_keep() for place in missing)
        check_room(dest, needed, ", ".join(place.archive.stem for place in missing))
        for place in missing:
            path = _in_folder(folder, place.archive) if folder else _from_server(place, url, report)
            left_out = unpack(path, place.clips, archive=place.archive.name, channel=channel)
            if not folder and not keep_archives:
                # Back to a whole part, which a repetition would use, and which is of no use beside the final folder.
                path.replace(place.part)
            place.clips.rename(place.final)
            place.tidy()
            kept = "all channels" if channel is None else f"channel {channel}"
            report(f"{place.archive.stem}: unpacked, {kept}" + f"; {left_out} other files left out" * bool(left_out))


@contextmanager
def _alone_in(dest: Path, report: Report) -> Iterator[None]:
    """Keep other downloads out of a folder, and tell in a sentence what the file system refuses."""
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


@dataclass(frozen=True)
class _Place:
    """An archive, and the files and folders that it passes through on its way to the final one."""

    dest: Path
    archive: Archive
    channel: int | None

    @property
    def final(self) -> Path:
        return self.dest / self.archive.stem

    @property
    def part(self) -> Path:
        return self.dest / "archives" / f"{self.archive.name}.part"

    @property
    def clips(self) -> Path:
        """The clips that are unpacked so far: other channels, or those of another archive, lie elsewhere."""
        kept = "all" if self.channel is None else self.channel
        return self.dest / f".{self.archive.stem}.{kept}.{self.archive.md5[:8]}.part"

    @property
    def published(self) -> int | None:
        """The number of clips, where the archive is MIMII's own."""
        if read_registry().get(self.archive.name) != self.archive:
            return None
        return sum(count.normal + count.abnormal for count in paper.MIMII[self.archive.machine].values())

    def there(self) -> str | None:
        """Return what to tell of recordings that are there already; None: they are to be fetched."""
        stem, machine, trees = self.archive.stem, self.archive.machine, dataset.trees(self.dest)
        folder = trees.get((int(stem.partition("_dB_")[0]), machine)) or trees.get((None, machine))
        if folder is None and not (self.final.is_dir() and any(self.final.iterdir())):
            return None
        found = dataset.recordings(folder).values() if folder else ()
        clips = [wav for labels in found for wavs in labels.values() for wav in wavs]
        if not clips:
            raise MimiiError(f"{self.final}: is there and holds no recordings; take it away and repeat the command")
        with suppress(soundfile.SoundFileError):
            if self.channel is None and soundfile.info(clips[0]).channels == 1:
                raise MimiiError(
                    f"{folder}: is there with one channel, all were asked for; take it away or name another folder"
                )
        said, n = f"{stem}: is there already", self.published
        if n is None or len(clips) >= n:
            return said
        return f"{said}, {len(clips):,} of its {n:,} clips; to fetch it again, take the folder away first"

    def left(self) -> bool:
        """Tell whether an earlier attempt left something."""
        return self.part.exists() or any(self.dest.glob(f".{self.archive.stem}.*.part"))

    def to_fetch(self) -> int:
        """Return the bytes of the archive that are still to come."""
        there = [path.stat().st_size for path in (self.part, self.part.with_suffix("")) if path.is_file()]
        return max(self.archive.bytes - max(there, default=0), 0)

    def to_keep(self) -> int:
        """Return the bytes of the clips that are still to come."""
        if self.published is not None:
            size = self.published * (ALL_CHANNELS if self.channel is None else ONE_CHANNEL)
        else:  # not known before the archive is there: sound is packed to more than half of its size
            size = 2 * self.archive.bytes // (1 if self.channel is None else CHANNELS)
        return max(size - sum(path.stat().st_size for path in self.clips.rglob("*.wav")), 0)

    def tidy(self) -> None:
        """Remove what is of no use once the final folder is there."""
        self.part.unlink(missing_ok=True)
        with suppress(OSError):  # it holds other archives
            self.part.parent.rmdir()
        for folder in self.dest.glob(f".{self.archive.stem}.*.part"):
            shutil.rmtree(folder)


def _in_folder(folder: Path, archive: Archive) -> Path:
    path = folder / archive.name
    if not path.is_file():
        raise MimiiError(f"{path}: no such archive; put it there or name another mirror")
    if (size := path.stat().st_size) != archive.bytes:
        raise MimiiError(f"{path}: has {size} bytes, expected {archive.bytes}; replace it or name another mirror")
    if (md5 := pooch.file_hash(path, "md5")) != archive.md5:
        raise MimiiError(f"{path}: has md5 {md5}, expected {archive.md5}; replace it or name another mirror")
    return path


def _from_server(place: _Place, url: str, report: Report) -> Path:
    """Fetch an archive into ``archives/``, from the start if what earlier attempts left turns out to be wrong."""
    archive, archives = place.archive, place.part.parent
    url = url.replace("{name}", archive.name)
    pooch.get_logger().setLevel("WARNING")  # it announces each download, with the folder's whole path
    shelf = pooch.create(archives, "", registry={archive.name: f"md5:{archive.md5}"}, urls={archive.name: url})
    for last in (False, True):
        transfer = _Transfer(archive, place.part, report)
        try:
            path = Path(shelf.fetch(archive.name, downloader=transfer))
        except MimiiError:
            raise
        except ValueError as error:  # the md5 is another: pooch's sentence ends with the one it found
            (archives / archive.name).unlink(missing_ok=True)
            place.part.unlink(missing_ok=True)
            found = re.findall(r"[0-9a-f]{32}", str(error))[-1]
            if last or not transfer.joined:
                raise MimiiError(
                    f"{archive.name}: {url} gave md5 {found}, expected {archive.md5}; name another mirror, or the "
                    "registry that belongs to this one"
                ) from None
            report(f"{archive.name}: put together from several attempts, it has md5 {found}; fetched from the start")
        else:
            place.part.unlink(missing_ok=True)
            break
    return path


@dataclass
class _Transfer:
    """A downloader for pooch that goes on where an earlier attempt stopped.

    Attributes
    ----------
    joined
        Whether the bytes come from more than one attempt.
    """

    archive: Archive
    part: Path
    report: Report
    joined: bool = False

    def have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        name, size = self.archive.name, self.archive.bytes
        most, failed = self.have(), 0
        self.joined = most > 0
        while self.have() < size:
            try:
                self._attempt(url)
            except requests.RequestException as error:
                if isinstance(error, ValueError):
                    raise MimiiError(f"mirror: {url}: not an address ({error}); expected one like {URL}") from None
                # A server that begins anew each time and never ends brings nothing either: it must get further.
                failed, most = (0, self.have()) if self.have() > most else (failed, most)
                if failed == len(WAITS):
                    raise MimiiError(
                        f"{name}: given up after {failed + 1} attempts in a row that brought nothing ({url} "
                        f"{_reason(error)}); {self.have()} of {size} bytes are kept, the same command goes on there"
                    ) from None
                asked = error.response.headers.get("Retry-After", "") if error.response is not None else ""
                wait = max(WAITS[failed], min(int(asked), max(WAITS)) if asked.isdecimal() else 0)
                failed += 1
                self.report(f"{name}: the server {_reason(error)}; next attempt in {wait:.0f} s")
                time.sleep(wait)
        made = Path(output_file)
        made.unlink()
        try:
            made.hardlink_to(self.part)  # pooch removes its file if it is interrupted: the part stays
        except OSError:  # a file system without links
            self.part.replace(made)

    def _attempt(self, url: str) -> None:
        name, size, have = self.archive.name, self.archive.bytes, self.have()
        asked = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        with requests.get(url, headers=asked, stream=True, timeout=TIMEOUT) as response:
            status = response.status_code
            if status in _BUSY or status >= 500:
                response.raise_for_status()
            if status not in (200, 206, 416):
                raise MimiiError(f"{name}: {url} answered {status} {response.reason}; name another mirror")
            start, total = _extent(response)
            if total != size:  # also a page where the archive should be, which would replace what is there
                raise MimiiError(
                    f"{name}: {url} has {'an unknown number of' if total is None else total} bytes, expected {size}; "
                    "name another mirror, or the registry that belongs to this one"
                )
            if start not in (0, have):
                raise MimiiError(f"{name}: asked for bytes from {have}, {url} gave others; name another mirror")
            self.joined = start > 0
            mode = "ab" if start else "wb"
            with self.part.open(mode) as file, tqdm(desc=name, total=size, initial=start, **_BAR) as done:
                for chunk in response.iter_content(_CHUNK):
                    start += len(chunk)
                    if start > size:
                        break
                    file.write(chunk)
                    done.update(len(chunk))
        if start > size:
            self.part.unlink()
            raise MimiiError(f"{name}: {url} gave more than the {size} bytes expected; name another mirror")
        if start < size:
            raise requests.ConnectionError("ended early")


def _extent(response: requests.Response) -> tuple[int | None, int | None]:
    """Return where an answer starts and how large the whole is."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    return (int(said[1]) if said[1] else None, int(said[2])) if said else (None, None)


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"was silent for {TIMEOUT:.0f} s"
    return f"was not reached or broke off ({type(error).__name__})"
