"""A synthetic tree with MIMII's number of clips, or a share of it, for the rehearsal at full size."""

import json
from collections.abc import Sequence
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np

from mimii_lib import paper
from mimii_lib.data.miniature import PEAK, clip_parts, clip_seed, write_clip
from mimii_lib.data.synthesis import SAMPLES
from mimii_lib.dataset import LABELS, MARKER
from mimii_lib.errors import MimiiError

STOCK = 12
"""Synthesised clips of each machine ID and condition, from which all others are mixed."""


def make_full_size(
    dest: Path,
    share: float = 1.0,
    snr: int = -6,
    seed: int = 0,
    stock: int = STOCK,
    machines: Sequence[str] = paper.MACHINES,
    ids: Sequence[str] = paper.IDS,
) -> None:
    """Make a tree of as many clips as MIMII has, within minutes.

    A clip mixes the machine of one synthesised clip with the noise of another, each rotated to another start. No two
    clips are the same, but they are more alike than the miniature's: they serve to measure time, not detection.

    Parameters
    ----------
    dest
        An empty or missing folder.
    share
        Share of MIMII's 18,019 clips, above 0 and at most 1, of every machine ID and condition.
    snr
        Signal-to-noise ratio in dB.
    seed
        A whole number from 0; another one gives other clips of the same machines.
    stock
        Synthesised clips of each machine ID and condition.
    machines, ids
        Machine types, and IDs of each, to make.

    Raises
    ------
    MimiiError
        If `dest` holds files, or the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise MimiiError(f"share is {share}, expected a number above 0 and at most 1")
    if dest.is_dir() and any(dest.iterdir()):
        raise MimiiError(f"{dest}: holds files, expected an empty folder or none; name another folder")
    for machine, machine_id, condition in product(machines, ids, LABELS):
        kind = (machine, machine_id, condition)
        count = ceil(share * getattr(paper.MIMII[machine][machine_id], condition))
        parts = [clip_parts(*kind, index, snr=snr, seed=seed) for index in range(min(count, stock))]
        for index in range(count):
            rng = np.random.default_rng([seed, *clip_seed(*kind), index, 2])
            sound, noise = parts[index % len(parts)][0], parts[rng.integers(len(parts))][1]
            mixed = np.roll(sound, rng.integers(SAMPLES)) + np.roll(noise, rng.integers(SAMPLES))
            write_clip(dest, snr, kind, index, mixed * min(1, PEAK / np.abs(mixed).max()))
    (dest / MARKER).write_text(json.dumps({"kind": "miniature", "snr": snr, "share": share, "seed": seed}, indent=1))
