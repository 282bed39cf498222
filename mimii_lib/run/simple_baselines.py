"""Baselines beyond the paper that need no network: knn, mahalanobis and level.

X has one row per clip: the mean and standard deviation of each mel band (knn, mahalanobis) or the level of the waveform
in dB (level). ``score_samples`` returns the normality, as for :mod:`mimii_lib.detectors`. The difference between these
baselines and an extractor with a detector is what the network gains.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline

from mimii_lib import evaluation
from mimii_lib.detectors import Standardiser
from mimii_lib.settings import Detectors


class Neighbours(BaseEstimator):
    """The mean distance to the `n_neighbors` nearest training clips, or to all where there are fewer."""

    def __init__(self, n_neighbors: int = 3):
        self.n_neighbors = n_neighbors

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Store X of shape (n, d)."""
        self.nearest_ = NearestNeighbors(n_neighbors=min(self.n_neighbors, len(X))).fit(X)
        return self

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return minus the distance of each row of X of shape (m, d): shape (m,)."""
        return -self.nearest_.kneighbors(X)[0].mean(axis=1)


class Mahalanobis(LedoitWolf):
    """The Mahalanobis distance to the mean, with a shrunk covariance because there are few clips.

    Source: Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices.
    """

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return minus the squared distance of each row of X of shape (m, d): shape (m,)."""
        return -self.mahalanobis(X)


def build_baseline(name: str, settings: Detectors) -> Pipeline:
    """Return the baseline called `name`, not fitted, behind the standardisation."""
    estimator: Any = Neighbours(settings.n_neighbors) if name == "knn" else Mahalanobis()
    return make_pipeline(Standardiser(settings.variance_floor), estimator)


def baseline_scores(fitted: Pipeline, summaries: NDArray[np.float64], test: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the anomaly scores of the rows `test`, one for each clip: (clips, 1).

    `summaries` are the levels or band statistics of all clips of the machine ID: (clips, numbers).
    """
    return evaluation.anomaly_scores(fitted.score_samples(summaries[test]))[:, None]


def band_statistics(spectrograms: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the means, then the standard deviations, of each mel band over time, in dB.

    Shapes: (clips, n_mels, frames) → (clips, 2 x n_mels).
    """
    mean, deviation = (statistic(spectrograms, axis=2, dtype=np.float64) for statistic in (np.mean, np.std))
    return np.concatenate([mean, deviation], axis=1)
