"""Stage: patches → features of a pretrained network (§5.1)."""

import numpy as np
from numpy.typing import NDArray

from mimii_lib.data.weights import Weights
from mimii_lib.run import engines
from mimii_lib.run.stages.patches import cut_patches
from mimii_lib.run.stages.rows import Rows
from mimii_lib.settings import Settings


def extract_features(
    spectrograms: NDArray[np.float32], train: Rows, weights: Weights, settings: Settings
) -> NDArray[np.float32]:
    """Return the features of the clips of a machine ID: (clips, patches, dimension).

    Parameters
    ----------
    spectrograms : array of shape (clips, n_mels, frames)
    train
        Training clips; see :func:`mimii_lib.run.stages.patches.cut_patches`.
    """
    n_clips, n_patches, *picture = (patches := cut_patches(spectrograms, settings.imaging, train)).shape
    pictures = patches.reshape(n_clips * n_patches, *picture)
    return engines.extract(pictures, weights, settings.imaging, settings.features).reshape(n_clips, n_patches, -1)
