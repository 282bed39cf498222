"""Contrasts of an AUC table: weighted sums of its cells with standard errors and p-values.

Conventions: AUCs, contrasts and their errors are in percentage points. A table has the rows (features, detector) and
the columns (machine, id) of Table 1. Errors of different machine IDs are independent. The rows of one column are
tested on the same clips, so their errors are correlated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimii_lib import paper
from mimii_lib.evaluation import row_names, standard_error
from mimii_lib.extractors import UNTRAINED
from mimii_lib.settings import SIMPLE_BASELINES, Split
from mimii_lib.uncertainty import AucEstimates, corrected, p_value, symmetric


class Contrast(NamedTuple):
    """A weighted sum of cells in points with its 95 % interval, and the two-sided p-value of its being 0."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class TableEstimates:
    """A table of AUCs with the covariance of its errors.

    Attributes
    ----------
    table : DataFrame
        AUC in percent: rows (features, detector), columns (machine, id); NaN where nothing was run.
    covariances : array of shape (assumptions, columns, rows, rows)
        Error covariance of the rows of each column, in squared points. Where the correlation of the errors is unknown,
        there is one covariance per assumption, and the one with the largest variance counts.
    reduced
        The same table with the features of every network reduced by PCA, one per number of dimensions.
    """

    table: pd.DataFrame
    covariances: NDArray[np.float64]
    reduced: tuple["TableEstimates", ...] = ()

    def select(self, rows: pd.Index, columns: pd.Index) -> "TableEstimates":
        """Return the part of the table with these rows and columns, in the order of the table."""
        r, c = self.table.index.isin(rows), self.table.columns.isin(columns)
        return replace(self, table=self.table.loc[r, c], covariances=self.covariances[:, c][:, :, r][:, :, :, r])

    def of_the_paper(self) -> "TableEstimates":
        """Return the rows that the paper's Table 1 has too."""
        return self.select(paper.table_1().index, self.table.columns)

    def without_gaps(self) -> "TableEstimates":
        """Return the rows and columns that were run in full: without empty ones, then without rows that miss a cell."""
        table = self.table.dropna(how="all").dropna(axis=1, how="all").dropna()
        return self.select(table.index, table.columns)

    def errors(self) -> pd.DataFrame:
        """Return the standard error of every cell."""
        variances = np.diagonal(self.covariances, axis1=2, axis2=3).max(axis=0)
        return pd.DataFrame(np.sqrt(variances).T, self.table.index, self.table.columns)

    def contrast(self, weights: NDArray[np.float64], against: float = 0.0) -> Contrast | None:
        """Return the sum of the cells times `weights` (rows, columns), minus `against`; None if a weight is NaN.

        The table must have no gaps.
        """
        if np.isnan(weights).any():
            return None
        value = float((weights * self.table.to_numpy()).sum()) - against
        variances = np.einsum("rc,acrs,sc->a", weights, self.covariances, weights, optimize=True)
        error = float(np.sqrt(variances.max().clip(min=0)))
        return Contrast(*astuple(symmetric(value, error)), p_value(value, error))

    def near_best(self, level: float = 0.05) -> dict[tuple[str, str], set[tuple[str, str]]]:
        """Return, by column, the best row and the rows that are not significantly worse at `level`.

        Each row is compared with the best on the same clips; the p-values of a column are corrected for their number.
        """
        near = {}
        for number, column in enumerate(self.table):
            present = np.flatnonzero(self.table[column].notna())
            if not len(present):
                continue
            cells, covariances = self.table[column].to_numpy()[present], self.covariances[:, number][:, present]
            covariances, best = covariances[:, :, present], int(cells.argmax())
            variances = np.diagonal(covariances, axis1=1, axis2=2) - 2 * covariances[:, best]
            errors = np.sqrt((variances + covariances[:, best, [best]]).max(axis=0).clip(min=0))
            others = np.delete(np.arange(len(cells)), best)
            p_values = corrected([p_value(cells[best] - cells[row], errors[row]) for row in others])
            near[column] = set(self.table.index[present[[best, *others[p_values > level]]]])
        return near


def published() -> TableEstimates:
    """Return the paper's Table 1 with the sampling errors of Hanley and McNeil (1982).

    The paper gives no error correlations. Four assumptions are kept: errors are independent, equal for all rows, equal
    for the rows of a network, or equal for the rows of a detector.
    """
    table, most = paper.table_1(), Split().test_clips
    features, detectors = (table.index.get_level_values(level).to_numpy() for level in (0, 1))
    everything = np.ones((len(table), len(table)), bool)
    equal = np.stack([np.eye(len(table)), everything, features[:, None] == features, detectors[:, None] == detectors])
    n_abnormal = [min(most, paper.MIMII[machine][machine_id].abnormal) for machine, machine_id in table]
    errors = 100 * np.vectorize(standard_error)(table.to_numpy() / 100, most, n_abnormal)
    return TableEstimates(table, np.einsum("ars,rc,sc->acrs", equal, errors, errors))


def reproduced(estimates: Mapping[tuple[str, str], AucEstimates]) -> TableEstimates:
    """Return our own table.

    Parameters
    ----------
    estimates
        By machine type and ID; rows are (extractor, detector), as the AUC estimates of a run have them.
    """
    names = row_names(system for estimate in estimates.values() for system in estimate.values.index)
    rows = {
        column: pd.MultiIndex.from_tuples(
            [names[system] for system in estimate.values.index], names=["features", "detector"]
        )
        for column, estimate in estimates.items()
    }
    cells = [pd.Series(100 * estimates[column].values.to_numpy(), rows[column]) for column in rows]
    table = pd.concat(cells, axis=1).set_axis(pd.MultiIndex.from_tuples(rows, names=["machine", "id"]), axis=1)
    covariances = np.zeros((1, len(rows), len(table), len(table)))
    for number, column in enumerate(rows):
        at = table.index.get_indexer(rows[column])
        covariances[0, number][np.ix_(at, at)] = 1e4 * estimates[column].covariance.to_numpy()
    return TableEstimates(table, covariances)


def mean_weights(table: pd.DataFrame, **chosen: Sequence[str]) -> NDArray[np.float64]:
    """Return the weights (rows, columns) of the mean over some cells; NaN if the table has none of them.

    Parameters
    ----------
    **chosen
        Names by level of the rows (`features`, `detector`) and columns (`machine`, `id`); all names of other levels.
    """
    rows, columns = (
        np.all([axis.get_level_values(level).isin(chosen.get(level, axis.unique(level))) for level in axis.names], 0)
        for axis in table.axes
    )
    weights = np.outer(rows, columns).astype(float)
    return weights / weights.sum() if weights.any() else weights * np.nan


def gains(estimates: TableEstimates) -> dict[tuple[str, str], Contrast]:
    """Return how much networks gain over the rows that the paper does not have, in points of mean AUC.

    Returns
    -------
    dict
        By the names of the first and the second group of rows: each trained network and its untrained copy, all
        trained networks and each simple baseline, each simple baseline and chance.
    """
    estimates = estimates.without_gaps()
    names = estimates.table.index.unique("features")
    untrained = [name for name in names if name.endswith(UNTRAINED)]
    others = {paper.NO_FEATURES, *untrained, *(features for features, _ in SIMPLE_BASELINES.values())}
    trained = [name for name in names if name not in others]
    contrasts = {}
    for name in untrained:
        # A network of which only one version was run has the paper's name, without the version.
        match = max(filter(name.startswith, trained), key=len, default="")
        weights = (mean_weights(estimates.table, features=[features]) for features in (match, name))
        contrasts[match, name] = estimates.contrast(np.subtract(*weights))
    all_trained = mean_weights(estimates.table, features=trained)
    baselines = {
        " ".join(row): mean_weights(estimates.table, features=row[:1], detector=row[1:])
        for row in SIMPLE_BASELINES.values()
    }
    contrasts |= {
        ("trained networks", name): estimates.contrast(all_trained - mean) for name, mean in baselines.items()
    }
    contrasts |= {(name, "chance"): estimates.contrast(mean, against=50) for name, mean in baselines.items()}
    return {groups: contrast for groups, contrast in contrasts.items() if contrast is not None}
