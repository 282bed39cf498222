"""Conformal p-values of a fitted system: the share of normal recordings, held back from the fit, that score as high.

Every recording is held back once, whole, while the others are fitted on; the system that scores new recordings is
fitted on all of them. So each recording both trains and calibrates, where a part that is held back for good would leave
too few of both: 17 recordings give p-values from 1/18, a third of them would give none below 1/7. That holds for clip
systems, whose scores have one scale whatever they were fitted on, and not for the paper's detectors: the scores of
an OC-SVM grow with the number of patches. For these every third recording is held back for good.

With as many as k of n scores as high, the conformal p-value is between k / (n + 1) and (k + 1) / (n + 1). The upper end
alone gives fewer false alarms than asked for: 5.6 % of them at 10 % and 17 recordings. So the p-value falls from the
upper end to the lower one between two neighbouring scores, which holds approximately for scores of any continuous
distribution whose density falls.

References
----------
Vovk (2015), Cross-conformal predictors. Hennhöfer and Preisach (2024), Leave-one-out-, bootstrap- and cross-conformal
anomaly detectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mimii_lib.run.scorer import Scorer

FOLDS = 20  # parts of the recordings that are held back in turn
SHARE = 3  # of the paper's systems: one in so many is held back for good


@dataclass(frozen=True)
class Calibration:
    """Sorted scores of normal recordings, each by a fit without it."""

    recordings: NDArray[np.float64]  # (n,), means over the windows of each
    windows: NDArray[np.float64]  # (n,), of the first window of each: windows of one recording are not independent

    @property
    def smallest(self) -> float:
        """Return the smallest p-value that so many recordings can give: no lower false-alarm rate is decided."""
        return 1 / (len(self.recordings) + 1)

    def p_values(self, scores: NDArray[np.float64], of_windows: bool = False) -> NDArray[np.float64]:
        """Return the p-values of scores of recordings, or of single windows: (n,) → (n,)."""
        normal = self.windows if of_windows else self.recordings
        n, lower = len(normal), np.searchsorted(normal, scores, side="left")
        below, above = normal[np.maximum(lower - 1, 0)], normal[np.minimum(lower, n - 1)]
        between = (below < scores) & (scores < above)
        way = np.divide(scores - below, above - below, out=np.zeros(np.shape(scores)), where=between)
        return (1 + n - lower - way) / (n + 1)


@threadpool_limits.wrap(limits=1)  # matrices are small, and several threads would wait for each other
def calibrate(scorer: Scorer, windows: Sequence[NDArray[np.float32]], folds: int = FOLDS) -> Calibration:
    """Fit a scorer on the windows of normal recordings, (windows, samples) of each, and return its calibration.

    `folds` is the number of parts that are held back in turn, at most one for each recording.
    """
    owner = np.repeat(np.arange(len(windows)), [len(of_one) for of_one in windows])
    samples = np.concatenate(windows)
    rows = scorer.prepare(samples).features(samples)
    part = owner % (max(2, min(folds, len(windows))) if scorer.clip_system else SHARE)
    scores = np.full(len(rows), np.nan)
    for number in np.unique(part) if scorer.clip_system else [0]:
        scores[part == number] = scorer.fit_features(rows[part != number]).score_features(rows[part == number])
    if scorer.clip_system:
        scorer.fit_features(rows)
    held_back = np.unique(owner[~np.isnan(scores)])
    first = np.searchsorted(owner, held_back)
    return Calibration(np.sort([scores[owner == number].mean() for number in held_back]), np.sort(scores[first]))
