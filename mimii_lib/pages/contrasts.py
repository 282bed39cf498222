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
from mimii_lib.evaluation import standard_error, system_names
from mimii_lib.extractors import EXTRACTORS, UNTRAINED
from mimii_lib.settings import AFTER_PAPER, CLIP_SYSTEMS, SIMPLE_BASELINES, Split
from mimii_lib.uncertainty import AucEstimates, corrected, p_value, symmetric


class Contrast(NamedTuple):
    """A weighted sum of cells in points with its 95 % interval, and the two-sided p-value of its being 0."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan


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

    def before_the_systems_after(self) -> "TableEstimates":
        """Return the rows without those of the systems after the paper."""
        return self.select(self.table.index.difference(list(AFTER_PAPER.values())), self.table.columns)

    def without_gaps(self) -> "TableEstimates":
        """Return the rows and columns that were run in full: without empty ones, then without rows that miss a cell."""
        table = self.table.dropna(how="all").dropna(axis=1, how="all").dropna()
        return self.select(table.index, table.columns)

    def errors(self) -> pd.DataFrame:
        """Return the standard error of every cell."""
        variances = np.diagonal(self.covariances, axis1=2, axis2=3).max(axis=0)
        return pd.DataFrame(np.sqrt(variances).T, self.table.index, self.table.columns)

    def weights(self, **chosen: Sequence[str]) -> NDArray[np.float64]:
        """Return the weights (rows, columns) of the mean over some cells; NaN if the table has none of them.

        Names are chosen by level of rows (`features`, `detector`) and columns (`machine`, `id`); of others, all are.
        """
        rows, columns = (
            np.all([axis.isin(chosen.get(level, axis.unique(level)), level) for level in axis.names], axis=0)
            for axis in self.table.axes
        )
        weights = np.outer(rows, columns).astype(float)
        return weights / weights.sum() if weights.any() else weights * np.nan

    def contrast(self, weights: NDArray[np.float64], against: float = 0.0) -> Contrast:
        """Return the sum of the cells times `weights`, minus `against`; NaN if a weight is. The table has no gaps."""
        if np.isnan(weights).any():
            return Contrast()
        value = float((weights * self.table.to_numpy()).sum()) - against
        variances = np.einsum("rc,acrs,sc->a", weights, self.covariances, weights, optimize=True)
        error = float(np.sqrt(variances.max().clip(min=0)))
        return Contrast._make([*astuple(symmetric(value, error)), p_value(value, error)])

    def near_best(self, level: float = 0.05) -> dict[tuple[str, str], set[tuple[str, str]]]:
        """Return, by column, the best row and the rows that are not significantly worse at `level`.

        Each row is compared with the best on the same clips; the p-values of a column are corrected for their number.
        """
        near = {}
        for column, cells in self.table.dropna(axis=1, how="all").items():
            part = self.select(cells.dropna().index, self.table.columns[self.table.columns == column])
            rows, units = part.table.index, np.eye(len(part.table))[..., None]
            best = int(part.table.to_numpy().argmax())
            others = np.delete(np.arange(len(rows)), best)
            p_values = corrected([part.contrast(units[best] - units[row]).p for row in others])
            near[column] = {rows[best], *rows[others[p_values > level]]}
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
    """Return our own table: AUC estimates by machine type and ID, with the rows (extractor, detector)."""
    names = system_names(system for estimate in estimates.values() for system in estimate.values.index)
    index = pd.MultiIndex.from_tuples(names.values(), names=["features", "detector"])
    table = pd.DataFrame(np.nan, index, pd.MultiIndex.from_tuples(estimates, names=["machine", "id"]))
    covariances = np.zeros((1, len(estimates), len(index), len(index)))
    for number, estimate in enumerate(estimates.values()):
        rows = index.get_indexer([names[system] for system in estimate.values.index])
        table.iloc[rows, number] = 100 * estimate.values.to_numpy()
        covariances[0, number][np.ix_(rows, rows)] = 1e4 * estimate.covariance.to_numpy()
    return TableEstimates(table, covariances)


def gains(estimates: TableEstimates) -> pd.DataFrame:
    """Compare mean AUCs: networks with the rows that the paper does not have, and those with chance.

    Rows: each trained network over its untrained copy, all trained networks over each simple baseline, each simple
    baseline over chance. Columns: difference in points, and its 95 % interval, low and high.
    """
    estimates = estimates.without_gaps()
    names, baselines = estimates.table.index.unique("features"), SIMPLE_BASELINES.values()
    untrained = [name for name in names if name.endswith(UNTRAINED)]
    of_sound = [extractor.title for extractor in EXTRACTORS.values() if not extractor.takes_pictures]
    others = {paper.NO_FEATURES, *untrained, *of_sound, *(features for features, _ in CLIP_SYSTEMS.values())}
    trained = [name for name in names if name not in others]
    contrasts = {}
    for name in untrained:
        # A network of which only one version was run has the paper's name, without the version.
        match = max(filter(name.startswith, trained), key=len, default="")
        weights = estimates.weights(features=[match]) - estimates.weights(features=[name])
        contrasts[f"{match} over {name}"] = estimates.contrast(weights)
    for features, detector in baselines:
        name, weights = f"{features} {detector}", estimates.weights(features=[features], detector=[detector])
        contrasts[f"trained networks over {name}"] = estimates.contrast(estimates.weights(features=trained) - weights)
        contrasts[f"{name} over chance"] = estimates.contrast(weights, against=50)
    table = pd.DataFrame.from_dict(contrasts, orient="index", columns=["difference", "low", "high", "p"])
    return table.dropna(subset="p").drop(columns="p")
