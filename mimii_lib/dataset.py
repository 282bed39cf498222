"""§4 Dataset: find, read and split the clips of MIMII.

Two layouts are read: MIMII's ``<snr>_dB_<machine>/<machine>/id_0X/{normal,abnormal}/*.wav``, whose outer folder
may be missing, and that of DCASE 2020 Task 2, ``<machine>/{train,test}/{normal,anomaly}_id_0X_*.wav``, which is
the same recordings at -6 dB. Files hold 8 channels or one. A *clip* is one file; a clip table has one row a clip
with its machine ``id``, its ``label`` (normal or abnormal) and its ``path`` relative to the data folder.
Nothing is ever written into a folder of recordings.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from mimii_lib import paper
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.settings import Imaging, Settings, Split

LABELS = ("normal", "abnormal")
MARKER = "miniature.json"
"""The file that the miniature leaves at the top of its tree."""

_OUTER = re.compile(r"(-?\d+)_dB_(\w+)")
_ID = re.compile(r"id_\d\d")
_DCASE = re.compile(r"(normal|anomaly)_(id_\d\d)_\w+")
DCASE_SNR = -6
"""The signal-to-noise ratio of the recordings of DCASE 2020 Task 2, in dB."""


def data_folder(data: Path | str | None) -> Path:
    """Return the folder of the recordings, or raise if there is none."""
    if data is None:
        raise MimiiError("data: no folder named; name the one that holds the recordings")
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise MimiiError(f"{data}: no such folder; expected one that holds MIMII's <snr>_dB_<machine> folders")
    return folder


def trees(data: Path) -> dict[tuple[int | None, str], Path]:
    """Return the machine folders below `data` by (SNR in dB, machine type).

    The SNR is None where the outer folder, which alone tells it, is missing from MIMII's layout.
    """
    found: dict[tuple[int | None, str], Path] = {}
    key: tuple[int | None, str]
    named = _OUTER.fullmatch(data.resolve().name)  # the outer folder itself
    for folder in sorted(path for path in data.iterdir() if path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
        outer = _OUTER.fullmatch(folder.name)
        if outer and (folder / outer[2]).is_dir():
            key, folder = (int(outer[1]), outer[2]), folder / outer[2]
        elif any(_id_folders(folder)):
            key = (int(named[1]) if named and named[2] == folder.name else None, folder.name)
        elif recordings(folder):
            key = (DCASE_SNR, folder.name)
        else:
            continue
        if key in found:
            both = " and ".join(sorted(path.relative_to(data).as_posix() for path in (found[key], folder)))
            raise MimiiError(f"{data}: {both} both hold the {key[1]} at {key[0]} dB; move one of them away")
        found[key] = folder
    return found


def recordings(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """Return the wav files of a machine folder by machine ID and label, in either layout."""
    found = {path.name: {label: sorted(_wavs(path / label)) for label in LABELS} for path in _id_folders(folder)}
    for wav in sorted(wav for part in ("test", "train") for wav in _wavs(folder / part)):
        if named := _DCASE.fullmatch(wav.stem):
            label = "normal" if named[1] == "normal" else "abnormal"
            found.setdefault(named[2], {label: [] for label in LABELS})[label].append(wav)
    return dict(sorted(found.items()))


def _id_folders(folder: Path) -> list[Path]:
    return sorted(path for path in _inside(folder) if path.is_dir() and _ID.fullmatch(path.name))


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise MimiiError(f"{folder}: cannot be opened ({error.strerror}); see to its rights or move it away") from None


def clips(data: Path, machine: str, snr: int, ids: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the clip table of a machine type.

    Parameters
    ----------
    data
        The folder that holds the machines, in either layout.
    machine
        Machine type.
    snr
        Signal-to-noise ratio in dB; MIMII's layout without the outer folder is taken at the caller's word.
    ids
        Machine IDs; None: all that are there.

    Returns
    -------
    DataFrame
        Columns ``id``, ``label`` and ``path`` (relative to `data`, with forward slashes), sorted by path.

    Raises
    ------
    MimiiError
        If the folder, the machine type, the SNR or an ID is not there.
    """
    if machine not in paper.MACHINES:
        raise unknown_value("machine", machine, paper.MACHINES)
    data = data_folder(data)
    found = trees(data)
    folder = found.get((snr, machine)) or found.get((None, machine))
    if folder is None:
        there = ", ".join(sorted({name if db is None else f"{name} at {db} dB" for db, name in found}))
        raise MimiiError(
            f"{data}: no recordings of the {machine} at {snr} dB; found {there or 'no machine at all'}; "
            f"expected a folder {snr}_dB_{machine}/{machine}/id_00/normal"
        )
    there_are = recordings(folder)
    for machine_id in ids or ():
        if machine_id not in there_are:
            raise unknown_value(f"{folder.relative_to(data).as_posix()}: machine ID", machine_id, there_are)
    return clip_table(data, {name: there_are[name] for name in (there_are if ids is None else ids)})


def clip_table(data: Path, found: dict[str, dict[str, list[Path]]]) -> pd.DataFrame:
    """Return the clip table of what :func:`recordings` found below `data`."""
    rows = [
        (machine_id, label, wav.relative_to(data).as_posix())
        for machine_id, wavs in found.items()
        for label in LABELS
        for wav in wavs[label]
    ]
    return pd.DataFrame(rows, columns=["id", "label", "path"])


def _wavs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    wavs = [path for path in _inside(folder) if path.suffix.lower() == ".wav" and path.name[0] != "."]
    return [path for path in wavs if path.is_file() or (path.is_symlink() and not path.exists())]  # a broken link, too


def read(path: Path, settings: Imaging | None = None) -> NDArray[np.float32]:
    """Read one channel of a clip, or the mean of all; a file of one channel has no other.

    Returns
    -------
    array of shape (samples,)
        The waveform in [-1, 1]: 160,000 samples at the defaults.

    Raises
    ------
    MimiiError
        If the file cannot be read as sound, or its rate, length or channels are not the expected ones.
    """
    settings = settings or Imaging()
    try:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError, EOFError):
        size = f"{path.stat().st_size} bytes" if path.is_file() else "no such file"
        raise MimiiError(f"{path}: cannot be read as a wav file ({size}); replace it or leave it out") from None
    if rate != settings.sample_rate:
        raise MimiiError(
            f"{path}: sample rate is {rate} Hz, expected {settings.sample_rate} Hz; resample it or leave it out"
        )
    if len(sound) != settings.samples:
        raise MimiiError(
            f"{path}: {len(sound)} samples ({len(sound) / rate:.2f} s) found, expected {settings.samples} "
            f"({settings.seconds} s); replace it or leave it out"
        )
    channel, there = settings.channel, sound.shape[1]
    if isinstance(channel, int) and channel >= there > 1:
        raise MimiiError(f"{path}: has {there} channels, so no channel {channel} (from 0)")
    if not np.isfinite(sound).all():
        raise MimiiError(f"{path}: holds samples that are not finite numbers; replace it or leave it out")
    if channel == "mean":
        return sound.mean(axis=1)
    return np.ascontiguousarray(sound[:, channel if there > 1 else 0])


def state(path: Path) -> tuple[str, int, int, int]:
    """Return what changes when a file does: name, size in bytes, times of content and inode in ns."""
    try:
        seen = path.stat()
    except OSError:  # a link to nowhere: whoever reads it is told
        return str(path), -1, 0, 0
    return str(path.resolve()), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def split(table: pd.DataFrame, seeds: Iterable[int], settings: Split | None = None) -> pd.DataFrame:
    """Draw the training and test clips of every machine ID, once per seed (§5).

    The test set takes min(150, half of the normals) normal and min(150, all) abnormal clips; the other
    normal clips train. An abnormal clip never trains; abnormal clips beyond 150 are left out. A balanced test set
    leaves clips of the larger class out; the training set stays the same.

    Parameters
    ----------
    table
        A clip table.
    seeds
        Whole numbers from 0; each gives one split, the same on every machine.

    Returns
    -------
    DataFrame
        Columns ``seed``, ``path`` and ``role`` (train or test).
    """
    settings = settings or Split()
    rows = []
    for seed in seeds:
        for _, one in table.groupby("id", sort=True):
            random = np.random.default_rng(seed)
            normal = random.permutation(np.sort(one.path[one.label == "normal"].to_numpy()))
            abnormal = random.permutation(np.sort(one.path[one.label == "abnormal"].to_numpy()))
            n_test = min(settings.test_clips, len(normal) // 2)
            abnormal = abnormal[: settings.test_clips]
            each = min(n_test, len(abnormal)) if settings.balanced else max(n_test, len(abnormal))
            test = [*normal[:n_test][:each], *abnormal[:each]]
            rows += [(seed, path, "train") for path in sorted(normal[n_test:])]
            rows += [(seed, path, "test") for path in sorted(test)]
    return pd.DataFrame(rows, columns=["seed", "path", "role"])


def load_split(file: Path, table: pd.DataFrame, seeds: Iterable[int]) -> pd.DataFrame:
    """Read splits that were saved as a CSV with the columns of :func:`split`.

    Rows of clips that are not in the clip `table` belong to other machines and are passed over.

    Raises
    ------
    MimiiError
        If the file is not such a table, lacks a seed, or would train on a test clip or an abnormal one.
    """
    try:
        said = pd.read_csv(file, dtype={"path": str, "role": str})
    except OSError:
        raise MimiiError(f"{file}: no such file; expected a CSV with the columns seed, path, role") from None
    except ValueError as error:
        raise MimiiError(f"{file}: not a CSV with the columns seed, path, role ({error})") from None
    if missing := {"seed", "path", "role"} - set(said):
        raise MimiiError(f"{file}: lacks the column {', '.join(sorted(missing))}; expected seed, path, role")
    if not pd.api.types.is_integer_dtype(said.seed):
        raise MimiiError(f"{file}: column seed: expected whole numbers")
    if len(wrong := said.role[~said.role.isin(["train", "test"])]):
        found = "nothing" if pd.isna(wrong.iloc[0]) else f"'{wrong.iloc[0]}'"
        raise MimiiError(f"{file}: column role: found {found}, expected train or test in every row")
    said = said[said.seed.isin(list(seeds))]
    labels = table.set_index("path").label
    here = said[said.path.isin(labels.index)]
    folders = {path.rsplit("/", 2)[0] for path in labels.index}
    lost = said[said.path.str.rsplit("/", n=2).str[0].isin(folders) & ~said.path.isin(labels.index)]
    if len(lost):
        row = lost.iloc[0]
        raise MimiiError(f"{file}: seed {row.seed}: names {row.path}, which is not there; expected paths of clips")
    for seed in seeds:
        if not (here.seed == seed).any():
            raise MimiiError(
                f"{file}: seed {seed}: names none of the clips asked for; expected paths like {table.path.iloc[0]}"
            )
    twice = here[here.duplicated(["seed", "path"])]
    if len(twice):
        row = twice.iloc[0]
        raise MimiiError(f"{file}: seed {row.seed}: names {row.path} more than once; a clip trains or tests, once")
    wrong_role = here[(here.role == "train") & (here.path.map(labels) == "abnormal")]
    if len(wrong_role):
        row = wrong_role.iloc[0]
        raise MimiiError(f"{file}: seed {row.seed}: trains on the abnormal clip {row.path}; train on normal clips only")
    return here[["seed", "path", "role"]].reset_index(drop=True)


def not_evaluable(table: pd.DataFrame, splits: pd.DataFrame, settings: Settings | None = None) -> dict[str, str]:
    """Return the machine IDs that cannot be evaluated, each with the reason."""
    needed = (settings or Settings()).min_train_clips
    reasons = {}
    role = splits.merge(table, on="path")
    for machine_id in table.id.unique():
        here = role[role.id == machine_id]
        sizes = here.groupby(["seed", "role", "label"]).size().unstack(["role", "label"], fill_value=0)
        train, normal, abnormal = (
            int(sizes[column].min()) if column in sizes else 0
            for column in [("train", "normal"), ("test", "normal"), ("test", "abnormal")]
        )
        if here.empty:
            reasons[machine_id] = "not named in the splits"
        elif abnormal == 0:
            reasons[machine_id] = "no abnormal clip to test on"
        elif train < needed:
            reasons[machine_id] = f"too few clips: {train} left to train on, at least {needed} needed"
        elif normal == 0:
            reasons[machine_id] = "no normal clip to test on"
    return reasons


def kind(data: Path, table: pd.DataFrame, machine: str) -> str:
    """Return what the recordings are: ``miniature``, ``MIMII`` (whole machine IDs) or ``other recordings``."""
    if (data / MARKER).is_file():
        return "miniature"
    counts = table.groupby(["id", "label"]).size().unstack(fill_value=0).reindex(columns=LABELS, fill_value=0)
    whole = [
        (published := paper.MIMII[machine].get(str(machine_id))) is not None
        and row.abnormal == published.abnormal
        and (row.normal == published.normal or (machine, machine_id) in paper.UNCERTAIN)
        for machine_id, row in counts.iterrows()
    ]
    return "MIMII" if whole and all(whole) else "other recordings"
