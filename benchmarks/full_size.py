"""A synthetic tree with MIMII's number of clips, or a share of it, for the rehearsal at full size."""

from dataclasses import astuple
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np

from mimii_lib import paper
from mimii_lib.data.miniature import PEAK, ClipKind, clip_parts, clip_seed, write_tree
from mimii_lib.data.synthesis import SAMPLES, Sound
from mimii_lib.errors import MimiiError

STOCK = 12
"""Synthesised clips of each machine ID and condition, from which all others are mixed."""


def make_full_size(dest: Path, share: float = 1.0, snr: int = -6, seed: int = 0, stock: int = STOCK) -> None:
    """Make a tree of as many clips as MIMII has, within minutes.

    A clip mixes the machine of one synthesised clip with the noise of another, each rotated to another start. No two
    clips are the same, but they are more alike than the miniature's: they serve to measure time, not detection.

    Parameters
    ----------
    dest
        An empty or missing folder, or a tree of the same settings.
    share
        Share of MIMII's 18,019 clips, above 0 and at most 1, of every machine ID and condition.
    snr
        Signal-to-noise ratio in dB.
    seed
        A whole number from 0; another one gives other clips of the same machines.
    stock
        Synthesised clips of each machine ID and condition.

    Raises
    ------
    MimiiError
        If `dest` holds other files, or the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise MimiiError(f"share is {share}, expected a number above 0 and at most 1")
    counts = {
        (machine, machine_id): paper.ClipCount(*(ceil(share * count) for count in astuple(published)))
        for machine, ids in paper.MIMII.items()
        for machine_id, published in ids.items()
    }

    @lru_cache(maxsize=1)  # the clips of one kind are written one after another
    def parts(kind: ClipKind) -> list[tuple[Sound, Sound]]:
        count = getattr(counts[kind[:2]], kind[2])
        return [clip_parts(*kind, index, snr=snr, seed=seed) for index in range(min(count, stock))]

    def mix(kind: ClipKind, index: int) -> Sound:
        rng = np.random.default_rng([seed, *clip_seed(*kind), index, 2])
        machine, noise = parts(kind)[index % len(parts(kind))][0], parts(kind)[rng.integers(len(parts(kind)))][1]
        mixed = np.roll(machine, rng.integers(SAMPLES)) + np.roll(noise, rng.integers(SAMPLES))
        return mixed * min(1, PEAK / np.abs(mixed).max())

    settings = {"snr": snr, "share": share, "stock": stock, "seed": seed, "machines": [*paper.MACHINES]}
    write_tree(Path(dest), settings, counts, mix)
