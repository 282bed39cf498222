"""The points that the paper leaves open, and what their alternatives change.

A point's values, reasons and alternatives are those of the settings that carry its number
(:mod:`mimii_lib.settings`); its texts are in ``open_points.yaml``. An alternative is measured by the change of the mean
AUC, on the machine types, IDs and seeds that the profile's `sensitivity` names, with the first extractor.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import yaml
from IPython.display import HTML
from scipy.stats import ttest_1samp

from mimii_lib import paper
from mimii_lib.errors import MimiiError
from mimii_lib.evaluation import ClipScores, auc, table_1_shape
from mimii_lib.extractors import get
from mimii_lib.pages.tables import signed, word_table
from mimii_lib.run import Run
from mimii_lib.settings import Settings, Source, StrictModel, sources
from mimii_lib.uncertainty import AucEstimates, mean_difference

SOURCES = {f"{group}.{name}": source for group, values in Settings() for name, source in sources(values).items()}
"""The source of every setting, by dotted name."""

DIMENSIONS = (0, *SOURCES["detectors.pca"].alternatives)
"""Feature dimensions at which the networks are compared (point 25); 0: all features."""


@dataclass(frozen=True)
class Alternative:
    """A change of settings and parameters, the `base` of the run to compare with, and the detectors it can affect."""

    change: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=dict)
    detectors: tuple[str, ...] = tuple(paper.DETECTORS)

    @property
    def name(self) -> str:
        """The change as the command line takes it: ``split.balanced=true``."""
        return " ".join(f"{name}={str(value).lower()}" for name, value in self.change.items())


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
        changes = [{name: value} for name, source in settings.items() for value in source.alternatives]
        base, detectors = entry.pop("base", {}), tuple(entry.pop("detectors", paper.DETECTORS))
        alternatives = [Alternative(change, base, detectors) for change in changes + entry.pop("alternatives", [])]
        yield Point(**{"decision": ""} | entry, settings=settings, alternatives=alternatives)


POINTS = tuple(_points())
"""All open points, in the order of the paper."""


def repeated(runs: Sequence[Run]) -> Sequence[Run]:
    """Return the runs of the machine types on which alternatives are measured."""
    return runs[: runs[0].profile.sensitivity.machines]


def pair(run: Run, alternative: Alternative) -> tuple[Run, Run]:
    """Return the run that an alternative is compared with, and its own; raise :class:`MimiiError` if one cannot run."""
    file = run.recordings.data / run.clips.path[0]
    if "imaging.channel" in alternative.change and soundfile.info(file).channels == 1:
        raise MimiiError("the files have one channel")
    size = run.profile.sensitivity
    part: dict[str, Any] = {"ids": run.ids[: size.ids], "seeds": run.profile.seeds[: size.seeds]}
    default = run.with_overrides(**part | {"extractors": run.stages.extractors[:1]} | dict(alternative.base))
    change = {f"settings.{name}" if "." in name else name: value for name, value in alternative.change.items()}
    changed = default.with_overrides(**change)
    for side in (default, changed):
        if side.stages.unavailable_extractors:
            raise MimiiError("weights not reachable")
        if side.recordings.skipped:
            raise MimiiError("; ".join(f"{name}: {reason}" for name, reason in side.recordings.skipped.items()))
    return default, changed


def alternative_runs(runs: Sequence[Run]) -> Iterator[tuple[Run, tuple[str, ...]]]:
    """Yield the runs that :func:`effects` and :func:`at_equal_dimension` compute, with their detectors, uncomputed."""
    alternatives = [alternative for point in POINTS for alternative in point.alternatives]
    networks = runs[0].stages.weights_used
    alternatives += [Alternative({"extractors": name, "detectors.pca": n}) for n in DIMENSIONS for name in networks]
    for run, alternative in product(repeated(runs), alternatives):
        with suppress(MimiiError):
            yield from ((side, alternative.detectors) for side in pair(run, alternative))


def effects(runs: Sequence[Run], points: Sequence[Point] = POINTS) -> pd.DataFrame:
    """Return what every alternative changes, over the machine types together.

    Columns: `point` (number), `title`, `alternative`, `auc` (mean in percent), `difference` to the default in points
    with its 95 % interval from `low` to `high`, and `not_run`, the reason where the numbers are NaN.
    """
    return pd.DataFrame(
        {"point": point.number, "title": point.title, "alternative": alternative.name} | _effect(runs, alternative)
        for point in points
        for alternative in point.alternatives
    )


def at_equal_dimension(runs: Sequence[Run], dimensions: Sequence[int] = DIMENSIONS) -> pd.DataFrame:
    """Return the mean AUC of every network over the five detectors, with all features and reduced by PCA.

    Columns: `extractor`, `dimensions`, and those of :func:`effects`; the difference is that to the first network.
    """
    rows = []
    for n in dimensions:
        reference = None
        for name in runs[0].stages.extractors:
            alternative = Alternative({"extractors": name, "detectors.pca": n})
            effect = _effect(runs, alternative, reference or alternative)
            reference = reference or (None if effect["not_run"] else alternative)
            rows.append({"extractor": name, "dimensions": n} | effect)
    return pd.DataFrame(rows)


def reduced(runs: Sequence[Run], dimensions: Sequence[int] = DIMENSIONS[1:]) -> list[dict[Any, AucEstimates]]:
    """Return the estimates behind :func:`at_equal_dimension`, by machine type and ID; nothing if any is missing."""
    tables = []
    for n in dimensions:
        with suppress(MimiiError):
            change = {"extractors": runs[0].stages.extractors, "detectors": [*paper.DETECTORS], "detectors.pca": n}
            part = [pair(run, Alternative(change))[1] for run in repeated(runs)]
            if not any(run.results.missing() for run in part):
                tables.append({(run.machine, name): run.results.estimates(name) for run in part for name in run.ids})
    return tables if len(tables) == len(dimensions) else []


def at_each_snr(runs: Sequence[Run]) -> pd.DataFrame:
    """Compare our AUCs at each SNR with the paper's Table 1, in the cells that both have.

    Columns: the means of `ours` and of `the paper` in percent, the mean absolute `distance` of a cell in points, the
    `correlation` over the cells, and `not run`, the reason where the numbers are NaN.
    """
    rows: dict[int, dict[str, Any]] = {}
    for snr in paper.SNRS:
        try:
            part = [pair(run, Alternative({"snr": snr}))[1] for run in repeated(runs)]
            aucs = pd.concat([run.auc([system for system in run.results.systems() if system[0]]) for run in part])
        except MimiiError as error:
            rows[snr] = {"not run": _reason(error, runs)}
            continue
        ours, theirs = (table.stack([0, 1], future_stack=True) for table in (table_1_shape(aucs), paper.table_1()))
        cells = pd.concat({"ours": ours, "the paper": theirs}, axis=1).dropna()
        distance = (cells["ours"] - cells["the paper"]).abs().mean()
        rows[snr] = dict(cells.mean()) | {"distance": distance, "correlation": cells.corr().iloc[0, 1]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("SNR (dB)")


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


def _effect(runs: Sequence[Run], alternative: Alternative, reference: Alternative | None = None) -> dict[str, Any]:
    """Return the mean AUC of an alternative, and its difference to the default or to another alternative."""
    values, reason = [float("nan")] * 4, ""
    try:
        after = _clip_scores(runs, alternative, 1)
        before = _clip_scores(runs, reference, 1) if reference else _clip_scores(runs, alternative, 0)
        mean = np.mean([auc(clips.anomalous, clips.scores) for clips in after])
        values = [100 * float(value) for value in (mean, *astuple(mean_difference(before, after)))]
    except MimiiError as error:
        reason = _reason(error, runs)
    return dict(zip(("auc", "difference", "low", "high"), values, strict=True)) | {"not_run": reason}


def _clip_scores(runs: Sequence[Run], alternative: Alternative, side: int) -> list[ClipScores]:
    """Return the clip scores of all IDs, systems that the alternative can affect, and seeds; `side` 0: the default."""
    scores = []
    for run in (pair(run, alternative)[side] for run in repeated(runs)):
        systems = [system for system in run.results.systems() if system[1] in alternative.detectors]
        if not systems:
            raise MimiiError(f"needs {' or '.join(alternative.detectors)}, which this run has not")
        trials = [(name, *row, seed) for name in run.ids for row in systems for seed in run.results.seeds(row[1])]
        run.results.compute(trials)
        scores += [run.clip_scores(*trial) for trial in trials]
    return scores


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
    """Show :func:`effects`."""
    rows = [(f"{row.point}. {escape(row.title)}", row.alternative, _interval(row)) for row in table.itertuples()]
    return word_table("Change of the mean AUC", ("point", "alternative", "points (95 % interval)"), rows)


def dimensions_table(table: pd.DataFrame) -> HTML:
    """Show :func:`at_equal_dimension`: a row for each network, a column for each number of dimensions."""
    heads = ("network", *(f"{n} dimensions" if n else "all features" for n in table.dimensions.unique()))
    rows = []
    for name, effects in table.groupby("extractor", sort=False):
        cells = [("" if row.not_run else f"{row.auc:.1f}<br>") + _interval(row) for row in effects.itertuples()]
        rows.append((get(name).title, *cells))
    return word_table("Mean AUC in percent; difference to the first network (95 % interval)", heads, rows)


def _interval(row: Any) -> str:
    if row.not_run:
        return f'<em class="not-run">not run: {escape(row.not_run)}</em>'
    return f"{signed(row.difference)} ({signed(row.low)} to {signed(row.high)})"
