"""§5.2 Anomaly detection models: feature vectors → normality scores.

Each detector is a scikit-learn estimator: ``fit`` on features of normal sound, ``score_samples`` higher where
more normal. :func:`mimii_lib.evaluation.anomaly_scores` is the one place that turns the sign.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from mimii_lib.errors import unknown_value
from mimii_lib.settings import DETECTORS, Detectors


class Standardiser(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """The standardisation of §5: mean 0 and variance 1 over the training patches, in float64.

    In less, a mixture's variances become ill-defined on thousands of dimensions.

    Parameters
    ----------
    variance_floor
        No feature's variance counts as less than this share of the mean variance of all; 0: a feature that never
        varies keeps its scale, any other is scaled to variance 1, however little it varies.
    """

    def __init__(self, variance_floor: float = 0.0):
        self.variance_floor = variance_floor

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Learn mean and variance of X of shape (n, d)."""
        scaler = StandardScaler().fit(validate_data(self, X, dtype=np.float64))
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        if self.variance_floor:
            self.scale_ = np.sqrt(np.maximum(scaler.var_, self.variance_floor * scaler.var_.mean()))
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return X of shape (m, d), standardised."""
        check_is_fitted(self)
        made: NDArray[np.float64] = validate_data(self, X, dtype=np.float64, reset=False, copy=True)
        made -= self.mean_
        made /= self.scale_
        return made


class KDE(BaseEstimator):
    """Gaussian kernel density estimation in the log domain, by blocked matrix products.

    The density of a Gaussian kernel of width 0.1 in hundreds of dimensions is 0 in float64 nearly
    everywhere; its logarithm is not. There the nearest training point alone decides, and the score is a
    decreasing function of the distance to it.

    Parameters
    ----------
    bandwidth
        Width of the kernel, in units of the (standardised) features.
    memory
        MiB that distances may fill: test points are compared with all training points in blocks of that size.
    """

    def __init__(self, bandwidth: float = 0.1, memory: int = 256):
        self.bandwidth = bandwidth
        self.memory = memory

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Keep the training points, X of shape (n, d)."""
        self.points_ = validate_data(self, X, dtype=np.float64)
        self.norms_ = np.einsum("ij,ij->i", self.points_, self.points_)
        return self

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the log density at each row of X of shape (m, d): shape (m,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        n, d = self.points_.shape
        constant = np.log(n) + d * np.log(self.bandwidth * np.sqrt(2 * np.pi))
        width = 2 * self.bandwidth**2
        scores = np.empty(len(X))
        for rows in gen_batches(len(X), self._block()):
            some = X[rows]
            # (block, n): minus the squared distance of every pair over the width, but for the norm of its row
            exponents = (2 / width * some) @ self.points_.T
            exponents -= self.norms_ / width
            largest = exponents.max(axis=1)
            exponents -= largest[:, None]
            np.exp(exponents, out=exponents)
            nearest = np.minimum(largest - np.einsum("ij,ij->i", some, some) / width, 0)
            scores[rows] = nearest + np.log(exponents.sum(axis=1)) - constant
        return scores

    def _block(self) -> int:
        return max(1, int(self.memory * 2**20) // (8 * len(self.points_)))


def make(name: str, settings: Detectors, seed: int) -> BaseEstimator:
    """Return the detector called `name`, not yet fitted.

    Parameters
    ----------
    name
        One of gmm, b-gmm, if, kde, oc-svm.
    seed
        Seed of the detectors that draw random numbers: both mixtures and the isolation forest.
    """
    mixture: dict[str, Any] = {
        "n_components": settings.n_components,
        "covariance_type": "diag",
        "init_params": settings.init_params,
        "max_iter": settings.max_iter,
        "n_init": settings.n_init,
        "reg_covar": settings.reg_covar,
        "tol": settings.tol,
        "random_state": seed,
    }
    if name == "gmm":
        return GaussianMixture(**mixture)
    if name == "b-gmm":
        return BayesianGaussianMixture(weight_concentration_prior_type=settings.weight_prior, **mixture)
    if name == "if":
        return IsolationForest(n_estimators=settings.n_trees, random_state=seed)
    if name == "kde":
        return KDE(bandwidth=settings.bandwidth, memory=settings.memory)
    if name == "oc-svm":
        return OneClassSVM(kernel=settings.kernel, nu=settings.nu, gamma=settings.gamma)
    raise unknown_value("detectors", name, DETECTORS)


def prepared(settings: Detectors, seed: int) -> Pipeline:
    """Return what features go through before any detector: standardisation and, where asked for, PCA."""
    steps: list[Any] = [Standardiser(settings.variance_floor)]
    if settings.pca:
        steps.append(PCA(settings.pca, random_state=seed))
    return make_pipeline(*steps)
