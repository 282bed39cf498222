"""The peer row: the audio detector of PyOD, as PyOD has it, for comparison.

It describes a clip by 74 hand-made features, the mean and the standard deviation over time of 20 cepstral coefficients,
12 chroma and five other spectral measures at 22.05 kHz, and scores it by its distance to the fifth nearest training
clip in standardised features. Source: Zhao, Nasrullah and Li (2019), PyOD: A Python toolbox for scalable outlier
detection, JMLR 20(96), https://pyod.readthedocs.io. PyOD comes with the extra ``peers``.
"""

from importlib.util import find_spec
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from mimii_lib.errors import MimiiError, NotRun

N_FEATURES = 74
N_NEIGHBORS = 5  # of PyOD's preset, which needs more training clips than that


def reason_not_run() -> str:
    """Return why the peer cannot run; "" if it can."""
    return "" if find_spec("pyod") else "PyOD is not installed; install this project with its extra 'peers'"


def pyod_features(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return PyOD's features of a clip, which it resamples to 22.05 kHz: (samples,) → (74,).

    Raises
    ------
    NotRun
        If PyOD is not installed.
    """
    _require_pyod()
    from pyod.utils.encoders.audio import AudioFeatureEncoder

    return np.asarray(AudioFeatureEncoder().encode([(waveform, sample_rate)], show_progress=False)[0])


class PyodNeighbours(BaseEstimator):
    """PyOD's preset for audio, ``EmbeddingOD.for_audio()``, on features that :func:`pyod_features` has computed."""

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Fit PyOD's standardisation and nearest neighbours on X of shape (n, d); n is at least 6."""
        _require_pyod()
        from pyod.models.embedding import EmbeddingOD

        X = validate_data(self, X)
        if len(X) <= N_NEIGHBORS:
            raise MimiiError(f"pyod: n_samples = {len(X)} found, more than {N_NEIGHBORS} expected; train on more clips")
        self.points_ = X
        self.detector_: Any = EmbeddingOD.for_audio(encoder=np.asarray).fit(X)  # the features are there already
        return self

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return minus PyOD's anomaly score of each row of X of shape (m, d): shape (m,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return -np.asarray(self.detector_.decision_function(X), np.float64)


def _require_pyod() -> None:
    if reason := reason_not_run():
        raise NotRun(reason)
