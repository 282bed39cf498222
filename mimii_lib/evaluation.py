"""§3 Equation 1 and §6: normality → anomaly scores → clip scores → AUC.

Conventions
-----------
An *anomaly score* is higher for more anomalous sound (§3); a detector's *normality* has the opposite sign. Arrays of
scores have one value per clip, or per clip and patch. Labels are boolean, True for anomalous. An AUC is in [0, 1], 0.5
is chance; tables show it in percent. A *system* is a row of Table 1: (extractor or None, detector).

Metrics: :func:`auc`, the area under the ROC curve, is the paper's; :func:`partial_auc` is the DCASE challenges'.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from mimii_lib import extractors, paper
from mimii_lib.errors import MimiiError
from mimii_lib.settings import CLIP_SYSTEMS, Evaluation

MAX_FPR = 0.1  # false-positive rate up to which the partial AUC is taken
System = tuple[str | None, str]  # extractor (None: no network) and detector
Metric = Callable[[ArrayLike, ArrayLike], float]  # auc or partial_auc


def anomaly_scores(normality: ArrayLike) -> NDArray[np.float64]:
    """Return anomaly scores, the paper's sign (§3), of normality, scikit-learn's sign."""
    return -np.asarray(normality, np.float64)


def pool(patch_scores: ArrayLike, settings: Evaluation | None = None) -> NDArray[np.float64]:
    """Return the anomaly score of each clip: by default the mean over its patches (§3, Equation 1).

    Parameters
    ----------
    patch_scores : array of shape (..., patches)
    settings : mimii_lib.settings.Evaluation, optional
        `pooling` is mean, max, or weighted_rank: the mean of the scores in descending order, weighted by 1, r, r², …
        with r the `rank_weight`: the maximum for r = 0, the mean for r = 1.

    Returns
    -------
    array of shape (...)

    References
    ----------
    Kolesnikov and Lampert (2016), Seed, Expand and Constrain, for global weighted rank pooling.
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
    """Return the area under the ROC curve: the probability that an anomalous clip scores higher than a normal one (§5).

    Parameters
    ----------
    anomalous : boolean array of shape (clips,)
    scores : array of shape (clips,)
        Anomaly scores.

    Raises
    ------
    MimiiError
        If a class is missing or a score is not finite.
    """
    labels, values = _validated(anomalous, scores)
    n_anomalous, n_normal = labels.sum(), (~labels).sum()
    # Each anomalous clip's rank counts the clips that it scores higher than; ties count half.
    ranks = rankdata(values)[labels].sum() - n_anomalous * (n_anomalous + 1) / 2
    return float(ranks / (n_anomalous * n_normal))


def partial_auc(anomalous: ArrayLike, scores: ArrayLike) -> float:
    """Return the partial AUC, up to a false-positive rate of `MAX_FPR`, as the DCASE challenges report it.

    It is standardised (McClish, 1989): 0.5 is chance, 1 is perfect. Parameters and errors are those of :func:`auc`.
    """
    from sklearn import metrics  # not at the top, because it takes long to import

    return float(metrics.roc_auc_score(*_validated(anomalous, scores), max_fpr=MAX_FPR))


def _validated(anomalous: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    labels, values = np.asarray(anomalous, bool), np.asarray(scores, np.float64)
    if labels.all() or not labels.any():
        raise MimiiError(f"AUC: needs normal and anomalous clips; found {labels.sum()} anomalous of {len(labels)}")
    if not np.isfinite(values).all():
        raise MimiiError(f"AUC: {np.sum(~np.isfinite(values))} of {len(values)} scores are not finite numbers")
    return labels, values


def standard_error(area: float, n_normal: int, n_abnormal: int) -> float:
    """Return the standard error of an AUC over other clips (Hanley and McNeil, 1982)."""
    both_abnormal, both_normal = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (n_abnormal - 1) * (both_abnormal - area**2) + (n_normal - 1) * (both_normal - area**2)
    ) / (n_normal * n_abnormal)
    return float(np.sqrt(variance))


@dataclass(frozen=True)
class ClipScores:
    """Anomaly scores of the test clips of one system with one seed; the arrays have shape (clips,)."""

    unit: str  # machine type and machine ID
    system: Hashable  # extractor and detector
    clips: NDArray[np.str_]  # names of the clips, the same for every system and seed
    anomalous: NDArray[np.bool_]
    scores: NDArray[np.float64]


def system_names(systems: Iterable[System]) -> dict[System, tuple[str, str]]:
    """Return the names of the systems in Table 1: features and detector.

    If both versions of SqueezeNet are among the systems, 1.0 takes the paper's row and 1.1 keeps its own name.
    """
    systems = list(systems)
    features = {name: extractors.get(name).title for name, _ in systems if name} | paper.EXTRACTORS
    if {"squeezenet1_0", "squeezenet1_1"} <= {extractor for extractor, _ in systems}:
        features["squeezenet1_1"] = extractors.get("squeezenet1_1").title
    detectors = paper.DETECTORS | paper.AUTOENCODERS
    return {
        (extractor, detector): CLIP_SYSTEMS.get(detector)
        or (features[extractor] if extractor else paper.NO_FEATURES, detectors[detector])
        for extractor, detector in systems
    }


def table_1_shape(areas: pd.DataFrame) -> pd.DataFrame:
    """Return AUCs in the shape of the paper's Table 1 (§6).

    Parameters
    ----------
    areas
        A table of the method ``auc`` of :class:`mimii_lib.run.Run`, of one machine type or several.

    Returns
    -------
    DataFrame
        Mean over the seeds, in percent; NaN where nothing was run. Rows and columns as in
        :func:`mimii_lib.paper.table_1`, then the systems and machine IDs that the paper does not have.
    """
    published = paper.table_1()
    pairs = areas[["extractor", "detector"]].to_numpy()
    systems = [(None if pd.isna(extractor) else extractor, detector) for extractor, detector in pairs]
    names = system_names(systems)
    named = areas.assign(features=[names[key][0] for key in systems], detector=[names[key][1] for key in systems])
    means = named.groupby(["features", "detector", "machine", "id"]).auc.mean().unstack(["machine", "id"]) * 100
    rows = dict.fromkeys([*published.index, *names.values()])
    columns = published.columns.append(means.columns.difference(published.columns))
    return means.reindex(index=pd.MultiIndex.from_tuples(list(rows), names=published.index.names), columns=columns)
