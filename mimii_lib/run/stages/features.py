"""Stage: patches → features of a pretrained network (§5.1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimii_lib.data.weights import Weights
from mimii_lib.run import engines
from mimii_lib.run.stages.patches import Rows, cut_patches
from mimii_lib.settings import Settings


def extract_features(
    spectrograms: NDArray[np.float32], train: Rows, weights: Weights, settings: Settings
) -> NDArray[np.float32]:
    """Return the features of clips, (clips, patches, dimension), from their spectrograms (clips, n_mels, frames).

    Raises :class:`MimiiError` as :func:`mimii_lib.run.engines.run` does.
    """
    return network_features(cut_patches(spectrograms, settings.imaging, train), weights, settings)


def network_features(inputs: NDArray[Any], weights: Weights, settings: Settings) -> NDArray[np.float32]:
    """Return the features of clips, (clips, patches, dimension), from their patches (clips, patches, height, width)."""
    n_clips, n_patches, *picture = inputs.shape
    pictures = inputs.reshape(n_clips * n_patches, *picture)
    features = engines.extract(pictures, weights, settings.imaging, settings.features)
    return features.reshape(n_clips, n_patches, -1)
