"""What was run, on what, with what, how long it took, and what was left out: for a page and for a file.

Two runs of one profile on one machine give the same report but for its date and its times.
"""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from typing import Any

import pandas as pd

from mimii_lib import paper
from mimii_lib.evaluation import table_1_shape
from mimii_lib.pages.run_box import KINDS
from mimii_lib.run import Run, provenance
from mimii_lib.run.forecast import forecast
from mimii_lib.settings import as_json


def report(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what there is to tell of runs, one for each machine type, on the same profile.

    Computes what is missing. All of it can be written as JSON.
    """
    first = runs[0]
    areas = pd.concat([run.auc() for run in runs], ignore_index=True)
    in_order = areas.sort_values(["machine", "id", "extractor", "detector", "seed"]).round(6)
    done = forecast(runs, choices=False, measure=False)
    means = table_1_shape(areas).dropna(how="all").mean(axis=1).round(2)
    weights = first.stages.weights_used
    return {
        "date": date.today().isoformat(),
        "commit": provenance.commit(),
        "versions": json.loads(provenance.describe()["versions"]),
        "machine": {
            "processor": provenance.processor(),
            "cores": os.cpu_count(),
            "memory": done.installed,
            "system": platform.platform(),
        },
        "data": {
            "what": KINDS[first.recordings.kind],
            "snr": first.profile.snr,
            "ids": [_of_id(run, name) for run in runs for name in run.recordings.evaluable],
        },
        "profile": first.profile.name,
        "settings": json.loads(as_json(first.settings)),
        "seeds": {run.machine: list(run.profile.seeds) for run in runs},
        "auto-encoders": {run.machine: run.results.training for run in runs if run.results.autoencoders},
        "engine": str(first.stages.engine),
        "weights": {name: {"source": each.source, "sha256": each.sha256} for name, each in weights.items()},
        "seconds": {stage.what: round(stage.took, 1) for stage in done.stages if stage.took},
        "auc": {" ".join(row).removeprefix(f"{paper.NO_FEATURES} "): mean for row, mean in means.items()},
        "auc_sha256": hashlib.sha256(in_order.to_csv(index=False).encode()).hexdigest(),
        "left_out": left_out(runs),
    }


def _of_id(run: Run, machine_id: str) -> dict[str, Any]:
    """Return what a machine ID's numbers rest on."""
    clips = run.recordings.clips_of(machine_id)
    sizes = {
        role: len(run.recordings.split_clips(machine_id, run.profile.seeds[0], role)) for role in ("train", "test")
    }
    return {
        "machine": run.machine,
        "id": machine_id,
        **{label: int((clips.label == label).sum()) for label in ("normal", "abnormal")},
        **sizes,
        "sha256": run.recordings.digest(machine_id),
    }


def left_out(runs: Sequence[Run]) -> list[str]:
    """Return what no number rests on, with the reason: machine types, IDs, clips, networks and auto-encoders."""
    named, first = {run.machine for run in runs}, runs[0]
    why = [f"{machine}: not part of this run" for machine in paper.MACHINES if machine not in named]
    why += [f"{run.machine} {name}: {reason}" for run in runs for name, reason in run.recordings.skipped.items()]
    why += [f"left out: {reason}" for run in runs for reason in run.recordings.left_out.values()]
    why += [f"not run: {reason}" for reason in first.stages.unavailable_extractors.values()]
    asked = {paper.EXTRACTORS.get(name) for name in first.profile.extractors}
    rest = [name for name in dict.fromkeys(paper.EXTRACTORS.values()) if name not in asked]
    rest += [
        title for name, title in (paper.DETECTORS | paper.AUTOENCODERS).items() if name not in first.profile.detectors
    ]
    return why + [f"{name}: not part of the profile “{first.profile.name}”" for name in rest]
