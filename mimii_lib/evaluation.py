"""§3 and §6: patch scores → clip scores → AUC."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score

from mimii_lib import paper
from mimii_lib.errors import MimiiError


def anomaly_scores(normality: ArrayLike) -> NDArray[np.float64]:
    """Turn normality (higher = more normal, scikit-learn's way) into anomaly scores (the paper's)."""
    return -np.asarray(normality, np.float64)


def mean_pooling(patch_scores: ArrayLike) -> NDArray[np.float64]:
    """Return a clip's anomaly score: the mean over its patches (Eq. 1).

    Parameters
    ----------
    patch_scores : array of shape (..., patches)

    Returns
    -------
    array of shape (...)
    """
    return np.asarray(patch_scores, np.float64).mean(axis=-1)


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
        features=[paper.NO_FEATURES if pd.isna(name) else names.get(name, name) for name in areas.extractor],
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
