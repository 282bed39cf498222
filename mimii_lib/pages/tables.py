"""Tables of the book's pages: clips, extractors, shapes, Table 1, provenance."""

import html
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from mimii_lib import paper
from mimii_lib.data.formatting import gigabytes
from mimii_lib.evaluation import system_names
from mimii_lib.extractors import EXTRACTORS, get
from mimii_lib.pages import contrasts
from mimii_lib.pages.run_box import RECORDING_KINDS
from mimii_lib.run import Run
from mimii_lib.settings import SIMPLE_BASELINES, Imaging
from mimii_lib.uncertainty import AucEstimates, symmetric

pd.set_option("display.max_colwidth", None)  # pandas would truncate long cells

NAMES = (
    dict(paper.DETECTORS) | dict(paper.AUTOENCODERS) | {name: " ".join(row) for name, row in SIMPLE_BASELINES.items()}
)
"""Display names: the paper's for detectors and auto-encoders, ours for the simple baselines."""


def name_of(system: tuple[str | None, str]) -> str:
    """Return the name of a system (extractor, detector) as in Table 1: features and detector."""
    extractor, detector = system
    return NAMES[detector] if extractor is None else f"{extractor_name(extractor)} {NAMES[detector]}"


def extractor_name(extractor: str) -> str:
    """Return the display name of an extractor."""
    return get(extractor).title


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


# One machine type


def clip_counts(run: Run) -> pd.DataFrame:
    """Return the number of clips per machine ID and label, in the recordings of a run and in MIMII."""
    labels = ["normal", "abnormal"]
    counts = run.clips.groupby(["id", "label"]).size().unstack(fill_value=0).reindex(columns=labels, fill_value=0)
    mimii = {name: (count.normal, count.abnormal) for name, count in paper.MIMII[run.machine].items()}
    published = pd.DataFrame.from_dict(mimii, orient="index", columns=labels).reindex(counts.index)
    return pd.concat({"here": counts, "MIMII": published}, axis=1).rename_axis(index="machine ID")


def split_sizes(run: Run) -> pd.DataFrame:
    """Return the number of training and test clips per machine ID; it is the same for every seed."""
    split = run.recordings.splits.query("seed == @run.profile.seeds[0]").merge(run.clips, on="path")
    sizes = split.groupby(["id", "role", "label"]).size().unstack(["role", "label"], fill_value=0)
    columns = pd.MultiIndex.from_tuples([("train", "normal"), ("test", "normal"), ("test", "abnormal")])
    return sizes.reindex(columns=columns, fill_value=0).rename_axis(index="machine ID")


def extractor_table(run: Run) -> pd.DataFrame:
    """Return the extractors with their feature dimension and the source of their weights, or why they are not run."""
    rows = {}
    for name, extractor in EXTRACTORS.items():
        source, digest = f"not run: not part of the profile “{run.profile.name}”", "–"
        if name in run.stages.unavailable_extractors:
            source = "not run: weights not reachable"
        elif name in run.profile.extractors:
            weights = run.stages.weights(name)
            source, digest = weights.source, f"{weights.sha256[:12]}…" if weights.sha256 else "–"
        rows[name] = (extractor.title, extractor.dimension, source, digest)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["network", "features", "weights", "sha256"])


def clip_shapes(imaging: Imaging) -> HTML:
    """Show the array shapes of one clip at each stage, from waveform to score, and the settings that determine them."""
    n, bands, width, size = imaging.patches, imaging.n_mels, imaging.patch_frames, imaging.image_size
    end = (n - 1) * imaging.patch_offset + width
    frames = f"a centred frame every {imaging.hop} samples: {imaging.samples:,} / {imaging.hop} + 1"
    patches = f"one every {imaging.patch_offset} frames; frames {end} to {imaging.frames} remain unused"
    rows = (
        ("waveform", f"({imaging.samples},)", f"{imaging.seconds} s", "imaging.sample_rate .seconds .channel"),
        ("log-mel spectrogram <i>X</i>", f"({bands}, {imaging.frames})", frames, "imaging.n_mels .window .hop"),
        ("patches <i>x</i><sub>i</sub>", f"({n}, {bands}, {width})", patches, "imaging.patch_frames .patch_offset"),
        ("RGB images", f"({n}, 3, {size}, {size})", f"{bands * width:,} colours, enlarged", "imaging.colormap"),
        ("features <i>f</i>", f"({n}, <i>d</i>)", "<i>d</i> depends on the network", "extractors features.precision"),
        ("patch scores 𝓕(<i>f</i>)", f"({n},)", "one per patch", "detectors detectors.n_components"),
        ("clip score 𝓕(<i>X</i>)", "()", "the mean over the patches", "evaluation.pooling"),
    )
    cells = [(*row, " ".join(f"<code>{name}</code>" for name in names.split())) for *row, names in rows]
    return word_table("One clip, stage by stage", ("stage", "shape", "how it comes about", "settings"), cells)


def auc_table(aucs: pd.DataFrame) -> pd.DataFrame:
    """Return AUCs in percent, the mean over the seeds: a row per system, a column per machine ID."""
    systems = zip(aucs.extractor.astype(object).where(aucs.extractor.notna(), None), aucs.detector, strict=True)
    table = (
        aucs.assign(system=list(map(name_of, systems))).pivot_table(
            index="system", columns="id", values="auc", sort=False
        )
        * 100
    )
    return table.rename_axis(index=None, columns=None)


# Table 1

OURS = '<span class="ours">not in the paper</span>'
"""Marks features that the paper does not have."""
NOT_RUN = '<span class="not-run">not run</span>'
"""Marks a detector without results."""
NEAR = '<sup title="not significantly worse than the best of its column">≈</sup>'
"""Marks a cell that is not significantly worse than the best of its column."""


def table_1(table: pd.DataFrame, near: Mapping[tuple[str, str], Set[tuple[str, str]]], caption: str) -> HTML:
    """Show AUCs as the paper prints its Table 1: the best of a column bold, the second best underlined.

    Parameters
    ----------
    table
        AUC in percent; rows (features, detector), columns (machine, id). NaN: not run.
    near
        By column, the rows that are not significantly worse than its best, which are marked ≈.
    """
    ranks = table.round(1).rank(ascending=False, method="min")  # ties share a mark
    shown = pd.DataFrame("–", table.index, table.columns)
    for column, row in product(table.columns, table.index):
        if pd.notna(auc := table.loc[row, column]):
            tag = {1: "b", 2: "u"}.get(ranks.loc[row, column], "span")
            mark = NEAR if row in near.get(column, ()) else ""
            shown.loc[row, column] = f"<{tag}>{auc:.1f}</{tag}>{mark}"
    published, empty = paper.table_1().index.levels[0], table.isna().all(axis=1)
    rows = [
        (
            features if features in published else features + OURS,
            detector + (NOT_RUN if empty[features, detector] else ""),
        )
        for features, detector in table.index
    ]
    columns = [(machine.capitalize(), name.replace("id_0", "M")) for machine, name in table]
    shown.index, shown.columns = pd.MultiIndex.from_tuples(rows), pd.MultiIndex.from_tuples(columns)
    return html_table(shown.rename_axis(columns=["machine", "ID"]), caption, "table1")


def cells(
    estimates: Mapping[tuple[str, str], AucEstimates],
    measures: Mapping[str, Mapping[tuple[str, str], Mapping[tuple[str | None, str], float]]],
    comparable: bool,
) -> pd.DataFrame:
    """Return Table 1 cell by cell: the paper's AUC, ours with its 95 % interval, and other measures, in percent.

    Parameters
    ----------
    estimates
        AUC estimates of the systems (extractor, detector), by machine type and ID.
    measures
        Other measures of the same systems in [0, 1], by name, then by machine type and ID.
    comparable
        Whether the recordings are MIMII's. If so, the difference to the paper is included, with a 95 % interval that
        allows for the sampling errors of both.
    """
    names = system_names(system for of_id in estimates.values() for system in of_id.values.index)
    published, rows = contrasts.published(), []
    aucs, errors = (
        table.reindex(index=names.values(), columns=estimates) for table in (published.table, published.errors())
    )
    for column, of_id in estimates.items():
        for system, name in ((system, names[system]) for system in of_id.values.index):
            ours, theirs = of_id.interval(system), aucs.loc[name, column]
            cell: dict[str, Any] = dict(zip(("machine", "ID", "features", "detector"), (*column, *name), strict=True))
            cell |= {"paper": theirs, "ours": 100 * ours.value, "low": 100 * ours.low, "high": 100 * ours.high}
            cell |= {measure: 100 * values[column][system] for measure, values in measures.items()}
            if comparable:
                error = float(np.hypot(100 * of_id.estimate(system)[1], errors.loc[name, column]))
                difference = symmetric(100 * ours.value - theirs, error)
                cell |= {"difference": difference.value, "from": difference.low, "to": difference.high}
            rows.append(cell)
    return pd.DataFrame(rows)


def sortable(cells: pd.DataFrame, caption: str) -> HTML:
    """Show cells as a table that a reader sorts, filters and saves as CSV (``book/_static/tables.js``).

    A difference is coloured by its interval: our AUC is above the paper's, below it, or agrees with it.
    """
    shown = cells.map(lambda value: html.escape(value) if isinstance(value, str) else value)
    if "difference" in cells:
        sides = np.select([cells["from"] > 0, cells.to < 0], ["above", "below"], "agrees")
        texts = [
            f'<span class="{side}">{_decimal(points)}</span>'
            for side, points in zip(sides, cells.difference, strict=True)
        ]
        shown["difference"] = pd.Series(texts).where(cells.difference.notna())
    return html_table(shown, caption, "sortable")


# What the results rest on


def verdict(run: Run) -> str:
    """State in a sentence whether our results can be compared with the paper's: only on MIMII."""
    if run.recordings.kind == "MIMII":
        return (
            "The recordings are MIMII's, so a cell estimates the same quantity in both tables, up to the open points."
        )
    return "The results neither confirm nor refute the paper's findings, since the recordings are not MIMII's."


def provenance_table(aucs: pd.DataFrame) -> HTML:
    """Show what AUCs rest on: the distinct values of each column that ``Run.with_provenance`` adds."""
    facts = aucs.drop(columns=["auc", "seed", "id", "detector", "settings", "n_train", "n_normal", "n_abnormal"])
    facts = facts.assign(data=facts.data.map(RECORDING_KINDS), data_sha256=aucs.data_sha256.str[:8])
    rows = [(name, html.escape("; ".join(dict.fromkeys(facts[name].dropna().astype(str))))) for name in facts]
    return word_table("Provenance of the results", ("column", "values"), rows)


def report_facts(report: Mapping[str, Any]) -> HTML:
    """Show when, where and with what the results of a report were computed."""
    facts = {name: report[name] for name in ("date", "commit", "profile", "engine")} | report["machine"]
    facts["memory"] = gigabytes(facts["memory"]) if facts["memory"] else "not known"
    facts |= {f"weights of {name}": " ".join(filter(None, of.values())) for name, of in report["weights"].items()}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    facts["sha256 of all AUCs"] = report["auc_sha256"]
    rows = [(name, html.escape(str(fact))) for name, fact in facts.items()]
    return word_table("How the results were computed", ("fact", "value"), rows)
