"""Stage: patches → features of a pretrained network (§5.1)."""

import numpy as np
from numpy.typing import NDArray

from mimii_lib.data.weights import Weights
from mimii_lib.run import engines
from mimii_lib.run.stages.patches import Rows, cut_patches
from mimii_lib.settings import Settings


def extract_features(
    spectrograms: NDArray[np.float32], train: Rows, weights: Weights, settings: Settings
) -> NDArray[np.float32]:
    """Return the features of clips, (clips, patches, dimension), from their spectrograms (clips, n_mels, frames)."""
    n_clips, n_patches, *picture = (patches := cut_patches(spectrograms, settings.imaging, train)).shape
    pictures = patches.reshape(n_clips * n_patches, *picture)
    return engines.extract(pictures, weights, settings.imaging, settings.features).reshape(n_clips, n_patches, -1)
