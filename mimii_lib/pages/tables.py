"""Tables of the book's pages, and the names that they show."""

import html
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from mimii_lib import paper
from mimii_lib.evaluation import system_names
from mimii_lib.extractors import get
from mimii_lib.pages import contrasts, run_box
from mimii_lib.run import Run
from mimii_lib.settings import AFTER_PAPER, CLIP_SYSTEMS, Autoencoders, Split
from mimii_lib.uncertainty import AucEstimates, Z, symmetric

pd.set_option("display.max_colwidth", None)  # pandas would truncate long cells

NAMES = paper.DETECTORS | paper.AUTOENCODERS | {name: " ".join(row) for name, row in CLIP_SYSTEMS.items()}
"""Display names: the paper's for detectors and auto-encoders, ours for the clip systems."""


def name_of(system: tuple[str | None, str]) -> str:
    """Return the name of a system (extractor, detector) as in Table 1: features and detector."""
    extractor, detector = system
    return NAMES[detector] if extractor is None else f"{get(extractor).title} {NAMES[detector]}"


def signed(points: float) -> str:
    """Return percentage points with their sign, to one decimal; zero has none."""
    return f"{points:+.1f}".replace("-", "−") if round(points, 1) else "0.0"


def html_table(table: pd.DataFrame, caption: str, style: str) -> HTML:
    """Return a table with a caption as HTML in a style of ``book.css``: words, table1 or sortable.

    Text is taken as HTML; numbers are shown to one decimal; an index that only counts is left out. On a narrow screen
    the rows of "words" become paragraphs, and the other styles scroll.
    """
    counted = isinstance(table.index, pd.RangeIndex)
    text = table.to_html(classes=style, border=0, escape=False, na_rep="–", float_format=_decimal, index=not counted)
    # The class "dataframe" would let the theme style the table.
    text = text.replace('class="dataframe ', 'class="', 1).replace(">", f">\n  <caption>{caption}</caption>", 1)
    region = f'<div class="wide" tabindex="0" role="region" aria-label="{caption}">{text}</div>'
    return HTML(text if style == "words" else region)


def _decimal(number: float) -> str:
    return f"{number:.1f}".replace("-", "−")


def word_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> HTML:
    """Return a table of text in the style "words"; cells are HTML, the first cell of a row is its head."""
    table = pd.DataFrame(rows, columns=list(heads)).set_index(heads[0])
    return html_table(table.rename_axis(index=None, columns=heads[0]), caption, "words")


def bullets(sentences: Iterable[str]) -> HTML:
    """Return sentences as a list."""
    return HTML(f"<ul>{''.join(f'<li>{html.escape(sentence)}</li>' for sentence in sentences)}</ul>")


def auc_table(aucs: pd.DataFrame) -> pd.DataFrame:
    """Return AUCs in percent, the mean over the seeds: a row per system, a column per machine ID."""
    systems = aucs[["extractor", "detector"]].astype(object).where(aucs.notna(), None).itertuples(index=False)
    table = aucs.assign(system=list(map(name_of, systems)))
    table = 100 * table.pivot_table(index="system", columns="id", values="auc", sort=False)
    return table.rename_axis(index=None, columns=None)


PAPER_SEEDS = 5
"""Number of seeds that the paper averages over (Table 1)."""
OURS = '<span class="ours">not in the paper</span>'
"""Marks features that the paper does not have."""
AFTER = '<span class="ours">after the paper</span>'
"""Marks the systems after the paper."""
NEAR = '<sup title="not significantly worse than the best of its column">≈</sup>'
"""Marks a cell that is not significantly worse than the best of its column."""


def table_1(
    table: pd.DataFrame,
    near: Mapping[tuple[str, str], Set[tuple[str, str]]],
    caption: str,
    titles: Mapping[str, str] | None = None,
) -> HTML:
    """Show AUCs as the paper prints its Table 1: the best of a column bold, the second best underlined.

    `table` holds AUCs in percent: rows (features, detector), columns (machine, id), NaN where nothing was run. `near`
    has by column the rows that are not significantly worse than its best, which are marked ≈; the best itself has no
    mark. `titles` replace names of features, such as that of SqueezeNet by its version. The systems after the paper
    stand below the others, and take no part in the marks. Rows that were not run stand last, a line for each network.
    """
    after = [row for row in table.index if row in AFTER_PAPER.values()]
    run = table.loc[[*table.index.drop(after), *after]].dropna(how="all")
    ranks = run.drop(after, errors="ignore").round(1).rank(ascending=False, method="min")  # ties share a mark
    ranks = ranks.reindex(run.index)
    shown = pd.DataFrame("–", run.index, run.columns)
    for column, row in product(run.columns, run.index):
        if pd.notna(auc := run.loc[row, column]):
            tag = {1: "b", 2: "u"}.get(ranks.loc[row, column], "span")
            mark = NEAR if tag != "b" and row in near.get(column, ()) else ""
            shown.loc[row, column] = f"<{tag}>{auc:.1f}</{tag}>{mark}"
    published = paper.table_1().index.levels[0]
    shown_as = {name: name if name in published else name + OURS for name, _ in run.index} | dict(titles or {})
    shown_as |= {name: name + AFTER for name, _ in after}
    rows = [(shown_as[name], detector) for name, detector in run.index]
    columns = [(machine.capitalize(), name.replace("id_0", "M")) for machine, name in table]
    shown.index, shown.columns = pd.MultiIndex.from_tuples(rows), pd.MultiIndex.from_tuples(columns)
    text = html_table(shown.rename_axis(columns=["machine", "ID"]), caption, "table1").data
    missing = (
        table.index.difference(run.index, sort=False).to_frame(index=False).groupby("features", sort=False).detector
    )
    lines = (
        f"<th>{name}</th><th>not run</th><td colspan={len(columns)}>{', '.join(detectors)}</td>"
        for name, detectors in missing
    )
    return HTML(text.replace("</tbody>", "".join(f'<tr class="not-run">{line}</tr>' for line in lines) + "</tbody>"))


def cells(
    estimates: Mapping[tuple[str, str], AucEstimates],
    measures: Mapping[str, Mapping[tuple[str, str], Mapping[tuple[str | None, str], float]]],
    n_train: Mapping[tuple[str, str], int] | None,
) -> pd.DataFrame:
    """Return Table 1 cell by cell: the paper's AUC, ours with its 95 % interval, and other measures, in percent.

    `estimates` and `measures` (in [0, 1], by name) are given by machine type and ID, then by system. `n_train` are the
    numbers of clips that trained; None: the recordings are not MIMII's. Where they are, the difference to the paper has
    an interval that allows for the errors of both.
    """
    names = system_names(system for of_id in estimates.values() for system in of_id.values.index)
    published, rows = contrasts.published(), []
    aucs = published.table.reindex(index=names.values(), columns=estimates)
    errors = published.errors().reindex(index=names.values(), columns=estimates)
    for column, of_id in estimates.items():
        for system, name in ((system, names[system]) for system in of_id.values.index):
            ours, theirs = of_id.interval(system), aucs.loc[name, column]
            cell: dict[str, Any] = dict(zip(("machine", "ID", "features", "detector"), (*column, *name), strict=True))
            cell |= {"paper": theirs, "ours": 100 * ours.value, "low": 100 * ours.low, "high": 100 * ours.high}
            cell |= {measure: 100 * values[column][system] for measure, values in measures.items()}
            if n_train is not None:
                # Where the bootstrap finds no error the interval has one; it reaches inwards alone at an AUC of 0 or 1.
                own = of_id.estimate(system)[1] or max(ours.high - ours.value, ours.value - ours.low) / Z
                error = float(np.hypot(100 * own, errors.loc[name, column]))
                difference = symmetric(100 * ours.value - theirs, error)
                cell |= {"difference": difference.value, "from": difference.low, "to": difference.high}
                cell |= {"clips trained": n_train[column]}
            rows.append(cell)
    return pd.DataFrame(rows)


def sortable(cells: pd.DataFrame, caption: str, *, coloured: bool = True) -> HTML:
    """Show cells as a table that a reader sorts, filters and saves as CSV (``book/_static/tables.js``).

    A `coloured` difference shows by its interval whether our AUC is above the paper's, below it, or agrees with it.
    """
    shown = cells.map(lambda value: html.escape(value) if isinstance(value, str) else value)
    if coloured and "difference" in cells:
        sides = np.select([cells["from"] > 0, cells.to < 0], ["above", "below"], "agrees")
        texts = '<span class="' + pd.Series(sides) + '">' + cells.difference.map(_decimal) + "</span>"
        shown["difference"] = texts.where(cells.difference.notna())
    return html_table(shown, caption, "sortable")


def verdict(runs: Sequence[Run]) -> str:
    """State in a sentence whether our results can be compared with the paper's: only on MIMII."""
    if not run_box.comparable(runs):
        return "The results neither confirm nor refute the paper's findings, since the recordings are not MIMII's."
    if not run_box.scope(runs):
        return "The recordings are MIMII's: a cell estimates the same quantity in both tables, up to the open points."
    ours, theirs = _training_clips(runs)
    return (
        f"The recordings are a sample of MIMII: {ours} clips train for each machine ID, in the paper "
        f"{theirs}. Differences and verdicts are those on this sample; part of them may be due to it."
    )


def versions(runs: Sequence[Run]) -> dict[str, str]:
    """Return the titles of networks that stand in rows of the paper under another name: SqueezeNet, by its version."""
    used = {name for run in runs for name in run.stages.weights_used if name in paper.EXTRACTORS}
    titles = {
        paper.EXTRACTORS[name]: get(name).title for name in sorted(used, reverse=True)
    }  # of both, 1.0 has the row
    return {name: title for name, title in titles.items() if name != title}


def deviations(runs: Sequence[Run]) -> list[str]:
    """Return what runs do otherwise than the paper says, as sentences: recordings, network version, auto-encoders."""
    own, stated, (ours, theirs) = runs[0].settings.autoencoders, Autoencoders(), _training_clips(runs)
    sentences = [] if run_box.comparable(runs) else [f"Recordings: {run_box.RECORDING_KINDS[runs[0].recordings.kind]}."]
    if ours != theirs:
        sentences.append(f"Clips that train for a machine ID: {ours}; in the paper {theirs}.")
    for name, title in versions(runs).items():
        sentences.append(f"{title} stands in the row of {name}; the paper does not say which version it used.")
    if any(run.results.autoencoders for run in runs):
        used = {
            "epochs": own.epochs,
            "patches a batch": own.batch_size,
            "seeds": len(runs[0].results.seeds("lenet-dcae")),
        }
        of_paper = {"epochs": stated.epochs, "patches a batch": stated.batch_size, "seeds": PAPER_SEEDS}
        changed = [
            f"{what} {used[what]} (in the paper {of_paper[what]})" for what in used if used[what] != of_paper[what]
        ]
        sentences += [f"Auto-encoders: {', '.join(changed)}."] * bool(changed)
    return sentences


def _training_clips(runs: Sequence[Run]) -> tuple[str, str]:
    """Return how many clips train for a machine ID, here and in the paper ("–": not one of its machine IDs)."""
    ours = [
        len(run.recordings.split_clips(name, run.profile.seeds[0], "train"))
        for run in runs
        for name in run.recordings.evaluable
    ]
    known = [paper.MIMII.get(run.machine, {}).get(name) for run in runs for name in run.recordings.evaluable]
    theirs = [clips.normal - Split().test_clips for clips in known if clips]
    return number_range(ours), number_range(theirs) if theirs else "–"


def number_range(numbers: Iterable[int]) -> str:
    """Return the smallest and the largest of some numbers as text; one number if they are the same."""
    distinct = sorted(set(numbers))
    return " to ".join(map(str, dict.fromkeys([distinct[0], distinct[-1]])))
