"""A stand-in until the systems are merged: band means and loudest frames, Mahalanobis distance."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimii_lib.imaging import log_mel
from mimii_lib.settings import Imaging


class Scorer:
    """Waveforms to anomaly scores."""

    def __init__(self, system: str, imaging: Imaging, weights: Path | None = None):
        self.system = system
        self.imaging = imaging.model_copy(update={"db_reference": "fixed"})

    def features(self, waveforms: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return a row for each waveform."""
        rows = []
        for waveform in waveforms:
            decibels = log_mel(waveform, self.imaging)
            loudest = np.sort(decibels, axis=1)[:, -max(1, decibels.shape[1] // 20) :]
            rows.append(np.concatenate([decibels.mean(axis=1), loudest.mean(axis=1)]))
        return np.array(rows, np.float64)

    def fit_features(self, X: NDArray[np.floating]) -> Self:
        """Fit on rows."""
        from sklearn.covariance import LedoitWolf

        fitted = LedoitWolf().fit(X)
        self.location, self.precision = fitted.location_, fitted.precision_
        return self

    def score_features(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return anomaly scores of rows."""
        off = X - self.location
        return np.einsum("ij,jk,ik->i", off, self.precision, off)

    def fit(self, waveforms: NDArray[np.float32]) -> Self:
        """Fit on waveforms."""
        return self.fit_features(self.features(waveforms))

    def scores(self, waveforms: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return anomaly scores of waveforms."""
        return self.score_features(self.features(waveforms))

    def state(self) -> dict[str, Any]:
        """Return JSON values and arrays."""
        return {
            "system": self.system,
            "imaging": dict(self.imaging),
            "location": self.location,
            "precision": self.precision,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Return the scorer of a state."""
        scorer = cls(state["system"], Imaging(**state["imaging"]))
        scorer.location, scorer.precision = state["location"], state["precision"]
        return scorer
