"""What the book's pages show: tables."""

import html
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, replace
from itertools import groupby
from typing import Any

import pandas as pd
from IPython.display import HTML

from mimii_lib import paper
from mimii_lib.data.formatting import duration, gigabytes
from mimii_lib.evaluation import system_names
from mimii_lib.extractors import EXTRACTORS, get
from mimii_lib.imaging import seconds as seconds_of
from mimii_lib.pages import claims, open_points, report, scale
from mimii_lib.pages.claims import Finding, Gain
from mimii_lib.pages.open_points import Effect, Point
from mimii_lib.pages.run_box import KINDS, facts_box
from mimii_lib.run import Run, provenance
from mimii_lib.settings import SIMPLE_BASELINES, Imaging, Settings, table
from mimii_lib.uncertainty import AucEstimates, Interval, symmetric

pd.set_option("display.max_colwidth", None)  # a table on a page tells all that it holds

NAMES = (
    dict(paper.DETECTORS) | dict(paper.AUTOENCODERS) | {name: " ".join(row) for name, row in SIMPLE_BASELINES.items()}
)
"""The paper's names of detectors and auto-encoders, and what we call the controls."""


def name_of(row: tuple[str | None, str]) -> str:
    """Return a row's name as Table 1 has it: features and detector."""
    extractor, detector = row
    return NAMES[detector] if extractor is None else f"{extractor_name(extractor)} {NAMES[detector]}"


def extractor_name(extractor: str) -> str:
    """Return an extractor's name for a reader."""
    return get(extractor).title


def _not_asked(run: Run) -> str:
    return f"not run: not part of the profile “{run.profile.name}”"


def clip_counts(run: Run) -> pd.DataFrame:
    """Return the number of clips per machine ID and label, here and in MIMII."""
    here = run.clips.groupby(["id", "label"]).size().unstack(fill_value=0)
    here = here.reindex(columns=["normal", "abnormal"], fill_value=0)
    mimii = {name: (count.normal, count.abnormal) for name, count in paper.MIMII[run.machine].items()}
    there = pd.DataFrame.from_dict(mimii, orient="index", columns=["normal", "abnormal"]).reindex(here.index)
    table = pd.concat({"here": here, "MIMII": there}, axis=1)
    table.index.name = "machine ID"
    return table


def unusable_clips(run: Run) -> HTML | str:
    """List the clips that cannot be used and were left out, or say that there are none."""
    rows = [
        (html.escape(path), html.escape(why.removeprefix(f"{path}: "))) for path, why in run.recordings.left_out.items()
    ]
    return _of_words("Clips that were left out", ("clip", "why"), rows) if rows else "Every clip can be used."


def split_sizes(run: Run) -> pd.DataFrame:
    """Return the number of clips that train and test, per machine ID (the same for every seed)."""
    roles = run.recordings.splits.merge(run.clips, on="path")
    roles = roles[roles.seed == run.profile.seeds[0]]
    sizes = roles.groupby(["id", "role", "label"]).size().unstack(["role", "label"], fill_value=0)
    wanted = [("train", "normal"), ("test", "normal"), ("test", "abnormal")]
    sizes = sizes.reindex(columns=pd.MultiIndex.from_tuples(wanted), fill_value=0)
    sizes.index.name = "machine ID"
    return sizes


def extractor_table(run: Run) -> pd.DataFrame:
    """Return the extractors: length of a feature vector, and whether and with which weights they run."""
    rows = []
    for name, extractor in EXTRACTORS.items():
        if name in run.stages.unavailable_extractors:
            source = digest = "not run: weights not reachable"
        elif name in run.profile.extractors:
            found = run.stages.weights(name)
            source, digest = found.source, f"{found.sha256[:12]}…" if found.sha256 else "–"
        else:
            source, digest = _not_asked(run), "–"
        rows.append((name, extractor_name(name), extractor.dimension, source, digest))
    return (
        pd.DataFrame(rows, columns=["name", "network", "features", "weights", "sha256"])
        .set_index("name")
        .rename_axis(None)
    )


def way_through(imaging: Imaging) -> HTML:
    """Return the shapes that a clip takes from its waveform to its score, and the settings that fix them."""
    n, bands, wide, side = imaging.patches, imaging.n_mels, imaging.patch_frames, imaging.image_size
    x, f, score = "<i>x</i><sub>i</sub>", "<i>f</i>", "𝓕"
    rows = (
        ("waveform", "", f"({imaging.samples},)", ("imaging.sample_rate", ".seconds", ".channel")),
        ("log-mel spectrogram", "<i>X</i>", f"({bands}, {imaging.frames})", ("imaging.n_mels", ".window", ".hop")),
        ("patches", x, f"({n}, {bands}, {wide})", ("imaging.patch_frames", ".patch_offset")),
        ("RGB pictures", "", f"({n}, 3, {side}, {side})", ("imaging.colormap", ".image_size")),
        ("features", f"{f}({x})", f"({n}, <i>d</i>)", ("extractors", "features.engine", ".precision")),
        ("patch scores", f"{score}({f}({x}))", f"({n},)", ("detectors", "detectors.n_components")),
        ("clip score", f"{score}(<i>X</i>)", "one number", ("evaluation.pooling",)),
    )
    told = [(*row, ", ".join(f"<code>{name}</code>" for name in names)) for *row, names in rows]
    return _of_words("One clip’s way, by the shapes", ("stage", "symbol", "shape", "settings"), told)


def of_a_clip(imaging: Imaging) -> dict[str, Any]:
    """Return what the page on the approach says of a clip, by name: its counts, and its way through."""
    last = (imaging.patches - 1) * imaging.patch_offset + imaging.patch_frames
    sizes = {name: get(name).dimension for name in paper.EXTRACTORS}
    alike = {size: [extractor_name(name) for name in sizes if sizes[name] == size] for size in sizes.values()}
    names = ("samples", "hop", "frames", "n_mels", "patch_frames", "patch_offset", "patches")
    return {name: getattr(imaging, name) for name in names} | {
        "pixels": f"{imaging.n_mels * imaging.patch_frames:,}",
        "last_frame": last,
        "unseen": seconds_of(imaging.frames - last, imaging),
        "other_patches": replace(imaging, hop=512).patches,
        "dimensions": ", ".join(f"{size:,} for {' and '.join(names)}" for size, names in alike.items()),
        "way_through": way_through(imaging),
    }


def auc_table(areas: pd.DataFrame) -> pd.DataFrame:
    """Return AUCs in percent, mean over the seeds: a row per row of Table 1, a column per machine ID."""
    extractors = [None if pd.isna(name) else name for name in areas.extractor]
    rows = [name_of(row) for row in zip(extractors, areas.detector, strict=True)]
    wide = areas.assign(row=rows).pivot_table(index="row", columns="id", values="auc", sort=False) * 100
    return wide.rename_axis(index=None, columns=None)


# What the paper leaves open


def signed(points: float) -> str:
    """Return percentage points with their sign, to one decimal; 0 has none."""
    return f"{points:+.1f}".replace("-", "−") if round(points, 1) else "0.0"


def open_points_table(points: Sequence[Point]) -> HTML:
    """List what the paper leaves open: what it says, what we took and why, what else can be taken."""
    heads = ("point", "the paper says", "left open", "we took", "else")
    rows = []
    for point in points:
        others = "; ".join(dict.fromkeys(each.name for each in point.alternatives)) or "–"
        took = [html.escape(point.why)] if point.why else []
        took += [f"<code>{html.escape(name)}</code>: {html.escape(why)}" for name, why in open_points.reasons(point)]
        words = (html.escape(each) for each in (point.says, point.open))
        rows.append((f"{point.number}. {html.escape(point.title)}", *words, "<br>".join(took), html.escape(others)))
    return _of_words("What the paper leaves open", heads, rows)


def all_settings(settings: Settings) -> HTML:
    """List every setting with its value and the place or the reason it comes from."""
    heads = ("setting", "value", "from", "where or why")
    rows = [
        (f"<code>{group.name}.{name}</code>", *(html.escape(str(row[head])) for head in heads[1:]))
        for group in fields(settings)
        for name, row in table(getattr(settings, group.name)).to_dict("index").items()
    ]
    return _of_words("All settings", heads, rows)


def effects(found: Sequence[Effect]) -> HTML:
    """List what alternatives change; neighbours that were not run for one reason share a row."""
    rows = []
    for (number, reason), group in groupby(found, lambda each: (each.point.number, each.not_run)):
        these = list(group)
        point = f"{number}. {html.escape(these[0].point.title)}"
        names = [html.escape(each.alternative.name) for each in these]
        if reason:
            rows.append((point, ", ".join(names), _not_run(reason)))
        else:
            rows += [(point, name, _difference(each)) for name, each in zip(names, these, strict=True)]
    heads = ("point", "alternative", "AUC, points (95 % interval)")
    return _of_words("Difference to the default", heads, rows)


def at_equal_dimension(runs: Sequence[Run]) -> HTML:
    """Show the networks' mean AUC with all features and reduced by PCA, and the difference to the first network."""
    found = open_points.at_equal_dimension(runs)
    rows = []
    for name in dict.fromkeys(each.extractor for each in found):
        cells = []
        for each in (each for each in found if each.extractor == name):
            against = "" if name == found[0].extractor else f"<br>{_difference(each)}"
            cells.append(_not_run(each.not_run) if each.not_run else f"{each.auc:.1f}{against}")
        rows.append((extractor_name(name), *cells))
    heads = ["network", *(f"{number} dimensions" if number else "all features" for number in open_points.DIMENSIONS)]
    caption = "Mean AUC in percent; below it the difference to the first network with its 95 % interval"
    return _of_words(caption, heads, rows)


def at_each_snr(runs: Sequence[Run]) -> HTML:
    """Show how close our AUCs are to the paper's at each SNR, or why they may not be compared."""
    if any(run.recordings.kind != "MIMII" for run in runs):
        return may_be_compared(runs[0])
    rows: list[tuple[str, ...]] = []
    for snr, row in open_points.at_each_snr(runs).iterrows():
        first = f"{snr:+d} dB".replace("-", "−")
        if isinstance(why := row.get("not run"), str):
            rows.append((first, _not_run(why), "–", "–", "–"))
        else:
            rows.append(
                (first, *(f"{row[name]:.1f}" for name in ("ours", "the paper", "distance")), f"{row.correlation:.2f}")
            )
    heads = ("SNR", "ours", "the paper’s", "mean distance of a cell", "correlation")
    return _of_words("Mean AUC of the same cells in percent, and how close they lie", heads, rows)


def conformance(held: pd.DataFrame) -> HTML:
    """Show what :func:`mimii_lib.pages.conformance.table` found: a statement a row, beside what holds it."""
    rows = []
    for row in held.map(html.escape).itertuples():
        remark = f"<br><em>{row.remark}</em>" if row.remark else ""
        setting = f"<code>{row.setting}</code><br>" if row.setting else ""
        rows.append(
            (
                f"{row.section}: {row.statement}{remark}",
                f"{setting}<code>{row.function}</code><br>{row.does}",
                f"<code>{row.test}</code><br>{row.tells}",
            )
        )
    heads = ("the paper states", "setting and function", "test")
    return _of_words("Statements of the paper and what holds them", heads, rows)


def rehearsal_facts(record: Mapping[str, Any]) -> HTML:
    """Show what was rehearsed, when, and on what."""
    machine = record["machine"]
    rows = {
        "Clips": f"{record['clips']:,} ({record['share']:.0%} of MIMII's at one SNR)",
        "Date": record["date"],
        "Processor": f"{machine['processor']}, {machine['cores']} cores",
        "Memory": gigabytes(machine["memory"]),
        "At once": f"{record['workers']} machine types",
        "Commit": provenance.short(record["commit"]),
        "Record": "made in this checkout" if record["own"] else "comes with the project",
    }
    return HTML(facts_box(rows))


def rehearsal_stages(records: Sequence[Mapping[str, Any]]) -> HTML:
    """Show what each stage took in the last rehearsal, beside its forecast, and how it grew since the first."""
    grown = scale.growth(records)
    rows = []
    for stage in records[-1]["stages"]:
        ratio = f"{stage['forecast'] / stage['took']:.2f}" if stage["took"] else "–"
        exponent = "–" if grown is None or stage["what"] not in grown else f"{grown[stage['what']]:.2f}"
        took, forecast = (duration(stage[name]) if stage[name] else "–" for name in ("took", "forecast"))
        rows.append((stage["what"], f"{stage['pieces']:,}", took, forecast, ratio, exponent))
    heads = ("stage", "results", "took", "forecast", "forecast / took", "grows by")
    return _of_words("What each stage took, every core at work", heads, rows)


def rehearsal_steps(record: Mapping[str, Any]) -> HTML:
    """Show how long each step of a rehearsal took from its start to its end, and how much memory it held."""
    rows = []
    for name, seconds in record["seconds"].items():
        # What has no memory of its own is a part of the step before it.
        memory = record["memory"].get(name)
        rows.append((name if memory else f"– {name}", duration(seconds), gigabytes(memory) if memory else ""))
    return _of_words("From start to end", ("step", "time", "memory at its peak"), rows)


def rehearsal_disk(record: Mapping[str, Any]) -> HTML:
    """Show what a rehearsal left on the disk."""
    names = {"tree": "the recordings, one channel", "kept": "all kept results", "book": "the rendered book"}
    rows = [
        (names.get(name, f"of these: {name}"), gigabytes(size))
        for name, size in record["disk"].items()
        if size > 1e6 or name in names
    ]
    return _of_words("Disk", ("what", "size"), rows)


def whole_table(record: Mapping[str, Any]) -> HTML:
    """Show the forecast of all of Table 1 on the machine of a rehearsal, by network and auto-encoder."""
    total = record["whole"]["seconds"]
    parts: dict[str, list[float]] = {}
    for stage in record["whole"]["stages"]:
        name, _, what = stage["what"].partition(": ")
        known = parts.setdefault(name, [0.0, 0.0, 0.0])
        known[0 if what in ("", "features", "training") else 1] += stage["seconds"]
        known[2] += stage["bytes"]
    rows = [
        (
            name,
            *(duration(each) if each else "–" for each in (first, then)),
            f"{(first + then) / total:.1%}",
            gigabytes(size),
        )
        for name, (first, then, size) in sorted(parts.items(), key=lambda item: -sum(item[1][:2]))
        if first + then
    ]
    heads = ("rows", "features or training", "detectors or scores", "share of the time", "disk")
    return _of_words("Every row of Table 1: forecast", heads, rows)


def bullets(sentences: Sequence[str]) -> HTML:
    """Show sentences as a list."""
    return HTML(f"<ul>{''.join(f'<li>{html.escape(each)}</li>' for each in sentences)}</ul>")


def _difference(each: Effect | open_points.Reduced) -> str:
    return f"{signed(each.difference)} ({signed(each.low)} to {signed(each.high)})"


def _not_run(reason: str) -> str:
    return f'<em class="not-run">not run: {html.escape(reason)}</em>'


def _of_words(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> HTML:
    """Return a table of words, whose cells are HTML: on a narrow screen its rows become paragraphs."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = []
    for first, *others in rows:
        cells = "".join(f'<td data-head="{name}">{cell}</td>' for name, cell in zip(heads[1:], others, strict=True))
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return HTML(
        f'<table class="words"><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


# The paper's statements


MARKS = {claims.HOLDS: "✓", claims.DOES_NOT: "✗", claims.INCONCLUSIVE: "?"}


def statements(paper_found: Sequence[Finding], our_found: Sequence[Finding] | None, why_not: str = "") -> HTML:
    """List the paper's statements with what came of each on its own table and on ours; None: `why_not` instead."""
    rows = []
    for at, claim in enumerate(claims.CLAIMS):
        here = (
            _finding(our_found[at]) if our_found else f"{MARKS[claims.INCONCLUSIVE]} {claims.INCONCLUSIVE}: {why_not}"
        )
        first = f"{claim.number} {html.escape(claim.says)}"
        rows.append((first, html.escape(claim.tested_as), _finding(paper_found[at]), here))
    heads = ("the paper says", "tested as", "in its own Table 1", "in our results")
    return _of_words("The paper’s statements", heads, rows)


def rankings(level: str) -> pd.DataFrame:
    """Show the first and second places in the published Table 1 beside those that the paper's text counts."""
    counted = claims.rankings(paper.table_1(), level)
    text = pd.DataFrame.from_dict(paper.RANKINGS[level], orient="index", columns=["first", "second"])
    return pd.concat({"in the text": text, "in its table": counted}, axis=1).rename_axis(index=level)


def _finding(found: Finding) -> str:
    """Return a verdict, what was counted and what was tested, as HTML."""
    words = [f'<strong class="verdict">{MARKS[found.verdict]} {found.verdict}</strong>']
    if found.counted:
        counted = {True: "so it is as counted", False: "not so as counted", None: ""}[found.as_worded]
        words.append(f"{html.escape(found.counted)}{f' ({counted})' if counted else ''}")
    if found.test is not None:
        contrast = found.test.contrast
        said = signed(contrast.value) if pd.isna(contrast.low) else _around(contrast)
        words.append(f"{said} points, p {_small(found.test.p)}")
    return "<br>".join(words)


def _small(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else f"= {p:.3f}"


# Table 1


def reasons(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """Return why rows of Table 1 were not run, by the paper's names."""
    profile = runs[0].profile
    why: dict[tuple[str, str], str] = {}
    for extractor, features in paper.EXTRACTORS.items():
        for detector, name in paper.DETECTORS.items():
            if detector not in profile.detectors or extractor not in profile.extractors:
                why.setdefault((features, name), _not_asked(runs[0]))
            elif extractor in runs[0].stages.unavailable_extractors:
                why[features, name] = "not run: weights not reachable"
    for detector, name in paper.AUTOENCODERS.items():
        if detector not in profile.detectors:
            why[paper.NO_FEATURES, name] = _not_asked(runs[0])
    return why


OURS = '<span class="ours">not in the paper</span>'
"""Marks the rows that are ours."""


NEAR = '<sup title="cannot be told from the best of its column">≈</sup>'
"""Marks a cell that cannot be told from the best of its column."""


def table_1(
    table: pd.DataFrame,
    why_not: dict[tuple[str, str], str],
    caption: str,
    near: Mapping[tuple[str, str], Set[tuple[str, str]]] | None = None,
) -> HTML:
    """Show AUCs as the paper prints its Table 1.

    Parameters
    ----------
    table
        In percent; rows (features, detector), columns (machine, id).
    why_not
        Why a row was not run.
    near
        By column, the rows that cannot be told from its best; None: nothing is marked.
    """
    near, published = near or {}, paper.table_1()
    ranks = table.round(1).rank(ascending=False, method="min")
    machines = list(dict.fromkeys(table.columns.get_level_values(0)))
    widths = {machine: (table.columns.get_level_values(0) == machine).sum() for machine in machines}
    head = "".join(f'<th colspan="{widths[name]}" scope="colgroup">{name.capitalize()}</th>' for name in machines)
    ids = "".join(f'<th scope="col">{name.replace("id_0", "M")}</th>' for _, name in table.columns)
    body = []
    for features, group in table.groupby(level=0, sort=False):
        ran = group.notna().any(axis=None)
        reason = why_not.get(group.index[0], "not run")
        for number, ((_, detector), row) in enumerate(group.iterrows()):
            first = ""
            if number == 0:
                whose = "" if (features, detector) in published.index else OURS
                first = f'<th scope="rowgroup" rowspan="{len(group)}">{features}{whose}</th>'
            if ran:
                marks = ranks.loc[(features, detector)].map({1: "first", 2: "second"}).fillna("")
                told = ((features, detector) in near.get(column, ()) for column in table.columns)
                cells = "".join(_cell(*each) for each in zip(row, marks, told, strict=True))
                if row.isna().all():
                    reason = why_not.get((features, detector), "not run")
                    cells = f'<td colspan="{len(row)}" class="not-run">{html.escape(reason)}</td>'
            else:  # one reason for the whole group
                box = f'<td colspan="{len(row)}" rowspan="{len(group)}" class="not-run">{html.escape(reason)}</td>'
                cells = box if number == 0 else ""
            body.append(f'<tr>{first}<th scope="row">{detector}</th>{cells}</tr>')
    return HTML(
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table class="table1">'
        f"<caption>{caption}</caption><thead><tr><th></th><th></th>{head}</tr>"
        f'<tr><th scope="col">features</th><th scope="col">detector</th>{ids}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(auc: float, mark: str, near: bool) -> str:
    said = "–" if pd.isna(auc) else f"{auc:.1f}"
    return f'<td class="{mark}">{said}{NEAR if near else ""}</td>'


def cells(
    areas: Mapping[tuple[str, str], AucEstimates],
    others: Mapping[str, Mapping[tuple[str, str], Mapping[tuple[str | None, str], float]]],
    comparable: bool,
) -> pd.DataFrame:
    """Return Table 1 cell by cell: the paper's AUC, ours with its 95 % interval, and other measures, in percent.

    Parameters
    ----------
    areas
        By machine type and ID; rows are (extractor, detector).
    others
        By their name, other measures of the same rows, in [0, 1].
    comparable
        Whether the recordings are whole machine IDs of MIMII: then the difference is told too, with an interval that
        allows for the paper's own sampling error.
    """
    names = system_names(row for found in areas.values() for row in found.values.index)
    published, rows = claims.published(), []
    errors = published.errors()
    for (machine, machine_id), found in areas.items():
        for row in found.values.index:
            name, mine = names[row], found.interval(row)
            column = machine, machine_id
            known = column in published.table and name in published.table.index
            theirs = published.table.loc[name, column] if known else float("nan")
            cell = {
                "machine": machine,
                "ID": machine_id,
                "features": name[0],
                "detector": name[1],
                "paper": theirs,
                "ours": 100 * mine.value,
                "low": 100 * mine.low,
                "high": 100 * mine.high,
            }
            cell |= {name: 100 * measured[column][row] for name, measured in others.items()}
            if comparable:
                error = errors.loc[name, column] if known else float("nan")
                own = 100 * found.estimate(row)[1]
                difference = symmetric(100 * mine.value - theirs, (own**2 + error**2) ** 0.5)
                cell |= {"difference": difference.value, "from": difference.low, "to": difference.high}
            rows.append(cell)
    return pd.DataFrame(rows)


def gains(found: Sequence[Gain]) -> HTML:
    """Show how much groups of rows are above others."""
    rows = [(f"{html.escape(each.these)} over {html.escape(each.others)}", _around(each.difference)) for each in found]
    return _of_words("Mean AUC over all cells, points (95 % interval)", ("what is compared", "difference"), rows)


def _around(interval: Interval) -> str:
    return f"{signed(interval.value)} ({signed(interval.low)} to {signed(interval.high)})"


def sortable(found: pd.DataFrame, caption: str) -> HTML:
    """Show cells as a table that a reader sorts, filters and saves as CSV (``book/_static/tables.js``)."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in found)
    body = []
    for _, row in found.iterrows():
        kind = _agreement(row["from"], row.to) if "from" in found else ""
        values = {name: value if isinstance(value, str) else _points(value) for name, value in row.items()}
        marked = {"difference": f' class="{kind}"'} if kind else {}
        body.append(
            "<tr>" + "".join(f"<td{marked.get(name, '')}>{html.escape(values[name])}</td>" for name in found) + "</tr>"
        )
    return HTML(
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table class="sortable">'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _points(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.1f}".replace("-", "−")


def _agreement(low: float, high: float) -> str:
    """Return how our AUC lies to the paper's, given the interval of their difference; empty where there is none."""
    return "" if pd.isna(low) else "above" if low > 0 else "below" if high < 0 else "agrees"


def left_out(runs: Sequence[Run]) -> HTML:
    """List what no number rests on, with the reason."""
    why = report.left_out(runs)
    return bullets(why) if why else HTML("<p>All of Table 1 was run, on every clip.</p>")


def report_facts(found: Mapping[str, Any]) -> HTML:
    """Show when, where and with what the results of a report were made."""
    machine = found["machine"]
    rows = {
        "Date": found["date"],
        "Commit": provenance.short(found["commit"]),
        "Profile": found["profile"],
        "Processor": f"{machine['processor']}, {machine['cores']} cores",
        "Memory": gigabytes(machine["memory"]) if machine["memory"] else "not known",
        "System": machine["system"],
        "Versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "Engine": found["engine"],
        "Weights": "; ".join(
            f"{name}: {each['source']}" + (f", sha256 {each['sha256']}" if each["sha256"] else "")
            for name, each in found["weights"].items()
        ),
        "Checksum of all AUCs": f"sha256 {found['auc_sha256']}",
    }
    cells = "".join(f'<tr><th scope="row">{name}</th><td>{html.escape(said)}</td></tr>' for name, said in rows.items())
    return HTML(f'<table class="facts"><tbody>{cells}</tbody></table>')


def report_data(found: Mapping[str, Any]) -> pd.DataFrame:
    """Return the clips that a report rests on, by machine type and ID."""
    data = pd.DataFrame(found["data"]["ids"]).set_index(["machine", "id"])
    return data.assign(sha256=data.sha256.str[:12])


def report_times(found: Mapping[str, Any]) -> pd.Series:
    """Return how long each stage of a report took, as far as it is known."""
    took = {what: duration(seconds) for what, seconds in found["seconds"].items()}
    return pd.Series(took, name="took").rename_axis("stage").to_frame()


def verdict(run: Run) -> str:
    """Say in a sentence whether our results may be held against the paper's: only where the data are MIMII."""
    if run.recordings.kind == "MIMII":
        return (
            "The recordings are MIMII's, so the cells of the two tables estimate the same thing as far as the SNR and "
            "the choices that the paper leaves open are the same."
        )
    return (
        "Whether the paper's findings hold cannot be told from this: the recordings are not MIMII. What it shows is "
        "that every step works and can be checked."
    )


def may_be_compared(run: Run) -> HTML:
    """Say at length what :func:`verdict` says."""
    if run.recordings.kind == "MIMII":
        more = "Every AUC carries a sampling error, the paper's too: a difference within it says nothing."
    else:
        more = (
            "The tables stand beside each other to show the shape that a run on MIMII fills. No difference is drawn "
            "between them, and no statement of the paper is judged."
        )
    text = f"Our recordings are {KINDS[run.recordings.kind]}. {verdict(run)} {more}"
    return HTML(f'<div class="admonition finding"><p class="admonition-title">We found</p><p>{text}</p></div>')


def provenance_table(areas: pd.DataFrame) -> HTML:
    """Show what the results rest on: each fact with its value, or its values where they differ by row."""
    facts = areas.drop(columns=["auc", "seed", "id", "detector", "settings", "n_train", "n_normal", "n_abnormal"])
    facts = facts.assign(data=facts.data.map(KINDS), data_sha256=areas.data_sha256.str[:8])
    said = {name: "; ".join(dict.fromkeys(facts[name].dropna().astype(str))) for name in facts}
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{html.escape(said[name])}</td></tr>' for name in said)
    return HTML(f'<table class="facts"><tbody>{rows}</tbody></table>')
