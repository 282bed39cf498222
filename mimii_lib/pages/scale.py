"""How large the paper's experiment is, and what rehearsals of it took.

Work is counted in floating-point operations, a multiplication and an addition as two, of this project's own networks
on MIMII's published numbers of clips at one SNR.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mimii_lib import autoencoders, dataset, extractors, paper
from mimii_lib.errors import MimiiError
from mimii_lib.run.profiles import ROOT, Profile
from mimii_lib.settings import Settings

FOLDERS = (ROOT / "benchmarks", ROOT / "results")
"""Where records of rehearsals lie: those that come with the project, and the reader's own."""
FIELDS = {
    "share",
    "clips",
    "date",
    "machine",
    "facts",
    "workers",
    "seconds",
    "stages",
    "forecast",
    "whole",
    "memory",
    "disk",
}
"""What a record tells."""


@cache
def sizes(settings: Settings | None = None) -> pd.DataFrame:
    """Return how many clips and patches MIMII has at one SNR.

    Returns
    -------
    DataFrame
        A row per machine ID, index (machine, id); columns clips, patches, train and test: the patches that a detector
        is fitted on and scores.
    """
    settings = settings or Settings()
    rows = {}
    for machine, of in paper.MIMII.items():
        for name, count in of.items():
            numbers = {"normal": count.normal, "abnormal": count.abnormal}
            files = {label: [Path(label) / str(at) for at in range(number)] for label, number in numbers.items()}
            clips = dataset.clip_table(Path(), {name: files})
            roles = dataset.split(clips, [0], settings.split).role.value_counts()
            per_clip = settings.imaging.patches
            rows[machine, name] = (len(clips), *(per_clip * n for n in (len(clips), roles["train"], roles["test"])))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["clips", "patches", "train", "test"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["machine", "id"])
    return table


def operations(profile: Profile) -> pd.Series:
    """Return the operations that a profile's rows of Table 1 take on all of MIMII at one SNR.

    Mixtures are counted with as many iterations as the paper allows, hence at most; the isolation forest and the
    one-class SVM are not counted in operations of this kind.

    Returns
    -------
    Series
        By name of a network, a detector or an auto-encoder, for a reader.
    """
    settings, n_seeds, found = profile.settings, len(profile.seeds), {}
    mimii = sizes(settings)
    for name in profile.extractors:
        found[extractors.get(name).title] = forward(name) * mimii.patches.sum()
    dimensions = sum(settings.detectors.pca or extractors.get(name).dimension for name in profile.extractors)
    # Of every patch, the distance to every component and its share of every component's mean and variance.
    iteration = 8 * mimii.train.sum() * settings.detectors.n_components * dimensions
    for name in ("gmm", "b-gmm"):
        if name in profile.detectors:
            found[paper.DETECTORS[name]] = n_seeds * settings.detectors.max_iter * iteration
    if "kde" in profile.detectors:
        found[paper.DETECTORS["kde"]] = n_seeds * 2 * (mimii.train * mimii.test).sum() * dimensions
    for name in (name for name in profile.detectors if name in paper.AUTOENCODERS):
        fewer = settings.autoencoders.seeds
        trained = settings.autoencoders.epochs * (n_seeds if fewer is None else len(fewer))
        found[paper.AUTOENCODERS[name]] = trained * _training(name, settings.autoencoders.channels) * mimii.train.sum()
    return pd.Series(found, dtype=float)


@cache
def forward(extractor: str) -> float:
    """Return the operations of a network on one picture."""
    net = extractors.get(extractor).network().eval()
    with torch.no_grad():
        return _counted(lambda: net(torch.zeros(1, 3, 224, 224)))


@cache
def _training(name: str, channels: int) -> float:
    """Return the operations of an auto-encoder on one picture, forth and back."""
    net: nn.Module = autoencoders.NETWORKS[name](channels, 64)
    return _counted(lambda: net(torch.zeros(2, channels, 64, 64)).mean().backward()) / 2


def _counted(call: Any) -> float:
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


# Rehearsals


def rehearsals(folders: Sequence[Path] = FOLDERS) -> list[dict[str, Any]]:
    """Return the records of rehearsals (``benchmarks/rehearsal.py``), the smallest share first.

    A record of the reader's own takes the place of the project's of the same share.

    Raises
    ------
    MimiiError
        If a record cannot be read, or there is none.
    """
    found: dict[float, dict[str, Any]] = {}
    for folder in folders:
        for file in sorted(folder.glob("rehearsal_*.json")):
            try:
                record = dict(json.loads(file.read_text()))
                found[float(record["share"])] = record | {"own": folder != folders[0]}
            except (ValueError, KeyError, TypeError):
                record = {}
            if lacking := FIELDS - set(record):
                raise MimiiError(
                    f"{file}: not the record of a rehearsal (it lacks {', '.join(sorted(lacking))}); remove it, or run "
                    "'make rehearsal' again"
                )
    if not found:
        raise MimiiError(f"{folders[0].name}: no rehearsal_*.json found; make one by 'make rehearsal'")
    return [found[share] for share in sorted(found)]


def growth(records: Sequence[Mapping[str, Any]]) -> pd.Series | None:
    """Return the exponents by which the time of each stage grew with the clips, to the last record.

    1 is in proportion; 2 is four times the time for twice the clips. It is counted from the smallest rehearsal that was
    made on a machine like the last one's; None if there is no other.
    """
    small, large = next(each for each in records if each["machine"] == records[-1]["machine"]), records[-1]
    if small is large:
        return None
    more = np.log(large["clips"] / small["clips"])
    took = [{stage["what"]: stage["took"] for stage in record["stages"] if stage["took"]} for record in (small, large)]
    return (np.log(pd.Series(took[1])) - np.log(pd.Series(took[0]))).dropna() / more


def makespan(longest: float, total: float, machines: int) -> float:
    """Return the seconds that jobs of `total` seconds take on several machines of that kind, one job on each at a time.

    It is never less than the longest job, and close to an equal share where jobs are many.
    """
    return max(longest, total / machines)
