"""Explanations of single decisions: which clips a system caught or missed, and why a clip scored high.

A clip's score is pooled from its patch scores (Eq. 1), and a patch score follows from the features of its image. An
explanation goes the other way: to the patches with the highest scores, to the training patches nearest to them, and by
occlusion (Zeiler and Fergus, 2014) to the blocks of the image without which score and distance fall.

Units: patch scores are in standard deviations of the normal test patches of the machine ID, from their mean, since each
detector has its own scale. Distances are Euclidean, between features as the detector takes them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from mimii_lib import evaluation, extractors, imaging
from mimii_lib.errors import NotRun
from mimii_lib.run import Run, engines
from mimii_lib.settings import CLIP_SYSTEMS

GRID, MARGIN = 8, 2
"""Blocks along each side of an image, and pixels beyond a block that are occluded too: no edge of the block remains."""
N_WORST, N_NEAREST = 2, 2
"""Patches of a clip that are explained, and training patches that are shown for each."""
DECIMALS = 3
"""Decimals to which scores are compared: far from all training patches an OC-SVM's scores differ by rounding alone."""
KINDS = ("best caught", "worst missed", "worst false alarm")  # example clips, in the order in which they are shown


def trained_systems(runs: Sequence[Run]) -> dict[Run, list[evaluation.System]]:
    """Return the systems (extractor, detector) that rest on a pretrained network of pictures, by run.

    An audio network has no picture to explain a score by. Runs without any such system are left out; raises
    :class:`NotRun` if all are.
    """

    def explained(extractor: str | None) -> bool:
        network = extractors.get(extractor) if extractor else None
        return network is not None and network.seed is None and network.takes_pictures

    systems = {run: [system for system in run.results.systems() if explained(system[0])] for run in runs}
    if not any(systems.values()):
        raise NotRun("this run has no pretrained network of pictures with a detector of its features")
    return {run: of_run for run, of_run in systems.items() if of_run}


def best_system(aucs: pd.DataFrame) -> evaluation.System:
    """Return the system with the highest mean AUC over machine IDs and seeds, if any scores patches among those.

    Takes a table of :meth:`mimii_lib.run.Run.auc`. The extractor of an auto-encoder is None.
    """
    of_patches = aucs[~aucs.detector.isin(CLIP_SYSTEMS)]
    scored = aucs if of_patches.empty else of_patches
    extractor, detector = scored.groupby(["extractor", "detector"], dropna=False).auc.mean().idxmax()
    return (None if pd.isna(extractor) else extractor), detector


def untrained_note(run: Run, aucs: pd.DataFrame) -> str:
    """Return what to make of it if the system with the highest mean AUC has a network that was never trained, or ""."""
    extractor, _ = aucs.groupby(["extractor", "detector"], dropna=False).auc.mean().idxmax()
    if pd.isna(extractor) or extractors.get(extractor).seed is None:
        return ""
    note = "Its network was never trained."
    if run.recordings.kind == "miniature":
        note += (
            f" Synthetic sounds do not have the patterns of photographs, and only {aucs.n_train.min()} clips train: "
            "that trained weights are no better here says nothing about real machines."
        )
    return note


def ranked_clips(run: Run, system: evaluation.System) -> pd.DataFrame:
    """Return how a system ranks the test clips of every machine ID, in its first seed.

    Columns: id, label, path, seed, `at` (its row of the patch scores), score; above_normal of n_normal and
    above_abnormal of n_abnormal, the number of other test clips with a lower score; place, that share among the clips
    of the other label; and excess, the score in standard deviations of the normal clips, from their mean.
    """
    tables, seed = [], run.results.seeds(system[1])[0]
    for machine_id in run.ids:
        clips = run.clip_scores(machine_id, *system, seed)
        table = run.recordings.split_clips(machine_id, seed, "test").reset_index(drop=True)
        table = table.assign(seed=seed, at=table.index, score=clips.scores)
        for label, group in (("normal", ~clips.anomalous), ("abnormal", clips.anomalous)):
            table[f"above_{label}"] = (clips.scores[group] < clips.scores[:, None]).sum(axis=1)
            table[f"n_{label}"] = group.sum() - group  # a clip is not compared with itself
        places = table.above_normal / table.n_normal, table.above_abnormal / table.n_abnormal
        table["place"] = np.where(clips.anomalous, *places)
        table["excess"] = _standardised(clips.scores, clips.scores[~clips.anomalous])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def example_clips(ranked: pd.DataFrame, k: int = 2) -> pd.DataFrame:
    """Return the best caught and the worst missed abnormal clips, up to `k` each, and the worst false alarm.

    Takes a table of :func:`ranked_clips`, and returns rows of it with their `kind`, in the order of `KINDS`. Clips are
    ordered by place, since each machine ID has its own scale, then by excess. No clip is returned twice.
    """
    ordered = ranked.round({"excess": DECIMALS}).sort_values(["place", "excess"], ascending=False, kind="stable")
    abnormal, normal = ordered[ordered.label == "abnormal"], ordered[ordered.label == "normal"]
    caught = abnormal.head(min(k, (len(abnormal) + 1) // 2))
    missed = abnormal.tail(min(k, len(abnormal) // 2))[::-1]
    groups = zip(KINDS, (caught, missed, normal.head(1)), strict=True)
    return pd.concat([group.assign(kind=kind) for kind, group in groups], ignore_index=True)


def _standardised(scores: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((scores - normal.mean()) / (normal.std() or 1.0))


class PatchScorer:
    """A system with a network, fitted on a machine ID: a function from patches to scores and distances."""

    def __init__(self, run: Run, system: tuple[str, str], seed: int, machine_id: str):
        self.settings, self.weights = run.settings, run.stages.weights(system[0])
        self.fitted = run.fit(machine_id, *system, seed)
        train, test = (run.recordings.split_clips(machine_id, seed, role) for role in ("train", "test"))
        self.train_features = self.fitted[:-1].transform(run.stages.detector_inputs(machine_id, system[0], train, seed))
        self.neighbours = NearestNeighbors(algorithm="brute").fit(self.train_features)
        self.normal_scores = run.scores(machine_id, *system, seed)[(test.label == "normal").to_numpy()]

    def __call__(self, patches: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the scores of patches (n, height, width) and their distances to the nearest training patch: (2, n)."""
        features = engines.extract(patches, self.weights, self.settings.imaging, self.settings.features)
        inputs = self.fitted[:-1].transform(features)
        scores = evaluation.anomaly_scores(self.fitted[-1].score_samples(inputs))
        return np.stack([_standardised(scores, self.normal_scores), self.neighbours.kneighbors(inputs, 1)[0][:, 0]])


@dataclass(frozen=True)
class Explanation:
    """Why a clip, a row of :func:`ranked_clips`, scored high in a system.

    Attributes
    ----------
    measures : array of shape (2, patches)
        Scores of the clip's patches, and their distances to the nearest training patch.
    bands : array of shape (2, 3)
        5 %, 50 % and 95 % quantiles of both measures over the normal test patches.
    worst : array of shape (N_WORST,)
        Numbers of the patches with the highest scores, the highest first; of equals, the farthest from training.
    nearest : DataFrame
        The training patches nearest to each of the worst: patch (which of the worst), path, number (which patch of that
        clip), distance, features (how few of them make up half of the squared distance) and dimension (of how many).
    patches : array of shape (N_WORST, 1 + N_NEAREST, height, width), uint8
        Each of the worst patches, followed by its nearest training patches; rows from low to high frequencies.
    maps : array of shape (2, GRID, GRID)
        Decrease of the worst patch's score, and of its distance relative to that, with a block occluded; rows alike.
    """

    run: Run
    clip: Any
    measures: NDArray[np.float64]
    bands: NDArray[np.float64]
    worst: NDArray[np.intp]
    nearest: pd.DataFrame
    patches: NDArray[np.uint8]
    maps: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The display name of the clip."""
        return f"{self.run.machine} {self.clip.id}, clip {Path(self.clip.path).stem}"

    def time(self, patch: int) -> tuple[float, float]:
        """Return the start and the end of a patch in seconds."""
        settings = self.run.settings.imaging
        start = patch * settings.patch_offset
        return imaging.seconds(start, settings), imaging.seconds(start + settings.patch_frames, settings)


def explain(run: Run, system: tuple[str, str], clip: Any) -> Explanation:
    """Explain how a system with a network scored a test clip, a row of :func:`ranked_clips`."""
    machine_id, seed, position = str(clip.id), int(clip.seed), int(clip["at"])
    train, test = (run.recordings.split_clips(machine_id, seed, role) for role in ("train", "test"))
    scorer, patches = PatchScorer(run, system, seed, machine_id), run.patches(machine_id, seed)
    scores = _standardised(run.scores(machine_id, *system, seed), scorer.normal_scores)
    inputs = scorer.fitted[:-1].transform(run.stages.detector_inputs(machine_id, system[0], test, seed))
    distances, neighbours = scorer.neighbours.kneighbors(inputs, min(N_NEAREST, len(scorer.train_features)))
    measures = np.stack([scores, distances[:, 0].reshape(scores.shape)])  # (2, clips, patches)
    worst = np.lexsort((-measures[1, position], -scores[position].round(DECIMALS)))[:N_WORST]

    rows = position * scores.shape[1] + worst
    train_clips, numbers = np.divmod(neighbours[rows], scores.shape[1])
    nearest = pd.DataFrame({"patch": np.repeat(worst, numbers.shape[1]), "number": numbers.ravel()})
    nearest["path"] = train.path.to_numpy()[train_clips.ravel()]
    nearest["distance"] = distances[rows].ravel()
    differences = np.repeat(inputs[rows], numbers.shape[1], axis=0) - scorer.train_features[neighbours[rows].ravel()]
    largest_first = np.cumsum(-np.sort(-(differences**2), axis=1), axis=1)
    nearest["features"] = 1 + (largest_first < largest_first[:, -1:] / 2).sum(axis=1)
    nearest["dimension"] = inputs.shape[1]

    own, trained = patches[test.index[position]][worst], patches[train.index.to_numpy()[train_clips], numbers]
    average = patches[train.index].mean(axis=(0, 1)).round().astype(np.uint8)
    maps = occlusion_map(own[0], average, scorer)
    maps[1] /= measures[1, position, worst[0]] or 1.0
    bands = np.quantile(measures[:, test.label == "normal"].reshape(2, -1), (0.05, 0.5, 0.95), axis=1).T
    shown = np.concatenate([own[:, None], trained], axis=1)
    upwards = -1 if run.settings.imaging.origin == "lower" else 1
    maps, shown = maps[:, ::upwards], shown[:, :, ::upwards]
    return Explanation(run, clip, measures[:, position], bands, worst, nearest, shown, maps)


def occlusion_map(
    patch: NDArray[np.uint8], fill: NDArray[np.uint8], measure: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return how far measures of a patch decrease with one block after the other occluded: (…, GRID, GRID).

    What is occluded, a block and a margin around it, is replaced by `fill`. `measure` takes patches (n, height, width),
    as `patch` and `fill` are one, and returns measures (…, n), such as a :class:`PatchScorer`.
    """
    occluded = np.repeat(patch[None], GRID**2, axis=0)
    edges = (pairwise(np.linspace(0, side, GRID + 1).astype(int)) for side in patch.shape)
    for image, block in zip(occluded, product(*edges), strict=True):
        window = tuple(slice(max(0, start - MARGIN), end + MARGIN) for start, end in block)
        image[window] = fill[window]
    measures = measure(np.concatenate([patch[None], occluded]))
    return (measures[..., :1] - measures[..., 1:]).reshape(*measures.shape[:-1], GRID, GRID)
