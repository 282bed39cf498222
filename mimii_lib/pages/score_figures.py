"""Figures of scores and AUCs, for the pages on detectors and on results."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

from mimii_lib.evaluation import System
from mimii_lib.pages import tables
from mimii_lib.pages.drawing import NORMAL, QUIET, WIDTH, drawing
from mimii_lib.pages.figures import MAX_VECTOR_MARKS, STYLES, panels
from mimii_lib.run import Run
from mimii_lib.uncertainty import AucEstimates


def strips(run: Run, machine_id: str, systems: Sequence[System], seed: int) -> Figure:
    """Draw the test clips by the rank of their anomaly score, a row per system; ranks make the scales comparable."""
    labels = run.recordings.split_clips(machine_id, seed, "test").label.to_numpy()
    with drawing(figsize=(WIDTH, 0.8 + 0.36 * len(systems))) as (figure, ((axis,),)):
        for row, system in enumerate(systems):
            ranks = rankdata(run.clip_scores(machine_id, *system, seed).scores, "ordinal")
            for label, style in STYLES.items():
                of_label, rasterized = ranks[labels == label], len(labels) > MAX_VECTOR_MARKS
                axis.scatter(of_label, [row] * len(of_label), **style, s=26, label=label, rasterized=rasterized)
        axis.set_yticks(range(len(systems)), [tables.name_of(system) for system in systems])
        axis.set(xlabel="rank of the clip: more anomalous →", xticks=[1, len(labels)], ylim=(len(systems) - 0.5, -0.5))
        handles, names = axis.get_legend_handles_labels()
        figure.legend(handles[:2], names[:2], loc="outside upper right", ncols=2)
    return figure


def by_distance(run: Run, machine_id: str, systems: Sequence[tuple[str, str]], seed: int) -> Figure:
    """Draw the anomaly score of each test patch over its distance to the nearest training patch, a panel per system.

    The systems share an extractor. Distances are Euclidean, between features as the detectors take them.
    """
    features = run.stages.preprocessed(machine_id, systems[0][0], seed)
    distances = NearestNeighbors(n_neighbors=1).fit(features.train).kneighbors(features.test)[0][:, 0]
    labels = run.recordings.split_clips(machine_id, seed, "test").label
    of_patches = labels.repeat(len(distances) // len(labels)).to_numpy()
    with panels(len(systems), height=1.5, sharex=True) as (figure, axes):
        for axis, system in zip(axes, systems, strict=True):
            scores = run.scores(machine_id, *system, seed).ravel()
            for label, style in STYLES.items():
                of_label, rasterized = of_patches == label, len(scores) > MAX_VECTOR_MARKS
                points = distances[of_label], scores[of_label]
                axis.scatter(*points, **style, s=14, alpha=0.7, label=label, rasterized=rasterized)
            axis.set(title=tables.NAMES[system[1]], xscale="log")
            axis.margins(y=0.1)
            if np.ptp(scores) > 1000:  # log densities of patches far from training
                lowest = max(1000, -10 * scores.min())  # below, the axis is linear and has no ticks
                axis.set_yscale("symlog", linthresh=lowest)
                ticks = SymmetricalLogLocator(base=10, linthresh=lowest).tick_values(lowest, scores.max())
                axis.set_yticks([tick for tick in ticks if lowest <= tick <= scores.max()][::3])
            else:
                axis.locator_params(axis="y", nbins=4)
        figure.supxlabel("distance to the nearest training patch (standard deviations)")
        figure.supylabel("anomaly score")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def roc(false_alarm_rate: NDArray[np.floating], hit_rate: NDArray[np.floating]) -> Figure:
    """Draw an ROC curve, a point per threshold, with the area under it; the rates are in [0, 1], in rising order."""
    with drawing(figsize=(3.6, 3.4)) as (figure, ((axis,),)):
        axis.fill_between(false_alarm_rate, hit_rate, color=NORMAL, alpha=0.15, lw=0)
        axis.plot([0, 1], [0, 1], ":", color=QUIET, lw=1)
        axis.plot(false_alarm_rate, hit_rate, "o-", color=NORMAL, ms=4, lw=1.5)
        axis.set(xlabel="false-alarm rate (share of normal clips)", ylabel="hit rate (share of abnormal clips)")
        axis.set_aspect("equal")
    return figure


def auc_dots(run: Run, aucs: pd.DataFrame, estimates: Mapping[str, AucEstimates]) -> Figure:
    """Draw the AUC of every system, a panel per machine ID: seeds as dots, their mean as a bar, its interval as a line.

    `estimates` are those of :meth:`mimii_lib.run.results.Results.estimates` by machine ID, `aucs` of :meth:`Run.auc`.
    """
    systems = run.results.systems()
    by_system = aucs.assign(auc=100 * aucs.auc).groupby(["id", "extractor", "detector"], dropna=False).auc
    with panels(len(run.ids), height=0.4 + 0.21 * len(systems), sharex=True, sharey=True) as (figure, axes):
        for axis, machine_id in zip(axes, run.ids, strict=True):
            for row, (extractor, detector) in enumerate(systems):
                values = by_system.get_group((machine_id, extractor, detector))
                interval = estimates[machine_id].interval((extractor, detector))
                axis.plot(values, [row] * len(values), "o", color=NORMAL, ms=4, alpha=0.5, mew=0)
                axis.plot(values.mean(), row, "|", color="black", ms=12, mew=2)
                axis.plot([100 * interval.low, 100 * interval.high], [row, row], color="black", lw=1, zorder=1)
            axis.axvline(50, color=QUIET, lw=0.8, ls=":")
            axis.set(title=machine_id)
        axes[0].set_yticks(range(len(systems)), [tables.name_of(system) for system in systems])
        axes[0].invert_yaxis()
        figure.supxlabel("AUC (%)")
    return figure
