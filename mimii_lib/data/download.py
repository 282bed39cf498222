"""§4 Dataset: download MIMII's recordings and unpack them; an interrupted download is resumed by the same call.

A whole archive is downloaded to ``archives/<name>.part`` until size and md5 are the registered ones, unpacked clip by
clip, by default one channel of each, and removed. Its clips are collected in a hidden folder, which is renamed once it
is complete. Single clips are fetched from where they lie in the archive (:mod:`mimii_lib.data.selection`). The record
``download.json`` tells what came from where, and how it was checked.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import requests
import soundfile
from filelock import FileLock
from tqdm import tqdm

from mimii_lib import dataset
from mimii_lib.data import record
from mimii_lib.data.files import file_digest, wait_for
from mimii_lib.data.remote import LocalFile, RemoteFile, Report, chunks, patiently, request, without_password
from mimii_lib.data.selection import Selection, fetch_clips
from mimii_lib.data.sources import Archive, holding, read_registry, reason
from mimii_lib.data.unpacking import check_room, unpack
from mimii_lib.errors import MimiiError

THERE = "is there already"
EXPANSION = 1.6  # estimate of the size of all clips over that of their archive; MIMII's is at most 1.55


def fetch(
    dest: Path,
    *,
    snr: int,
    machines: Sequence[str],
    source: str = "auto",
    ids: Sequence[str] | None = None,
    clips: int | None = None,
    abnormal: int | None = None,
    seed: int = 0,
    mirror: str | None = None,
    registry: Path | None = None,
    channel: int | None = 0,
    keep_archives: bool = False,
    first_contact: Callable[[str], object] = lambda address: None,
    report: Report = print,
) -> None:
    """Download and unpack the recordings of machine types that are not there yet.

    With none of `ids`, `clips` and `abnormal`, whole archives are fetched, otherwise single clips by byte ranges.

    Parameters
    ----------
    dest
        The folder to hold MIMII's ``<snr>_dB_<machine>`` or DCASE's ``<machine>``, and kept archives in ``archives``.
    snr
        Signal-to-noise ratio in dB.
    source
        ``mimii``, ``dcase2020``, or ``auto``: the one that the folder has already, or else the smaller one that holds
        what is wanted.
    ids
        Machine IDs; None: all.
    clips, abnormal, seed
        Number of normal and of abnormal clips of each machine ID, drawn by the seed, or all where there are fewer;
        `clips` None: all, `abnormal` None: as many as `clips`.
    mirror, registry
        Where the archives are: an http(s) address, or a folder, which is only read; None: Zenodo. The file that
        registers them is that of :func:`read_registry`.
    channel
        The channel to keep, from 0; None: all of them.
    first_contact
        Called with the address of the first archive before anything is requested from a server.

    Raises
    ------
    MimiiError
        If the registered recordings cannot be had. What has arrived stays, and the same call resumes.
    """
    selection = Selection.wanted(ids, clips, abnormal, seed)
    where, dest = Mirror(mirror), Path(os.path.expanduser(dest))
    held = partial(holding, read_registry(registry), registry=str(registry or "MIMII"), source=source, channel=channel)
    targets = [_target(dest, held(snr=snr, machine=machine), channel) for machine in dict.fromkeys(machines)]
    if missing := _missing(targets, selection, report):
        if smaller := [target for target in missing if target.archive != target.larger]:
            report(reason([target.archive for target in smaller], [target.larger for target in smaller]))
        with _locked(dest, report):
            missing = _missing(missing, selection, report)
            if missing and not where.folder:
                first_contact(where.address(missing[0].archive))
            _fetch_missing(missing, selection, where, keep_archives, report)


def _target(dest: Path, archives: Sequence[Archive], channel: int | None) -> "ArchiveFiles":
    """Return the files of the archive that is begun already, or else of the first one; the last one is the larger."""
    options = [ArchiveFiles(dest, archive, channel, archives[-1]) for archive in archives]
    return next((option for option in options if option.is_begun()), options[0])


class Mirror:
    """Where the archives are: a folder, an address, or the Zenodo records of the registry (None)."""

    def __init__(self, where: str | None):
        self.url, self.folder = where and where.rstrip("/"), None
        if where is not None and not where.lower().startswith(("http://", "https://")):
            self.folder = Path(os.path.expanduser(where))
            if not (where and self.folder.is_dir()):
                raise MimiiError(
                    f"mirror: {where}: no such folder; expected a folder of archives or an http(s) address"
                )

    def address(self, archive: Archive) -> str:
        """Return the address, or the path, of an archive."""
        if self.folder:
            path = self.folder / archive.name
            if not path.is_file():
                raise MimiiError(f"{path}: no such archive; put it there or name another mirror")
            return str(path)
        return f"{self.url}/{archive.name}" if self.url else f"{archive.record}/files/{archive.name}?download=1"

    def with_size(self, archive: Archive, report: Report) -> Archive:
        """Return an archive with its size, which must be the registered one if there is one."""
        name, url = archive.name, self.address(archive)
        if self.folder:
            size = Path(url).stat().st_size
            if archive.bytes not in (0, size):
                raise _not_registered(url, f"{size} bytes", f"{archive.bytes} bytes")
            return archive._replace(bytes=size)

        def stated_size() -> int:
            with request(name, url, 0, 0, 1) as (_, _, size):
                return size

        return archive if archive.bytes else archive._replace(bytes=patiently(stated_size, name, url, report))

    def file(self, archive: Archive) -> LocalFile | RemoteFile:
        """Return an archive for reading by byte ranges."""
        url = self.address(archive)
        return LocalFile(Path(url)) if self.folder else RemoteFile(archive.name, url, archive.bytes)


def _missing(targets: Sequence["ArchiveFiles"], selection: Selection | None, report: Report) -> list["ArchiveFiles"]:
    """Return the archives whose recordings are not there; report the others and remove what attempts left of them."""
    missing = [target for target in targets if not target.is_there(selection)]
    for target in targets:
        if target not in missing:
            report(f"{target.folder.name}: {THERE}")
            target.remove_leftovers()
    return missing


def _fetch_missing(
    targets: Sequence["ArchiveFiles"], selection: Selection | None, where: Mirror, keep_archives: bool, report: Report
) -> None:
    """Fetch a selection of clips of each archive, or whole archives."""
    for target in targets:
        target.archive = where.with_size(target.archive, report)
    if selection is None:
        _fetch_archives(targets, where, keep_archives, report)
        return
    for target in targets:
        target.remove_temporaries()
        fetch_clips(target.dest, target.archive, where.file(target.archive), selection, target.channel, report)


def _fetch_archives(targets: Sequence["ArchiveFiles"], where: Mirror, keep_archives: bool, report: Report) -> None:
    """Fetch and unpack one whole archive after another."""
    sizes = [0 if where.folder else max(target.archive.bytes - target.received(), 0) for target in targets]
    needed = sum(sizes) if keep_archives else max(sizes, default=0)
    needed += sum(target.bytes_to_unpack() for target in targets)
    if targets:
        check_room(targets[0].dest, needed, ", ".join(target.folder.name for target in targets))
    for target in targets:
        archive, address = target.archive, where.address(target.archive)
        path = _from_folder(Path(address), archive) if where.folder else _from_server(target, address, report)
        clips, others = unpack(path, target.unpacked, archive=archive, channel=target.channel)
        if keep_archives and not where.folder:
            path.replace(target.kept)
        crcs = {f"{archive.folder}/{clip}": crc for clip, crc in clips.items()}
        entry = record.new_entry(archive, address, target.channel, record.BY_ARCHIVE, clips=crcs)
        if target.folder.exists():  # single clips of it
            shutil.rmtree(target.replaced, ignore_errors=True)
            target.folder.rename(target.replaced)
        # The record comes first: without it, recordings that are there count as somebody's own.
        record.save(target.dest, entry)
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

    def __init__(self, dest: Path, archive: Archive, channel: int | None, larger: Archive):
        self.dest, self.archive, self.channel, self.larger = dest, archive, channel, larger
        self.folder = dest / archive.folder  # of the clips
        channels = "all" if channel is None else channel
        self.unpacked = dest / f".{self.folder.name}.{channels}.{archive.md5[:8]}.part"  # clips so far
        self.replaced = dest / f".{self.folder.name}.replaced.part"  # single clips that a whole archive replaces
        self.part = dest / "archives" / f"{archive.name}.part"  # bytes received so far
        self.kept = dest / "archives" / archive.name  # by keep_archives

    def is_begun(self) -> bool:
        """Return whether something of this archive is there."""
        paths = (self.part, self.kept, self.unpacked, self.folder)
        return any(path.exists() for path in paths) or self.archive.name in record.load(self.dest)

    def is_there(self, selection: Selection | None) -> bool:
        """Return whether the recordings that are wanted are there; raise if there are other files in their place.

        Recordings that no record calls single clips are somebody's own, or whole, and count as all that is wanted.
        """
        snr, machine = self.archive.snr, self.archive.machine
        trees = dataset.trees(self.dest) if self.dest.is_dir() else {}
        tree = trees.get((snr, machine)) or trees.get((None, machine))
        labels = dataset.recordings(tree).values() if tree else []
        clips = [wav for wavs in labels for wav in (*wavs["normal"], *wavs["abnormal"])]
        with suppress(soundfile.SoundFileError):
            if clips and self.channel is None and soundfile.info(clips[0]).channels == 1:
                raise MimiiError(
                    f"{tree}: is there with one channel, all were asked for; take it away or name another folder"
                )
        for entry in record.load(self.dest).values():
            if (entry["snr"], entry["machine"], entry["checked"]) == (snr, machine, record.BY_CLIP):
                return self._is_sample_there(entry, selection, bool(clips))
        if not clips and (tree or (self.folder.is_dir() and any(self.folder.iterdir()))):
            raise MimiiError(f"{self.folder}: is there and holds no recordings; take it away and repeat the command")
        return bool(clips)

    def _is_sample_there(self, entry: Mapping[str, Any], selection: Selection | None, any_clips: bool) -> bool:
        """Return whether the single clips that are there are those wanted; raise if they came from elsewhere."""
        wanted = (self.archive.name, "all" if self.channel is None else self.channel)
        if any_clips and (entry["name"], entry["channel"]) != wanted:
            raise MimiiError(
                f"{self.dest}: holds single clips of {entry['name']}, channel {entry['channel']}, of the "
                f"{entry['machine']} at {entry['snr']} dB, so none of {wanted[0]}, channel {wanted[1]}, can be added; "
                f"take the folder of the {entry['machine']} away, or name source {entry['source']} or another folder"
            )
        arrived = selection is not None and any(map(selection.is_part_of, entry["selections"]))
        return any_clips and arrived and all((self.dest / path).is_file() for path in entry["clips"])

    def received(self) -> int:
        """Return the bytes of the archive that have arrived."""
        return max((path.stat().st_size for path in (self.part, self.kept) if path.is_file()), default=0)

    def bytes_to_unpack(self) -> int:
        """Estimate the bytes of the clips that are still to be written."""
        size = int(EXPANSION * self.archive.bytes) // (1 if self.channel is None else self.archive.channels)
        return max(size - sum(path.stat().st_size for path in self.unpacked.rglob("*.wav")), 0)

    def remove_temporaries(self) -> None:
        """Remove single clips that a killed process was writing."""
        for temporary in self.folder.rglob(f".*-{'[0-9a-f]' * 8}.[wW][aA][vV]"):
            temporary.unlink()

    def remove_leftovers(self) -> None:
        """Remove what attempts at this archive left."""
        self.part.unlink(missing_ok=True)
        for folder in self.dest.glob(f".{self.folder.name}.*.part"):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it is missing or holds other archives
            self.part.parent.rmdir()


def _not_registered(path: Path | str, value: str, expected: str) -> MimiiError:
    return MimiiError(f"{path}: has {value}, expected {expected}; replace it or name another mirror")


def _from_folder(path: Path, archive: Archive) -> Path:
    if (md5 := file_digest(path, "md5")) != archive.md5:
        raise _not_registered(path, f"md5 {md5}", f"md5 {archive.md5}")
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
        f"{name}: {without_password(url)} gave md5 {md5}, expected {expected}; name another mirror, or the registry "
        "that belongs to it"
    )


def _complete(target: ArchiveFiles, url: str, report: Report) -> None:
    """Request the missing bytes until none is missing."""
    if target.received() < target.archive.bytes:
        patiently(
            lambda: _request(target, url),
            target.archive.name,
            url,
            report,
            progress=target.received,
            kept=lambda: f"{target.received()} of {target.archive.bytes} bytes are kept",
        )


def _request(target: ArchiveFiles, url: str) -> None:
    """Append the response to a request for the missing bytes, or replace the part if it begins at byte 0."""
    name, size, received = target.archive.name, target.archive.bytes, target.received()
    with request(name, url, size, received) as (response, arrived, _):
        bar = tqdm(desc=name, total=size, initial=arrived, unit="B", unit_scale=True, disable=None)
        with target.part.open("ab" if arrived else "wb") as part, bar:
            for chunk in chunks(response):
                arrived += len(chunk)
                if arrived > size:
                    target.part.unlink()
                    url = without_password(url)
                    raise MimiiError(f"{name}: {url} gave more than the {size} bytes expected; name another mirror")
                part.write(chunk)
                bar.update(len(chunk))
    if arrived < size:
        raise requests.ConnectionError("ended early")
