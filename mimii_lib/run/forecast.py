"""What a run will compute, about how long it takes here, what disk and memory it needs, and what can be left out.

What is missing is asked of the store, piece by piece, as :meth:`mimii_lib.run.Run.auc` and the page on the choices
will ask for it. What a piece costs is measured on the spot (:mod:`mimii_lib.run.costs`).
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from heapq import heapreplace
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mimii_lib import autoencoders, dataset, extractors, paper
from mimii_lib.data import checks
from mimii_lib.data.formatting import duration, gigabytes
from mimii_lib.data.weights import Weights, WeightsNotFound
from mimii_lib.errors import MimiiError
from mimii_lib.pages.open_points import DIMENSIONS, POINTS, Alternative, pair, repeated
from mimii_lib.pages.run_box import seeds_of
from mimii_lib.run import Run
from mimii_lib.run.cache import CacheKey, ResultCache
from mimii_lib.run.costs import Cost, Unit, measured
from mimii_lib.settings import SIMPLE_BASELINES, Profile, with_parameters

GROWTH = {"gmm": 1.15, "b-gmm": 1.15, "if": 0.0, "oc-svm": 1.9}
"""How fitting grows with the training patches, as an exponent; 1 where nothing is said. Of a mixture it is k-means."""
ITERATIONS = 0.75
"""The same of the number of a mixture's iterations, as it was seen on 2,016 and on 6,912 to 16,524 patches."""
SCORING = {"kde": 1.0, "oc-svm": 0.5}
"""The same of scoring one patch; 0 where nothing is said."""
FIRST = ("clips", "spectrograms")
"""Stages that a reader expects before those that need them; the others come as a run computes them."""

LIBRARIES, NETWORK, TRAINING = 0.7e9, 0.7e9, 1.0e9
"""Bytes of memory: all that is imported, a network made ready, and the maps of an auto-encoder's batch of 128."""


@dataclass(frozen=True)
class Piece:
    """One result that a run asks for: where it belongs, whether it is there, and how much work and disk it is."""

    part: str
    stage: str
    what: str
    unit: Unit
    there: bool
    train: float = 0.0
    test: float = 0.0
    max_iter: int = 0
    dimension: int = 1
    bytes: int = 0
    machine: str | None = None
    extractor: str | None = None
    detector: str | None = None
    seed: int | None = None
    took: float = 0.0
    """Seconds that it took with every core at work, where it is there and that is known."""

    @property
    def group(self) -> tuple[str, str, str]:
        """The stage of a forecast that it belongs to."""
        return self.part, self.stage, self.what

    def seconds(self, cost: Cost) -> float:
        """Return how long it takes, from what its kind of work was measured to cost."""
        name, grown = self.unit[0], self.train / cost.rows
        fit = cost.fit * grown ** GROWTH.get(name, 1) if self.train else 0.0
        iterations = min(self.max_iter, cost.iterations * grown**ITERATIONS)
        found = fit + cost.iteration * grown * iterations + cost.each * self.test * grown ** SCORING.get(name, 0)
        return found * (self.dimension / cost.dimension if name in paper.DETECTORS and name != "if" else 1)


@dataclass(frozen=True)
class Stage:
    """A line of the forecast: `stage` is the store's folder, or ``prepared`` for what is not kept.

    `seconds` and `bytes` are of the pieces that are missing, `took` of those that are there, as far as it is known:
    seconds of this machine with every core at work.
    """

    part: str
    stage: str
    what: str
    pieces: int
    there: int
    seconds: float
    bytes: int
    took: float = 0.0

    @property
    def missing(self) -> int:
        """Number of pieces that will be computed."""
        return self.pieces - self.there


@dataclass
class Forecast:
    """What is to be computed.

    Attributes
    ----------
    stages
        One for each kind of result, of the runs (part ``results``) and of the page on the choices (``choices``).
    facts
        What the runs are, a sentence each.
    elapsed
        Seconds from start to end: machine types are unequal, and while the last one is at work the others' cores idle.
    workers, memory
        Machine types that are computed at the same time, and bytes that each of them needs at most.
    free, installed
        Bytes of disk and of memory that are there; `installed` is None where the system does not tell.
    suggestions
        What can be left out, the longest first.
    problems, warnings
        Why it cannot end well, and why it may not.
    """

    stages: list[Stage]
    facts: list[str]
    elapsed: float
    workers: int
    memory: float
    free: int
    installed: int | None
    suggestions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds for everything that is missing, with every core at work."""
        return sum(each.seconds for each in self.stages)

    @property
    def bytes(self) -> int:
        """Bytes of disk for everything that is missing."""
        return sum(each.bytes for each in self.stages)

    def missing(self, stage: str | None = None, part: str | None = None) -> int:
        """Return the number of results that will be computed and kept, of a stage or a part if one is named."""
        return sum(
            each.missing
            for each in self.stages
            if each.stage == (stage or each.stage) != "prepared" and each.part == (part or each.part)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as data: every field, and the seconds and bytes of all stages together."""
        return asdict(self) | {"seconds": self.seconds, "bytes": self.bytes}

    def __str__(self) -> str:
        """Return it for a reader."""
        lines: dict[str, list[Stage]] = {}
        for each in self.stages:
            lines.setdefault(CHOICES if each.part == "choices" else each.what, []).append(each)
        rows = [("", "pieces", "there", "took", "time", "disk"), *(_row(what, each) for what, each in lines.items())]
        width = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        table = [
            "  ".join([row[0].ljust(width[0]), *(cell.rjust(n) for cell, n in zip(row[1:], width[1:], strict=True))])
            for row in rows
        ]
        if not self.missing():
            return "\n".join([*self.facts, "", *table, "", "Nothing is left to compute: every result is there."])
        at_once = f", {self.workers} machine types at once" if self.workers > 1 else ""
        installed = "" if self.installed is None else f" of {gigabytes(self.installed)}"
        time = (
            f"Time: about {duration(self.elapsed)} on this machine ({torch.get_num_threads()} cores{at_once}), "
            "and some minutes for the pages of a book"
        )
        total = [
            time if self.seconds else "Time: not measured",
            f"Disk: {gigabytes(self.bytes)} of {gigabytes(self.free)} that are free",
            f"Memory: up to {gigabytes(self.memory * self.workers)}{installed}",
        ]
        left_out = (
            ["", "What can be left out:", *(f"- {each}" for each in self.suggestions)] if self.suggestions else []
        )
        return "\n".join([*self.facts, "", *table, "", *total, *left_out, *self.warnings, *self.problems])


CHOICES = "what the open choices change"


def _row(what: str, found: list[Stage]) -> tuple[str, ...]:
    kept = [each for each in found if each.stage != "prepared"]
    pieces, there, size = (sum(getattr(each, name) for each in kept) for name in ("pieces", "there", "bytes"))
    counts = (f"{pieces:,}", f"{there:,}") if kept else ("", "")
    times = (sum(getattr(each, name) for each in found) for name in ("took", "seconds"))
    return (what, *counts, *(duration(each) if each else "–" for each in times), gigabytes(size) if size else "–")


def forecast(
    runs: Sequence[Run], *, workers: int | None = None, choices: bool = True, measure: bool = True
) -> Forecast:
    """Say what runs will compute, and measure what that takes.

    Nothing is computed or kept but for the look at every clip, with which a run starts too. Where nothing is missing
    nothing is measured.

    Parameters
    ----------
    runs
        One for each machine type, on the same profile.
    workers
        Machine types that are computed at the same time, which share the cores; None: as many as `make book` does.
    choices
        Whether the page on the open choices will be made.
    measure
        Whether to measure what it costs; else no time is told.

    Raises
    ------
    MimiiError
        If a clip or a file of weights cannot be used, or no machine ID can be evaluated.
    """
    cores, known = torch.get_num_threads(), _Known()
    plans = [_Plan(run, run.profile, known) for run in runs if run.recordings.evaluable]
    if not plans:
        raise MimiiError("; ".join(run.recordings.no_ids_reason for run in runs))
    workers = workers or min(len(plans), cores)
    pieces: dict[tuple[str, Any], Piece] = {}
    for plan in plans:
        _ask(plan, None, known, pieces)
    for plan in repeated(plans) if choices else ():
        for changed, wanted in _alternatives(plan):
            _ask(changed, wanted, known, pieces)
    for text, n_clips in known.unread.items():
        pieces["clips", text] = Piece("choices", "clips", "clips", ("clips",), False, 0, n_clips, bytes=200 * n_clips)
    missing = [piece for piece in pieces.values() if not piece.there]
    units = {piece.unit for piece in missing}
    costs = measured(plans, units, known.weights, workers) if missing and measure else dict.fromkeys(units, Cost())
    # What a process does on one core takes all of them a part of the time, if there are enough processes. And where
    # fewer detectors than cores are left to fit, some cores have nothing to do.
    fitted = sum(piece.unit[0] in paper.DETECTORS for piece in missing)
    busy = {"spectrograms": workers, "prepared": workers} | dict.fromkeys(paper.DETECTORS, min(1, fitted / cores))
    seconds = {
        key: piece.seconds(costs[piece.unit]) / busy.get(piece.unit[0], 1)
        for key, piece in pieces.items()
        if not piece.there
    }
    groups = sorted(dict.fromkeys(piece.group for piece in pieces.values()), key=lambda each: each[1] not in FIRST)
    made = Forecast(
        [_stage(group, pieces, seconds) for group in groups],
        [*_facts(plans), *(f"not run: {run.recordings.no_ids_reason}" for run in runs if not run.recordings.evaluable)],
        _elapsed([(pieces[key].machine, each) for key, each in seconds.items()], workers),
        workers,
        max(_memory(plan, max(1, cores // workers)) for plan in plans),
        shutil.disk_usage(plans[0].store.folder).free,
        _installed(),
    )
    if missing:
        made.suggestions = _suggestions(plans[0], [(pieces[key], each) for key, each in seconds.items() if each])
        needed = f"{gigabytes(made.memory * workers)} of memory needed"
        if made.installed is not None and made.memory * workers > made.installed:
            made.warnings = [f"{needed}, {gigabytes(made.installed)} there: it may be killed; name fewer machine types"]
    if made.bytes > made.free:
        made.problems = [
            f"{plans[0].store.folder}: {gigabytes(made.bytes)} of disk needed, {gigabytes(made.free)} free; name "
            "another folder in the environment variable MIMII_CACHE, free some space, or leave something out"
        ]
    return made


# What is missing


@dataclass
class _Known:
    """What several plans share: what was found once, weights, contents of clips, and clips still to be looked at."""

    once: dict[Any, Any] = field(default_factory=dict)
    weights: dict[str, Weights | WeightsNotFound] = field(default_factory=dict)
    clips: dict[Path, checks.Clip] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)

    def get(self, key: Any, find: Callable[[], Any]) -> Any:
        if key not in self.once:
            self.once[key] = find()
        return self.once[key]


class _Plan(Run):
    """A run that can only say what it would compute: it makes no recordings, reads no clips and keeps nothing."""

    def __init__(self, run: Run, profile: Profile, known: _Known):
        self.machine, self.profile, self._known = run.machine, profile, known
        self._start(run._splits_file, run.store)

    def with_overrides(self, **parameters: Any) -> "_Plan":
        profile = with_parameters(self.profile, **parameters)
        made: _Plan = self._known.get((self.machine, profile), lambda: _Plan(self, profile, self._known))
        return made

    def _find_weights(self) -> dict[str, Weights | WeightsNotFound]:
        if not set(self.profile.extractors) <= set(self._known.weights):
            self._known.weights |= super()._find_weights()
        return {name: self._known.weights[name] for name in self.profile.extractors}

    def _data_folder(self) -> Path:
        wanted = self.profile.recordings
        return dataset.data_folder(wanted) if wanted is None or self.profile.miniature is None else wanted

    @cached_property
    def _listed(self) -> pd.DataFrame:
        size = self.profile.miniature
        if size is None or (self.data / dataset.MARKER).is_file():
            return super()._listed
        counts = {"normal": size.normal, "abnormal": size.abnormal}  # a miniature that is still to be made
        names = {
            name: {
                label: [self.data / name / label / f"{at:08d}.wav" for at in range(n)] for label, n in counts.items()
            }
            for name in self.profile.ids or paper.IDS
        }
        return dataset.clip_table(self.data, names)

    @cached_property
    def inspected(self) -> dict[str, checks.Clip]:
        stated = {name: getattr(self.settings.imaging, name) for name in ("sample_rate", "seconds", "channel")}
        key = (self.machine, self.data, self.profile.snr, self.profile.ids, *stated.values())
        found: dict[str, checks.Clip] = self._known.get(key, self._seen)
        return found

    def _seen(self) -> dict[str, checks.Clip]:
        """Return what is known of every clip; of one that no run has looked at, that it is none that was seen."""
        found = {}
        for _, clips in self._listed.groupby("id"):
            files = [self.data / path for path in clips.path]
            place = self._clips_place(list(clips.path))
            if self.store.has(place):
                self._known.clips |= dict(zip(files, self.store.get(place, list), strict=True))
            else:
                self._known.unread[place.text] = len(files)
            for path, file in zip(clips.path, files, strict=True):
                found[path] = self._known.clips.get(file, checks.Clip(path, "not looked at yet", 1))
        return found

    def split_clips(self, machine_id: str, seed: int, role: str) -> pd.DataFrame:
        key = (self.machine, self.data, self.profile.snr, self.settings.split, machine_id, seed, role)
        table: pd.DataFrame = self._known.get(key, partial(super().split_clips, machine_id, seed, role))
        return table

    def _training_limits(self, machine_id: str, seed: int | None) -> tuple[float, float] | None:
        if self.settings.imaging.scaling != "training" or self.store.has(self._spectrograms_place(machine_id)):
            return super()._training_limits(machine_id, seed)
        return nan, self.profile.seeds[0] if seed is None else seed  # not known before there are spectrograms


def _alternatives(plan: _Plan) -> Iterator[tuple[Run, tuple[str, ...]]]:
    """Yield the runs that the page on the choices computes, each with the detectors that it wants of it."""
    for each in (each for point in POINTS for each in point.alternatives):
        with suppress(MimiiError):  # an alternative that cannot be run here
            for run in pair(plan, each):
                yield run, each.detectors or tuple(paper.DETECTORS)
    for number in DIMENSIONS:
        for name in plan._reachable:
            with suppress(MimiiError):
                reduced = Alternative(name, {"extractors": name, "settings": {"detectors.pca": number}})
                yield pair(plan, reduced)[1], tuple(paper.DETECTORS)


def _ask(run: Run, wanted: tuple[str, ...] | None, known: _Known, pieces: dict[tuple[str, Any], Piece]) -> None:
    """Add the pieces that a run asks for, there or missing; the page on the choices wants some detectors alone."""
    if (asked := (run.machine, run.profile, wanted)) in known.once:
        return
    known.once[asked] = True
    imaging_, fits, dcae = run.settings.imaging, run.settings.detectors, run.settings.autoencoders
    part, n_patches = "results" if wanted is None else "choices", imaging_.patches
    rows = [row for row in run.results.systems() if wanted is None or row[1] in wanted]
    networks = {name for name, _ in rows if name}

    def note(place: CacheKey, needed: bool, size: int, what: str, *unit: str, **more: Any) -> bool:
        """Add a piece that is there or needed; return whether it is missing."""
        key = place.stage, hash(place.text)
        if key not in pieces:
            if not (there := run.store.has(place)) and not needed:
                return True
            took = _took(run.store, place, place.stage, detector=bool(unit) and unit[0] in paper.DETECTORS)
            size += len(place.text) + 400
            pieces[key] = Piece(
                part, place.stage, what, unit, there, bytes=size, took=took, machine=run.machine, **more
            )
        return not pieces[key].there

    def first(what: str, place: CacheKey) -> bool:
        """Return whether this is the first of its kind: a process makes itself ready once."""
        text: str = known.once.setdefault((part, run.machine, what), place.text)
        return text == place.text

    for cell in run.results.trials(rows):
        machine_id, extractor, detector, seed = cell
        spectrograms, *way, scores = run.keys(*cell)
        n_clips = len(run.recordings.clips_of(machine_id))
        n_train, n_test = (
            n_patches * len(run.recordings.split_clips(machine_id, seed, role)) for role in ("train", "test")
        )
        tags: dict[str, Any] = {"extractor": extractor, "detector": detector, "seed": seed}
        if detector in SIMPLE_BASELINES:  # takes milliseconds
            missing = note(scores, True, 8 * n_test // n_patches, "controls", "controls", **tags)
        elif extractor is None:
            title, between = paper.AUTOENCODERS[detector], way[0]
            missing = note(scores, True, 8 * n_test, f"{title}: scores", detector, test=n_test, **tags)
            size = known.get((detector, dcae.channels), partial(_trained_bytes, run, detector))
            note(between, missing, size, f"{title}: training", detector, train=dcae.epochs * n_train, **tags)
        else:
            network, between = extractors.get(extractor), way[0]
            size = 4 * n_clips * n_patches * network.dimension
            # Only two networks are kept ready at a time.
            ready = len(networks) > 2 or first(extractor, between)
            described = {"train": int(ready), "test": n_clips * n_patches, "extractor": extractor}
            missing = note(between, True, size, f"{network.title}: features", "features", extractor, **described)
            if fits.pca <= min(n_train, network.dimension):  # else the run stops here
                tags |= {"train": n_train, "test": n_test, "max_iter": fits.max_iter}
                tags |= {"dimension": fits.pca or network.dimension}
                title = f"{network.title}: {paper.DETECTORS[detector]}"
                there = not note(scores, True, 8 * n_test, title, detector, extractor, **tags)
                # Detectors of one seed share what is prepared for them.
                key = "prepared", (run.machine, run.profile, machine_id, extractor, seed)
                title, unit = f"{network.title}: standardised", ("prepared", extractor, str(fits.pca))
                took = _took(run.store, scores, "prepared")
                rest: dict[str, Any] = {"machine": run.machine, "extractor": extractor, "seed": seed, "took": took}
                other = pieces.setdefault(key, Piece(part, "prepared", title, unit, there, n_train + n_test, **rest))
                pieces[key] = replace(other, there=there and other.there, took=max(took, other.took))
        needed = missing or (imaging_.scaling == "training" and detector not in SIMPLE_BASELINES)
        size = 4 * n_clips * imaging_.n_mels * imaging_.frames
        made = {"train": int(first("spectrograms", spectrograms)), "test": n_clips}
        note(spectrograms, needed, size, "log-mel spectrograms", "spectrograms", **made)


def _took(store: ResultCache, place: CacheKey, part: str, *, detector: bool = False) -> float:
    """Return the seconds that a part of a result took, as those of this machine with every core at work.

    A process has its share of the cores to itself, whether it needs them all or not; detectors take one each.
    """
    seconds, threads = store.took(place)
    return seconds.get(part, 0.0) * (1 if detector else threads) / torch.get_num_threads()


def _trained_bytes(run: Run, detector: str) -> int:
    """Return the size of a trained auto-encoder as it is kept."""
    pixels = run.settings.imaging.n_mels * run.settings.imaging.patch_frames
    side = next((size for size in autoencoders.SIZES if size**2 >= pixels), autoencoders.SIZES[-1])
    with torch.random.fork_rng():
        net = autoencoders.NETWORKS[detector](run.settings.autoencoders.channels, side)
    return sum(4 * each.numel() for each in net.parameters()) + 10_000


# What a reader is told


def _stage(group: tuple[str, str, str], pieces: Mapping[Any, Piece], seconds: Mapping[Any, float]) -> Stage:
    here = {key: piece for key, piece in pieces.items() if piece.group == group}
    return Stage(
        *group,
        pieces=len(here),
        there=sum(piece.there for piece in here.values()),
        seconds=sum(seconds.get(key, 0) for key in here),
        bytes=sum(piece.bytes for piece in here.values() if not piece.there),
        took=sum(piece.took for piece in here.values() if piece.there),
    )


def _elapsed(spent: Sequence[tuple[str | None, float]], workers: int) -> float:
    """Return the seconds from start to end of what takes so long with every core at work, by machine type.

    So many of them are computed at once, each on its share of the cores; whoever is done makes room for the next.
    """
    work: dict[str | None, float] = {None: 0.0}
    for machine, seconds in spent:
        work[machine] = work.get(machine, 0.0) + seconds
    ends = [work.pop(None)] * workers  # what is of no machine type comes first, and has every core
    for seconds in work.values():
        heapreplace(ends, ends[0] + seconds * workers)
    return max(ends)


def _facts(plans: Sequence[_Plan]) -> list[str]:
    found = []
    for plan in plans:
        n_clips, ids = (
            sum(len(plan.recordings.clips_of(name)) for name in plan.recordings.evaluable),
            ", ".join(plan.recordings.evaluable),
        )
        found.append(f"{plan.machine}: {ids}; {n_clips:,} clips, {n_clips * plan.settings.imaging.patches:,} patches")
        found += [f"{plan.machine} {name}: skipped, {reason}" for name, reason in plan.recordings.skipped.items()]
    first = plans[0]
    names = [extractors.get(name).title for name in first._reachable]
    wanted = [{**paper.DETECTORS, **paper.AUTOENCODERS}.get(name, name) for name in first.profile.detectors]
    rows = f"{len(first.results.systems())} rows of the table: {', '.join([*names, *wanted])}"
    found.append(f"{rows}; seeds {seeds_of(plans)}")
    return found + [f"not run: {reason}" for reason in first.stages.unavailable_extractors.values()]


def _suggestions(run: Run, missing: list[tuple[Piece, float]]) -> list[str]:
    """Return what can be left out to save a twentieth of the time or more, the most first."""
    classical, seeds = [name for name in run.profile.detectors if name in paper.DETECTORS], run.profile.seeds
    saved: dict[str, float] = {}
    for piece, seconds in missing:
        trained = piece.detector in paper.AUTOENCODERS
        said = {
            "CHOICES=no leaves out the page on the open choices": piece.part == "choices",
            f"DETECTORS='{' '.join(classical)}' leaves out the auto-encoders": trained and classical,
            f"SEEDS={seeds[0]} computes one seed instead of {len(seeds)}": piece.seed not in (None, seeds[0]),
            f"SETTINGS='autoencoders.seeds={seeds[0]}' trains the auto-encoders for one seed": trained
            and piece.seed != run.results.seeds(str(piece.detector))[0],
        }
        for name in run._reachable[1:]:  # the first one makes the page on the choices, too
            rest = " ".join(each for each in run._reachable if each != name)
            said[f"EXTRACTORS='{rest}' leaves out {extractors.get(name).title}"] = piece.extractor == name
        for what in (what for what, spared in said.items() if spared):
            saved[what] = saved.get(what, 0.0) + seconds
    total = sum(seconds for _, seconds in missing)
    ranked = sorted(saved.items(), key=lambda item: -item[1])
    return [f"{what}: {part / total:.0%} of the time" for what, part in ranked if part >= total / 20]


def _memory(plan: _Plan, threads: int) -> float:
    """Return the bytes of memory that a machine type takes at most, from what a run holds at the same time."""
    settings, n_patches, largest = plan.settings, plan.settings.imaging.patches, 0.0
    for machine_id in plan.recordings.evaluable:
        n_clips = len(plan.recordings.clips_of(machine_id))
        n_train, n_test = (
            n_patches * len(plan.recordings.split_clips(machine_id, plan.profile.seeds[0], role))
            for role in ("train", "test")
        )
        pictures = n_clips * n_patches * settings.imaging.n_mels * settings.imaging.patch_frames
        held = [2 * 4 * n_clips * settings.imaging.n_mels * settings.imaging.frames + 2 * pictures]
        for name in plan._reachable:
            d = extractors.get(name).dimension
            features = 4 * d * n_clips * n_patches
            held.append(int(NETWORK) + 2 * pictures + features)
            # The features, those of the training clips, two prepared seeds, and a copy that each detector makes.
            seen = 8 * (settings.detectors.pca or d)
            prepared = min(2, len(plan.profile.seeds)) * (n_train + n_test) * seen
            held.append(features + 4 * d * n_train + prepared + threads * n_train * seen)
        if plan.results.autoencoders:
            held.append(int(3 * pictures + TRAINING * settings.autoencoders.batch_size / 128))
        largest = max(largest, *held)
    return LIBRARIES + largest


def _installed() -> int | None:
    """Return the memory of this machine in bytes, or None where it does not tell."""
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
