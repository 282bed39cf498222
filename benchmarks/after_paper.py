"""Measure the systems after the paper on real recordings, and answer the suggestions of its section 7 with numbers.

    python benchmarks/after_paper.py OWN [--weights DIR] [--out benchmarks/after_paper.json]

OWN holds recordings of a machine in the folders `normal` and `abnormal`, of one length and at any rate from 16 kHz: the
record in the project is of 35 normal and 17 abnormal recordings of 2 s, made by the authors of the public repository
Minhh17/Audio_Anomaly_Detection. Of the normal recordings 60 % train, drawn by each of the seeds, the others test.
Nothing is fitted to a test recording. The record has

- `rows`: AUC, the mean over the seeds, with its 95 % interval, and the gain over the paper's system, by experiment;
- `costs`: seconds for a clip of 10 s relative to the paper's system, on one thread, in one run; size of the weights.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import librosa
import noisereduce
import numpy as np
import pandas as pd
import soundfile
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mimii_lib.data.files import atomic_write
from mimii_lib.data.weights import WeightsNotFound
from mimii_lib.errors import NotRun
from mimii_lib.evaluation import ClipScores
from mimii_lib.run.scorer import Scorer
from mimii_lib.settings import CLIP_SYSTEMS, Settings
from mimii_lib.uncertainty import bootstrap_aucs, symmetric

RATE = 16_000
PAPER = "squeezenet1_1/oc-svm"
SEEDS = range(5)
SHARE = 0.6  # of the normal recordings that train
COMPONENTS = 8  # of mixtures: the paper's 80 have too few patches here
NETWORKS = ("squeezenet1_1", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "resnet18")
SOUND_NETWORKS = ("speech_embedding", "yamnet")
DETECTORS = ("gmm", "if", "kde", "oc-svm")


@dataclass(frozen=True)
class Sounds:
    """Recordings of a machine: waveforms (n, samples) and which of them are abnormal."""

    waveforms: NDArray[np.float32]
    anomalous: NDArray[np.bool_]

    def splits(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the numbers of the training and of the test recordings of each seed."""
        normal = np.flatnonzero(~self.anomalous)
        for seed in SEEDS:
            drawn = np.random.default_rng(seed).permutation(normal)
            n_train = round(SHARE * len(normal))
            yield np.sort(drawn[:n_train]), np.r_[np.sort(drawn[n_train:]), np.flatnonzero(self.anomalous)]


def read(folder: Path) -> Sounds:
    """Return the first channel of all recordings, resampled to 16 kHz."""
    sounds, anomalous = [], []
    for label in ("normal", "abnormal"):
        for file in sorted((folder / label).iterdir()):
            sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
            sounds.append(librosa.resample(sound[:, 0], orig_sr=rate, target_sr=RATE))
            anomalous.append(label == "abnormal")
    return Sounds(np.stack(sounds), np.array(anomalous))


Features = Callable[[Scorer, NDArray[np.float32], NDArray[np.intp]], NDArray[Any]]


def of_system(scorer: Scorer, waveforms: NDArray[np.float32], train: NDArray[np.intp]) -> NDArray[Any]:
    """Return what the system takes of all sounds, on the scale of the training sounds."""
    return scorer.prepare(waveforms[train]).features(waveforms)


def denoised(scorer: Scorer, waveforms: NDArray[np.float32], train: NDArray[np.intp]) -> NDArray[Any]:
    """Return the features after stationary noise, estimated on the training sounds, was reduced by spectral gating."""
    noise = np.concatenate(waveforms[train])
    reduced = [noisereduce.reduce_noise(sound, RATE, stationary=True, y_noise=noise) for sound in waveforms]
    return of_system(scorer, np.stack(reduced).astype(np.float32), train)


def of_neighbours(scorer: Scorer, waveforms: NDArray[np.float32], train: NDArray[np.intp]) -> NDArray[Any]:
    """Return neighbouring patches side by side: (n, patches - 1, 2 x columns)."""
    features = of_system(scorer, waveforms, train)
    return np.concatenate([features[:, :-1], features[:, 1:]], axis=2)


def of_shuffled_neighbours(scorer: Scorer, waveforms: NDArray[np.float32], train: NDArray[np.intp]) -> NDArray[Any]:
    """Return the same with the patches of each recording in a random order."""
    features, order = of_system(scorer, waveforms, train), np.random.default_rng(0)
    features = np.stack([order.permutation(patches) for patches in features])
    return np.concatenate([features[:, :-1], features[:, 1:]], axis=2)


@dataclass(frozen=True)
class Experiment:
    """A system with settings and features of its own, as a row of the record.

    Attributes
    ----------
    group
        The step of the ladder, or the suggestion of section 7, that it belongs to.
    system
        Name as :class:`mimii_lib.run.scorer.Scorer` takes it.
    settings
        By name, as ``{"imaging.db_reference": "fixed"}``.
    """

    group: str
    name: str
    system: str
    settings: dict[str, Any]
    features: Features = of_system

    @property
    def key(self) -> tuple[str, str, str]:
        """Group, name and features: what a row is called."""
        return self.group, self.name, self.features.__name__

    def scorer(self, seconds: float, weights: Path | None) -> Scorer:
        """Return the system, not fitted."""
        values = Settings().model_dump()
        for name, value in {
            "imaging.seconds": int(seconds),
            "detectors.n_components": COMPONENTS,
            **self.settings,
        }.items():
            group, _, item = name.partition(".")
            values[group][item] = value
        return Scorer(self.system, Settings.model_validate(values), weights)


LEVEL = {"imaging.db_reference": "fixed", "imaging.scaling": "training"}
SHORT = {"imaging.patch_frames": 32, "imaging.patch_offset": 16}
LITE0 = "efficientnet_lite0/oc-svm"
EXPERIMENTS = (
    Experiment("ladder", "the paper's system", PAPER, {}),
    Experiment("ladder", "the level is kept", PAPER, LEVEL),
    Experiment("ladder", "another network", LITE0, LEVEL),
    Experiment("ladder", "the last map, the frequency axis is kept", "maps-late", {}),
    Experiment("ladder", "a middle map", "maps-middle", {}),
    Experiment("ladder", "the ensemble", "ensemble", {}),
    *(Experiment("clip systems", name, name, {}) for name in CLIP_SYSTEMS),
    *(Experiment("combination", how, "ensemble", {"systems.combine": how}) for how in ("mean", "min", "max")),
    *(
        Experiment("image networks", f"{network}/{detector}", f"{network}/{detector}", {})
        for network in NETWORKS
        for detector in DETECTORS
    ),
    *(
        Experiment("networks of sound", f"{network}/{detector}", f"{network}/{detector}", {})
        for network in SOUND_NETWORKS
        for detector in DETECTORS
    ),
    *(
        Experiment("noise reduction", name, name, {}, features)
        for name in (PAPER, "spectrum-mahalanobis", "ensemble")
        for features in (of_system, denoised)
    ),
    *(
        Experiment(
            "horizon", f"{frames} frames", PAPER, {"imaging.patch_frames": frames, "imaging.patch_offset": frames // 2}
        )
        for frames in (16, 32, 64, 126)
    ),
    *(
        Experiment("pooling", pooling, PAPER, SHORT | {"evaluation.pooling": pooling})
        for pooling in ("mean", "max", "weighted_rank")
    ),
    *(
        Experiment("recurrence", f"{title}, {detector}", f"squeezenet1_1/{detector}", SHORT | LEVEL, features)
        for detector in ("kde", "oc-svm")
        for title, features in {
            "single patches": of_system,
            "neighbours joined": of_neighbours,
            "neighbours of a shuffled order joined": of_shuffled_neighbours,
        }.items()
    ),
)


def scored(experiment: Experiment, sounds: Sounds, weights: Path | None) -> Iterator[ClipScores]:
    """Yield the scores of the test recordings of every seed."""
    numbers = np.arange(len(sounds.waveforms)).astype(str)
    features: dict[Any, NDArray[Any]] = {}
    for train, test in sounds.splits():
        scorer = experiment.scorer(sounds.waveforms.shape[1] / RATE, weights)
        scale = scorer.prepare(sounds.waveforms[train]).limits
        if scale not in features or experiment.features is denoised:  # noise is estimated anew
            features = {scale: experiment.features(scorer, sounds.waveforms, train)}
        columns = features[scale]
        with threadpool_limits(limits=1):  # what is summed by several threads has no fixed order
            scores = scorer.fit_features(columns[train]).score_features(columns[test])
        yield ClipScores("own", experiment.key, numbers[test], sounds.anomalous[test], scores)


def measure(sounds: Sounds, weights: Path | None) -> list[dict[str, Any]]:
    """Return the rows of the record; an experiment whose network has no weights has a reason instead of an AUC."""
    tested: list[ClipScores] = []
    reasons = {}
    for experiment in EXPERIMENTS:
        try:
            tested += scored(experiment, sounds, weights)
        except (WeightsNotFound, NotRun) as error:
            reasons[experiment.key] = str(error).partition(" (")[0]
        print(*experiment.key, file=sys.stderr, flush=True)
    estimates, reference = bootstrap_aucs(tested), EXPERIMENTS[0].key
    rows = []
    for experiment in EXPERIMENTS:
        row = dict(zip(("group", "name", "features"), experiment.key, strict=True))
        if experiment.key in reasons:
            rows.append(row | {"not_run": reasons[experiment.key]})
            continue
        area = estimates.interval(experiment.key)
        weighted = {experiment.key: 1.0, reference: -1.0} if experiment.key != reference else {reference: 0.0}
        gain = symmetric(*estimates.weighted_sum(weighted))
        values = {"auc": area.value, "low": area.low, "high": area.high}
        values |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
        rows.append(row | {name: round(float(value), 5) for name, value in values.items()})
    return rows


def costs(weights: Path | None) -> list[dict[str, Any]]:
    """Return the time of a clip of 10 s on one thread, relative to the paper's system, and the size of the weights."""
    random = np.random.default_rng(0)
    sounds = [0.01 * random.standard_normal(10 * RATE).astype(np.float32) * (1 + number / 20) for number in range(12)]
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    names = [PAPER, LITE0, "resnet18/oc-svm", "speech_embedding/oc-svm", "yamnet/oc-svm", *CLIP_SYSTEMS]
    for name in names:
        try:
            scorer = Experiment("", name, name, {}).scorer(10, weights).fit(sounds)
            scorer.scores(sounds[:1])
            start = time.process_time()
            for sound in sounds[:6]:
                scorer.scores([sound])
            size = scorer.weights.path.stat().st_size / 1e6 if scorer.extractor else 0.0
            rows.append({"system": name, "seconds": (time.process_time() - start) / 6, "weights_mb": round(size, 1)})
        except (WeightsNotFound, NotRun) as error:
            rows.append({"system": name, "not_run": str(error).partition(" (")[0]})
        print(*rows[-1].values(), file=sys.stderr, flush=True)
    for row in rows[::-1]:
        if "seconds" in row:
            row["relative"] = round(row.pop("seconds") / rows[0].get("seconds", 1), 3) if row is not rows[0] else 1.0
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the record and print it; return 2 if the recordings cannot be read, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("own", type=Path, help="folder with the folders normal and abnormal")
    parser.add_argument("--weights", type=Path, help="folder of weight files <extractor>.pt")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"), help="the record")
    options = parser.parse_args(arguments)
    if not (options.own / "abnormal").is_dir():
        print(f"{options.own}: no folder 'abnormal'; expected the folders normal and abnormal", file=sys.stderr)
        return 2
    sounds = read(options.own)
    rows = measure(sounds, options.weights)
    counts = {"normal": int((~sounds.anomalous).sum()), "abnormal": int(sounds.anomalous.sum())}
    record = {
        "recordings": counts | {"seconds": sounds.waveforms.shape[1] / RATE, "seeds": len(SEEDS), "share": SHARE},
        "rows": rows,
        "costs": costs(options.weights),
    }
    with atomic_write(options.out) as file:
        file.write_text(json.dumps(record, indent=1) + "\n")
    print(pd.DataFrame(rows).round(3).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
