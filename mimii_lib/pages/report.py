"""What was run, on which data, with what, how long it took, and what was left out: for a page and for a file.

Two runs of one profile on one machine give the same report except for its date and times.
"""

import hashlib
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pandas as pd
import psutil

from mimii_lib import dataset, paper
from mimii_lib.data.weights import WeightsNotFound, find_weights
from mimii_lib.evaluation import table_1_shape
from mimii_lib.extractors import get
from mimii_lib.pages.project import weights_facts
from mimii_lib.pages.run_box import RECORDING_KINDS
from mimii_lib.run import Run, forecast, provenance
from mimii_lib.settings import Settings, as_json


def report(runs: Sequence[Run]) -> dict[str, Any]:
    """Return a report on runs of one profile, one per machine type, as values that JSON can hold.

    Missing results are computed first. ``auc_sha256`` is a checksum of all AUCs, rounded to six decimals.
    """
    run = runs[0]
    aucs = pd.concat([run.auc() for run in runs], ignore_index=True)
    in_order = aucs.sort_values(["machine", "id", "extractor", "detector", "seed"]).round(6)
    means = table_1_shape(aucs).dropna(how="all").mean(axis=1).round(2)
    weights = {name: weights_facts(used) for run in runs for name, used in run.stages.weights_used.items()}
    ids = [_clip_counts(run, name) for run in runs for name in run.recordings.evaluable]
    machine = {"system": platform.platform(), "processor": provenance.processor(), "cores": os.cpu_count()}
    return {
        "date": date.today().isoformat(),
        "commit": provenance.commit(),
        "versions": json.loads(provenance.describe()["versions"]),
        "machine": machine | {"memory": psutil.virtual_memory().total},
        "data": {"what": RECORDING_KINDS[run.recordings.kind], "snr": run.profile.snr, "ids": ids}
        | {"downloads": dataset.downloads(run.recordings.data)},
        "profile": run.profile.name,
        "settings": json.loads(as_json(run.settings)),
        "own_settings": {run.machine: own for run in runs if (own := _differences(runs[0].settings, run.settings))},
        "splits": run.recordings.splits_origin,
        "seeds": {run.machine: list(run.profile.seeds) for run in runs},
        "auto-encoders": {run.machine: run.results.training for run in runs if run.results.autoencoders},
        "engine": ", or ".join(dict.fromkeys(str(run.stages.engine) for run in runs)),
        "weights": weights,
        "seconds": {stage: round(seconds, 1) for stage, seconds in forecast.time_spent(runs).items()},
        "auc": {" ".join(row).removeprefix(f"{paper.NO_FEATURES} "): mean for row, mean in means.items()},
        "auc_sha256": hashlib.sha256(in_order.to_csv(index=False).encode()).hexdigest(),
        "left_out": omissions(runs),
    }


def _differences(first: Settings, other: Settings) -> dict[str, Any]:
    """Return the settings of another machine type that are not those of the first, as ``{"imaging.hop": 512}``."""
    groups = [(name, dict(getattr(first, name)), dict(group)) for name, group in other]
    return {
        f"{name}.{setting}": value
        for name, of_first, of_other in groups
        for setting, value in of_other.items()
        if value != of_first[setting]
    }


def _clip_counts(run: Run, machine_id: str) -> dict[str, Any]:
    recordings, seed = run.recordings, run.profile.seeds[0]
    labels = recordings.clips_of(machine_id).label
    counts = {label: int((labels == label).sum()) for label in ("normal", "abnormal")}
    counts |= {role: len(recordings.split_clips(machine_id, seed, role)) for role in ("train", "test")}
    return {"machine": run.machine, "id": machine_id, **counts, "sha256": recordings.digest(machine_id)}


def omissions(runs: Sequence[Run]) -> list[str]:
    """Return what was not run, not used or replaced: machine types, IDs, clips, weights, networks and detectors."""
    machines = {run.machine for run in runs}
    reasons = [f"{machine}: not part of this run" for machine in paper.MACHINES if machine not in machines]
    reasons += [f"{run.machine} {name}: {reason}" for run in runs for name, reason in run.recordings.skipped.items()]
    reasons += [f"left out: {reason}" for run in runs for reason in run.recordings.left_out.values()]
    machine_types = defaultdict(list)
    for run in runs:
        for reason in _not_run(run):
            machine_types[reason].append(run.machine)
    return reasons + [
        reason if len(names) == len(runs) else f"{reason} ({', '.join(names)})"
        for reason, names in machine_types.items()
    ]


def _not_run(run: Run) -> Iterator[str]:
    """Yield what of Table 1 is not run or replaced on one machine type: weights, networks and detectors."""
    for weights in run.stages.weights_used.values():
        if weights.stands_in:
            yield (
                f"{weights.extractor}: a file of your own stands in for torchvision's; its rows are those of "
                "ImageNet's weights only if it holds the same values"
            )
    requested = {paper.EXTRACTORS.get(name) for name in run.profile.extractors}
    for name in (
        *run.profile.extractors,
        *(name for name, title in paper.EXTRACTORS.items() if title not in requested),
    ):
        if reason := reason_not_run(run, name):
            yield f"{get(name).title}: {reason}"
    for name, title in (paper.DETECTORS | paper.AUTOENCODERS).items():
        if name not in run.profile.detectors:
            yield f"{title}: {_outside(run.profile.name)}"


def reason_not_run(run: Run, extractor: str) -> str:
    """Return why a network was not run, in the same words on every page; an empty text if it was.

    A network outside the profile whose weights the profile's sources cannot give has the same reason as one inside it.
    """
    if extractor in run.stages.weights_used:
        return ""
    reason = run.stages.unavailable_extractors.get(extractor, "")
    sources = run.profile.weight_sources
    if not reason and "torchvision" not in sources:  # nothing is downloaded to find a reason
        try:
            find_weights(extractor, run.profile.weights, sources)
        except WeightsNotFound as error:
            reason = str(error)
    return reason.removeprefix(f"{extractor}: ") or _outside(run.profile.name)


def _outside(profile: str) -> str:
    return f"not part of the profile “{profile}”"
