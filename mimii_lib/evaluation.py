"""§3 and §6: patch scores → clip scores → AUC."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score

from mimii_lib import extractors, paper
from mimii_lib.errors import MimiiError
from mimii_lib.settings import SIMPLE_BASELINES, Evaluation

MAX_FPR = 0.1
"""False-positive rate up to which a partial AUC is taken, as the DCASE challenges do."""


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
    return float(roc_auc_score(*_checked(anomalous, scores)))


def _checked(anomalous: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, found = np.asarray(anomalous, bool), np.asarray(scores, np.float64)
    if truth.all() or not truth.any():
        raise MimiiError(f"AUC: needs normal and anomalous clips; found {truth.sum()} anomalous of {len(truth)}")
    if not np.isfinite(found).all():
        raise MimiiError(f"AUC: {np.sum(~np.isfinite(found))} of {len(found)} scores are not finite numbers")
    return truth, found


def partial_auc(anomalous: ArrayLike, scores: ArrayLike) -> float:
    """Return the partial AUC of clip scores: of the ROC curve's part with few false alarms alone.

    Up to a false-positive rate of `MAX_FPR`, and standardised so that 0.5 is chance and 1 perfect (McClish, 1989), as
    the DCASE challenges report it. Takes and raises what :func:`auc` does.
    """
    return float(roc_auc_score(*_checked(anomalous, scores), max_fpr=MAX_FPR))


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
class ClipScores:
    """The scores of the clips that one detector with one seed was tested on.

    Attributes
    ----------
    unit
        The machine type and ID.
    row
        Which row of the table it is: the extractor (None: none) and the detector.
    clips : array of shape (clips,)
        A name for each clip, the same wherever the clip is tested.
    anomalous : boolean array of shape (clips,)
    scores : array of shape (clips,)
        Anomaly scores.
    """

    unit: str
    row: Hashable
    clips: NDArray[np.str_]
    anomalous: NDArray[np.bool_]
    scores: NDArray[np.float64]


def row_names(rows: Iterable[tuple[str | None, str]]) -> dict[tuple[str | None, str], tuple[str, str]]:
    """Return the names that rows have in Table 1: features and detector, by extractor (None: none) and detector.

    Where both versions of SqueezeNet are there, 1.0 takes the paper's row and 1.1 has a name of its own.
    """
    rows = list(rows)
    names = dict(paper.EXTRACTORS)
    if {"squeezenet1_0", "squeezenet1_1"} <= {extractor for extractor, _ in rows}:
        names.pop("squeezenet1_1")
    known = paper.DETECTORS | paper.AUTOENCODERS

    def features(extractor: str | None) -> str:
        return paper.NO_FEATURES if extractor is None else names.get(extractor) or extractors.get(extractor).title

    return {row: SIMPLE_BASELINES.get(row[1]) or (features(row[0]), known[row[1]]) for row in rows}


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
        :func:`mimii_lib.paper.table_1`, then the rows that the paper has not.
    """
    published = paper.table_1()
    found = (None if pd.isna(name) else name for name in areas.extractor)
    keys = list(zip(found, areas.detector, strict=True))
    names = row_names(keys)
    rows = areas.assign(features=[names[key][0] for key in keys], detector=[names[key][1] for key in keys])
    mean = rows.groupby(["features", "detector", "machine", "id"]).auc.mean().unstack(["machine", "id"]) * 100
    in_order = list(dict.fromkeys(names.values()))
    beyond = [row for row in in_order if row not in published.index]
    others = mean.columns.difference(published.columns)
    index = (
        published.index.append(pd.MultiIndex.from_tuples(beyond, names=published.index.names))
        if beyond
        else published.index
    )
    return mean.reindex(index=index, columns=published.columns.append(others))
