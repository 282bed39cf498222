"""§3 and §6: patch scores → clip scores → AUC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score

from mimii_lib import extractors, paper
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Evaluation


def anomaly_scores(normality: ArrayLike) -> NDArray[np.float64]:
    """Turn normality (higher = more normal, scikit-learn's way) into anomaly scores (the paper's)."""
    return -np.asarray(normality, np.float64)


def pool(patch_scores: ArrayLike, settings: Evaluation | None = None) -> NDArray[np.float64]:
    """Return a clip's anomaly score: by default the mean over its patches (Eq. 1).

    Parameters
    ----------
    patch_scores : array of shape (..., patches)
    settings
        `pooling` is mean, max, or weighted_rank: the mean of the scores in falling order, weighted by 1, r, r², …
        with r the `rank_weight`. It is the maximum for r = 0 and the mean for r = 1 (global weighted rank pooling,
        Kolesnikov and Lampert, 2016).

    Returns
    -------
    array of shape (...)
    """
    settings = settings or Evaluation()
    scores = np.asarray(patch_scores, np.float64)
    if settings.pooling == "mean":
        return scores.mean(axis=-1)
    if settings.pooling == "max":
        return scores.max(axis=-1)
    weights = settings.rank_weight ** np.arange(scores.shape[-1])
    return -np.sort(-scores, axis=-1) @ (weights / weights.sum())


def auc(anomalous: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve of clip scores (§5): 0.5 is chance, 1 perfect.

    It is the probability that an anomalous clip scores higher than a normal one.

    Parameters
    ----------
    anomalous : boolean array of shape (clips,)
        Whether a clip is anomalous.
    scores : array of shape (clips,)
        Anomaly scores.

    Raises
    ------
    MimiiError
        If a class is missing or a score is not finite.
    """
    truth, found = np.asarray(anomalous, bool), np.asarray(scores, np.float64)
    if truth.all() or not truth.any():
        raise MimiiError(f"AUC: needs normal and anomalous clips; found {truth.sum()} anomalous of {len(truth)}")
    if not np.isfinite(found).all():
        raise MimiiError(f"AUC: {np.sum(~np.isfinite(found))} of {len(found)} scores are not finite numbers")
    return float(roc_auc_score(truth, found))


def standard_error(area: float, n_normal: int, n_abnormal: int) -> float:
    """Return the standard error of an AUC by Hanley and McNeil (1982): how much it would vary on other clips.

    Examples
    --------
    >>> round(standard_error(0.75, 150, 150), 3)
    0.028
    """
    both_abnormal, both_normal = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (n_abnormal - 1) * (both_abnormal - area**2) + (n_normal - 1) * (both_normal - area**2)
    ) / (n_normal * n_abnormal)
    return float(np.sqrt(variance))


@dataclass(frozen=True)
class Tested:
    """The scores of the clips that one detector with one seed was tested on.

    Attributes
    ----------
    unit
        The machine type and ID.
    clips : array of shape (clips,)
        A name for each clip, the same wherever the clip is tested.
    anomalous : boolean array of shape (clips,)
    scores : array of shape (clips,)
        Anomaly scores.
    """

    unit: str
    clips: NDArray[np.str_]
    anomalous: NDArray[np.bool_]
    scores: NDArray[np.float64]


def auc_difference(
    before: Sequence[Tested], after: Sequence[Tested], draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Return how much the mean AUC changes from `before` to `after`, with a 95 % interval.

    Clips are drawn again with replacement, normal and abnormal ones apart and each machine ID for itself. A clip
    that is drawn is drawn for every detector, every seed and both sides: what it shares between them is not counted
    as if it were independent. The interval says how the difference would vary on other clips of the same machine IDs;
    it says nothing about other machines.

    Returns
    -------
    difference, low, high
        Of the AUC in [0, 1], the percentile interval of the `draws`.
    """
    random = np.random.default_rng(seed)
    counts: dict[tuple[str, bool], dict[str, NDArray[np.int64]]] = {}
    for unit in sorted({each.unit for each in [*before, *after]}):
        for label in (False, True):
            both = [each for each in [*before, *after] if each.unit == unit]
            names = sorted(set(np.concatenate([each.clips[each.anomalous == label] for each in both])))
            drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
            counts[unit, label] = dict(zip(names, drawn.T, strict=True))

    def means(side: Sequence[Tested]) -> tuple[float, NDArray[np.float64]]:
        areas = [auc(each.anomalous, each.scores) for each in side]
        return float(np.mean(areas)), np.nanmean([_resampled(each, counts) for each in side], axis=0)

    (start, start_drawn), (end, end_drawn) = means(before), means(after)
    low, high = np.nanpercentile(end_drawn - start_drawn, [2.5, 97.5])
    return end - start, float(low), float(high)


def _resampled(tested: Tested, counts: dict[tuple[str, bool], dict[str, NDArray[np.int64]]]) -> NDArray[np.float64]:
    """Return the AUC with each clip counted as often as it was drawn: (draws,), NaN where a class was not drawn."""
    normal, abnormal = (
        np.stack([counts[tested.unit, label][name] for name in tested.clips[tested.anomalous == label]])
        for label in (False, True)
    )
    difference = tested.scores[tested.anomalous][:, None] - tested.scores[~tested.anomalous]
    right = (np.sign(difference) + 1) / 2
    pairs = abnormal.sum(axis=0) * normal.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.einsum("ad,an,nd->d", abnormal, right, normal, optimize=True) / pairs


def table_1_shape(areas: pd.DataFrame) -> pd.DataFrame:
    """Return AUCs in the shape of the paper's Table 1.

    Parameters
    ----------
    areas
        A table of :meth:`mimii_lib.run.Run.auc`, of one or several machine types.

    Returns
    -------
    DataFrame
        Mean over the seeds, in percent; NaN where nothing was run. Rows and columns as in
        :func:`mimii_lib.paper.table_1`, then the rows of extractors that the paper has not. Where both
        versions of SqueezeNet were run, 1.0 takes the paper's row and 1.1 follows as a row of its own.
    """
    names = dict(paper.EXTRACTORS)
    if {"squeezenet1_0", "squeezenet1_1"} <= set(areas.extractor.dropna()):
        names.pop("squeezenet1_1")
    published = paper.table_1()
    detectors = dict(paper.DETECTORS) | dict(paper.AUTOENCODERS)
    rows = areas.assign(
        features=[
            paper.NO_FEATURES if pd.isna(name) else names.get(name) or extractors.get(name).title
            for name in areas.extractor
        ],
        detector=areas.detector.map(detectors),
    )
    mean = rows.groupby(["features", "detector", "machine", "id"]).auc.mean().unstack(["machine", "id"]) * 100
    order = {name: at for at, name in enumerate(detectors.values())}
    beyond = sorted(mean.index.difference(published.index), key=lambda row: (row[0], order[row[1]]))
    others = mean.columns.difference(published.columns)
    index = (
        published.index.append(pd.MultiIndex.from_tuples(beyond, names=published.index.names))
        if beyond
        else published.index
    )
    return mean.reindex(index=index, columns=published.columns.append(others))
