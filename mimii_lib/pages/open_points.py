"""The points that the paper leaves open, and what their alternatives change.

A point's values, reasons and alternatives are those of the settings that carry its number
(:mod:`mimii_lib.settings`); its texts are in ``open_points.yaml``. An alternative is measured by the change of the mean
AUC, with the first extractor that takes pictures, on the part of the runs that the profile's `sensitivity` names.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from html import escape
from itertools import product
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import yaml
from IPython.display import HTML

from mimii_lib import paper
from mimii_lib.errors import MimiiError, NotRun
from mimii_lib.evaluation import ClipScores, auc, table_1_shape
from mimii_lib.extractors import get
from mimii_lib.pages.evidence import decibels
from mimii_lib.pages.tables import signed, word_table
from mimii_lib.run import Run
from mimii_lib.settings import Settings, Source, StrictModel, sources
from mimii_lib.uncertainty import AucEstimates, mean_difference

SOURCES = {f"{group}.{name}": source for group, values in Settings() for name, source in sources(values).items()}
"""The source of every setting, by dotted name."""

DIMENSIONS = (0, *SOURCES["detectors.pca"].alternatives)
"""Feature dimensions at which the networks are compared (point 25); 0: all features."""

MIDDLE = 75.0  # AUC in percent, halfway between chance and perfection
SHOWN = 0.05  # points: a change of which all ends are smaller is none
MEASURED = ("default", "auc", "difference", "low", "high")  # what is measured of an alternative


@dataclass(frozen=True)
class Alternative:
    """A change of settings and parameters, the `base` of the run to compare with, and the detectors it can affect."""

    change: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=dict)
    detectors: tuple[str, ...] = tuple(paper.DETECTORS)
    order: int = 0  # among the alternatives of one setting

    @property
    def name(self) -> str:
        """The change as the command line takes it, ``split.balanced=true``, and the base of the run to compare with."""
        change, base = (
            " ".join(f"{name}={str(value).lower()}" for name, value in values.items())
            for values in (self.change, self.base)
        )
        return f"{change} (against {base})" if base else change

    @property
    def needs_features(self) -> bool:
        """Whether features are computed for it that Table 1 does not need."""
        return any(name == "snr" or name.startswith(("imaging.", "features.")) for name in self.change)


@dataclass(frozen=True)
class Point:
    """A point that the paper leaves open; `decision` is our value with its reason where no setting holds it."""

    number: int
    title: str
    says: str
    open: str
    decision: str
    settings: Mapping[str, Source]
    alternatives: Sequence[Alternative]


def _points() -> Iterator[Point]:
    for entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")):
        settings = {name: source for name, source in SOURCES.items() if source.point == entry["number"]}
        base, detectors = entry.pop("base", {}), tuple(entry.pop("detectors", paper.DETECTORS))
        alternatives = [
            Alternative({name: value}, base, detectors, order)
            for name, source in settings.items()
            for order, value in enumerate(source.alternatives)
        ]
        alternatives += [Alternative(change, base, detectors) for change in entry.pop("alternatives", [])]
        yield Point(**{"decision": ""} | entry, settings=settings, alternatives=alternatives)


POINTS = tuple(_points())
"""All open points, in the order of the paper."""


def measured_part(runs: Sequence[Run], *, compute: bool = True) -> list[Run]:
    """Return the part of the runs on which alternatives are measured: some machine types, IDs and seeds, one extractor.

    Of each machine type these are the IDs whose mean AUC by default, over the detectors of the profile's `sensitivity`
    and all seeds, is closest to `MIDDLE`. Missing results are computed first; without `compute` the first IDs stand in.
    Machine types on which nothing can be measured are left out; if there are no others, :class:`NotRun` is raised.
    """
    parts, size = [], runs[0].profile.sensitivity
    if not (measurable := [run for run in runs if run.results.measurable]):
        raise NotRun(
            "an alternative needs a network of pictures and a detector that is no simple baseline; this run lacks one"
        )
    for run in measurable[: size.machines]:
        extractor, ids = run.results.image_extractors[0], run.ids
        systems = [system for system in run.results.systems() if system[0] == extractor and system[1] in size.detectors]
        known = compute or not run.results.missing(run.results.trials(systems))
        if systems and known and size.ids < len(ids):
            means = 100 * run.auc(systems).groupby("id").auc.mean()
            ids = sorted((means - MIDDLE).abs().nsmallest(size.ids).index)
        part = {"ids": ids[: size.ids], "seeds": run.profile.seeds[: size.seeds], "extractors": extractor}
        parts.append(run.with_overrides(**part))
    return parts


def _networks(runs: Sequence[Run]) -> list[str]:
    """Return the networks that run on any machine type."""
    return list(dict.fromkeys(name for run in runs for name in run.stages.weights_used))


def pair(part: Run, alternative: Alternative) -> tuple[Run, Run]:
    """Return the run that an alternative is compared with, and its own; raise :class:`MimiiError` if one cannot run.

    `part` is a run of :func:`measured_part`.
    """
    file = part.recordings.data / part.clips.path[0]
    if "imaging.channel" in alternative.change and soundfile.info(file).channels == 1:
        raise MimiiError("the files have one channel")
    if alternative.needs_features and alternative.order >= (part.profile.sensitivity.alternatives or np.inf):
        raise MimiiError(f"not part of the profile “{part.profile.name}”")
    at_snr = part.profile.model_copy(update={"snr": alternative.change.get("snr", part.profile.snr)})
    if at_snr.recordings is not None and not at_snr.recordings.is_dir():
        recordings = (
            "the miniature was made" if part.recordings.kind == "miniature" else "the recordings of this run are"
        )
        raise MimiiError(f"{recordings} at {decibels(part.profile.snr)} only")
    default = part.with_overrides(**_parameters(alternative.base)) if alternative.base else part
    changed = default.with_overrides(**_parameters(alternative.change))
    for side in (default, changed):
        if missing := side.stages.unavailable_extractors:
            ours, others = (", ".join(get(name).title for name in names) for names in (part.stages.extractors, missing))
            raise MimiiError(f"this run uses {ours}; the weights of {others} are not at hand")
        if side.recordings.skipped:
            raise MimiiError("; ".join(f"{name}: {reason}" for name, reason in side.recordings.skipped.items()))
    return default, changed


def _parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters and settings by the names that :meth:`Run.with_overrides` takes."""
    return {f"settings.{name}" if "." in name else name: value for name, value in values.items()}


def _detectors(part: Run, alternative: Alternative) -> tuple[str, ...]:
    """Return the detectors that an alternative is measured on: of those that it can affect the run's, if any.

    Of these they are those of the profile's `sensitivity`, if it has any of them.
    """
    own, measured = set(part.profile.detectors), set(part.profile.sensitivity.detectors)
    for names in (own & measured, own, measured):
        if detectors := tuple(name for name in alternative.detectors if name in names):
            return detectors
    return alternative.detectors


def alternative_runs(runs: Sequence[Run]) -> Iterator[tuple[Run, tuple[str, ...]]]:
    """Yield the runs that :func:`effects` and :func:`at_equal_dimension` compute, with their detectors, uncomputed."""
    alternatives = [alternative for point in POINTS for alternative in point.alternatives]
    networks = _networks(runs)
    alternatives += [Alternative({"extractors": name, "detectors.pca": n}) for n in DIMENSIONS for name in networks]
    parts = measured_part(runs, compute=False) if any(run.results.measurable for run in runs) else []
    for part, alternative in product(parts, alternatives):
        with suppress(MimiiError):
            yield from ((side, _detectors(part, alternative)) for side in pair(part, alternative))


def effects(runs: Sequence[Run], points: Sequence[Point] = POINTS) -> pd.DataFrame:
    """Return what every alternative changes, over the machine types together.

    Columns: `point` (number), `title`, `alternative`, the mean AUC in percent by `default` and with the alternative
    (`auc`), their `difference` in points with its 95 % interval from `low` to `high`, and `not_run`, the reason where
    the numbers are NaN.
    """
    parts = measured_part(runs)
    return pd.DataFrame(
        {"point": point.number, "title": point.title, "alternative": alternative.name} | _effect(parts, alternative)
        for point in points
        for alternative in point.alternatives
    )


def measured(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of :func:`effects` that were measured; raise :class:`NotRun` with the reasons if none was."""
    if (effects.not_run != "").all():
        raise NotRun(f"no alternative can be measured ({'; '.join(effects.not_run.unique())})")
    return effects[effects.not_run == ""]


def at_equal_dimension(runs: Sequence[Run], dimensions: Sequence[int] = DIMENSIONS) -> pd.DataFrame:
    """Return the mean AUC of every network over the detectors, with all features and reduced by PCA.

    Columns: `extractor`, `dimensions`, and those of :func:`effects`; the difference is that to the first network.
    """
    rows, parts = [], measured_part(runs)
    for n in dimensions:
        reference: list[ClipScores] = []
        for name in _networks(runs):
            try:
                _, scores = _clip_scores(parts, Alternative({"extractors": name, "detectors.pca": n}))
                reference = reference or scores
                effect = _difference(reference, scores)
            except MimiiError as error:
                effect = dict.fromkeys(MEASURED, np.nan) | {"not_run": _reason(error, parts)}
            rows.append({"extractor": name, "dimensions": n} | effect)
    return pd.DataFrame(rows)


def reduced(runs: Sequence[Run], dimensions: Sequence[int] = DIMENSIONS[1:]) -> list[dict[Any, AucEstimates]]:
    """Return the estimates behind :func:`at_equal_dimension`, by machine type and ID; nothing if any is missing."""
    tables = []
    for n in dimensions:
        with suppress(MimiiError):
            change = {"extractors": runs[0].stages.extractors, "detectors": [*paper.DETECTORS], "detectors.pca": n}
            part = [pair(run, Alternative(change))[1] for run in measured_part(runs)]
            if not any(run.results.missing() for run in part):
                tables.append({(run.machine, name): run.results.estimates(name) for run in part for name in run.ids})
    return tables if len(tables) == len(dimensions) else []


def at_each_snr(runs: Sequence[Run]) -> pd.DataFrame:
    """Compare our AUCs at each SNR with the paper's Table 1, in the cells that both have.

    Columns: the means of `ours` and of `the paper` in percent, the mean absolute `distance` of a cell in points, the
    `correlation` over the cells, and `not run`, the reason where the numbers are NaN.
    """
    rows: dict[int, dict[str, Any]] = {}
    parts = measured_part(runs)
    for snr in paper.SNRS:
        try:
            part = [pair(run, Alternative({"snr": snr}))[1] for run in parts]
            aucs = pd.concat([run.auc([system for system in run.results.systems() if system[0]]) for run in part])
        except MimiiError as error:
            rows[snr] = {"not run": _reason(error, runs)}
            continue
        ours, theirs = (table.stack([0, 1], future_stack=True) for table in (table_1_shape(aucs), paper.table_1()))
        cells = pd.concat({"ours": ours, "the paper": theirs}, axis=1).dropna()
        distance = (cells["ours"] - cells["the paper"]).abs().mean()
        rows[snr] = dict(cells.mean()) | {"distance": distance, "correlation": cells.corr().iloc[0, 1]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("SNR (dB)")


def _effect(parts: Sequence[Run], alternative: Alternative) -> dict[str, Any]:
    """Return the mean AUC of the default and of an alternative, and their difference."""
    try:
        return _difference(*_clip_scores(parts, alternative))
    except MimiiError as error:
        return dict.fromkeys(MEASURED, np.nan) | {"not_run": _reason(error, parts)}


def _difference(before: Sequence[ClipScores], after: Sequence[ClipScores]) -> dict[str, Any]:
    means = (np.mean([auc(clips.anomalous, clips.scores) for clips in side]) for side in (before, after))
    default, mean, *change = (100 * float(value) for value in (*means, *astuple(mean_difference(before, after))))
    if all(abs(value) < SHOWN for value in change):
        change = [0.0] * 3
    return dict(zip(MEASURED, (default, mean, *change), strict=True)) | {"not_run": ""}


def _clip_scores(parts: Sequence[Run], alternative: Alternative) -> tuple[list[ClipScores], list[ClipScores]]:
    """Return the clip scores of the default and of an alternative, of the systems that it can affect."""
    sides: tuple[list[ClipScores], list[ClipScores]] = ([], [])
    for part in parts:
        detectors = _detectors(part, alternative)
        for scores, run in zip(sides, pair(part, alternative), strict=True):
            systems = [system for system in run.results.systems() if system[1] in detectors]
            if not systems:
                raise MimiiError(f"needs {' or '.join(detectors)}, which this run has not")
            trials = [(name, *row, seed) for name in run.ids for row in systems for seed in run.results.seeds(row[1])]
            run.results.compute(trials)
            scores += [run.clip_scores(*trial) for trial in trials]
    return sides


def _reason(error: MimiiError, runs: Sequence[Run]) -> str:
    """Return the message without the path of the recordings: pages are published."""
    folder = str(runs[0].recordings.data)
    return str(error).replace(f"{folder}: ", "").replace(folder, "the data folder")


def points_table() -> HTML:
    """Show every open point: what the paper says and leaves open, our values with their reasons, and alternatives."""
    defaults, rows = Settings().model_dump(), []
    for point in POINTS:
        ours = [escape(point.decision)] if point.decision else []
        for name, source in point.settings.items():
            group, _, item = name.partition(".")
            ours.append(f"<code>{name} = {defaults[group][item]}</code>: {escape(source.text)}")
        others = "<br>".join(f"<code>{alternative.name}</code>" for alternative in point.alternatives) or "–"
        first = f"{point.number}. {escape(point.title)}"
        rows.append((first, escape(point.says), escape(point.open), "<br>".join(ours), others))
    return word_table("What the paper leaves open", ("point", "the paper says", "left open", "we use", "instead"), rows)


def settings_table(*groups: StrictModel) -> HTML:
    """Show the settings of groups such as ``run.settings.imaging``: value, and the paper's place or our reason."""
    rows = []
    for group in groups:
        for name, source in sources(group).items():
            code = f"<code>{type(group).__name__.lower()}.{name}</code>"
            origin = "assumption" if source.is_assumption else "paper"
            rows.append((code, escape(str(getattr(group, name))), origin, escape(source.text)))
    return word_table("Settings", ("setting", "value", "from", "where or why"), rows)


def effects_table(table: pd.DataFrame) -> HTML:
    """Show :func:`effects`; those that were not run come last, and share a row with those of the same reason."""
    rows, table = [], pd.concat([table[table.not_run == ""], table[table.not_run != ""]])
    for (number, title, reason), effects in table.groupby(["point", "title", "not_run"], sort=False):
        point, names = f"{number}. {escape(title)}", effects.alternative.map("<code>{}</code>".format)
        if reason:
            rows.append((point, ", ".join(names), "", "", _interval(effects.iloc[0])))
            continue
        for name, row in zip(names, effects.itertuples(), strict=True):
            rows.append((point, name, f"{row.default:.1f}", f"{row.auc:.1f}", _interval(row)))
    heads = ("point", "alternative", "AUC by default", "AUC", "change in points (95 % interval)")
    return word_table("Change of the mean AUC", heads, rows)


def dimensions_table(table: pd.DataFrame) -> HTML:
    """Show :func:`at_equal_dimension`: a row for each network, a column for each number of dimensions."""
    heads = ("network", *(f"{n} dimensions" if n else "all features" for n in table.dimensions.unique()))
    rows: list[tuple[str, ...]] = []
    for name, effects in table.groupby("extractor", sort=False):
        texts = [_interval(row) if row.not_run or rows else "" for row in effects.itertuples()]
        aucs = ["" if row.not_run else f"{row.auc:.1f}<br>" for row in effects.itertuples()]
        rows.append((get(name).title, *map(add, aucs, texts)))
    return word_table("Mean AUC in percent; difference to the first network (95 % interval)", heads, rows)


def _interval(row: Any) -> str:
    if row.not_run:
        return f'<em class="not-run">not run: {escape(row.not_run)}</em>'
    if row.low == row.high == 0:
        return "no change"
    return f"{signed(row.difference)} ({signed(row.low)} to {signed(row.high)})"
