"""Where a recording differs from normal ones: its mel bands against theirs, whatever the system that scores it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mimii_lib.imaging import log_mel, mel_edges
from mimii_lib.settings import Imaging

LEAST = 0.5  # dB: deviations of normal recordings below it count as it, because few recordings vary little by chance
UNUSUAL = 2.0  # deviations from which a band is named
MOST_BANDS = 3
MOMENT = 0.5  # seconds


class Band(NamedTuple):
    """A range of frequencies and how far its level is from that of the normal recordings."""

    low: float  # in Hz
    high: float
    deviation: float  # of its mean decibels, in standard deviations of the normal recordings; positive is louder


@dataclass(frozen=True)
class Spectra:
    """The log-mel spectra of normal recordings, in dB with a fixed reference."""

    rate: int  # in Hz
    means: NDArray[np.float64]  # (n_mels,), over all windows
    deviations: NDArray[np.float64]  # (n_mels,), of the windows' means
    frame_deviations: NDArray[np.float64]  # (n_mels,), of single frames
    recordings: NDArray[np.float64]  # (recordings, n_mels), their means

    @classmethod
    def measure(cls, windows: Sequence[NDArray[np.float32]], rate: int) -> Self:
        """Measure the windows of normal recordings, (windows, samples) of each."""
        means, squares, of_recordings = [], [], []
        for of_one in windows:
            spectrograms = [_decibels(window, rate) for window in of_one]
            of_one_means = np.array([spectrogram.mean(axis=1) for spectrogram in spectrograms], np.float64)
            squares += [np.square(one, dtype=np.float64).mean(axis=1) for one in spectrograms]
            means += [*of_one_means]
            of_recordings.append(of_one_means.mean(axis=0))
        mean = np.mean(means, axis=0)
        of_frames = np.sqrt(np.maximum(np.mean(squares, axis=0) - mean**2, LEAST**2))
        return cls(rate, mean, np.maximum(np.std(means, axis=0), LEAST), of_frames, np.array(of_recordings))

    def compare(
        self, windows: NDArray[np.float32], begins: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], tuple[float, float], int]:
        """Compare a recording's windows (n, samples), which begin at so many seconds (n,).

        Returns
        -------
        tuple
            The deviation of each mel band, in standard deviations of the normal windows (n_mels,); the start and end,
            in seconds, of the half second that deviates most; and the number of the nearest normal recording.
        """
        hop = Imaging().hop / self.rate
        width = max(1, round(MOMENT / hop))
        means, most, moment = [], -1.0, (0.0, 0.0)
        for window, begin in zip(windows, begins, strict=True):
            decibels = _decibels(window, self.rate)
            means.append(decibels.mean(axis=1, dtype=np.float64))
            frames = (np.abs(decibels - self.means[:, None]) / self.frame_deviations[:, None]).mean(axis=0)
            smooth = np.convolve(frames, np.full(width, 1 / width), "valid")
            if smooth.max() > most:
                most, start = smooth.max(), float(begin + smooth.argmax() * hop)
                moment = (start, min(start + width * hop, float(begin) + len(window) / self.rate))
        mean = np.mean(means, axis=0)
        distances = np.square((self.recordings - mean) / self.deviations).sum(axis=1)
        return (mean - self.means) / self.deviations, moment, int(distances.argmin())

    def bands(self, deviations: NDArray[np.float64]) -> tuple[Band, ...]:
        """Return neighbouring mel bands that all are louder, or quieter, by 2 deviations; at most three ranges."""
        edges = mel_edges(len(deviations), self.rate)
        unusual = np.where(np.abs(deviations) >= UNUSUAL, np.sign(deviations), 0)
        ranges = []
        for sign, group in groupby(range(len(deviations)), key=lambda band: unusual[band]):
            numbers = list(group)
            if sign:
                largest = max((deviations[band] for band in numbers), key=abs)
                ranges.append(Band(float(edges[numbers[0]]), float(edges[numbers[-1] + 2]), float(largest)))
        return tuple(sorted(ranges, key=lambda band: -abs(band.deviation))[:MOST_BANDS])


def _decibels(window: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    return log_mel(window, Imaging(sample_rate=rate, db_reference="fixed"))
