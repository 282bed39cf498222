"""Stage: recordings → log-mel spectrograms, and the statistics of their bands for the simple baselines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mimii_lib import dataset, imaging
from mimii_lib.settings import Imaging


def log_mel_spectrograms(files: Sequence[Path], settings: Imaging, description: str = "") -> NDArray[np.float32]:
    """Return the log-mel spectrograms of clips: (clips, n_mels, frames), in dB."""
    progress = tqdm(files, desc=f"{description} log-mel", disable=None)
    with threadpool_limits(limits=1):  # rounding must not depend on how many threads multiply the matrices
        return np.stack([imaging.log_mel(dataset.read(file, settings), settings) for file in progress])
