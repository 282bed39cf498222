"""Stage: features → standardised features → a fitted detector → anomaly scores of patches (§5.2)."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from mimii_lib import detectors, evaluation
from mimii_lib.errors import MimiiError
from mimii_lib.run.stages.patches import Rows, patch_rows
from mimii_lib.settings import Detectors

MIXTURES = ("gmm", "b-gmm")


@dataclass(frozen=True)
class Preprocessed:
    """Standardised (and reduced) features of a split, (patches, dimension), which all detectors of a seed share."""

    preprocessor: Pipeline
    train: NDArray[np.floating]
    test: NDArray[np.floating]


def preprocess(features: NDArray[np.float32], train: Rows, test: Rows, settings: Detectors, seed: int) -> Preprocessed:
    """Standardise the features (clips, patches, dimension) of a split by those of its training clips.

    Raises
    ------
    MimiiError
        If PCA shall keep more dimensions than there are.
    """
    train_patches = patch_rows(features, train)
    if settings.pca > min(train_patches.shape):
        number, name = min(zip(train_patches.shape, ("training patches", "features"), strict=True))
        raise MimiiError(
            f"detectors.pca: {settings.pca} dimensions need at least {settings.pca} {name}; there are {number}"
        )
    preprocessor = detectors.preprocessor(settings, seed).fit(train_patches)
    return Preprocessed(
        preprocessor, preprocessor.transform(train_patches), preprocessor.transform(patch_rows(features, test))
    )


def fit_detector(detector: str, features: Preprocessed, settings: Detectors, seed: int) -> Any:
    """Return a detector fitted on the training patches.

    Raises
    ------
    MimiiError
        If there are fewer patches than mixture components, rounding in float32 leaves a mixture without variance, or
        the settings allow no fit.
    """
    if detector in MIXTURES and len(features.train) < settings.n_components:
        raise MimiiError(
            f"{detector}: {len(features.train)} training patches for {settings.n_components} mixture components; "
            "use more clips or fewer components"
        )
    with warnings.catch_warnings():
        # The paper's iteration limit ends a fit early on purpose, and identical patches make k-means warn.
        warnings.simplefilter("ignore", ConvergenceWarning)
        unfitted = detectors.build_detector(detector, settings, seed)
        try:
            return unfitted.fit(features.train)
        except ValueError as error:
            if detector in MIXTURES and settings.precision == "float32":
                # scikit-learn subtracts the square of a component's mean from its mean square.
                raise MimiiError(
                    f"{detector}: found a component without variance in float32, expected one above 0; set "
                    f"detectors.precision=float64, or raise detectors.reg_covar ({settings.reg_covar:g})"
                ) from error
            reason = str(error).partition(". ")[0].rstrip(".")
            raise MimiiError(f"{detector}: cannot be fitted with these settings ({reason}); change them") from error


def detector_scores(
    detector: str, features: Preprocessed, n_clips: int, settings: Detectors, seed: int
) -> NDArray[np.float64]:
    """Fit a detector and return the anomaly scores of the test clips: (clips, patches)."""
    fitted = fit_detector(detector, features, settings, seed)
    return evaluation.anomaly_scores(fitted.score_samples(features.test)).reshape(n_clips, -1)
