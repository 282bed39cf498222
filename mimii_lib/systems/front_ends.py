"""Front ends: what a clip system takes of a clip, one vector for each clip.

Conventions
-----------
A front end is one of four parts of a vector. :class:`Level` is the level of the waveform, :class:`HandMade` are PyOD's
features of it; :class:`Bands` are statistics over time of the log-mel bands; :class:`Maps` is a layer's map of an image
network for the whole clip as one picture, averaged over time alone, so that the frequency axis stays.
`settings` is a
:class:`mimii_lib.settings.Systems`.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mimii_lib import imaging
from mimii_lib.settings import Imaging, Systems
from mimii_lib.systems import peer

Decibels = Literal["clip", "fixed"]
Pooling = Literal["mean", "deviation", "loudest", "ranked"]


@dataclass(frozen=True)
class Level:
    """The level of a clip in dB: one column."""


@dataclass(frozen=True)
class Bands:
    """Statistics of each mel band over time, in dB: a column for each band and statistic."""

    decibels: Decibels  # 0 dB is the clip's maximum, or fixed: the level is kept
    poolings: tuple[Pooling, ...]


@dataclass(frozen=True)
class Maps:
    """A layer's map of a network, averaged over time: the channels of each frequency row in turn, from high to low."""

    extractor: str
    layer: int  # of the extractor's layers (see :class:`mimii_lib.extractors.Extractor`), counted from 0


@dataclass(frozen=True)
class HandMade:
    """PyOD's hand-made features of the waveform (:mod:`mimii_lib.systems.peer`)."""


FrontEnd = Level | Bands | Maps | HandMade


MapShapes = tuple[tuple[int, int], ...]
"""Rows and channels of the map of each layer."""


class Clips(Protocol):
    """What front ends take of clips: computed on the spot, or kept results of a run."""

    def levels(self) -> NDArray[np.float64]:
        """Return the levels of all clips in dB: (clips,)."""

    def hand_made(self) -> NDArray[np.float64]:
        """Return PyOD's features of all clips: (clips, 74)."""

    def bands(self, part: Bands) -> NDArray[np.float64]:
        """Return :func:`band_statistics` of all clips."""

    def maps(self, extractor: str) -> NDArray[np.float32]:
        """Return the maps of all layers, averaged over time: (clips, rows x channels of each layer in turn)."""


def describe(part: FrontEnd, clips: Clips, shapes: MapShapes) -> NDArray[np.floating]:
    """Return the vectors of all clips: (clips, columns)."""
    if isinstance(part, Level):
        return clips.levels()[:, None]
    if isinstance(part, HandMade):
        return clips.hand_made()
    if isinstance(part, Bands):
        return clips.bands(part)
    start = sum(rows * channels for rows, channels in shapes[: part.layer])
    return clips.maps(part.extractor)[:, start : start + size(part, 0, shapes)[0]]


def size(part: FrontEnd, n_mels: int, shapes: MapShapes) -> tuple[int, int]:
    """Return the number of columns of a vector, and into how many bands of one length they divide."""
    if isinstance(part, Level):
        return 1, 1
    if isinstance(part, HandMade):
        return peer.N_FEATURES, 1
    if isinstance(part, Bands):
        return n_mels * len(part.poolings), 1
    rows, channels = shapes[part.layer]
    return rows * channels, rows


def band_statistics(
    spectrograms: NDArray[np.float32], poolings: tuple[Pooling, ...], settings: Systems
) -> NDArray[np.float64]:
    """Return one or several statistics of each mel band: (clips, n_mels, frames) → (clips, n_mels of each in turn)."""
    return np.concatenate([pool_time(spectrograms, name, settings) for name in poolings], axis=1)


def pool_time(decibels: NDArray[np.float32], pooling: Pooling, settings: Systems) -> NDArray[np.float64]:
    """Return one statistic of each mel band over time, in dB.

    Parameters
    ----------
    decibels : array of shape (clips, n_mels, frames)
    pooling
        mean; deviation, the standard deviation; loudest, the mean of the loudest frames (their share is
        `settings.loudest`); ranked, the mean of the frames in falling order, weighted by 1, r, r², … with r the
        `settings.rank_weight` (time-weighted frequency-domain pooling).

    Returns
    -------
    array of shape (clips, n_mels)

    References
    ----------
    Guan, Liu and others (2023), Time-weighted frequency domain audio representation with GMM estimator for anomalous
    sound detection.
    """
    if pooling in ("mean", "deviation"):
        return (np.mean if pooling == "mean" else np.std)(decibels, axis=2, dtype=np.float64)
    frames = decibels.shape[2]
    if pooling == "loudest":
        count = max(1, ceil(settings.loudest * frames))
        return np.partition(decibels, frames - count, axis=2)[:, :, -count:].mean(axis=2, dtype=np.float64)
    weights = settings.rank_weight ** np.arange(frames)
    return np.sort(decibels, axis=2)[:, :, ::-1] @ (weights / weights.sum())


def decibel_limits(levels: NDArray[np.floating], settings: Systems) -> tuple[float, float]:
    """Return the decibels that become the ends of the colour map, from the levels of the training clips.

    They lie `settings.below` under and `settings.above` over the median level, which is rounded to `settings.step`. One
    scale for all clips of a machine ID keeps the level: a louder clip is a brighter picture. Most splits share it.
    """
    median = settings.step * round(float(np.median(levels)) / settings.step)
    return median - settings.below, median + settings.above


def wide_pictures(
    spectrograms: NDArray[np.float32], limits: tuple[float, float], settings: Imaging
) -> NDArray[np.uint8]:
    """Return whole clips as pictures: (clips, n_mels, frames), indices into the colour map, high frequencies first."""
    whole: Any = settings.model_copy(update={"patch_frames": spectrograms.shape[2], "scaling": "training"})
    return np.concatenate([imaging.patches(spectrogram, whole, limits) for spectrogram in spectrograms])
