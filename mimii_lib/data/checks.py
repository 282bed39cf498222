"""Explanation at every clip before anything is computed: whether it can be used, and what is missing or too much."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import log10, nan
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from mimii_lib import dataset, paper
from mimii_lib.data.files import file_digest
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging


@dataclass(frozen=True)
class Clip:
    """What was seen of a clip.

    Attributes
    ----------
    path
        Relative to the data folder.
    sha256
        Of the file; empty where it cannot be opened.
    channels
        Number of channels; 0 where it cannot be used.
    silent
        Whether every sample of its channel is 0.
    level
        Root mean square of its channel in dB, 0 being full scale; `QUIETEST` at least.
    fault
        Why it cannot be used, in a sentence; empty where it can.
    """

    path: str
    sha256: str = ""
    channels: int = 0
    silent: bool = False
    level: float = nan
    fault: str = ""


QUIETEST = -100.0
"""Level of silence, in dB: below the smallest step of 16 bits."""


def level(sound: NDArray[np.float32]) -> float:
    """Return the root mean square of a sound of samples within ±1, in dB."""
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    return max(QUIETEST, 10 * log10(power)) if power > 0 else QUIETEST


def inspect(data: Path, paths: Sequence[str], settings: Imaging | None = None) -> list[Clip]:
    """Read clips below `data` as a run with these settings will, and tell what was seen of each.

    Parameters
    ----------
    data
        The folder of the recordings.
    paths
        Of the clips, relative to `data`.
    """

    def seen(path: str) -> Clip:
        file = data / path
        try:
            sound = dataset.read(file, settings)
            channels = soundfile.info(file).channels
            return Clip(path, file_digest(file), channels, not sound.any(), level(sound))
        except MimiiError as error:
            digest = file_digest(file) if os.access(file, os.R_OK) else ""
            return Clip(path, digest, fault=str(error).replace(str(file), path))

    with ThreadPoolExecutor() as readers:
        return list(tqdm(readers.map(seen, paths), "looking at clips", len(paths), unit="clip", disable=None))


@dataclass
class Report:
    """What :func:`check` found.

    Attributes
    ----------
    table
        One row per SNR, machine type and ID: counts, channels, and remarks.
    problems
        Files that should not be used as they are, one sentence each.
    differences
        Where the recordings are MIMII's: what MIMII has and the folder has not, or the other way round, one sentence
        each with what to do.
    """

    table: pd.DataFrame
    problems: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def check(data: Path, settings: Imaging | None = None) -> Report:
    """Explanation at every file below `data` and tell what is there, what is wrong with it, and what to do about it."""
    data = dataset.data_folder(data)
    trees = dataset.trees(data)
    if not trees:
        raise MimiiError(
            f"{data}: no machine found{_inside(data)}; expected folders like -6_dB_fan/fan/id_00/normal, "
            "or fan/train of DCASE 2020"
        )
    miniature = (data / dataset.MARKER).is_file()
    empty = [
        folder for folder in data.glob("*_dB_*") if folder.is_dir() and not {*folder.iterdir()} & {*trees.values()}
    ]
    rows = []
    report = Report(pd.DataFrame())
    report.problems += [
        f"{folder.name}: holds no recordings; expected {folder.name}/{folder.name.split('_dB_')[1]}/id_00/normal; "
        + _AGAIN
        for folder in sorted(empty)
    ]
    first: dict[str, str] = {}
    for (snr, machine), folder in trees.items():
        found = dataset.recordings(folder)
        report.problems += _strays(data, folder, found)
        for machine_id, wavs in found.items():
            table = dataset.clip_table(data, {machine_id: wavs})
            clips = inspect(data, list(table.path), settings)
            report.problems += _problems(clips, first)
            counts = {label: len(wavs[label]) for label in dataset.LABELS}
            channels = sorted({clip.channels for clip in clips if clip.channels})
            remarks = _remarks(table, machine, machine_id)
            if not miniature:
                differences = _differences(folder.relative_to(data).as_posix(), machine, machine_id, counts)
                report.differences += differences
                report.differences += [
                    f"{folder.relative_to(data).as_posix()}: {machine_id} has files of {number} channels, MIMII of 8, "
                    "or of 1 as unpacked here; see that imaging.channel (from 0) names the right one"
                    for number in channels
                    if number not in (1, 8)
                ]
                if differences:
                    published = paper.MIMII[machine][machine_id]
                    remarks.append(f"MIMII has {published.normal} + {published.abnormal}")
            rows.append(
                {"snr": "?" if snr is None else snr, "machine": machine, "id": machine_id}
                | counts
                | {"channels": " and ".join(map(str, channels)) or "–", "remarks": "; ".join(remarks)}
            )
        if not miniature:
            report.differences += [
                f"{folder.relative_to(data).as_posix()}: {machine_id} is missing; {_AGAIN}, or run the others alone"
                for machine_id in paper.MIMII.get(machine, {})
                if machine_id not in found
            ]
    report.table = pd.DataFrame(rows, columns=["snr", "machine", "id", *dataset.LABELS, "channels", "remarks"])
    return report


def _inside(data: Path) -> str:
    names = sorted(path.name for path in data.iterdir() if path.is_dir())
    return f", only {', '.join(names[:4])}{', …' * (len(names) > 4)}" if names else ""


_AGAIN = "take the folder away and unpack its archive again ('mimii download' does)"


def _problems(clips: list[Clip], first: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with clips; `first` keeps where each content was seen first, over all calls."""
    for clip in clips:
        if clip.fault:
            yield clip.fault
        elif clip.silent:
            yield f"{clip.path}: silent; replace it or take it out of the folder"
        elif (twin := first.setdefault(clip.sha256, clip.path)) != clip.path:
            yield f"{clip.path}: the same recording as {twin}; take one of them out of the folder"


def _strays(data: Path, folder: Path, found: dict[str, dict[str, list[Path]]]) -> Iterator[str]:
    """Yield the wav files below a machine folder that no layout has in that place or by that name."""
    known = {wav for wavs in found.values() for each in wavs.values() for wav in each}
    for wav in sorted(folder.rglob("*.[wW][aA][vV]")):
        if wav not in known and wav.name[0] != ".":
            yield (
                f"{wav.relative_to(data).as_posix()}: not used, since neither its place nor its name tells a machine "
                "ID and a label; move it to id_00/normal or the like"
            )


def _remarks(table: pd.DataFrame, machine: str, machine_id: str) -> list[str]:
    """Return what a reader should know of a machine ID."""
    if table.empty:
        return ["no clips"]
    skipped = dataset.not_evaluable(table, dataset.split(table, [0])).values()
    foreign = [] if machine_id in paper.MIMII.get(machine, {}) else ["not a machine ID of MIMII"]
    return [f"skipped: {reason}" for reason in skipped] + foreign


def _differences(folder: str, machine: str, machine_id: str, counts: dict[str, int]) -> list[str]:
    """Return how the clips of a machine ID differ in number from MIMII's, and what to do."""
    published = paper.MIMII.get(machine, {}).get(machine_id)
    if published is None:
        return []
    found = []
    for label in dataset.LABELS:
        here, there = counts[label], getattr(published, label)
        said = f"{folder}: {machine_id} has {here} {label} clips, MIMII {there}"
        if label == "normal" and (machine, machine_id) in paper.UNCERTAIN and here != there:
            total = sum(count.normal for count in paper.MIMII[machine].values())
            found.append(f"{said} (a number that is not certain: if the four have {total} together, all is well)")
        elif here < there:
            found.append(f"{said}; {_AGAIN}, or take the numbers as those of a part of MIMII")
        elif here > there:
            found.append(f"{said}; take out what is not MIMII's")
    return found
