"""Figures of the page on one's own machine."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from mimii_lib.pages.drawing import ABNORMAL, NORMAL, QUIET, WIDTH, drawing
from mimii_lib.pages.tables import word_table


def facts(caption: str, values: Mapping[str, str]) -> HTML:
    """Show texts by name, as a table."""
    return word_table(caption, ("", "value"), [(escape(name), escape(value)) for name, value in values.items()])


def p_values(groups: Mapping[str, Sequence[float]], alpha: float) -> Figure:
    """Draw the p-values of groups of recordings, by caption, each group a row of marks, and the threshold `alpha`."""
    with drawing(figsize=(WIDTH, 0.8 + 0.5 * len(groups))) as (figure, ((axis,),)):
        for row, (caption, values) in enumerate(groups.items()):
            offsets = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else [0.0]
            style: dict[str, Any] = {"color": ABNORMAL, "marker": "x"} if row else {"color": NORMAL, "marker": "o"}
            axis.scatter(values, row + np.asarray(offsets), s=22, label=caption, **style)
        axis.axvline(alpha, color=QUIET, lw=1)
        axis.set_yticks(range(len(groups)), list(groups))
        axis.set(xscale="log", xlabel="p-value, low means unusual", ylim=(len(groups) - 0.5, -0.5))
        axis.set_xticks([0.01, 0.03, 0.1, 0.3, 1], ["0.01", "0.03", "0.1", "0.3", "1"])
        axis.set_xlim(min([alpha, *(value for values in groups.values() for value in values)]) / 1.5, 1.3)
        axis.minorticks_off()
    return figure


def timeline(lines: Sequence[Mapping[str, Any]], alpha: float, fault: Sequence[float] | None = None) -> Figure:
    """Draw what ``mimii watch`` told of a stream: p-values of windows, events, and from when to when a fault sounds."""
    windows = [line for line in lines if line["kind"] == "window"]
    with drawing(figsize=(WIDTH, 2.2)) as (figure, ((axis,),)):
        if fault is not None:
            axis.axvspan(fault[0], fault[1], color=QUIET, alpha=0.2, lw=0, label="the fault sounds")
        for number, event in enumerate(line for line in lines if line["kind"] == "event"):
            axis.axvspan(
                event["start"], event["end"], ymax=0.08, color=ABNORMAL, lw=0, label=None if number else "event"
            )
        ends, values = [line["end"] for line in windows], [line["p_value"] for line in windows]
        axis.plot(ends, values, "o-", ms=3, lw=1, color="black", label="a window, at its end")
        axis.axhline(alpha, color=QUIET, lw=1)
        axis.set(yscale="log", xlabel="time in the stream (s)", ylabel="p-value")
        axis.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
        axis.set_ylim(min([alpha, *values]) / 2, 1.3)
        axis.minorticks_off()
        axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure
