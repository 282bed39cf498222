"""§5.2 Anomaly detection models: features → normality.

Conventions
-----------
Features X have shape (patches, dimension); one row is one patch. A detector is a scikit-learn estimator: ``fit`` on
features of normal clips, then ``score_samples`` returns the *normality* of every row, shape (patches,), higher for more
normal patches. Only :func:`mimii_lib.evaluation.anomaly_scores` changes the sign. `settings` is a
:class:`mimii_lib.settings.Detectors`.
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
    """The standardisation of the features (§5): mean 0 and variance 1 over the training patches.

    Parameters
    ----------
    variance_floor
        Smallest variance of a feature, as a share of the mean variance of all features. 0: no floor; a constant
        feature keeps its scale, and every other feature is scaled to variance 1, however small its variance is.
    precision
        Type of the standardised features, float64 or float32, which scikit-learn's PCA and mixtures compute in. Means
        and variances are estimated in float64, as scikit-learn does for both.
    """

    def __init__(self, variance_floor: float = 0.0, precision: str = "float64"):
        self.variance_floor = variance_floor
        self.precision = precision

    def __sklearn_tags__(self) -> Any:
        """Declare the type of the output, which scikit-learn's contract asks for."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.precision]
        return tags

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Estimate the mean and variance of the training patches X of shape (n, d)."""
        scaler = StandardScaler().fit(validate_data(self, X, dtype=np.float64))
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        if self.variance_floor:
            self.scale_ = np.sqrt(np.maximum(scaler.var_, self.variance_floor * scaler.var_.mean()))
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return X of shape (m, d), standardised."""
        check_is_fitted(self)
        dtype = np.dtype(self.precision)
        standardised: NDArray[np.floating] = validate_data(self, X, dtype=dtype, reset=False, copy=True)
        standardised -= self.mean_.astype(dtype)
        standardised /= self.scale_.astype(dtype)
        return standardised


class KDE(BaseEstimator):
    """Kernel density estimation (§5.2): Gaussian kernel of bandwidth 0.1, log density, by blocked matrix products.

    At this bandwidth, in hundreds of dimensions, the density underflows to 0 in float64 nearly everywhere, but its
    logarithm does not. The nearest training patch dominates the sum there, so that the score is a decreasing function
    of the distance to the nearest neighbour. It computes in float64, as scikit-learn's does, also on float32 features:
    the squared distances are differences of products, which cancel in float32.

    Parameters
    ----------
    bandwidth
        Standard deviation of the kernel, in units of the standardised features.
    memory
        MiB for the distances between a block of test patches and all training patches.
    """

    def __init__(self, bandwidth: float = 0.1, memory: int = 256):
        self.bandwidth = bandwidth
        self.memory = memory

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Store the training patches X of shape (n, d)."""
        self.points_ = validate_data(self, X, dtype=np.float64)
        self.norms_ = np.einsum("ij,ij->i", self.points_, self.points_)
        return self

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the natural logarithm of the density at each row of X of shape (m, d): shape (m,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        n, d = self.points_.shape
        constant = np.log(n) + d * np.log(self.bandwidth * np.sqrt(2 * np.pi))
        width = 2 * self.bandwidth**2
        log_density = np.empty(len(X))
        for rows in gen_batches(len(X), max(1, int(self.memory * 2**20) // (8 * n))):
            block = X[rows]
            # (block, n): -|x - p|²/width of each test patch x and training patch p, without the term |x|²/width
            exponents = (2 / width * block) @ self.points_.T
            exponents -= self.norms_ / width
            largest = exponents.max(axis=1)
            exponents -= largest[:, None]
            np.exp(exponents, out=exponents)
            nearest = np.minimum(largest - np.einsum("ij,ij->i", block, block) / width, 0)
            log_density[rows] = nearest + np.log(exponents.sum(axis=1)) - constant
        return log_density


def preprocessor(settings: Detectors, seed: int) -> Pipeline:
    """Return the transformation of the features before any detector: standardisation (§5) and, if set, PCA (§6)."""
    steps: list[Any] = [Standardiser(settings.variance_floor, settings.precision)]
    if settings.pca:
        steps.append(PCA(settings.pca, random_state=seed))
    return make_pipeline(*steps)


def build_detector(name: str, settings: Detectors, seed: int) -> BaseEstimator:
    """Return the detector called `name`, not fitted, with the paper's parameters (§5.2).

    Parameters
    ----------
    name
        One of gmm, b-gmm, if, kde, oc-svm.
    seed
        Seed of the random detectors: both mixtures and the isolation forest.
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
