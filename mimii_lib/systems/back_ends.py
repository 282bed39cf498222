"""Estimators that score clips by their vectors: nearest neighbours, per band or not, Mahalanobis distance, mixture.

They are scikit-learn estimators: ``fit`` on vectors of normal clips, X of shape (clips, columns); ``score_samples``
returns the normality of every row, higher for more normal clips, as for :mod:`mimii_lib.detectors`.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data


class Neighbours(BaseEstimator):
    """The mean distance to the `n_neighbors` nearest training clips, or to all where there are fewer."""

    def __init__(self, n_neighbors: int = 3):
        self.n_neighbors = n_neighbors

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Store X of shape (n, d)."""
        X = validate_data(self, X, dtype=np.float64)
        self.nearest_ = NearestNeighbors(n_neighbors=min(self.n_neighbors, len(X))).fit(X)
        return self

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return minus the distance of each row of X of shape (m, d): shape (m,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return -self.nearest_.kneighbors(X)[0].mean(axis=1)


class Mahalanobis(LedoitWolf):
    """The Mahalanobis distance to the mean, with a shrunk covariance because there are few clips.

    Source: Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices.
    """

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return minus the squared distance of each row of X of shape (m, d): shape (m,)."""
        return -self.mahalanobis(X)


class BandNeighbours(BaseEstimator):
    """Nearest neighbours, each frequency band among the same band of the training clips.

    The columns of X are `n_bands` blocks of one length: the description of a clip in each band. A band's distance to
    its nearest training clip is standardised by the distances that the training clips have to each other (each without
    itself), and averaged over the bands.

    Parameters
    ----------
    n_bands
        Blocks of columns; 1: plain nearest neighbours.
    density_neighbors
        Local density normalisation: distances to a training clip are divided by its own mean distance to so many
        nearest other training clips, so that a clip among sparse neighbours is not anomalous for that alone. 0: none.
    memory
        MiB that the block of distances may fill; changes no score.

    Attributes
    ----------
    training_scores_ : array of shape (n,)
        Normality of the training clips, each scored by the others (leave-one-out).

    References
    ----------
    Saengthong and Shinozaki (2026), Sub-band spectral matching with localized score aggregation (arXiv:2603.13749).
    Wilkinghoff and others (2025), Local density-based anomaly score normalization (arXiv:2509.10951).
    """

    def __init__(self, n_bands: int = 1, density_neighbors: int = 4, memory: int = 64):
        self.n_bands = n_bands
        self.density_neighbors = density_neighbors
        self.memory = memory

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Store X of shape (n, n_bands x columns of a band), n at least 2."""
        X = validate_data(self, X, ensure_min_samples=2)
        if X.shape[1] % self.n_bands:
            raise ValueError(f"n_bands: {X.shape[1]} columns cannot be divided into {self.n_bands} bands of one length")
        # Distances do not depend on the centre, and the squares of small numbers lose less to rounding.
        self.centre_ = X.mean(axis=0)
        self.bands_ = self._split(X)
        self.norms_ = np.einsum("bnc,bnc->bn", self.bands_, self.bands_)
        n = len(X)
        self.density_ = np.ones((self.n_bands, n))
        leave_out = np.arange(n)
        if self.density_neighbors:
            nearest = min(self.density_neighbors, n - 1)
            for band in range(self.n_bands):
                for rows in self._batches(n):
                    distances = self._distances(self.bands_[band, rows], band, leave_out[rows])
                    self.density_[band, rows] = np.partition(distances, nearest - 1, axis=1)[:, :nearest].mean(axis=1)
            # Equal training clips have no distance; the smallest other density stands in for it.
            least = min((value for value in self.density_.flat if value > 0), default=1.0)
            self.density_ = np.maximum(self.density_, least)
        own = self._nearest(self.bands_, leave_out)
        self.means_, self.deviations_ = own.mean(axis=1), own.std(axis=1)
        self.deviations_ = np.where(self.deviations_ > 0, self.deviations_, 1.0)
        self.training_scores_ = -self._standardised(own).mean(axis=1)
        return self

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return minus the standardised distance of each row of X of shape (m, columns): shape (m,)."""
        return -self.band_scores(X).mean(axis=1)

    def band_scores(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the standardised distance of each row in each band: (m, n_bands); higher is more anomalous."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return self._standardised(self._nearest(self._split(X), None))

    def _standardised(self, nearest: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((nearest - self.means_[:, None]) / self.deviations_[:, None]).T

    def _split(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return X around the centre of the training clips, band by band: (n_bands, rows, columns of a band)."""
        centred = (X - self.centre_).astype(np.float64)
        return np.ascontiguousarray(centred.reshape(len(X), self.n_bands, -1).transpose(1, 0, 2))

    def _batches(self, n_rows: int) -> Any:
        """Return slices of rows whose distances to all training clips fit into the memory."""
        return gen_batches(n_rows, max(1, int(self.memory * 2**20) // (8 * self.bands_.shape[1])))

    def _distances(
        self, rows: NDArray[np.float64], band: int, leave_out: NDArray[np.intp] | None
    ) -> NDArray[np.float64]:
        """Return the distances of rows to the training clips in a band; that to the clip `leave_out` is infinite."""
        squares = rows @ self.bands_[band].T
        squares *= -2
        squares += np.einsum("mc,mc->m", rows, rows)[:, None]
        squares += self.norms_[band]
        distances = np.sqrt(np.maximum(squares, 0, out=squares), out=squares)
        if leave_out is not None:
            distances[np.arange(len(rows)), leave_out] = np.inf
        return distances

    def _nearest(self, bands: NDArray[np.float64], leave_out: NDArray[np.intp] | None) -> NDArray[np.float64]:
        """Return the smallest normalised distance of rows, band by band: (n_bands, rows)."""
        nearest = np.empty(bands.shape[:2])
        for band, all_rows in enumerate(bands):
            for rows in self._batches(len(all_rows)):
                own = None if leave_out is None else leave_out[rows]
                distances = self._distances(all_rows[rows], band, own)
                distances /= self.density_[band]
                nearest[band, rows] = distances.min(axis=1)
        return nearest
