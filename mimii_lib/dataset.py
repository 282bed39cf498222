"""§4 Dataset: find, read and split the recordings of MIMII.

Conventions
-----------
A *clip* is one wav file. A *clip table* has one row per clip with its machine ``id``, its ``label`` (normal or
abnormal) and its ``path``, relative to the data folder, with forward slashes. *Splits* are a table with the columns
``seed``, ``path`` and ``role`` (train or test). A *waveform* is float32 of shape (samples,) in [-1, 1].

Two directory layouts are read: MIMII's ``<snr>_dB_<machine>/<machine>/id_0X/{normal,abnormal}/*.wav``, with or without
the outer folder, and that of DCASE 2020 Task 2, ``<machine>/{train,test}/{normal,anomaly}_id_0X_*.wav``, which holds
MIMII's recordings at -6 dB. Nothing is ever written into a folder of recordings. :func:`read` takes the settings
:class:`mimii_lib.settings.Imaging`, :func:`split` takes :class:`mimii_lib.settings.Split`. None: the paper's.
"""

import io
import json
import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from mimii_lib import paper
from mimii_lib.errors import MimiiError, shown, unknown_value
from mimii_lib.settings import Imaging, Settings, Split

LABELS = ("normal", "abnormal")
MARKER = "miniature.json"  # file at the top of the miniature's tree that marks it as the miniature
DOWNLOADED = "download.json"  # file at the top of a tree that records what ``mimii download`` put there
_OUTER = re.compile(r"(-?\d+)_dB_(\w+)")
_ID = re.compile(r"id_\d\d")
_DCASE = re.compile(r"(normal|anomaly)_(id_\d\d)_\w+")
_PATH = re.compile(  # of a clip in either layout
    rf"(?:(?P<snr>-?\d+)_dB_\w+/)?(?P<machine>{'|'.join(paper.MACHINES)})/"
    r"(?:(?P<id>id_\d\d)/(?:normal|abnormal)/[^/]+|(?:train|test)/(?:normal|anomaly)_(?P<dcase>id_\d\d)_\w+\.\w+)"
)
LOUDEST = 10.0  # times full scale: floating-point samples may exceed 1, but nothing recorded is 20 dB above it


def data_folder(data: Path | str | None) -> Path:
    """Return the folder of the recordings, or raise if there is none."""
    if data is None:
        raise MimiiError("data: no folder named; name the one that holds the recordings")
    folder = Path(os.path.expanduser(data))
    if not folder.is_dir():
        raise MimiiError(f"{data}: no such folder; expected one that holds MIMII's <snr>_dB_<machine> folders")
    return folder


def trees(data: Path) -> dict[tuple[int | None, str], Path]:
    """Return the machine folders below `data` by (SNR in dB, machine type).

    The SNR is None for MIMII's layout without the outer folder, whose name alone gives the SNR.
    """
    machines: dict[tuple[int | None, str], Path] = {}
    key: tuple[int | None, str]
    outer = _OUTER.fullmatch(data.resolve().name)  # where `data` is the outer folder itself
    for folder in sorted(path for path in _listed(data) if path.is_dir()):
        if folder.name[0] == ".":  # of a download that is not complete
            continue
        below = _OUTER.fullmatch(folder.name)
        if not os.access(folder, os.R_OK | os.X_OK):
            if below or folder.name in paper.MACHINES:
                _listed(folder)  # raises
            continue
        if below and (folder / below[2]).is_dir():
            key, folder = (int(below[1]), below[2]), folder / below[2]
        elif _id_folders(folder):
            key = (int(outer[1]) if outer and outer[2] == folder.name else None, folder.name)
        elif recordings(folder):
            key = (-6, folder.name)  # the SNR of MIMII's recordings in DCASE 2020 Task 2
        else:
            continue
        if key in machines:
            both = " and ".join(sorted(path.relative_to(data).as_posix() for path in (machines[key], folder)))
            raise MimiiError(f"{data}: {both} both hold the {key[1]} at {key[0]} dB; move one of them away")
        machines[key] = folder
    return machines


def recordings(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Return the wav files of a machine folder by machine ID and label, in either layout."""
    wavs = {path.name: {label: sorted(_wavs(path / label)) for label in LABELS} for path in _id_folders(folder)}
    for wav in sorted([*_wavs(folder / "test"), *_wavs(folder / "train")]):
        if name := _DCASE.fullmatch(wav.stem):
            label = "normal" if name[1] == "normal" else "abnormal"
            wavs.setdefault(name[2], {label: [] for label in LABELS})[label].append(wav)
    return dict(sorted(wavs.items()))


def _id_folders(folder: Path) -> list[Path]:
    return sorted(path for path in _listed(folder) if path.is_dir() and _ID.fullmatch(path.name))


def _wavs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # A broken link, a folder or a pipe counts as a clip, so that reading it is an error, not a smaller data set.
    return [path for path in _listed(folder) if path.suffix.lower() == ".wav" and path.name[0] != "."]


def _listed(folder: Path) -> list[Path]:
    try:
        if not os.access(folder, os.R_OK | os.X_OK):
            raise PermissionError(0, "no right to list it and to enter it")
        return list(folder.iterdir())
    except OSError as error:
        raise MimiiError(f"{folder}: cannot be opened ({error.strerror}); see to its rights or move it away") from None


def clips(data: Path, machine: str, snr: int, ids: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the clip table of a machine type (§4).

    `data` holds the machines, in either layout; MIMII's without the outer folder is taken to have this `snr` in dB.
    Without `ids`, all machine IDs are in the table. A machine type, SNR or ID that does not exist raises MimiiError.
    """
    if machine not in paper.MACHINES:
        raise unknown_value("machine", machine, paper.MACHINES)
    data = data_folder(data)
    machines = trees(data)
    folder = machines.get((snr, machine)) or machines.get((None, machine))
    if folder is None:
        names = ", ".join(sorted({name if db is None else f"{name} at {db} dB" for db, name in machines}))
        raise MimiiError(
            f"{data}: no recordings of the {machine} at {snr} dB; found {names or 'no machine at all'}; "
            f"expected a folder {snr}_dB_{machine}/{machine}/id_00/normal"
        )
    wavs = recordings(folder)
    if not wavs:
        raise MimiiError(f"{folder}: holds no machine ID; expected folders such as id_00 with normal and abnormal")
    ids = list(wavs if ids is None else ids)
    for machine_id in ids:
        if machine_id not in wavs:
            raise unknown_value(f"{folder.relative_to(data).as_posix()}: machine ID", machine_id, wavs)
    return clip_table(data, {machine_id: wavs[machine_id] for machine_id in ids})


def clip_table(data: Path, wavs: dict[str, dict[str, list[Path]]]) -> pd.DataFrame:
    """Return the clip table of the wav files that :func:`recordings` returns, which lie below `data`."""
    rows = [
        (machine_id, label, wav.relative_to(data).as_posix())
        for machine_id, by_label in wavs.items()
        for label in LABELS
        for wav in by_label[label]
    ]
    for *_, path in rows:
        if re.search("[\ud800-\udfff]", path):  # what Python reads where a name is no UTF-8
            raise MimiiError(f"{data}: {os.fsencode(path)!r} is no name in UTF-8; rename it")
    return pd.DataFrame(rows, columns=["id", "label", "path"])


def content(path: Path) -> bytes:
    """Return the bytes of a clip, or raise MimiiError if it cannot be opened."""
    try:
        if path.exists() and not path.is_file():  # a folder, or a pipe, which would be waited for
            raise MimiiError(f"{path}: cannot be read as a wav file (no regular file); replace it or leave it out")
        return path.read_bytes()
    except FileNotFoundError:
        raise MimiiError(f"{path}: cannot be read (no such file); replace it or leave it out") from None
    except OSError as error:
        raise MimiiError(f"{path}: cannot be opened ({error.strerror}); see to its rights or leave it out") from None


def read(path: Path, settings: Imaging | None = None, of_file: bytes | None = None) -> NDArray[np.float32]:
    """Return the waveform of a clip, (samples,): one channel or the mean of all; a mono file has only one (§4).

    `of_file` is its :func:`content`; None: it is read. Another rate or length than that of `settings`, and what
    :func:`decoded` refuses, raises MimiiError.
    """
    settings, of_file = settings or Imaging(), content(path) if of_file is None else of_file
    waveform, rate = decoded(path, of_file, settings.channel)
    if rate != settings.sample_rate:
        raise MimiiError(
            f"{path}: sample rate is {rate} Hz, expected {settings.sample_rate} Hz; resample it or leave it out"
        )
    if len(waveform) != settings.samples:
        raise MimiiError(
            f"{path}: {len(waveform)} samples ({len(waveform) / rate:.2f} s) found, expected {settings.samples} "
            f"({settings.seconds} s); replace it or leave it out"
        )
    return waveform


def decoded(path: Path, of_file: bytes, channel: int | str, kind: str = "wav file") -> tuple[NDArray[np.float32], int]:
    """Return the waveform of a recording, (samples,), and its sample rate in Hz.

    `of_file` is its :func:`content` and `kind` what an error says was expected. No sound, a missing `channel`, or a
    sample that is not finite or far above full scale raises MimiiError.
    """
    try:
        sound, rate = soundfile.read(io.BytesIO(of_file), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError, EOFError):
        raise MimiiError(
            f"{path}: cannot be read as a {kind} ({len(of_file)} bytes); replace it or leave it out"
        ) from None
    n_channels = sound.shape[1]
    if isinstance(channel, int) and channel >= n_channels > 1:
        raise MimiiError(f"{path}: has {n_channels} channels, so no channel {channel} (from 0)")
    if not np.isfinite(sound).all():
        raise MimiiError(f"{path}: holds samples that are not finite numbers; replace it or leave it out")
    if (loudest := np.abs(sound).max(initial=0)) > LOUDEST:
        raise MimiiError(f"{path}: holds a sample of {loudest:.3g}, expected ±1; scale it, replace it or leave it out")
    if channel == "mean":
        return sound.mean(axis=1), rate
    return np.ascontiguousarray(sound[:, channel if n_channels > 1 else 0]), rate


def state(path: Path) -> tuple[str, int, int, int]:
    """Return a file's fingerprint for cache invalidation: name, size in bytes, mtime and ctime in ns."""
    try:
        status = path.stat()
    except OSError:  # a broken link; :func:`read` raises the error
        return str(path), -1, 0, 0
    return str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def split(table: pd.DataFrame, seeds: Iterable[int], settings: Split | None = None) -> pd.DataFrame:
    """Draw the training and test clips of every machine ID of a clip table, once per seed, a whole number from 0 (§5).

    The test set has min(150, half of the normals) normal and min(150, all) abnormal clips; all other normal clips are
    the training set. Abnormal clips never train; those beyond 150 are not used. A balanced test set leaves out clips
    of the larger class; its training set is the same.
    """
    settings = settings or Split()
    rows = []
    for seed in seeds:
        for _, of_id in table.groupby("id", sort=True):
            random = np.random.default_rng(seed)
            normal = random.permutation(np.sort(of_id.path[of_id.label == "normal"].to_numpy()))
            abnormal = random.permutation(np.sort(of_id.path[of_id.label == "abnormal"].to_numpy()))
            n_normal, n_abnormal = min(settings.test_clips, len(normal) // 2), min(settings.test_clips, len(abnormal))
            most = min(n_normal, n_abnormal) if settings.balanced else settings.test_clips
            test = [*normal[:n_normal][:most], *abnormal[:n_abnormal][:most]]
            rows += [(seed, path, "train") for path in sorted(normal[n_normal:])]
            rows += [(seed, path, "test") for path in sorted(test)]
    return pd.DataFrame(rows, columns=["seed", "path", "role"])


def load_split(file: Path, table: pd.DataFrame, seeds: Iterable[int]) -> pd.DataFrame:
    """Return the splits of a CSV file. Rows of other machine types, IDs and SNRs than those of `table` are ignored.

    Raises
    ------
    MimiiError
        If the file is no such table, lacks a seed or a clip, names what is no path of a clip, or trains on a test clip
        or an abnormal one.
    """
    columns = {"seed": "int64", "path": str, "role": str}
    try:
        splits = pd.read_csv(file, dtype=columns, usecols=list(columns), compression=None)[list(columns)]
    except OSError as error:
        reason = (
            "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror or error})"
        )
        raise MimiiError(f"{file}: {reason}; expected a CSV with the columns seed, path, role") from None
    except (ValueError, OverflowError) as error:
        raise MimiiError(f"{file}: not a CSV with the columns seed (whole numbers), path, role ({error})") from None
    splits = splits[splits.seed.isin(list(seeds))].fillna("")
    spelled = [posixpath.normpath(path.strip().replace("\\", "/")) for path in splits.path]
    splits["path"] = splits.path.where(splits.path.isin(table.path), spelled)
    labels = splits.path.map(table.set_index("path").label)
    places, of_table = (_places(paths) for paths in (splits.path, table.path))
    snr, known_snr = places.snr.fillna(""), set(of_table.snr.dropna())
    in_folder = places.id.isin(of_table.id) & places.machine.isin(of_table.machine)
    in_folder &= snr.isin(known_snr) | (snr == "") | (len(known_snr) == 0)
    faults = {
        "has another role than train or test": ~splits.role.isin(["train", "test"]),
        f"is no path of a clip; expected paths like {table.path.iloc[0]}": labels.isna() & places.machine.isna(),
        "is missing from the folder of its machine ID": labels.isna() & in_folder,
        "is named more than once; a clip either trains or tests": splits.duplicated(["seed", "path"]) & labels.notna(),
        "is abnormal and trains; train on normal clips only": (splits.role == "train") & (labels == "abnormal"),
    }
    for fault, rows in faults.items():
        if rows.any():
            first = splits[rows].iloc[0]
            path = first.path if first.path.isprintable() and len(first.path) < 200 else shown(first.path)
            raise MimiiError(f"{file}: seed {first.seed}: {path} {fault}")
    splits = splits[labels.notna()]
    for seed in seeds:
        if seed not in splits.seed.to_numpy():
            raise MimiiError(f"{file}: seed {seed}: names no clip of the run; expected paths like {table.path.iloc[0]}")
    return splits.reset_index(drop=True)


def _places(paths: pd.Series) -> pd.DataFrame:
    """Return the SNR (of the outer folder), machine type and machine ID that paths name; empty where they name none."""
    names = paths.str.extract(rf"^{_PATH.pattern}$")
    return names.assign(id=names.id.fillna(names.dcase)).drop(columns="dcase")


def not_evaluable(table: pd.DataFrame, splits: pd.DataFrame, settings: Settings | None = None) -> dict[str, str]:
    """Return the machine IDs that cannot be evaluated, each with the reason."""
    needed = (settings or Settings()).min_train_clips
    reasons = {}
    for machine_id, of_id in table.groupby("id", sort=False):
        roles = splits.merge(of_id, on="path")
        if roles.empty:
            reasons[str(machine_id)] = "not named in the splits"
            continue
        train, normal, abnormal = (
            int(((roles.role == role) & (roles.label == label)).groupby(roles.seed).sum().min())  # fewest of all seeds
            for role, label in [("train", "normal"), ("test", "normal"), ("test", "abnormal")]
        )
        if abnormal == 0:
            reasons[str(machine_id)] = "no abnormal clip to test on"
        elif train < needed:
            reasons[str(machine_id)] = f"too few clips: {train} left to train on, at least {needed} needed"
        elif normal == 0:
            reasons[str(machine_id)] = "no normal clip to test on"
    return reasons


_RECORDED = ("name", "source", "snr", "machine", "address", "licence", "citation", "checked", "channel", "clips")


def download_record(data: Path) -> list[dict[str, Any]]:
    """Return what ``mimii download`` recorded below a folder, an entry for each archive; without a record none.

    An entry has the archive's name, source, SNR in dB, machine type, address, licence and citation, how its clips were
    `checked`, the `channel` that was kept (a number or ``all``), and `clips`: the CRC-32 of each one in the archive by
    its path relative to `data`. A record that cannot be read raises MimiiError.
    """
    file = data / DOWNLOADED
    try:
        entries = json.loads(file.read_bytes())
        if entries == [one for one in entries if isinstance(one["clips"], dict) and {*_RECORDED} <= {*one}]:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise MimiiError(f"{file}: cannot be read; expected the record of a download: take the file away")


def downloads(data: Path) -> list[dict[str, Any]]:
    """Return the entries of :func:`download_record` without their clips, which are counted in ``n_clips``."""
    return [
        {name: value for name, value in entry.items() if name != "clips"} | {"n_clips": len(entry["clips"])}
        for entry in download_record(data)
    ]


def kind(data: Path, table: pd.DataFrame, machine: str) -> str:
    """Return what the recordings are: ``miniature``, ``MIMII`` (whole machine IDs), ``sample`` or ``other recordings``.

    A sample of MIMII is made of clips that ``mimii download`` fetched, every one named in its record.
    """
    if (data / MARKER).is_file():
        return "miniature"
    published = paper.MIMII[machine]
    counts = table.groupby(["id", "label"]).size().unstack(fill_value=0).reindex(columns=LABELS, fill_value=0)
    whole = [published.get(name) == paper.ClipCount(row.normal, row.abnormal) for name, row in counts.iterrows()]
    if whole and all(whole):
        return "MIMII"
    recorded = {path for entry in download_record(data) for path in entry["clips"]}
    return "sample" if whole and {*table.path} <= recorded else "other recordings"
