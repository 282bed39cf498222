"""The record on real MIMII, of systems that need no time axis, beside the paper's Table 1; and by arithmetic.

Conventions: AUCs, differences and their errors are in percentage points. A *cell* is one system on one machine ID at
one SNR. Errors of different machine IDs are independent.
"""

from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import logit
from scipy.stats import ttest_1samp

from mimii_lib import paper
from mimii_lib.pages import contrasts
from mimii_lib.pages.drawing import ABNORMAL, NORMAL, WIDTH, drawing
from mimii_lib.uncertainty import Z, corrected, p_value, symmetric

SYSTEMS = MappingProxyType(
    {
        "mahalanobis": "Mahalanobis distance",
        "knn": "3 nearest neighbours",
        "spectrum-density": "nearest neighbour, local density",
        "gmm": "Gaussian mixture (8)",
        "oc-svm": "one-class SVM",
        "if": "isolation forest",
        "level": "level alone",
    }
)
"""Display names of the record's systems."""
SOURCES = MappingProxyType({"iaia": "spectra", "egemaps": "functionals"})
"""Display names of the record's sources."""


def decibels(snr: int) -> str:
    """Return an SNR with its sign and unit."""
    return f"{snr:+d} dB".replace("-", "−").replace("+0", "0")


def cells(record: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows of the record in percent, with the standard error that the interval of each rests on.

    Intervals are symmetric on the logit scale, but for an AUC of exactly 0 or 1 (:mod:`mimii_lib.uncertainty`).
    """
    table = pd.DataFrame(record)
    area, low, high = (table[name].to_numpy() for name in ("auc", "low", "high"))
    with np.errstate(invalid="ignore"):  # 0 times infinity at 0 and 1, which are replaced
        inner = (logit(area) - logit(low)) * area * (1 - area) / Z
    error = np.where((area > 0) & (area < 1), inner, np.maximum(high - area, area - low) / Z)
    return table.assign(auc=100 * area, low=100 * low, high=100 * high, error=100 * error)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean AUC over the machine IDs with its 95 % interval, by source, SNR and system."""
    rows = {}
    for key, of_key in table.groupby(["source", "snr", "system"], sort=False):
        mean = symmetric(of_key.auc.mean(), float(np.hypot.reduce(of_key.error)) / len(of_key))
        rows[key] = (mean.value, mean.low, mean.high)
    means = pd.DataFrame.from_dict(rows, orient="index", columns=["auc", "low", "high"])
    means.index = pd.MultiIndex.from_tuples(rows, names=["source", "snr", "system"])
    return means


def by_id(table: pd.DataFrame, value: str = "auc") -> pd.DataFrame:
    """Return a column of cells of one source and SNR: rows are systems, columns (machine, id)."""
    return table.pivot_table(value, "system", ["machine", "id"], sort=False)


def listed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells with the paper's best row and best cell of the same machine ID, for the pages."""
    shown = table.rename(columns={"id": "ID", "n_train": "training clips"})
    names = {"SNR": table.snr.map(decibels), "detector": table.system.map(SYSTEMS), "table": table.source.map(SOURCES)}
    shown = shown.assign(**names, AUC=table.auc)
    units, published = pd.MultiIndex.from_frame(table[["machine", "id"]]), paper.table_1()
    shown["paper's best row"] = published.loc[best_row(units.unique()), units].to_numpy()
    shown["best of its rows"] = published.max()[units].to_numpy()
    columns = ["machine", "ID", "SNR", "detector", "table", "AUC", "low", "high"]
    return shown[[*columns, "paper's best row", "best of its rows", "training clips"]]


def best_row(columns: pd.MultiIndex) -> tuple[str, str]:
    """Return the row (features, detector) of the paper's Table 1 with the highest mean over some columns."""
    return paper.table_1()[columns].mean(axis=1).idxmax()


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Compare the mean of every system with that of the paper's best row on the same machine IDs.

    `table` has the cells of one source and SNR. The errors of both sides count, as if they were independent.

    Columns: the `difference`, its 95 % interval over other clips of these machine IDs (`low`, `high`) and its p-value,
    corrected for the number of systems (`p`); the interval over other machine IDs by Student's t (`low_ids`,
    `high_ids`); on how many machine IDs the system is above the paper's best row (`above_row`) and best cell
    (`above_cell`).
    """
    areas, errors = by_id(table), by_id(table, "error")
    published, row = contrasts.published(), best_row(areas.columns)
    theirs = published.table.loc[row, areas.columns]
    their_error = published.errors().loc[row, areas.columns]
    best_cells = published.table[areas.columns].max()
    rows, p_values = {}, []
    for system in areas.index:
        gains = areas.loc[system] - theirs
        error = float(np.hypot.reduce([*errors.loc[system], *their_error])) / len(gains)
        difference, over_ids = symmetric(gains.mean(), error), ttest_1samp(gains, 0).confidence_interval()
        p_values.append(p_value(difference.value, error))
        counts = (int((gains > 0).sum()), int((areas.loc[system] > best_cells).sum()))
        rows[system] = (difference.value, difference.low, difference.high, *over_ids, *counts)
    columns = ["difference", "low", "high", "low_ids", "high_ids", "above_row", "above_cell"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).assign(p=corrected(p_values))


def at_each_snr(table: pd.DataFrame) -> pd.DataFrame:
    """Compare one system at each SNR with the paper's results on the same machine IDs.

    Columns: the `mean` AUC; its `lead` over the mean of the paper's best cells; on how many machine IDs the system's
    interval lies `above` the best cell, and `below` it; the mean `correlation` of the paper's rows with the system.
    """
    rows = {}
    for snr, of_snr in table.groupby("snr"):
        cells = of_snr.set_index(["machine", "id"])
        published = paper.table_1()[cells.index]
        best, mean = published.max(), cells.auc.mean()
        counts = (int((best < cells.low).sum()), int((best > cells.high).sum()))
        rows[snr] = (mean, mean - best.mean(), *counts, published.T.corrwith(cells.auc).mean())
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "lead", "above", "below", "correlation"])


def dots(table: pd.DataFrame, systems: tuple[str, ...] = ("mahalanobis", "knn")) -> Figure:
    """Draw two systems with their intervals on every machine ID, a panel per SNR, and the paper's results in each.

    A bar marks the paper's best row and a cross the best of all its rows on that machine ID.
    """
    snrs, columns = sorted(table.snr.unique()), by_id(table).columns
    best, row = paper.table_1()[columns].max(), best_row(columns)
    name = f"the paper's {' '.join(row)}"
    with drawing(1, len(snrs), figsize=(WIDTH, 1.2 + 0.27 * len(columns)), sharex=True, sharey=True) as (figure, axes):
        for axis, snr in zip(axes[0], snrs, strict=True):
            places = np.arange(len(columns))
            axis.plot(paper.table_1().loc[row, columns], places, "|", color="black", ms=9, mew=1.6, label=name)
            axis.plot(best, places, "x", color=ABNORMAL, ms=5, label="best of the paper's rows")
            for offset, face, system in zip((-0.17, 0.17), (NORMAL, "none"), systems, strict=True):
                of_system = (
                    table[(table.snr == snr) & (table.system == system)].set_index(["machine", "id"]).loc[columns]
                )
                axis.hlines(places + offset, of_system.low, of_system.high, color=NORMAL, lw=1.2)
                axis.plot(of_system.auc, places + offset, "o", color=NORMAL, mfc=face, ms=4, label=SYSTEMS[system])
            axis.set(title=decibels(snr), xlim=(45, 101.5))
            axis.set_yticks(places, [f"{machine} {name}" for machine, name in columns])
        axes[0, 0].invert_yaxis()
        figure.supxlabel("AUC (%)")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, columnspacing=1)
    return figure


def by_arithmetic(record: pd.DataFrame) -> pd.DataFrame:
    """Compare the AUCs of detectors in float64 and float32 over their random starts.

    Parameters
    ----------
    record
        Rows of ``benchmarks/precision.json``: where, machine, id, n_train, extractor, detector, precision, start, auc.
        auc is in [0, 1], or NaN where the fit failed.

    Returns
    -------
    DataFrame
        A row for each detector, network and number of training patches, over `starts` starts. In percent: the means
        `float64` and `float32` and their standard deviations, `sd64` and `sd32`; the mean `difference` of the two from
        the same start, with its 95 % interval from `low` to `high` over starts, of no width where all starts agree; and
        `failed`, the number of float32 fits that failed.
    """
    rows, keys = [], ["where", "machine", "id", "n_train", "extractor", "detector"]
    for key, group in record.groupby(keys, sort=False):
        exact, reduced = (
            100 * group[group.precision == name].set_index("start").auc for name in ("float64", "float32")
        )
        differences = (reduced - exact).dropna()
        low = high = difference = differences.mean()
        if differences.std() > 0:
            low, high = ttest_1samp(differences, 0).confidence_interval()
        values = (exact.mean(), exact.std(), reduced.mean(), reduced.std(), difference, low, high, reduced.isna().sum())
        rows.append((*key, len(exact), *values))
    columns = ["starts", "float64", "sd64", "float32", "sd32", "difference", "low", "high", "failed"]
    return pd.DataFrame(rows, columns=keys + columns)
