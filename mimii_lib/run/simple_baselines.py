"""Rows that the paper has not: what can be heard without a network.

A clip's spectrogram is summed up by the mean and the standard deviation of each mel band, or its sound by its level
alone, and a plain detector is fitted on that. What a network with a mixture of 80 Gaussians gains, it gains over these.
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
    """The mean distance to the nearest training clips.

    Parameters
    ----------
    n_neighbors
        How many count; all, where there are fewer.
    """

    def __init__(self, n_neighbors: int = 3):
        self.n_neighbors = n_neighbors

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Keep X of shape (n, d)."""
        self.nearest_ = NearestNeighbors(n_neighbors=min(self.n_neighbors, len(X))).fit(X)
        return self

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the distance of each row of X of shape (m, d), below 0, since less is more normal: shape (m,)."""
        return -self.nearest_.kneighbors(X)[0].mean(axis=1)


class Mahalanobis(LedoitWolf):
    """The distance to the mean in a covariance that is shrunk, since there are fewer clips than numbers to estimate.

    References
    ----------
    Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices.
    """

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the squared distance of each row of X of shape (m, d), below 0: shape (m,)."""
        return -self.mahalanobis(X)


def make(name: str, settings: Detectors) -> Pipeline:
    """Return the control called `name`, not yet fitted: standardised, as features of a network are."""
    last: Any = Neighbours(settings.n_neighbors) if name == "knn" else Mahalanobis()
    return make_pipeline(Standardiser(settings.variance_floor), last)


def baseline_scores(fitted: Pipeline, summaries: NDArray[np.float64], test: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the anomaly scores of test clips, one for each: (clips, 1).

    Parameters
    ----------
    summaries : array of shape (clips, numbers)
        Levels or band statistics of all clips of the machine ID.
    test
        Rows of the test clips.
    """
    return evaluation.anomaly_scores(fitted.score_samples(summaries[test]))[:, None]


def band_statistics(spectrograms: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean and standard deviation over time of each mel band.

    Parameters
    ----------
    spectrograms : array of shape (clips, n_mels, frames)
        In dB.

    Returns
    -------
    array of shape (clips, 2 x n_mels)
        The means, then the standard deviations, in dB.
    """
    return np.concatenate(
        [spectrograms.mean(axis=2, dtype=np.float64), spectrograms.std(axis=2, dtype=np.float64)], axis=1
    )
