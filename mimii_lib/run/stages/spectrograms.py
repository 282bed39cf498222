"""Stage: recordings → log-mel spectrograms (§5)."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from mimii_lib import dataset, imaging
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging


def log_mel_spectrograms(clips: Mapping[Path, str], settings: Imaging, description: str = "") -> NDArray[np.float32]:
    """Return the log-mel spectrograms of clips, given by file with their sha256: (clips, n_mels, frames), in dB.

    Raises :class:`MimiiError` as :func:`waveforms` does.
    """
    sounds = waveforms(clips, settings, f"{description} log-mel")
    return np.stack([imaging.log_mel(sound, settings) for sound in sounds])


def waveforms(clips: Mapping[Path, str], settings: Imaging, description: str = "") -> Iterator[NDArray[np.float32]]:
    """Yield the waveforms of clips, given by file with their sha256: (samples,). What takes them has one thread.

    Raises
    ------
    MimiiError
        If a file has another sha256: what is kept under a content is computed from it.
    """
    with threadpool_limits(limits=1):  # rounding must not depend on how many threads multiply the matrices
        for file, sha256 in tqdm(clips.items(), desc=description, disable=None):
            content = dataset.content(file)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise MimiiError(f"{file}: changed since the run looked at it; give the same command again")
            yield dataset.read(file, settings, content)
