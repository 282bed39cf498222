"""Stage: patches → features of a pretrained network (§5.1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimii_lib.data.weights import Weights
from mimii_lib.errors import MimiiError
from mimii_lib.run import engines
from mimii_lib.run.stages.patches import Rows, cut_patches
from mimii_lib.settings import Settings


def extract_features(
    spectrograms: NDArray[np.float32], train: Rows, weights: Weights, settings: Settings
) -> NDArray[np.float32]:
    """Return the features of clips, (clips, patches, dimension), from their spectrograms (clips, n_mels, frames).

    Raises :class:`MimiiError` as :func:`network_features` does.
    """
    return network_features(cut_patches(spectrograms, settings.imaging, train), weights, settings)


def network_features(inputs: NDArray[Any], weights: Weights, settings: Settings) -> NDArray[np.float32]:
    """Return the features of clips, (clips, patches, dimension), from their patches (clips, patches, height, width).

    Raises
    ------
    MimiiError
        If the weights describe a patch by what is no number, or different patches by the same numbers.
    """
    n_clips, n_patches, *picture = inputs.shape
    pictures = inputs.reshape(n_clips * n_patches, *picture)
    features = engines.extract(pictures, weights, settings.imaging, settings.features)
    fault = "" if np.isfinite(features).all() else "features that are not finite numbers"
    if (features == features[0]).all() and (pictures != pictures[0]).any():
        fault = "the same features for every patch"
    if fault:
        raise MimiiError(f"weights of {weights} give {fault}; replace the file, or leave the network out")
    return features.reshape(n_clips, n_patches, -1)
