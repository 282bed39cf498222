"""Looking into a decision: which clips a row of the table caught and missed, and what made a clip anomalous.

A clip's score is made of its patches' scores (Eq. 1), a patch's of what a network says of its picture. So a decision is
followed backwards: to the patches that scored highest, to the training patches that the detector had nearest to them,
and by occlusion (Zeiler and Fergus, 2014) to the places on the picture without which the score falls.

Patch scores are told in standard deviations of the normal test patches of the machine ID, from their mean: detectors
have scales of their own, and of some the numbers are in the thousands.
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
from mimii_lib.run import Run, engines
from mimii_lib.settings import SIMPLE_BASELINES

GRID = 8
"""Blocks along each side of a picture; one of them is hidden at a time."""
REACH = 2
"""Pixels that the hidden window goes beyond its block on every side, so that no structure survives on a border."""
WORST, NEAREST = 2, 2
"""Patches of a clip that are looked into, and training patches that are shown for each."""
QUANTILES = (0.05, 0.5, 0.95)
"""Of the normal test patches: what is usual."""
TIE = 3
"""Decimals of a standard deviation to which scores are told apart: far from all training patches, an OC-SVM's are equal
but for what rounding leaves, which differs from machine to machine."""

Row = tuple[str | None, str]
Measure = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Takes patches (n, height, width) and returns what is measured of them: (…, n)."""

KINDS = ("best caught", "worst missed", "worst false alarm")
"""What a gallery shows, in its order."""


# Which clips


def networks(run: Run) -> list[Row]:
    """Return the rows of the table that rest on a trained network and can be run; there may be none."""
    return [row for row in run.results.systems() if row[0] is not None and extractors.get(row[0]).seed is None]


def best_row(areas: pd.DataFrame) -> Row:
    """Return the extractor (None: an auto-encoder) and detector with the highest mean AUC over machine IDs and seeds.

    Of those that score patches: the controls score a clip as a whole. Takes a table of :meth:`mimii_lib.run.Run.auc`.
    """
    of_patches = areas[~areas.detector.isin(SIMPLE_BASELINES)]
    extractor, detector = of_patches.groupby(["extractor", "detector"], dropna=False).auc.mean().idxmax()
    return (None if pd.isna(extractor) else extractor), detector


def judged(run: Run, row: Row) -> pd.DataFrame:
    """Return how a row judged the test clips of every machine ID, in its first seed.

    Returns
    -------
    DataFrame
        A clip a row: id, label, path, the seed, and `at`, its row in :meth:`mimii_lib.run.Run.scores`; its score;
        above_normal of n_normal and above_abnormal of n_abnormal, how many other test clips score lower; place, that
        share of the clips of the other label; and excess, how far the score lies above the mean of the normal
        clips in their standard deviations.
    """
    tables, seed = [], run.results.seeds(row[1])[0]
    for machine_id in run.ids:
        tested = run.clip_scores(machine_id, *row, seed)
        table = run.recordings.split_clips(machine_id, seed, "test").reset_index(drop=True)
        table = table.assign(seed=seed, at=table.index, score=tested.scores)
        for name, group in (("normal", ~tested.anomalous), ("abnormal", tested.anomalous)):
            scores = tested.scores[group]
            table[f"above_{name}"] = (scores < tested.scores[:, None]).sum(axis=1)
            table[f"n_{name}"] = len(scores) - group  # a clip is not compared with itself
        table["place"] = np.where(
            tested.anomalous, table.above_normal / table.n_normal, table.above_abnormal / table.n_abnormal
        )
        table["excess"] = _standardised(tested.scores, tested.scores[~tested.anomalous])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def gallery(table: pd.DataFrame, k: int = 2) -> pd.DataFrame:
    """Return the best caught and the worst missed abnormal clips, up to `k` each, and the worst false alarm.

    Takes a table of :func:`judged`, and returns rows of it in that order with their `kind`, one of `KINDS`. A clip's
    place comes first, since machine IDs have scales of their own, then its excess. Where there are fewer than 2 `k`
    abnormal clips, none is shown twice.
    """
    ordered = table.round({"excess": TIE}).sort_values(["place", "excess"], ascending=False, kind="stable")
    abnormal, normal = ordered[ordered.label == "abnormal"], ordered[ordered.label == "normal"]
    caught = abnormal.head(min(k, (len(abnormal) + 1) // 2))
    missed = abnormal.tail(min(k, len(abnormal) // 2))[::-1]
    shown = dict(zip(KINDS, (caught, missed, normal.head(1)), strict=True))
    return pd.concat([some.assign(kind=kind) for kind, some in shown.items()], ignore_index=True)


def _standardised(scores: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores in standard deviations of normal ones, from their mean; where those are all the same, unscaled."""
    return np.asarray((scores - normal.mean()) / (normal.std() or 1.0))


# Into one of them


class PatchScorer:
    """A row of a network, fitted on a machine ID: a function of pictures.

    Parameters
    ----------
    run, row, seed, machine_id
        As :meth:`mimii_lib.run.Run.fit` takes them; the row has an extractor.
    """

    def __init__(self, run: Run, row: Row, seed: int, machine_id: str):
        assert row[0] is not None
        self.settings, self.weights = run.settings, run.stages.weights(row[0])
        self.fitted = run.fit(machine_id, *row, seed)
        train, test = (run.recordings.split_clips(machine_id, seed, role) for role in ("train", "test"))
        self.points = self.fitted[:-1].transform(run.stages.detector_inputs(machine_id, row[0], train, seed))
        self.learnt = NearestNeighbors(algorithm="brute").fit(self.points)
        normal = run.scores(machine_id, *row, seed)[(test.label == "normal").to_numpy()]
        self.normal: NDArray[np.float64] = normal.ravel()

    def seen(self, patches: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the features of patches (n, height, width) as the detector sees them: (n, dimension)."""
        features = engines.extract(patches, self.weights, self.settings.imaging, self.settings.features)
        return np.asarray(self.fitted[:-1].transform(features))

    def __call__(self, patches: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the scores of patches, in standard deviations, and their distances to the nearest training patch.

        Two rows: (2, n).
        """
        seen = self.seen(patches)
        scores = _standardised(evaluation.anomaly_scores(self.fitted[-1].score_samples(seen)), self.normal)
        return np.stack([scores, self.learnt.kneighbors(seen, 1)[0][:, 0]])


@dataclass(frozen=True)
class Explanation:
    """What made a clip anomalous for one row of the table.

    Attributes
    ----------
    run, row, seed
        Who judged.
    machine_id, path
        The clip.
    measured : array of shape (2, patches)
        The patches' scores and distances, as a :class:`PatchScorer` returns them.
    bands : array of shape (2, 3)
        What 5 %, 50 % and 95 % of the normal test patches have less of, of each.
    worst
        Numbers of the patches with the highest scores, the highest first; of equals, the farthest from training.
    nearest : DataFrame
        The training patches nearest to each of these: patch (which of the worst), path and number (which training
        patch), distance, and features: how few features make up half of its square.
    dimension
        The number of features that the detector sees.
    patches : array of shape (worst, 1 + nearest, height, width), uint8
        Each of the worst patches, and behind it its nearest training patches.
    falls : array of shape (2, GRID, GRID)
        How much score and distance of the worst patch fall with a block hidden; laid out as the patch is.
    hidden : array of shape (2,)
        Score and distance of a picture that is hidden throughout.
    """

    run: Run
    row: Row
    seed: int
    machine_id: str
    path: str
    measured: NDArray[np.float64]
    bands: NDArray[np.float64]
    worst: list[int]
    nearest: pd.DataFrame
    dimension: int
    patches: NDArray[np.uint8]
    falls: NDArray[np.float64]
    hidden: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The clip's name for a reader."""
        return f"{self.run.machine} {self.machine_id}, clip {Path(self.path).stem}"

    def time(self, patch: int) -> tuple[float, float]:
        """Return when a patch of a clip starts and ends, in seconds."""
        settings = self.run.settings.imaging
        start = patch * settings.patch_offset
        return imaging.seconds(start, settings), imaging.seconds(start + settings.patch_frames, settings)


def look(run: Run, row: Row, clip: "pd.Series[Any]") -> Explanation:
    """Explanation into how a row of a network judged a test clip: kept, since it describes and fits anew.

    Parameters
    ----------
    row
        An extractor and a detector.
    clip
        A row of :func:`judged`.
    """
    which = (row, int(clip.seed), str(clip.id), str(clip.path))
    return Explanation(run, *which, **_found(run, *which))


def _found(run: Run, row: Row, seed: int, machine_id: str, path: str) -> dict[str, Any]:
    train, test = (run.recordings.split_clips(machine_id, seed, role) for role in ("train", "test"))
    normal, clip = (test.label == "normal").to_numpy(), int(np.flatnonzero(test.path == path)[0])
    judge = PatchScorer(run, row, seed, machine_id)
    scores = _standardised(run.scores(machine_id, *row, seed), judge.normal)
    seen = judge.fitted[:-1].transform(run.stages.detector_inputs(machine_id, row[0], test, seed))
    distances, numbers = judge.learnt.kneighbors(seen, min(NEAREST, len(judge.points)))
    measured = np.stack([scores, distances[:, 0].reshape(scores.shape)])  # (2, clips, patches)
    worst = np.lexsort((-measured[1, clip], -scores[clip].round(TIE)))[:WORST]

    at = clip * scores.shape[1] + worst
    apart = seen[at][:, None] - judge.points[numbers[at]]
    which, number = np.divmod(numbers[at], scores.shape[1])
    nearest = pd.DataFrame(
        {
            "patch": np.repeat(worst, numbers.shape[1]),
            "path": train.path.to_numpy()[which.ravel()],
            "number": number.ravel(),
            "distance": distances[at].ravel(),
            "features": [int(half_of(each**2).sum()) for each in apart.reshape(-1, seen.shape[1])],
        }
    )
    patches = run.patches(machine_id, seed)
    own, learnt = patches[test.index[clip]][worst], patches[train.index.to_numpy()[which], number]
    fill = average(patches[train.index])
    return {
        "measured": measured[:, clip],
        "bands": np.quantile(measured[:, normal].reshape(2, -1), QUANTILES, axis=1).T,
        "worst": [int(number) for number in worst],
        "nearest": nearest,
        "dimension": seen.shape[1],
        "patches": np.concatenate([own[:, None], learnt], axis=1),
        "falls": occlusion(own[0], fill, judge),
        "hidden": judge(fill[None])[:, 0],
    }


def half_of(parts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of some parts make up half of the sum of the positive ones: as few of them as do."""
    flat = parts.clip(min=0).ravel()
    order = np.argsort(-flat, kind="stable")
    before = np.cumsum(flat[order]) - flat[order]
    chosen = np.zeros(len(flat), bool)
    chosen[order] = (before < flat.sum() / 2) & (flat[order] > 0)
    return chosen.reshape(parts.shape)


# Occlusion


def average(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean of patches (…, height, width), place by place, as entries of the colour map."""
    return patches.reshape(-1, *patches.shape[-2:]).mean(axis=0).round().astype(np.uint8)


def windows(shape: Sequence[int]) -> list[tuple[slice, ...]]:
    """Return the windows that are hidden one after the other in a picture of a shape, row by row of blocks."""
    sides = [
        [
            slice(max(0, start - REACH), end + REACH)
            for start, end in pairwise(np.linspace(0, side, GRID + 1).astype(int))
        ]
        for side in shape
    ]
    return list(product(*sides))


def occlusion(patch: NDArray[np.uint8], fill: NDArray[np.uint8], measure: Measure) -> NDArray[np.float64]:
    """Return how much less anomalous a patch is with one block after the other hidden.

    Parameters
    ----------
    patch, fill : arrays of shape (height, width), uint8
        The picture, and the one that it shows in the place of what is hidden.
    measure
        Such as a :class:`PatchScorer`.

    Returns
    -------
    array of shape (…, GRID, GRID)
        How far each measure falls; negative where it rises.
    """
    hidden = np.repeat(patch[None], GRID**2, axis=0)
    for each, window in zip(hidden, windows(patch.shape), strict=True):
        each[window] = fill[window]
    found = measure(np.concatenate([patch[None], hidden]))
    return (found[..., :1] - found[..., 1:]).reshape(*found.shape[:-1], GRID, GRID)
