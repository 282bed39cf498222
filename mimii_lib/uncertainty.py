"""Confidence intervals of AUCs and of their differences, beyond the paper: a bootstrap over whole clips.

Conventions
-----------
The quantity that is estimated is the expected AUC of one system on one machine ID, over other clips of that machine ID
and other splits of them; intervals do not cover other machine IDs. AUCs, standard errors and differences are in [0, 1].

The seeds of a system share clips, and so do the systems, so none of them are independent. The bootstrap therefore
resamples clips, normal and abnormal ones separately, jointly for all seeds and systems. The variance between the seeds
of a system that this does not explain (training clips, a detector's start) is added, divided by the number of seeds.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, false_discovery_control, norm

from mimii_lib.evaluation import ClipScores, auc, standard_error

DRAWS = 1000  # bootstrap samples
Z = float(norm.ppf(0.975))  # half width of a 95 % interval, in standard errors


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        """Return whether a value lies within the interval."""
        return self.low <= value <= self.high

    def __format__(self, style: str) -> str:
        """Return the estimate and its interval as a text, each number in the style of a format."""
        return f"{self.value:{style}} ({self.low:{style}} to {self.high:{style}})"


@dataclass(frozen=True)
class AucEstimates:
    """AUCs of the systems on one machine ID, each the mean of its seeds, and the covariance of their errors."""

    values: pd.Series  # by system
    covariance: pd.DataFrame  # system by system
    n_normal: int  # smallest number of normal test clips of a seed
    n_abnormal: int

    def estimate(self, system: Hashable) -> tuple[float, float]:
        """Return a system's AUC and its standard error."""
        return self.weighted_sum({system: 1.0})

    def weighted_sum(self, weights: Mapping[Hashable, float]) -> tuple[float, float]:
        """Return a weighted sum of the systems' AUCs and its standard error."""
        at = self.values.index.get_indexer(pd.Index(list(weights), tupleize_cols=False))
        w = np.array(list(weights.values()))
        variance = w @ self.covariance.to_numpy()[np.ix_(at, at)] @ w
        return float(w @ self.values.to_numpy()[at]), float(np.sqrt(max(0.0, variance)))

    def interval(self, system: Hashable) -> Interval:
        """Return a system's AUC with its interval, symmetric on the logit scale, so that it lies within [0, 1].

        The bootstrap finds no variance for an AUC of exactly 0 or 1, or where all scores are tied. The interval then
        ends at the AUCs from which the estimate is `Z` standard errors of Hanley and McNeil away.
        """
        value, error = self.estimate(system)
        if 0 < value < 1 and error > 1e-9:
            reach = Z * error / (value * (1 - value))
            return Interval(value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach)))

        def end(extreme: float) -> float:
            def excess(area: float) -> float:
                return abs(value - area) - Z * standard_error(area, self.n_normal, self.n_abnormal)

            beside = value + np.sign(extreme - value) * 1e-9
            return value if value == extreme else float(brentq(excess, extreme, beside))

        return Interval(value, end(0.0), end(1.0))


def share(n_hits: int, n: int) -> Interval:
    """Return a share with its 95 % interval (Wilson, 1927), which lies within [0, 1]."""
    low, high = binomtest(n_hits, n).proportion_ci(method="wilson")
    return Interval(n_hits / n, float(low), float(high))


def symmetric(value: float, error: float) -> Interval:
    """Return the symmetric 95 % interval of an estimate with a standard error, such as a difference."""
    return Interval(value, value - Z * error, value + Z * error)


def corrected(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return p-values corrected for multiple tests under any dependence (Benjamini and Yekutieli, 2001)."""
    return np.asarray(false_discovery_control(p_values, method="by")) if len(p_values) else np.empty(0)


def p_value(estimate: float, error: float) -> float:
    """Return the two-sided p-value of an estimate under the hypothesis that the true value is 0."""
    if error > 0:
        return float(2 * norm.sf(abs(estimate) / error))
    return 1.0 if estimate == 0 else 0.0


def bootstrap_aucs(tested: Sequence[ClipScores], draws: int = DRAWS, seed: int = 0) -> AucEstimates:
    """Return the AUCs of the systems on one machine ID and the covariance of their errors.

    `tested` are the scores of the test clips of every system and seed, `draws` is the number of bootstrap samples.
    """
    counts = _resampled_clips(tested, draws, seed)
    by_system = {one.system: [other for other in tested if other.system == one.system] for one in tested}
    # One array per system: the AUC of every seed, and (seeds, draws) AUCs of the bootstrap samples.
    aucs = [np.array([auc(one.anomalous, one.scores) for one in seeds]) for seeds in by_system.values()]
    replicates = [
        np.stack([weighted_aucs(one.anomalous, one.scores, counts.loc[one.clips].to_numpy()) for one in seeds])
        for seeds in by_system.values()
    ]
    means = np.stack([of_seeds.mean(axis=0) for of_seeds in replicates])
    means = means[:, np.isfinite(means).all(axis=0)]  # a sample of few clips may lack a class
    covariance = np.atleast_2d(np.cov(means)) + _between_seeds(aucs, replicates)
    systems = pd.Index(list(by_system), tupleize_cols=False)
    return AucEstimates(
        pd.Series([of_seeds.mean() for of_seeds in aucs], index=systems),
        pd.DataFrame(covariance, index=systems, columns=systems),
        min(int((~one.anomalous).sum()) for one in tested),
        min(int(one.anomalous.sum()) for one in tested),
    )


def _resampled_clips(tested: Sequence[ClipScores], draws: int, seed: int | tuple[int, ...]) -> pd.DataFrame:
    """Return how often each clip (row) is in each bootstrap sample (column), drawn separately within each class."""
    random = np.random.default_rng(seed)
    counts = []
    for label in (False, True):
        clips = np.unique(np.concatenate([one.clips[one.anomalous == label] for one in tested]))
        drawn = random.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), size=draws)
        counts.append(pd.DataFrame(drawn.T.astype(float), index=clips))
    return pd.concat(counts)


def _between_seeds(
    aucs: Sequence[NDArray[np.float64]], replicates: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the covariance of the systems' means that stems from the seeds and not from their different test clips.

    The bootstrap explains part of the variance between seeds by their clips; that part is subtracted and the rest is
    projected onto positive semidefinite matrices. It is 0 for systems with fewer seeds than the others, such as one.
    """
    n_seeds = max(map(len, aucs))
    covariance = np.zeros((len(aucs), len(aucs)))
    full = [at for at, of_seeds in enumerate(aucs) if len(of_seeds) == n_seeds]
    if n_seeds < 2:
        return covariance
    observed = np.atleast_2d(np.cov(np.stack([aucs[at] for at in full])))
    # (systems, seeds, draws), centred over the seeds and over the draws
    centred = np.stack([replicates[at] for at in full])
    centred = centred[:, :, np.isfinite(centred).all(axis=(0, 1))]
    centred = centred - centred.mean(axis=1, keepdims=True)
    centred = centred - centred.mean(axis=2, keepdims=True)
    explained = np.einsum("rsd,tsd->rt", centred, centred) / (centred.shape[2] - 1) / (n_seeds - 1)
    values, vectors = np.linalg.eigh(observed - explained)
    covariance[np.ix_(full, full)] = (vectors * np.maximum(values, 0)) @ vectors.T / n_seeds
    return covariance


def mean_difference(
    before: Sequence[ClipScores], after: Sequence[ClipScores], draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the mean AUC of `after` minus that of `before`, over machine IDs, systems and seeds, with its interval.

    The interval is that of a percentile bootstrap: the clips of each machine ID are drawn with replacement, and so are
    the seeds, the same ones for both sides. Every drawn difference is one of two AUCs, so the interval lies within
    [-1, 1] however close to 0 or 1 they are. The scores of a system are in the same order of seeds on both sides.
    """
    sides = (before, after)
    value = np.diff([np.mean([auc(one.anomalous, one.scores) for one in side]) for side in sides])[0]
    replicates = np.zeros((2, draws))
    for number, unit in enumerate(sorted({one.unit for side in sides for one in side})):
        of_unit = [[one for one in side if one.unit == unit] for side in sides]
        counts = _resampled_clips([*of_unit[0], *of_unit[1]], draws, (seed, number))
        for total, scored, side in zip(replicates, of_unit, sides, strict=True):
            for system in dict.fromkeys(one.system for one in scored):
                aucs = np.stack(
                    [
                        weighted_aucs(one.anomalous, one.scores, counts.loc[one.clips].to_numpy())
                        for one in scored
                        if one.system == system
                    ]
                )
                seeds = np.random.default_rng((seed, number)).integers(len(aucs), size=aucs.shape)
                total += np.take_along_axis(aucs, seeds, axis=0).sum(axis=0) / len(side)
    differences = np.diff(replicates, axis=0)[0]
    low, high = np.quantile(differences[np.isfinite(differences)], (0.025, 0.975))  # a sample may lack a class
    return Interval(float(value), float(low), float(high))


def weighted_aucs(
    anomalous: NDArray[np.bool_], scores: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the AUC of the same scores (clips,) for each weighting of the clips in `counts` (clips, draws): (draws,).

    Each is scikit-learn's ``roc_auc_score`` with a column as `sample_weight`; NaN where a class is missing.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # tied clips are one step of the curve
    curves = []
    for label in (True, False):
        rates = np.cumsum(np.where(anomalous[order, None] == label, counts[order], 0), axis=0)[ends]
        with np.errstate(invalid="ignore"):  # 0/0 where a class is missing
            curves.append(np.vstack([np.zeros(counts.shape[1]), rates / rates[-1]]))
    tpr, fpr = curves
    return np.asarray((np.diff(fpr, axis=0) * (tpr[1:] + tpr[:-1]) / 2).sum(axis=0))
