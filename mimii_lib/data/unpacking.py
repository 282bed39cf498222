"""§4 Dataset: take clips out of an archive of MIMII, whole or read by byte ranges; only clips leave it."""

import io
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import soundfile
from tqdm import tqdm

from mimii_lib.data.files import atomic_write
from mimii_lib.data.formatting import gigabytes
from mimii_lib.data.sources import CHANNELS, Archive
from mimii_lib.errors import MimiiError

ONE_CHANNEL = 320_044  # bytes of a clip: 10 s of 16 bit at 16 kHz and a header
ALL_CHANNELS = CHANNELS * ONE_CHANNEL
LARGEST_CLIP = 4 * CHANNELS * ONE_CHANNEL  # bytes that no clip in an archive may exceed

BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError, struct.error)
_OUTSIDE = re.compile(r"^/|^\w:|\\|(?:^|/)\.\.(?:/|$)")  # absolute, with a drive, a backslash, or ..
_LOCAL_HEADER = 30 + 2 * 0xFFFF  # bytes that an entry may have before its content, at most


class Clip(NamedTuple):
    """An entry of an archive that is a clip: its machine ID, label and place, from byte `start` to before `end`."""

    id: str
    label: str
    entry: zipfile.ZipInfo
    start: int
    end: int

    @property
    def crc(self) -> str:
        """The CRC-32 of the clip as it is packed, 8 hexadecimal digits."""
        return f"{self.entry.CRC:08x}"

    def content(self, packed: bytes) -> bytes:
        """Return the clip from the bytes of its place; raise one of `BROKEN` where size or CRC-32 are other ones."""
        if packed[:4] != b"PK\3\4":
            raise zipfile.BadZipFile("no entry begins there")
        name_length, extra_length = struct.unpack("<HH", packed[26:30])
        content = io.BytesIO(packed[30 + name_length + extra_length :])
        with zipfile.ZipExtFile(content, "r", self.entry) as file:
            return _read(file, self.entry)


def check_room(dest: Path, needed: int, purpose: str) -> None:
    """Raise MimiiError if the disk of a folder has fewer free bytes than needed."""
    if needed > (free := shutil.disk_usage(dest).free):
        raise MimiiError(
            f"{dest}: {gigabytes(needed)} needed for {purpose}, {gigabytes(free)} free; "
            "make room, name fewer machine types or another folder"
        )


def unpack(path: Path, into: Path, *, archive: Archive, channel: int | None) -> tuple[dict[str, str], int]:
    """Write the clips of an archive that are not below the folder `into` yet.

    Returns the CRC-32 of each clip of the archive by its path below `into`, and the number of its other files.
    `channel` is the one to keep, from 0, or None to keep each clip as it is. A broken archive, or an entry that no
    archive of recordings has, raises MimiiError.
    """
    for temporary in into.rglob(".*"):  # a clip that a killed process was writing
        temporary.unlink()
    with intact(f"{path}: broken, though its md5 is the registered one"), zipfile.ZipFile(path) as file:
        clips = clip_entries(file, archive, path.stat().st_size)
        missing = {name: clip for name, clip in clips.items() if not (into / name).is_file()}
        check_room_for(missing.values(), channel, into.parent, archive)
        for name, clip in tqdm([*missing.items()], f"unpacking {archive.name}", unit="clip", disable=None):
            with file.open(clip.entry) as packed:
                content = kept_of(_read(packed, clip.entry), channel, f"{archive.name}: {name}")
            if len(content) > bytes_of([clip], channel):
                check_room_for(missing.values(), None, into.parent, archive)
            save(into / name, content)
            del missing[name]
        others = sum(not entry.is_dir() for entry in file.infolist()) - len(clips)
        return {name: clip.crc for name, clip in clips.items()}, others


@contextmanager
def intact(fault: str) -> Iterator[None]:
    """Turn what a broken archive raises into a sentence."""
    try:
        yield
    except BROKEN as error:
        raise MimiiError(f"{fault} ({error}); name another mirror and its registry") from None


def clip_entries(file: zipfile.ZipFile, archive: Archive, size: int) -> dict[str, Clip]:
    """Return the clips by their path below the archive's folder, or refuse an archive of `size` bytes."""
    name, clips, lower_case = archive.name, {}, set()  # a file system may not tell cases apart
    starts = sorted({entry.header_offset for entry in file.infolist()})
    for entry in file.infolist():
        match = archive.clip.fullmatch(entry.filename)
        path = match["path"] if match else ""
        largest = max(entry.file_size, entry.compress_size)
        faults = {
            "would lie outside of the folder": _OUTSIDE.search(entry.orig_filename),
            "is a link": stat.S_ISLNK(entry.external_attr >> 16),
            "is encrypted": entry.flag_bits & 1,
            "is there twice": path.lower() in lower_case,
            f"has {largest} bytes, more than a clip of 8 channels": path and largest > LARGEST_CLIP,
            f"begins at byte {entry.header_offset}, outside of the archive": not 0 <= entry.header_offset < size,
        }
        if fault := next((fault for fault, applies in faults.items() if applies), ""):
            raise MimiiError(
                f"{name}: entry {entry.orig_filename!r} {fault}; nothing of it is unpacked: take another archive"
            )
        if match:
            start = entry.header_offset
            after = bisect_right(starts, start)
            most = min(start + _LOCAL_HEADER + entry.compress_size, size)
            end = min(starts[after], most) if after < len(starts) else most
            clips[path] = Clip(match["id"], "normal" if match["label"] == "normal" else "abnormal", entry, start, end)
            lower_case.add(path.lower())
    if not clips:
        raise MimiiError(f"{name}: holds no clip; expected entries like {archive.example}")
    return clips


def check_room_for(clips: Iterable[Clip], channel: int | None, dest: Path, archive: Archive) -> None:
    """Raise MimiiError if clips of an archive do not fit on the disk of a folder."""
    check_room(dest, bytes_of(clips, channel), f"the clips of {archive.name}")


def bytes_of(clips: Iterable[Clip], channel: int | None) -> int:
    """Return the bytes that clips take on the disk, if those of the size of several channels have several.

    A clip of one channel is kept whole, however long it is: where one is found, the others are to be counted whole,
    too, as without a `channel`.
    """
    sizes = [clip.entry.file_size for clip in clips]
    return sum(ONE_CHANNEL if channel is not None and ONE_CHANNEL < size <= ALL_CHANNELS else size for size in sizes)


def save(path: Path, content: bytes, note: Callable[[], object] = lambda: None) -> None:
    """Write a clip; `note` is called once it is written and before it is in its place."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
        note()


def _read(file: IO[bytes] | zipfile.ZipExtFile, entry: zipfile.ZipInfo) -> bytes:
    try:
        content = file.read(LARGEST_CLIP)
    except OSError as error:  # as bz2 calls what it cannot decompress
        raise zipfile.BadZipFile(f"{entry.filename!r}: {error}") from None
    if len(content) != entry.file_size:
        raise zipfile.BadZipFile(f"{len(content)} bytes of {entry.filename!r}, expected {entry.file_size}")
    return content


def kept_of(content: bytes, channel: int | None, name: str) -> bytes:
    """Return one channel of a 16 bit wav file as a wav file; any other content unchanged, for ``mimii check``.

    Without a `channel` all are kept.
    """
    if channel is None:
        return content
    with suppress(soundfile.SoundFileError), soundfile.SoundFile(io.BytesIO(content)) as file:
        if file.channels > 1 and file.subtype == "PCM_16" and file.format.startswith("WAV"):
            if channel >= file.channels:
                raise MimiiError(f"{name}: has {file.channels} channels, so no channel {channel} (from 0)")
            sound, output = file.read(dtype="int16")[:, channel], io.BytesIO()
            soundfile.write(output, sound, file.samplerate, subtype="PCM_16", format="WAV")
            return output.getvalue()
    return content
