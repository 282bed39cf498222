"""Stage: log-mel spectrograms → patches of clips (§5), and the rows of patches that belong to some clips."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimii_lib import imaging
from mimii_lib.settings import Imaging

Rows = NDArray[np.intp]
"""Numbers of clips in the clip table of a machine ID."""


def cut_patches(spectrograms: NDArray[np.float32], settings: Imaging, train: Rows) -> NDArray[np.uint8]:
    """Return the patches of clips: (clips, patches, n_mels, patch_frames), indices of the colour map.

    Where `scaling` is training, the lowest and highest decibels of the training clips are the ends of the colour map.
    """
    limits = None
    if settings.scaling == "training":
        limits = float(spectrograms[train].min()), float(spectrograms[train].max())
    return np.stack([imaging.patches(spectrogram, settings, limits) for spectrogram in spectrograms])


def patch_rows(inputs: NDArray[Any], clips: Rows) -> NDArray[Any]:
    """Return the inputs of some clips, (clips, patches, …), patch by patch: (clips x patches, …) in a row each."""
    rows = inputs[clips]
    return rows.reshape(len(rows) * rows.shape[1], prod(rows.shape[2:]))
