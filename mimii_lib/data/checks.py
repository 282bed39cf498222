"""Checks of recordings before anything is computed: which clips can be used, and what is missing or surplus."""

import hashlib
import io
import shlex
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import log10, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from mimii_lib import dataset, paper
from mimii_lib.data import record
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging

QUIETEST = -100.0  # level of silence in dB: below the smallest step of 16 bits


Wavs = dict[str, dict[str, list[Path]]]  # by machine ID and label


@dataclass(frozen=True)
class Clip:
    """Result of reading a clip."""

    path: str  # relative to the data folder
    sha256: str = ""  # of the file; empty if it cannot be opened
    sound: str = ""  # sha256 of its samples, whatever else the file holds, or of the file if the clip cannot be used
    channels: int = 0  # 0 if the clip cannot be used
    level: float = nan  # RMS of its channel in dB of full scale, at least QUIETEST
    fault: str = ""  # why it cannot be used, in a sentence; empty if it can


def level(sound: NDArray[np.float32]) -> float:
    """Return the root mean square of samples within ±1, in dB of full scale."""
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    return max(QUIETEST, 10 * log10(power)) if power > 0 else QUIETEST


def inspect(data: Path, paths: Sequence[str], settings: Imaging | None = None) -> list[Clip]:
    """Read clips as a run with these settings does; `paths` are relative to the folder `data`."""

    def inspect_clip(path: str) -> Clip:
        file, digest = data / path, ""
        try:
            content = dataset.content(file)
            digest = hashlib.sha256(content).hexdigest()
            sound = dataset.read(file, settings, content)
            if not sound.any():
                raise MimiiError(f"{path}: silent; replace it or leave it out")
            samples = hashlib.sha256(sound.tobytes()).hexdigest()
            return Clip(path, digest, samples, soundfile.info(io.BytesIO(content)).channels, level(sound))
        except MimiiError as error:
            return Clip(path, digest, digest, fault=str(error).replace(str(file), path))

    with ThreadPoolExecutor() as readers:
        return list(tqdm(readers.map(inspect_clip, paths), "reading clips", len(paths), unit="clip", disable=None))


def faults(clips: Sequence[Clip]) -> dict[str, str]:
    """Return the clips of a machine ID that cannot be used, each with the reason; of equal sounds the first is used."""
    first: dict[str, str] = {}
    reasons = {}
    for clip in clips:
        same = clip.path if clip.fault else first.setdefault(clip.sound, clip.path)
        if clip.fault or same != clip.path:
            reasons[clip.path] = clip.fault or f"{clip.path}: the same recording as {same}; leave one of them out"
    return reasons


@dataclass
class Report:
    """Result of :func:`check`."""

    table: pd.DataFrame = field(default_factory=pd.DataFrame)  # a row per SNR, machine type and ID: counts, remarks
    problems: list[str] = field(default_factory=list)  # files that should not be used, a sentence each
    differences: list[str] = field(default_factory=list)  # from MIMII as published, a sentence each with what to do


def check(data: Path, settings: Imaging | None = None) -> Report:
    """Check every file below a data folder; raise MimiiError if it is missing or holds no recordings."""
    data = dataset.data_folder(data)
    trees = dataset.trees(data)
    if not trees:
        names = sorted(path.name for path in data.iterdir() if path.is_dir())
        only = f", only {', '.join(names[:4])}{', …' * (len(names) > 4)}" if names else ""
        raise MimiiError(
            f"{data}: no machine found{only}; expected folders like -6_dB_fan/fan/id_00/normal, "
            "or fan/train of DCASE 2020"
        )
    miniature = (data / dataset.MARKER).is_file()
    report = Report()
    for folder in sorted(path for path in data.glob("*_dB_*") if path.is_dir()):
        if not {*folder.iterdir()} & {*trees.values()}:
            tree = f"{folder.name}/{folder.name.split('_dB_')[1]}"
            remedy = _remedy(data, *folder.name.split("_dB_"))
            report.problems.append(f"{folder.name}: holds no recordings; expected {tree}/id_00/normal; {remedy}")
    entries = [entry for entry in record.load(data).values() if entry["checked"] == record.BY_CLIP]
    samples = {(entry["snr"], entry["machine"]): entry for entry in entries}
    rows = []
    first_id: dict[str, tuple[str, str]] = {}  # machine folder and ID that a content was first found in
    for (snr, machine), folder in trees.items():
        name, recordings = folder.relative_to(data).as_posix(), dataset.recordings(folder)
        report.problems += _unused(data, folder, recordings)
        sample = samples.get((snr, machine))
        remedy = _remedy(data, snr, machine, "dcase2020" * (folder / "train").is_dir())
        for machine_id, wavs in recordings.items():
            table = dataset.clip_table(data, {machine_id: wavs})
            clips = inspect(data, list(table.path), settings)
            report.problems += faults(clips).values()
            for clip in clips:
                if clip.sound and (same := first_id.setdefault(clip.sound, (name, machine_id))) != (name, machine_id):
                    report.differences.append(f"{clip.path}: is also among the clips of {' '.join(same)}; compare them")
            counts = {label: len(wavs[label]) for label in dataset.LABELS}
            channels = sorted({clip.channels for clip in clips if clip.channels})
            reasons = dataset.not_evaluable(table, dataset.split(table, [0])).values() if len(table) else []
            remarks = [f"skipped: {reason}" for reason in reasons] if len(table) else ["no clips"]
            published = paper.MIMII.get(machine, {}).get(machine_id)
            if published is None:
                remarks.append("not a machine ID of MIMII")
            elif not miniature and (differences := [*_differences(machine, machine_id, counts, remedy)]):
                remarks.append(f"{'a sample, ' * bool(sample)}MIMII has {published.normal} + {published.abnormal}")
                report.differences += [f"{name}: {difference}" for difference in differences if not sample]
            if not miniature and not {*channels} <= {1, 8}:
                report.differences.append(
                    f"{name}: {machine_id} has files of {channels[-1]} channels, expected MIMII's 8, or 1 as unpacked "
                    "here; see that imaging.channel (from 0) names the right one"
                )
            row = {"snr": "?" if snr is None else snr, "machine": machine, "id": machine_id} | counts
            rows.append(row | {"channels": " and ".join(map(str, channels)) or "–", "remarks": "; ".join(remarks)})
        if sample:
            report.differences += _sample(data, name, recordings, sample)
        elif not miniature:
            missing = [machine_id for machine_id in paper.MIMII.get(machine, {}) if machine_id not in recordings]
            report.differences += [f"{name}: {one} is missing; {remedy}, or run the others alone" for one in missing]
    report.differences += [] if miniature else _missing_machines(data, trees)
    report.table = pd.DataFrame(rows, columns=["snr", "machine", "id", *dataset.LABELS, "channels", "remarks"])
    return report


def _unused(data: Path, folder: Path, recordings: Wavs) -> Iterator[str]:
    """Yield what is wrong with wav files of a machine folder that are no recordings."""
    used = {wav for labels in recordings.values() for wavs in labels.values() for wav in wavs}
    for wav in sorted(folder.rglob("*.[wW][aA][vV]")):
        if wav not in used and wav.name[0] != ".":
            yield (
                f"{wav.relative_to(data).as_posix()}: not used, since neither its place nor its name tells a machine "
                "ID and a label; move it to id_00/normal or the like"
            )


def _command(data: Path, snr: object, machines: Sequence[str], *options: str) -> str:
    """Return the command that downloads recordings into a data folder, in quotes."""
    return f"`{shlex.join(['mimii', 'download', str(data), '--snr', str(snr), '--machines', *machines, *options])}`"


def _remedy(data: Path, snr: object, machine: str, source: str = "") -> str:
    """Return how the recordings of a machine type, of no download that goes on, are had whole."""
    command = _command(data, -6 if snr is None else snr, [machine], *(["--source", source] if source else []))
    return f"take the folder away and unpack its archive again ({command} does)"


def _sample(data: Path, name: str, recordings: Wavs, entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield how much of a machine type single clips are, and the command that fetches the rest."""
    shares, lacks = [], False
    for label in dataset.LABELS:
        count = sum(len(wavs[label]) for wavs in recordings.values())
        whole = sum(getattr(ids, label) for ids in paper.MIMII.get(entry["machine"], {}).values())
        shares.append(f"{count} of {whole} {label}")
        lacks |= count < whole
    if lacks:
        options = ["--source", entry["source"], *["--all-channels"] * (entry["channel"] == "all")]
        yield (
            f"{name}: a sample from {entry['source']} (checked by {entry['checked']}), {' and '.join(shares)} clips; "
            f"{_command(data, entry['snr'], [entry['machine']], *options)} fetches the whole"
        )


def _missing_machines(data: Path, trees: Container[tuple[int | None, str]]) -> Iterator[str]:
    """Yield the machine types that are missing where others of MIMII's are, and the command that fetches them."""
    for snr in paper.SNRS:
        missing = [machine for machine in paper.MACHINES if (snr, machine) not in trees]
        if 0 < len(missing) < len(paper.MACHINES):
            yield f"no {', '.join(missing)} at {snr} dB; {_command(data, snr, missing)} fetches what is missing"


def _differences(machine: str, machine_id: str, counts: dict[str, int], remedy: str) -> Iterator[str]:
    """Yield how the numbers of clips of a machine ID of MIMII differ from the published ones, and what to do."""
    for label, count in counts.items():
        published = getattr(paper.MIMII[machine][machine_id], label)
        advice = "take out what is not MIMII's" if count > published else f"{remedy}, or treat it as a part of MIMII"
        if count != published:
            yield f"{machine_id} has {count} {label} clips, MIMII {published}; {advice}"
