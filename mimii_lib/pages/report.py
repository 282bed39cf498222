"""What was run, on which data, with what, how long it took, and what was left out: for a page and for a file.

Two runs of one profile on one machine give the same report except for its date and times.
"""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
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
from mimii_lib.settings import as_json


def report(runs: Sequence[Run]) -> dict[str, Any]:
    """Return a report on runs of one profile, one per machine type, as values that JSON can hold.

    Missing results are computed first. ``auc_sha256`` is a checksum of all AUCs, rounded to six decimals.
    """
    run = runs[0]
    aucs = pd.concat([run.auc() for run in runs], ignore_index=True)
    in_order = aucs.sort_values(["machine", "id", "extractor", "detector", "seed"]).round(6)
    means = table_1_shape(aucs).dropna(how="all").mean(axis=1).round(2)
    weights = {name: weights_facts(used) for name, used in run.stages.weights_used.items()}
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
        "seeds": {run.machine: list(run.profile.seeds) for run in runs},
        "auto-encoders": {run.machine: run.results.training for run in runs if run.results.autoencoders},
        "engine": str(run.stages.engine),
        "weights": weights,
        "seconds": {stage: round(seconds, 1) for stage, seconds in forecast.time_spent(runs).items()},
        "auc": {" ".join(row).removeprefix(f"{paper.NO_FEATURES} "): mean for row, mean in means.items()},
        "auc_sha256": hashlib.sha256(in_order.to_csv(index=False).encode()).hexdigest(),
        "left_out": omissions(runs),
    }


def _clip_counts(run: Run, machine_id: str) -> dict[str, Any]:
    recordings, seed = run.recordings, run.profile.seeds[0]
    labels = recordings.clips_of(machine_id).label
    counts = {label: int((labels == label).sum()) for label in ("normal", "abnormal")}
    counts |= {role: len(recordings.split_clips(machine_id, seed, role)) for role in ("train", "test")}
    return {"machine": run.machine, "id": machine_id, **counts, "sha256": recordings.digest(machine_id)}


def omissions(runs: Sequence[Run]) -> list[str]:
    """Return what was not run, not used or replaced: machine types, IDs, clips, weights, networks and detectors."""
    profile, machines = runs[0].profile, {run.machine for run in runs}
    reasons = [f"{machine}: not part of this run" for machine in paper.MACHINES if machine not in machines]
    reasons += [f"{run.machine} {name}: {reason}" for run in runs for name, reason in run.recordings.skipped.items()]
    reasons += [f"left out: {reason}" for run in runs for reason in run.recordings.left_out.values()]
    reasons += [
        f"{weights.extractor}: a file of your own stands in for torchvision's; its rows are those of ImageNet's "
        "weights only if it holds the same values"
        for weights in runs[0].stages.weights_used.values()
        if weights.stands_in
    ]
    networks, requested = [*profile.extractors], {paper.EXTRACTORS.get(name) for name in profile.extractors}
    networks += [name for name, title in paper.EXTRACTORS.items() if title not in requested]
    reasons += [f"{get(name).title}: {reason}" for name in networks if (reason := reason_not_run(runs[0], name))]
    detectors = paper.DETECTORS | paper.AUTOENCODERS
    missing = [title for name, title in detectors.items() if name not in profile.detectors]
    return reasons + [f"{title}: {_outside(profile.name)}" for title in missing]


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
