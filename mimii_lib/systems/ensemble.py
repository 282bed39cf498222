"""Several estimators on parts of one vector, their scores standardised by training clips and combined."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted, validate_data

COMBINATIONS: dict[str, Any] = {"mean": np.mean, "min": np.min, "max": np.max}
"""How anomaly scores of one clip are combined: min, the most lenient member decides; max, the most alarmed one."""
FOLDS = 5


def held_out_scores(estimator: Any, X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the normality of the rows of X, each by a fit that did not see it: (n,).

    That is the attribute ``training_scores_`` of a fitted estimator that has it (leave-one-out), else the scores of a
    cross-validation of five parts.
    """
    if hasattr(estimator, "training_scores_"):
        return np.asarray(estimator.training_scores_, np.float64)
    scores = np.empty(len(X))
    for train, test in KFold(min(FOLDS, len(X)), shuffle=True, random_state=0).split(X):
        scores[test] = clone(estimator).fit(X[train]).score_samples(X[test])
    return scores


class Ensemble(BaseEstimator):
    """Several estimators, each on columns of its own; their standardised scores are combined.

    A member's scores have the mean 0 and the deviation 1 over the training clips, each scored by a fit without it
    (:func:`held_out_scores`): scores of the training clips themselves would be too good, and those of test clips are
    not to be read.

    Parameters
    ----------
    members : sequence of (name, estimator, columns)
        Estimators with ``fit`` and ``score_samples``; `columns` is a slice or an array of numbers of columns of X.
    combine
        mean, min or max of the members' standardised anomaly scores.

    Attributes
    ----------
    members_ : list of fitted estimators
    means_, deviations_ : arrays of shape (members,)
        Of the members' held-out scores.
    training_scores_ : array of shape (n,)
        Normality of the training clips by held-out scores.
    """

    def __init__(self, members: Sequence[tuple[str, Any, Any]], combine: str = "mean"):
        self.members = members
        self.combine = combine

    def fit(self, X: NDArray[np.floating], y: None = None) -> Self:
        """Fit every member on its columns of X of shape (n, columns), n at least 2."""
        X = validate_data(self, X, ensure_min_samples=2)
        if self.combine not in COMBINATIONS:
            raise ValueError(f"combine: found {self.combine!r}, expected one of {', '.join(COMBINATIONS)}")
        self.members_ = [clone(estimator).fit(X[:, columns]) for _, estimator, columns in self.members]
        parts = zip(self.members_, self.members, strict=True)
        scores = np.stack([held_out_scores(fitted, X[:, columns]) for fitted, (_, _, columns) in parts])
        self.means_, self.deviations_ = scores.mean(axis=1), scores.std(axis=1)
        self.deviations_ = np.where(self.deviations_ > 0, self.deviations_, 1.0)
        self.training_scores_ = self._combined(self._standardised(scores))
        return self

    def member_scores(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the standardised normality of each row by each member: (members, rows)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        parts = zip(self.members_, self.members, strict=True)
        return self._standardised(np.stack([fitted.score_samples(X[:, columns]) for fitted, (_, _, columns) in parts]))

    def score_samples(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the combined normality of each row of X of shape (m, columns): (m,)."""
        return self._combined(self.member_scores(X))

    def _standardised(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return (scores - self.means_[:, None]) / self.deviations_[:, None]

    def _combined(self, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        return -COMBINATIONS[self.combine](-standardised, axis=0)
