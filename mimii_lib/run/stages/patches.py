"""Stage: log-mel spectrograms → patches of all clips (§5)."""

import numpy as np
from numpy.typing import NDArray

from mimii_lib import imaging
from mimii_lib.run.stages.rows import Rows
from mimii_lib.settings import Imaging


def cut_patches(spectrograms: NDArray[np.float32], settings: Imaging, train: Rows) -> NDArray[np.uint8]:
    """Return the patches of clips: (clips, patches, n_mels, patch_frames), indices of the colour map.

    Parameters
    ----------
    spectrograms : array of shape (clips, n_mels, frames)
        In dB.
    train
        Training clips, whose lowest and highest decibels become the ends of the colour map where `scaling` is training.
    """
    limits = None
    if settings.scaling == "training":
        limits = float(spectrograms[train].min()), float(spectrograms[train].max())
    return np.stack([imaging.patches(spectrogram, settings, limits) for spectrogram in spectrograms])
