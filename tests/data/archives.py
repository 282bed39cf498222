"""Archives of short clips like those of both sources, and what a download of them leaves."""

import csv
import hashlib
import io
import zipfile

import numpy as np
import soundfile

from mimii_lib import dataset


def wav_bytes(sound, format="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, subtype, format=format)
    return file.getvalue()


def clip(seed, *, channels=8, samples=2000, format="WAVEX", **how):
    """Return the bytes of a wav file of noise, as MIMII's own files of 8 channels."""
    sound = np.random.default_rng(seed).integers(-(2**15), 2**15, (samples, channels), dtype=np.int16)
    return wav_bytes(sound, format, **how)


def packed(entries):
    """Return the bytes of a zip of `entries`, (name or ZipInfo, bytes) each: the same at any time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name) if isinstance(name, str) else name
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def kept(folder):
    """Return what a download leaves, as bytes by name: all files, hidden ones too, but its lock and its record."""
    others = (".download.lock", dataset.DOWNLOADED)
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in others]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def channel_of(content, channel=0):
    """Return one channel of a wav file as a wav file; None: the file."""
    return (
        content
        if channel is None
        else wav_bytes(soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)[0][:, channel])
    )


def register(files, registry, *, sized=True):
    """Write the registry of archives, with their sizes or without, and return its path."""
    with registry.open("w", newline="") as lines:
        rows = [(name, len(file) if sized else "", hashlib.md5(file).hexdigest()) for name, file in files.items()]
        csv.writer(lines).writerows([("name", "bytes", "md5"), *rows])
    return registry


NAME = "-6_dB_fan.zip"
CLIPS = [f"fan/id_0{i}/{label}/0000000{k}.wav" for i in (0, 2) for label in dataset.LABELS for k in (0, 1)]
ENTRIES = [(path, clip(n)) for n, path in enumerate(CLIPS)]
ARCHIVE = packed(ENTRIES)
PUMP = packed([(path.replace("fan", "pump"), content) for path, content in ENTRIES[::-1]])
FILES = {NAME: ARCHIVE, "-6_dB_pump.zip": PUMP}
EXPECTED = {f"-6_dB_fan/{path}": channel_of(content) for path, content in ENTRIES}

DCASE = "dev_data_fan.zip"
MONO = [
    (f"fan/{part}/{label}_id_0{i}_0000000{k}.wav", clip(100 * i + 10 * n + k, channels=1, samples=4000, format="WAV"))
    for i in (0, 2)
    for n, (part, label) in enumerate([("test", "anomaly"), ("test", "normal"), ("train", "normal")])
    for k in range(3)
]
SMALL = packed(MONO)
