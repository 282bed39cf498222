"""The miniature: a synthetic stand-in for MIMII that a laptop makes in seconds.

It has the tree, names, sample rate, clip length and classes of MIMII. A clip is a machine's sound
(:mod:`~mimii_lib.data.synthesis`) mixed with factory noise at a signal-to-noise ratio; an abnormal clip has its
machine's fault at a severity drawn anew. Its name seeds its random generators, so that it does not depend on others.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from mimii_lib import paper
from mimii_lib.data.files import atomic_write
from mimii_lib.data.synthesis import FAULTS, MODELS, SAMPLE_RATE, Sound, factory_noise, rms
from mimii_lib.dataset import LABELS, MARKER
from mimii_lib.errors import MimiiError, unknown_value

ClipKind = tuple[str, str, str]  # machine type, machine ID and condition

UNFINISHED_MARKER = f"{MARKER}.part"  # until every clip is written: tells an unfinished miniature from recordings
MACHINE_RMS = 0.005  # of the machine's sound: that of MIMII's clips without the noise that their SNR states
PEAK = 0.98  # largest magnitude of a clip; a louder one is attenuated as a whole


def clip_seed(machine: str, machine_id: str, condition: str) -> list[int]:
    """Return the positions of the three names among the known ones, for the seed of a random generator."""
    known = {"machine": paper.MACHINES, "machine_id": paper.IDS, "condition": LABELS}
    for name, (parameter, allowed) in zip((machine, machine_id, condition), known.items(), strict=True):
        if name not in allowed:
            raise unknown_value(parameter, name, allowed)
    return [paper.MACHINES.index(machine), paper.IDS.index(machine_id), LABELS.index(condition)]


def clip_parts(
    machine: str, machine_id: str, condition: str, index: int, *, snr: float = -6, seed: int = 0
) -> tuple[Sound, Sound]:
    """Synthesise the machine and the noise of one clip, each of shape (160000,): their sum is the clip, within ±0.98.

    `condition` is ``normal`` or ``abnormal``, `index` the number of the clip from 0. `snr` is the power of the machine
    over the power of the noise, over the whole clip, in dB; it sets the level of the noise only. Another `seed`, a
    whole number from 0, gives other clips of the same machines.
    """
    name = [seed, *clip_seed(machine, machine_id, condition), index]
    machine_rng, noise_rng = (np.random.default_rng([*name, part]) for part in (0, 1))
    fault = FAULTS[machine, machine_id]
    severity = machine_rng.uniform(*fault.severity) if condition == "abnormal" else 0.0
    sound = MODELS[machine, machine_id].synthesize(machine_rng, fault.kinds(severity))
    noise = factory_noise(noise_rng)
    level = MACHINE_RMS * 10 ** (machine_rng.normal(0, 0.5) / 20)
    sound *= level / rms(sound)
    noise *= level / rms(noise) * 10 ** (-snr / 20)
    gain = min(1, PEAK / np.abs(sound + noise).max())
    return gain * sound, gain * noise


def make_miniature(
    dest: Path,
    *,
    snr: int = -6,
    normal: int = 32,
    abnormal: int = 8,
    machines: Sequence[str] = paper.MACHINES,
    seed: int = 0,
    channels: int = 1,
) -> None:
    """Make the miniature: MIMII's tree of 10 s clips, 16 kHz, 16 bit, at one signal-to-noise ratio.

    The marker ``miniature.json``, written last, holds the settings and faults. Nothing is done where it is there with
    the same settings; an interrupted call can be repeated.

    `normal` and `abnormal` are numbers of clips per machine ID; `channels` is the number of microphones, in MIMII 8;
    for `snr` and `seed` see :func:`clip_parts`. A folder `dest` that holds other files, an unknown machine type or a
    number that is too small raises MimiiError.
    """
    size = {"normal": normal, "abnormal": abnormal, "seed": seed, "channels": channels}
    for parameter, number in size.items():
        if number < (least := int(parameter == "channels")):
            raise MimiiError(f"{parameter} is {number}, expected {least} or more; give a larger number")
    if unknown := [machine for machine in machines if machine not in paper.MACHINES]:
        raise unknown_value("machines", unknown[0], paper.MACHINES)
    faults = {machine: {name: FAULTS[machine, name]._asdict() for name in paper.IDS} for machine in machines}
    marker = {"kind": "miniature", "snr": snr, **size, "machines": [*machines], "severity": faults}
    dest = Path(dest)
    if _is_complete(dest, json.loads(json.dumps(marker))):
        return
    with atomic_write(dest / UNFINISHED_MARKER) as file:
        file.write_text(json.dumps(marker, indent=1))
    # MIMII's microphones lie on a circle of radius 3.4 cm: delays in samples.
    delays = np.round(1.6 * (1 - np.cos(2 * np.pi * np.arange(channels) / 8))).astype(int)

    def write(name: tuple[ClipKind, int]) -> None:
        sound = np.add(*clip_parts(*name[0], name[1], snr=snr, seed=seed))
        write_clip(dest, snr, *name, np.stack([np.roll(sound, delay) for delay in delays], axis=1))

    names = [(kind, index) for kind in product(machines, paper.IDS, LABELS) for index in range(size[kind[2]])]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        list(tqdm(workers.map(write, names), "miniature", len(names), unit="clip", leave=False, disable=None))
    with suppress(FileNotFoundError):  # another process has completed the same tree at the same time
        (dest / UNFINISHED_MARKER).replace(dest / MARKER)


def write_clip(dest: Path, snr: int, kind: ClipKind, index: int, sound: Sound) -> None:
    """Write ``<snr>_dB_<machine>/<machine>/id_0X/{normal,abnormal}/NNNNNNNN.wav``, which appears once it is whole."""
    with atomic_write(dest.joinpath(f"{snr}_dB_{kind[0]}", *kind, f"{index:08d}.wav")) as file:
        soundfile.write(file, sound, SAMPLE_RATE, subtype="PCM_16")


def _is_complete(dest: Path, settings: dict[str, Any]) -> bool:
    """Return whether `dest` holds the whole tree of these settings; raise if it holds anything else."""
    for marker in (dest / MARKER, dest / UNFINISHED_MARKER):
        if marker.is_file():
            try:
                recorded = dict(json.loads(marker.read_text()))
            except (ValueError, TypeError):
                raise MimiiError(f"{marker}: cannot be read, expected JSON; remove {dest} or name another") from None
            if differences := [key for key, value in settings.items() if recorded.get(key) != value]:
                raise MimiiError(
                    f"{marker}: found a miniature of other settings, expected the requested ones: it differs in "
                    f"{', '.join(differences)}; name another folder, or remove this one"
                )
            return marker.name == MARKER
    if dest.exists() and (not dest.is_dir() or any(not path.name.startswith(".") for path in dest.iterdir())):
        raise MimiiError(
            f"{dest}: found files that are not a miniature's, expected an empty folder or none; "
            "name another folder, because recordings are never overwritten"
        )
    return False
