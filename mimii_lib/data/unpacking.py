"""§4 Dataset: unpack an archive of MIMII, clip by clip, and take nothing out of it that is not a clip."""

import io
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import soundfile
from tqdm import tqdm

from mimii_lib.data.files import atomic_write
from mimii_lib.data.formatting import gigabytes
from mimii_lib.errors import MimiiError

CHANNELS = 8
ONE_CHANNEL, ALL_CHANNELS = 320_044, 2_560_080
"""Bytes of a clip: 10 s of 16 bit at 16 kHz and a header."""

LARGEST_CLIP = 4 * ALL_CHANNELS
"""Bytes that no clip in an archive may exceed."""

_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError, struct.error)

_OUTSIDE = re.compile(r"^/|^\w:|\\|(?:^|/)\.\.(?:/|$)")


def check_room(dest: Path, needed: int, what: str) -> None:
    """Raise if the disk of a folder has less room than the bytes `needed`."""
    if needed > (free := shutil.disk_usage(dest).free):
        raise MimiiError(
            f"{dest}: {gigabytes(needed)} needed for {what}, {gigabytes(free)} free; "
            "make room, name fewer machine types or another folder"
        )


def unpack(path: Path, into: Path, *, archive: str, channel: int | None) -> int:
    """Write the clips of an archive that are not there yet.

    Parameters
    ----------
    path
        The archive: a zip whose md5 was checked.
    into
        The folder to hold ``<machine>/id_00/normal/00000000.wav`` and the like.
    archive
        Its name: ``<snr>_dB_<machine>.zip``.
    channel
        The channel to keep, from 0; None: all of them, and each clip as it is.

    Returns
    -------
    int
        The number of files in the archive that are not clips.

    Raises
    ------
    MimiiError
        If the archive is broken, or holds what no archive of recordings does: then nothing of it is unpacked.
    """
    for stray in into.rglob(".*"):  # a clip that was being written by a process that was killed
        stray.unlink()
    try:
        with zipfile.ZipFile(path) as packed:
            clips, left_out = _clips(packed, archive)
            missing = [(name, entry) for name, entry in clips.items() if not (into / name).is_file()]
            most = LARGEST_CLIP if channel is None else ONE_CHANNEL
            needed = sum(min(entry.file_size, most) for _, entry in missing)
            check_room(into.parent, needed, f"the clips of {archive}")
            for name, entry in tqdm(
                missing, desc=f"unpacking {archive.removesuffix('.zip')}", unit="clip", disable=None
            ):
                with packed.open(entry) as file:
                    clip = file.read(LARGEST_CLIP)
                if channel is not None:
                    clip = _one_channel(clip, channel, f"{archive}: {name}")
                with atomic_write(into / name) as made:
                    made.write_bytes(clip)
    except _BROKEN as error:
        raise MimiiError(
            f"{path}: broken, though its md5 is the registered one ({error}); name another mirror and its registry"
        ) from None
    return left_out


def _clips(packed: zipfile.ZipFile, archive: str) -> tuple[dict[str, zipfile.ZipInfo], int]:
    """Return the entries that are clips, by where they belong, and the number of other files.

    Raises
    ------
    MimiiError
        If any entry is one that no archive of recordings has: then nothing of it is unpacked.
    """
    stem = archive.removesuffix(".zip")
    machine = stem.split("_dB_")[1]
    clip = re.compile(
        rf"(?:{re.escape(stem)}/)?"
        rf"({re.escape(machine)}/id_\d\d/(?:normal|abnormal)/[^/.][^/]*\.(?i:wav))"
    )
    found: dict[str, zipfile.ZipInfo] = {}
    folded = set()
    left_out = 0
    for entry in packed.infolist():
        if _OUTSIDE.search(entry.orig_filename):
            raise _refused(archive, entry, "would lie outside of the folder")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _refused(archive, entry, "is a link")
        if entry.flag_bits & 1:
            raise _refused(archive, entry, "is encrypted")
        if not (said := clip.fullmatch(entry.filename.removeprefix("./"))):
            left_out += not entry.is_dir()
            continue
        if said[1].lower() in folded:
            raise _refused(archive, entry, "is there twice")
        if entry.file_size > LARGEST_CLIP:
            raise _refused(archive, entry, f"has {entry.file_size} bytes, more than a clip of {CHANNELS} channels")
        found[said[1]] = entry
        folded.add(said[1].lower())
    if not found:
        raise MimiiError(f"{archive}: holds no clip; expected entries like {machine}/id_00/normal/00000000.wav")
    return found, left_out


def _refused(archive: str, entry: zipfile.ZipInfo, reason: str) -> MimiiError:
    return MimiiError(
        f"{archive}: entry {entry.orig_filename!r} {reason}; nothing of it is unpacked: take another archive"
    )


def _one_channel(clip: bytes, channel: int, name: str) -> bytes:
    """Return a wav file of one channel of a wav file of 16 bit; any other as it is: ``mimii check`` looks at it."""
    try:
        with soundfile.SoundFile(io.BytesIO(clip)) as file:
            if file.channels == 1 or file.subtype != "PCM_16" or not file.format.startswith("WAV"):
                return clip
            if channel >= file.channels:
                raise MimiiError(f"{name}: has {file.channels} channels, so no channel {channel} (from 0)")
            sound, rate = file.read(dtype="int16"), file.samplerate
    except soundfile.SoundFileError:
        return clip
    made = io.BytesIO()
    soundfile.write(made, sound[:, channel], rate, subtype="PCM_16", format="WAV")
    return made.getvalue()
