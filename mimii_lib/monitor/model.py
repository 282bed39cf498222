"""The monitor: a system of the results table, fitted on one machine's normal recordings, and its calibration."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mimii_lib.monitor.results import Score

Say = Callable[[str], None]  # takes a sentence for the user


class Monitor:
    """A detector for one machine, fitted on recordings of it running well.

    Attributes
    ----------
    rate
        In Hz: what the model hears, up to half of it. Recordings at higher rates are resampled.
    window
        Samples of a window at `rate`; a longer recording is cut into windows and its score is the mean of theirs.
    channel
        The channel that is read, from 0, or mean.
    calibration
        Sorted scores of the held-back normal recordings: (n,).
    window_calibration
        Sorted scores of one window of each held-back recording: (n,).
    names
        Names of the normal recordings.
    """

    rate: int
    window: int
    channel: int | str
    calibration: NDArray[np.float64]
    window_calibration: NDArray[np.float64]
    names: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        paths: Sequence[Path | str],
        *,
        system: str = "ensemble",
        rate: int | None = None,
        channel: int | str = 0,
        window: float | None = None,
        unreadable: str = "stop",
        say: Say | None = None,
    ) -> Self:
        """Fit a system of the results table on files and folders of normal recordings."""
        raise NotImplementedError

    def window_scores(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the anomaly scores of windows at `rate`: (n, window) → (n,)."""
        raise NotImplementedError

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the conformal p-values of recordings' scores: (n,) → (n,), at least 1 / (n held back + 1)."""
        raise NotImplementedError

    def window_p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the conformal p-values of single windows' scores: (n,) → (n,)."""
        raise NotImplementedError

    def score(
        self, recording: Path | str | NDArray[np.float32], rate: int | None = None, alpha: float | None = None
    ) -> Score:
        """Score a recording: a file, or an array (samples,) or (samples, channels) at `rate`."""
        raise NotImplementedError

    def save(self, path: Path | str) -> None:
        """Write the model file."""
        raise NotImplementedError

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file; nothing in it is executed."""
        raise NotImplementedError
