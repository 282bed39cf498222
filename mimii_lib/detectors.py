"""§5.2 Anomaly detection models: feature vectors → normality scores.

Each detector is a scikit-learn estimator: ``fit`` on features of normal sound, ``score_samples`` higher where
more normal. :func:`mimii_lib.evaluation.anomaly_scores` is the one place that turns the sign.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.utils.validation import check_is_fitted, validate_data

from mimii_lib.errors import one_of
from mimii_lib.settings import DETECTORS, Detectors


class KDE(BaseEstimator):
    """Gaussian kernel density estimation in the log domain, by blocked matrix products.

    The density of a Gaussian kernel of width 0.1 in hundreds of dimensions is 0 in float64 nearly
    everywhere; its logarithm is not. There the nearest training point alone decides, and the score is a
    decreasing function of the distance to it.

    Parameters
    ----------
    bandwidth
        Width of the kernel, in units of the (standardised) features.
    block
        Test points that are compared with all training points at once; bounds the memory.
    """

    def __init__(self, bandwidth: float = 0.1, block: int = 256):
        self.bandwidth = bandwidth
        self.block = block

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
        scores = np.empty(len(X))
        for start in range(0, len(X), self.block):
            some = X[start : start + self.block]
            squared = self.norms_ - 2 * some @ self.points_.T + np.einsum("ij,ij->i", some, some)[:, None]
            exponents = np.maximum(squared, 0) / (-2 * self.bandwidth**2)
            scores[start : start + self.block] = logsumexp(exponents, axis=1) - constant
        return scores


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
        return KDE(bandwidth=settings.bandwidth)
    if name == "oc-svm":
        return OneClassSVM(kernel=settings.kernel, nu=settings.nu, gamma=settings.gamma)
    raise one_of("detectors", name, DETECTORS)


def standardised(detector: BaseEstimator) -> Pipeline:
    """Return `detector` behind the standardisation of §5: mean 0 and variance 1 over the training patches.

    In float64, since a mixture's variances become ill-defined in less on thousands of dimensions.
    """
    return make_pipeline(StandardScaler(), detector)
