"""Conformal p-values of a fitted system: the share of normal recordings, held back from the fit, that score as high.

Every recording is held back once, whole, while the others are fitted on; the system that scores new recordings is
fitted on all of them. So each recording both trains and calibrates, where a part that is held back for good would leave
too few of both: 17 recordings give p-values from 1/18, a third of them would give none below 1/7.

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

FOLDS, FOLDS_OF_PAPER = 20, 5  # parts that are held back in turn; the fits of the paper's systems take longer


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
def calibrate(scorer: Scorer, windows: Sequence[NDArray[np.float32]], folds: int | None = None) -> Calibration:
    """Fit a scorer on the windows of normal recordings, (windows, samples) of each, and return its calibration.

    `folds` is the number of parts that are held back in turn, at most one for each recording; None: 20, or 5 of the
    paper's systems.
    """
    folds = folds or (FOLDS if scorer.clip_system else FOLDS_OF_PAPER)
    owner = np.repeat(np.arange(len(windows)), [len(of_one) for of_one in windows])
    samples = np.concatenate(windows)
    rows = scorer.prepare(samples).features(samples)
    part = owner % max(2, min(folds, len(windows)))
    scores = np.empty(len(rows))
    for number in np.unique(part):
        scores[part == number] = scorer.fit_features(rows[part != number]).score_features(rows[part == number])
    scorer.fit_features(rows)
    of_recordings = [scores[owner == number].mean() for number in range(len(windows))]
    return Calibration(np.sort(of_recordings), np.sort(scores[np.searchsorted(owner, np.arange(len(windows)))]))
