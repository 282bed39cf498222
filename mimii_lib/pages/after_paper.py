"""The record of the systems after the paper: its rows, the ladder from the paper's system to the ensemble, the answers.

The record is ``benchmarks/after_paper.json``. Conventions: AUCs and gains are in percent and percentage points.
"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mimii_lib.pages.drawing import ABNORMAL, NORMAL, QUIET, WIDTH, drawing
from mimii_lib.pages.tables import name_of, signed
from mimii_lib.settings import AFTER_PAPER, CLIP_SYSTEMS

GAINS, LOSES, UNDECIDED = "gains", "loses", "cannot be told"
"""What an interval of a gain says: above 0, below 0, or on both sides."""


def rows(record: dict[str, Any]) -> pd.DataFrame:
    """Return the experiments: group, name, features, AUC and gain over the paper's system with their intervals.

    ``answer`` says whether the interval of the gain lies above 0, below it, or on both sides. NaN where not run.
    """
    table = pd.DataFrame(record["rows"])
    if "not_run" not in table:
        table["not_run"] = None
    values = ["auc", "low", "high", "gain", "gain_low", "gain_high"]
    table[values] = 100 * table[values]
    table["answer"] = UNDECIDED
    table.loc[table.gain_low > 0, "answer"] = GAINS
    table.loc[table.gain_high < 0, "answer"] = LOSES
    return table


def of_group(table: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the experiments of a group by name, those that were not run last."""
    part = table[table.group == group].drop(columns="group")
    return part.sort_values("not_run", key=pd.Series.notna, kind="stable").set_index("name")


def text(table: pd.DataFrame) -> pd.DataFrame:
    """Return experiments as text for a page: AUC and gain, each with its interval, or why it was not run."""
    shown = pd.DataFrame(index=table.index)
    shown["AUC (95 % interval)"] = [
        f"{row.auc:.1f} ({row.low:.1f} to {row.high:.1f})" if pd.isna(row.not_run) else f"not run: {row.not_run}"
        for row in table.itertuples()
    ]
    shown["gain over the paper's system"] = [
        f"{signed(row.gain)} ({signed(row.gain_low)} to {signed(row.gain_high)})" if pd.isna(row.not_run) else ""
        for row in table.itertuples()
    ]
    return shown.rename_axis(index=None)


def ladder(table: pd.DataFrame) -> Figure:
    """Draw the AUC of every step with its interval, from the paper's system on top to the ensemble."""
    steps = of_group(table, "ladder")
    with drawing(figsize=(WIDTH, 0.8 + 0.36 * len(steps))) as (figure, axes):
        axis, places = axes[0, 0], range(len(steps))
        axis.axvline(50, color=QUIET, lw=0.8, ls=":")
        colours = [ABNORMAL if place == 0 else NORMAL for place in places]
        axis.hlines(places, steps.low, steps.high, color=colours, lw=1.4)
        axis.scatter(steps.auc, places, color=colours, s=24, zorder=3)
        axis.set_yticks(places, list(steps.index))
        axis.invert_yaxis()
        axis.set(xlim=(20, 101.5), xlabel="AUC (%)")
    return figure


def costs(record: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """Return AUC, relative time and size of the weights of every clip system and of the paper's system."""
    cost = pd.DataFrame(record["costs"]).set_index("system")
    aucs = of_group(table, "clip systems").auc
    paper = cost.index[0]
    aucs.loc[paper] = of_group(table, "ladder").auc.iloc[0]
    shown = pd.DataFrame({"AUC": aucs, "time": cost.get("relative"), "weights in MB": cost.get("weights_mb")})
    shown = shown.loc[[paper, *(name for name in CLIP_SYSTEMS if name in shown.index)]]
    shown.time = shown.time.map("{:.2f}".format, na_action="ignore")
    extractor, detector = paper.split("/")
    shown.index = [name_of((extractor, detector)), *map(named, shown.index[1:])]
    return shown


def named(system: str) -> str:
    """Return the name of a clip system for a reader, with its name as a parameter."""
    features, detector = CLIP_SYSTEMS[system]
    return f"{features}, {detector} (<code>{system}</code>)"


def best_single(table: pd.DataFrame) -> pd.Series:
    """Return the row of the record of the best system after the paper that is no combination."""
    singles = of_group(table, "clip systems").loc[[name for name in AFTER_PAPER if name not in ("ensemble", "pyod")]]
    return singles.loc[singles.auc.idxmax()]
