"""How sure an AUC is: intervals, paired comparisons, and Table 1's own sampling error.

What is estimated is the expected AUC of one row on one machine ID, over other clips of that machine ID and other splits
of them. The seeds of a row share clips, and so do the rows of a table: none of them are independent. So whole clips are
drawn again, normal and abnormal ones apart, and a clip that is drawn is drawn for every seed and every row. What the
seeds of a row differ by beyond that (a split's training clips, a detector's start) is added, divided by their number.
It says nothing of other machine IDs.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import false_discovery_control, norm

from mimii_lib.evaluation import MAX_FPR, ClipScores, auc, standard_error

Row = Hashable
Measure = Callable[[ArrayLike, ArrayLike], float]
"""Takes whether clips are anomalous, and their scores."""

DRAWS = 1000
Z = float(norm.ppf(0.975))
"""Half the width of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        """Return whether a value is within the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class AucEstimates:
    """AUCs of the rows of one machine ID, each the mean of its seeds, and how they vary together.

    Attributes
    ----------
    values : Series
        By row, in [0, 1].
    covariance : DataFrame
        Row by row: of the estimates' errors.
    n_normal, n_abnormal
        Clips that a seed is tested on: the fewest.
    """

    values: pd.Series
    covariance: pd.DataFrame
    n_normal: int
    n_abnormal: int

    def estimate(self, row: Row) -> tuple[float, float]:
        """Return a row's AUC and its standard error."""
        return _weighted({row: 1.0}, self)

    def interval(self, row: Row) -> Interval:
        """Return a row's AUC with its interval, symmetric on the logit scale, so that it stays within 0 and 1.

        Where no pair of clips is in the wrong order, none that is drawn again is either; then the interval ends where
        Hanley and McNeil's standard error would just allow for it.
        """
        value, error = self.estimate(row)
        if 0 < value < 1:
            reach = Z * error / (value * (1 - value))
            return Interval(value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach)))

        def beyond(area: float) -> float:
            return abs(value - area) - Z * standard_error(area, self.n_normal, self.n_abnormal)

        edge = brentq(beyond, 0.5, value - np.sign(value - 0.5) * 1e-9)
        return Interval(value, *sorted((value, float(edge))))


def symmetric(value: float, error: float) -> Interval:
    """Return the 95 % interval of an estimate with a standard error, as of a difference."""
    return Interval(value, value - Z * error, value + Z * error)


def corrected(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return p-values corrected for their number, however they depend on each other (Benjamini and Yekutieli, 2001)."""
    return np.asarray(false_discovery_control(p_values, method="by")) if len(p_values) else np.empty(0)


def p_value(estimate: float, error: float) -> float:
    """Return the two-sided p-value of an estimate whose true value is 0."""
    if error > 0:
        return float(2 * norm.sf(abs(estimate) / error))
    return 1.0 if estimate == 0 else 0.0


def _weighted(weights: Mapping[Row, float], areas: AucEstimates) -> tuple[float, float]:
    """Return a weighted sum of the AUCs and its standard error."""
    at = areas.values.index.get_indexer(pd.Index(list(weights), tupleize_cols=False))
    w = np.array(list(weights.values()))
    value = float(w @ areas.values.to_numpy()[at])
    variance = w @ areas.covariance.to_numpy()[np.ix_(at, at)] @ w
    return value, float(np.sqrt(max(0.0, variance)))


def resampled(tested: Sequence[ClipScores], measure: Measure = auc, draws: int = DRAWS, seed: int = 0) -> AucEstimates:
    """Return the AUCs of the rows of one machine ID and their covariance, from clips drawn again.

    Parameters
    ----------
    tested
        The test clips of every row and seed, with their scores.
    measure
        :func:`mimii_lib.evaluation.auc` or :func:`mimii_lib.evaluation.partial_auc`.
    draws
        How often clips are drawn.
    """
    drawn = _Draws(tested, draws, seed)
    max_fpr = None if measure is auc else MAX_FPR
    seeds = {row: [each for each in tested if each.row == row] for row in dict.fromkeys(each.row for each in tested)}
    found = [np.array([measure(each.anomalous, each.scores) for each in of]) for of in seeds.values()]
    again = [np.stack([drawn.areas(each, max_fpr) for each in of]) for of in seeds.values()]
    index = pd.Index(list(seeds), tupleize_cols=False)
    together = np.stack([each.mean(axis=0) for each in again])
    together = together[:, np.isfinite(together).all(axis=0)]  # of a handful of clips, a class may not be drawn at all
    covariance = np.atleast_2d(np.cov(together)) + _between_seeds(found, again)
    return AucEstimates(
        pd.Series([each.mean() for each in found], index=index),
        pd.DataFrame(covariance, index=index, columns=index),
        min(int((~each.anomalous).sum()) for each in tested),
        min(int(each.anomalous.sum()) for each in tested),
    )


def mean_difference(before: Sequence[ClipScores], after: Sequence[ClipScores], draws: int = DRAWS) -> Interval:
    """Return how much the mean AUC changes from `before` to `after`, with its interval.

    The mean is over machine IDs, rows and seeds. The interval is for other clips of the same machine IDs; of other
    machines it says nothing.
    """
    value = variance = 0.0
    for unit in dict.fromkeys(each.unit for each in [*before, *after]):
        weights: dict[Row, float] = {}
        here = []
        for sign, side in ((-1, before), (1, after)):
            for each in (each for each in side if each.unit == unit):
                here.append(replace(each, row=(sign, each.row)))
                weights[sign, each.row] = weights.get((sign, each.row), 0.0) + sign / len(side)
        found, error = _weighted(weights, resampled(here, draws=draws))
        value, variance = value + found, variance + error**2
    return symmetric(value, float(np.sqrt(variance)))


def _between_seeds(found: Sequence[NDArray[np.float64]], again: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the covariance of the rows' means that stems from the seeds alone.

    Seeds differ because they test other clips too. That is in the draws already, so as much is taken off; what
    remains, where anything does, is the seeds' own. Rows of one seed have none that could be seen.
    """
    n_seeds = max(map(len, found))
    total = np.zeros((len(found), len(found)))
    many = [at for at, each in enumerate(found) if len(each) == n_seeds]
    if n_seeds < 2:
        return total
    seen = np.atleast_2d(np.cov(np.stack([found[at] for at in many])))
    # (rows, seeds, draws), about each row's mean over the seeds, about the mean over the draws
    centred = np.stack([again[at] for at in many])
    centred = centred[:, :, np.isfinite(centred).all(axis=(0, 1))]
    centred = centred - centred.mean(axis=1, keepdims=True)
    centred = centred - centred.mean(axis=2, keepdims=True)
    explained = np.einsum("rsd,tsd->rt", centred, centred) / (centred.shape[2] - 1) / (n_seeds - 1)
    values, vectors = np.linalg.eigh(seen - explained)
    own = (vectors * np.maximum(values, 0)) @ vectors.T
    total[np.ix_(many, many)] = own / n_seeds
    return total


class _Draws:
    """How often each clip of a machine ID is drawn, the same for every row and seed."""

    def __init__(self, tested: Sequence[ClipScores], draws: int, seed: int):
        random = np.random.default_rng(seed)
        self.counts = {}
        for label in (False, True):
            names = np.unique(np.concatenate([each.clips[each.anomalous == label] for each in tested]))
            drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
            self.counts[label] = (names, drawn.T)

    def areas(self, tested: ClipScores, max_fpr: float | None) -> NDArray[np.float64]:
        """Return the AUC (or pAUC) of a seed with each clip counted as often as it was drawn: (draws,)."""
        counts = np.empty((len(tested.clips), next(iter(self.counts.values()))[1].shape[1]))
        for label, (names, drawn) in self.counts.items():
            here = tested.anomalous == label
            counts[here] = drawn[np.searchsorted(names, tested.clips[here])]
        return weighted_areas(tested.anomalous, tested.scores, counts, max_fpr)


def weighted_areas(
    anomalous: NDArray[np.bool_], scores: NDArray[np.float64], counts: NDArray[np.float64], max_fpr: float | None = None
) -> NDArray[np.float64]:
    """Return the area under each of many ROC curves of the same scores, whose clips count differently.

    Parameters
    ----------
    anomalous, scores : arrays of shape (clips,)
    counts : array of shape (clips, draws)
        How often each clip counts.
    max_fpr
        None: the AUC. Else the partial AUC up to this false-positive rate, standardised as McClish (1989) does.

    Returns
    -------
    array of shape (draws,)
        The same as :func:`sklearn.metrics.roc_auc_score` with `sample_weight` for each draw.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # tied clips make one step of the curve
    steps = []
    for label in (True, False):
        rates = np.cumsum(np.where(anomalous[order, None] == label, counts[order], 0), axis=0)[ends]
        with np.errstate(invalid="ignore"):  # NaN where no clip of a class counts
            steps.append(np.vstack([np.zeros(counts.shape[1]), rates / rates[-1]]))
    tpr, fpr = steps
    if max_fpr is None:
        return np.asarray((np.diff(fpr, axis=0) * (tpr[1:] + tpr[:-1]) / 2).sum(axis=0))
    widths, start = np.diff(fpr, axis=0), fpr[:-1]
    inside = np.clip(max_fpr - start, 0, widths)  # of each step, the part left of the limit
    slope = np.divide(np.diff(tpr, axis=0), widths, out=np.zeros_like(widths), where=widths > 0)
    area = (inside * (tpr[:-1] + slope * inside / 2)).sum(axis=0)
    least = max_fpr**2 / 2
    return np.asarray((1 + (area - least) / (max_fpr - least)) / 2)
