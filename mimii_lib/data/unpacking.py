"""§4 Dataset: unpack an archive of MIMII clip by clip; only clips leave it."""

import io
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import soundfile
from tqdm import tqdm

from mimii_lib.data.files import atomic_write
from mimii_lib.data.formatting import gigabytes
from mimii_lib.errors import MimiiError

CHANNELS = 8
ONE_CHANNEL = 320_044  # bytes of a clip: 10 s of 16 bit at 16 kHz and a header
LARGEST_CLIP = 4 * CHANNELS * ONE_CHANNEL  # bytes that no clip in an archive may exceed

_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError, struct.error)
_OUTSIDE = re.compile(r"^/|^\w:|\\|(?:^|/)\.\.(?:/|$)")  # absolute, with a drive, a backslash, or ..


def check_room(dest: Path, needed: int, purpose: str) -> None:
    """Raise MimiiError if the disk of a folder has fewer free bytes than needed."""
    if needed > (free := shutil.disk_usage(dest).free):
        raise MimiiError(
            f"{dest}: {gigabytes(needed)} needed for {purpose}, {gigabytes(free)} free; "
            "make room, name fewer machine types or another folder"
        )


def unpack(path: Path, into: Path, *, name: str, channel: int | None) -> int:
    """Write the clips of an archive that are not below the folder `into` yet; return the number of its other files.

    `name` is the archive's, ``<snr>_dB_<machine>.zip``; `channel` is the one to keep, from 0, or None to keep each clip
    as it is. A broken archive, or an entry that no archive of recordings has, raises MimiiError.
    """
    for temporary in into.rglob(".*"):  # a clip that a killed process was writing
        temporary.unlink()
    try:
        with zipfile.ZipFile(path) as archive:
            clips = _clip_entries(archive, name)
            missing = {clip: entry for clip, entry in clips.items() if not (into / clip).is_file()}
            largest = LARGEST_CLIP if channel is None else ONE_CHANNEL
            needed = sum(min(entry.file_size, largest) for entry in missing.values())
            check_room(into.parent, needed, f"the clips of {name}")
            for clip, entry in tqdm(missing.items(), f"unpacking {name}", unit="clip", disable=None):
                with archive.open(entry) as file:
                    content = file.read(LARGEST_CLIP)
                if channel is not None:
                    content = _one_channel(content, channel, f"{name}: {clip}")
                with atomic_write(into / clip) as temporary:
                    temporary.write_bytes(content)
            return sum(not entry.is_dir() for entry in archive.infolist()) - len(clips)
    except _BROKEN as error:
        raise MimiiError(
            f"{path}: broken, though its md5 is the registered one ({error}); name another mirror and its registry"
        ) from None


def _clip_entries(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """Return the entries that are clips by their path below the destination, or refuse the archive."""
    stem = re.escape(name.removesuffix(".zip"))
    machine = name.removesuffix(".zip").split("_dB_")[1]
    clip = re.compile(rf"(?:\./)?(?:{stem}/)?({machine}/id_\d\d/(?:normal|abnormal)/[^/.][^/]*\.(?i:wav))")
    clips: dict[str, zipfile.ZipInfo] = {}
    lower_case = set()  # a file system may not tell cases apart
    for entry in archive.infolist():
        path = match[1] if (match := clip.fullmatch(entry.filename)) else ""
        faults = {
            "would lie outside of the folder": _OUTSIDE.search(entry.orig_filename),
            "is a link": stat.S_ISLNK(entry.external_attr >> 16),
            "is encrypted": entry.flag_bits & 1,
            "is there twice": path.lower() in lower_case,
            f"has {entry.file_size} bytes, more than a clip of 8 channels": path and entry.file_size > LARGEST_CLIP,
        }
        if fault := next((fault for fault, applies in faults.items() if applies), ""):
            raise MimiiError(
                f"{name}: entry {entry.orig_filename!r} {fault}; nothing of it is unpacked: take another archive"
            )
        if path:
            clips[path] = entry
            lower_case.add(path.lower())
    if not clips:
        raise MimiiError(f"{name}: holds no clip; expected entries like {machine}/id_00/normal/00000000.wav")
    return clips


def _one_channel(content: bytes, channel: int, name: str) -> bytes:
    """Return one channel of a 16 bit wav file as a wav file; any other content unchanged, for ``mimii check``."""
    with suppress(soundfile.SoundFileError), soundfile.SoundFile(io.BytesIO(content)) as file:
        if file.channels > 1 and file.subtype == "PCM_16" and file.format.startswith("WAV"):
            if channel >= file.channels:
                raise MimiiError(f"{name}: has {file.channels} channels, so no channel {channel} (from 0)")
            sound, output = file.read(dtype="int16")[:, channel], io.BytesIO()
            soundfile.write(output, sound, file.samplerate, subtype="PCM_16", format="WAV")
            return output.getvalue()
    return content
