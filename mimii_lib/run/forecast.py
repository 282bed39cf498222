"""What runs will compute: how much of it is kept already, and what the rest takes in time, disk and memory.

Time is measured on a sample of one machine ID, and scaled with clips, patches and epochs. A run as a whole is forecast
within a factor of 1.5; mixtures may be off by more, because their number of iterations depends on the sounds.
"""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch

from mimii_lib import extractors, imaging, paper
from mimii_lib.data.formatting import duration, gigabytes
from mimii_lib.errors import MimiiError
from mimii_lib.run import Run
from mimii_lib.run.stages.audio_features import windows_of_a_clip
from mimii_lib.run.stages.clip_systems import map_layers
from mimii_lib.systems import catalogue

SAMPLE = {"normal": 96, "abnormal": 16}  # clips of a machine ID that are run to measure time
GROWTH = {"gmm": 1.7, "b-gmm": 1.7, "if": 0.3, "kde": 1.8, "oc-svm": 2.1}
"""Exponent of a detector's time in the number of clips, as rehearsals of 1,815 and 18,019 clips measured."""
TRAINED_BYTES = {"lenet-dcae": 6_300_000, "small-dcae": 200_000}
LIBRARIES, NETWORK, COPIES = 0.7e9, 1.3e9, 8
"""Bytes of memory for libraries and for a network at work; size of all copies of the largest features, in features."""
COLUMNS = ["part", "stage", "what", "extractor", "detector", "seed", "there", "work", "seconds", "bytes"]


@dataclass(frozen=True)
class Forecast:
    """What runs will compute: times with every core of this machine at work, sizes in bytes."""

    stages: list[dict[str, Any]]  # part (results or choices), what, pieces, there; seconds and bytes of those missing
    facts: list[str]
    suggestions: list[str]  # what can be left out, with its share of the time, the largest first
    problems: list[str]  # reasons why the run cannot end well
    missing: int
    seconds: float
    bytes: int
    free: int
    workers: int  # machine types that are computed at the same time; each of them needs `memory` at most
    memory: float
    installed: int

    def __str__(self) -> str:
        """Return a text for a reader: a table of the stages, the totals, and what can be left out."""
        if not self.stages:
            return "\n".join([*self.facts, *self.problems])
        stages = pd.DataFrame(self.stages)
        stages.loc[stages.part == "choices", "what"] = "what the open choices change"
        table = stages.groupby("what", sort=False)[["pieces", "there", "seconds", "bytes"]].sum().rename_axis(None)
        table["time"] = [duration(seconds) if seconds else "–" for seconds in table.pop("seconds")]
        table["disk"] = [gigabytes(size) if size else "–" for size in table.pop("bytes")]
        lines = [*self.facts, "", table.to_string(formatters={"pieces": "{:,}".format, "there": "{:,}".format}), ""]
        if not self.missing:
            return "\n".join([*lines, "Nothing is left to compute: every result is there."])
        cores = f"{torch.get_num_threads()} cores, machine types at once: {self.workers}"
        time = f"about {duration(self.seconds)} on this machine ({cores}), and some minutes for the pages of a book"
        memory = self.memory * self.workers
        risk = "; name fewer machine types" if memory > self.installed else ""
        lines.append(f"Time: {time if self.seconds else 'not measured'}")
        lines.append(f"Disk: {gigabytes(self.bytes)} of {gigabytes(self.free)} that are free")
        lines.append(f"Memory: up to {gigabytes(memory)} of {gigabytes(self.installed)}{risk}")
        lines += ["", "What can be left out:"] * bool(self.suggestions)
        return "\n".join([*lines, *(f"- {text}" for text in self.suggestions), *self.problems])


def forecast(
    runs: Sequence[Run], *, alternatives: Iterable[tuple[Run, Sequence[str] | None]] = (), measure: bool = True
) -> Forecast:
    """Count what runs will compute, and measure what that takes. Nothing is kept but the inspection of the clips.

    There is one run for each machine type, all on the same profile; `alternatives` are the runs that a page computes
    beyond these, each with its detectors (None: all of the run). Without `measure` every time is 0.
    Raises :class:`MimiiError` if a clip or a file of weights cannot be used, or no machine ID can be evaluated.
    """
    evaluable = [run for run in runs if run.recordings.evaluable]
    if not evaluable:
        raise MimiiError("; ".join(run.recordings.no_ids_reason for run in runs))
    pieces = _pieces([*(("results", run, None) for run in evaluable), *(("choices", *pair) for pair in alternatives)])
    missing, cores, folder = pieces[~pieces.there], torch.get_num_threads(), runs[0].cache.folder
    workers = min(len(evaluable), cores)
    features = pieces.bytes[pieces.stage == "features"].max()  # NaN if there are none
    pieces.loc[pieces.there, ["seconds", "bytes"]] = 0
    if measure and len(missing):
        rates = missing.what.map(_seconds_per_work(evaluable[0], missing))
        # Spectrograms are computed on one core by each worker; so are a detector and an auto-encoder.
        busy = {name: min(1.0, missing.stage.eq(name).sum() / cores) for name in ("scores", "auto-encoders")}
        busy["spectrograms"] = workers
        pieces.loc[missing.index, "seconds"] = missing.work * rates / missing.stage.map(busy).fillna(1.0)
    kinds = pieces.assign(pieces=1).groupby(["part", "what"], sort=False)
    size, free = int(pieces.bytes.sum()), shutil.disk_usage(folder).free
    full = f"{gigabytes(size)} of disk needed, {gigabytes(free)} free; name another folder in MIMII_CACHE"
    return Forecast(
        stages=kinds[["there", "seconds", "bytes", "pieces"]].sum().reset_index().to_dict("records"),
        facts=_facts(runs),
        suggestions=_suggestions(evaluable[0], pieces),
        problems=[f"{folder}: {full}"] if size > free else [],
        missing=len(missing),
        seconds=float(pieces.seconds.sum()),
        bytes=size,
        free=free,
        workers=workers,
        memory=float(LIBRARIES + max(NETWORK, COPIES * features)),
        installed=psutil.virtual_memory().total,
    )


def time_spent(runs: Sequence[Run]) -> dict[str, float]:
    """Return the seconds, with every core at work, that the kept results of runs took, by kind of result."""
    pieces = _pieces([("results", run, None) for run in runs])
    return dict(pieces[pieces.seconds > 0].groupby("what", sort=False).seconds.sum().to_dict())


def _pieces(parts: Iterable[tuple[str, Run, Sequence[str] | None]]) -> pd.DataFrame:
    """Return the results that runs need or have, a row each; what several of them need belongs to the first."""
    pieces: dict[str, dict[str, Any]] = {}
    for part, run, detectors in parts:
        systems = [system for system in run.results.systems() if detectors is None or system[1] in detectors]
        for trial in run.results.trials(systems):
            keys = [key for key in run.stages.keys(*trial) if key.stage != "clips"]
            there = [run.cache.has(key) for key in keys]
            for number, key in enumerate(keys):
                # Nothing is needed for a result that is kept. A trial computes on one core, what it shares on all.
                if key.digest not in pieces and (there[number] or not any(there[number + 1 :])):
                    seconds, threads = run.cache.timing(key)
                    share = (1 if key.stage in ("scores", "auto-encoders") else threads) / torch.get_num_threads()
                    piece = {"part": part, "there": there[number], "seconds": seconds * share}
                    pieces[key.digest] = piece | _piece(run, key.stage, *trial)
    return pd.DataFrame(pieces.values(), columns=COLUMNS)


def _piece(run: Run, stage: str, machine_id: str, extractor: str | None, detector: str, seed: int) -> dict[str, Any]:
    """Return the kind of a result, its work in units of that kind, its bytes, and what it alone belongs to."""
    view, n_clips = run.settings.imaging, len(run.recordings.clips_of(machine_id))
    train, test = (len(run.recordings.split_clips(machine_id, seed, role)) for role in ("train", "test"))
    pictures = extractor is None or extractors.get(extractor).takes_pictures
    of_a_clip = view.patches if pictures else windows_of_a_clip(str(extractor), run.settings)
    n_patches, n_train, n_test = (of_a_clip * clips for clips in (n_clips, train, test))
    title, dimension = (extractors.get(extractor).title, extractors.get(extractor).dimension) if extractor else ("", 0)
    name = (paper.DETECTORS | paper.AUTOENCODERS).get(detector, "clip systems")
    maps = {
        network: sum(map(prod, map_layers(network, run.settings).shapes(network))) for network in _networks(detector)
    }
    fitting = n_train ** GROWTH.get(detector, 1) * (run.settings.detectors.pca or dimension)
    trial, epochs = {"extractor": extractor, "detector": detector, "seed": seed}, run.settings.autoencoders.epochs
    what, work, size, owner = {
        "spectrograms": ("log-mel spectrograms", n_clips, 4 * n_clips * view.n_mels * view.frames, {}),
        "features": (f"{title}: features", n_patches, 4 * n_patches * dimension, {"extractor": extractor}),
        "maps": ("maps of whole clips", n_clips, 4 * n_clips * sum(maps.values()), {}),
        "auto-encoders": (f"{name}: training", epochs * n_train, TRAINED_BYTES.get(detector, 0), trial),
        "scores": (*((f"{title}: {name}", fitting) if extractor else (f"{name}: scores", n_test)), 8 * n_test, trial),
    }[stage]
    return {"stage": stage, "what": what, "work": work, "bytes": size, **owner}


def _networks(detector: str) -> tuple[str, ...]:
    """Return the networks whose maps a clip system takes."""
    return catalogue.SYSTEMS[detector].extractors if detector in catalogue.SYSTEMS else ()


def _seconds_per_work(run: Run, missing: pd.DataFrame) -> pd.Series:
    """Run a sample of a machine ID; return the seconds that a unit of work took, by kind of result."""
    clips = run.recordings.clips_of(run.recordings.evaluable[0])
    paths = [path for label, number in SAMPLE.items() for path in clips.path[clips.label == label][:number]]
    imaging.log_mel(run.waveform(paths[0]), run.settings.imaging)  # makes the filters
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            link = Path(folder, path)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((run.recordings.data / path).absolute())
        names = {f"{kind}s": list(missing[kind].dropna().unique()) or None for kind in ("extractor", "detector")}
        part: dict[str, Any] = {"ids": run.recordings.evaluable[:1], "seeds": run.profile.seeds[:1]} | names
        settings = {"autoencoders.epochs": 1, "split.min_train_clips": 1}
        cache = Path(folder, "results")
        sample = Run(run.machine, profile=run.profile, data=folder, cache=cache, settings=settings, **part)
        sample.results.compute(sample.results.trials())
        kinds = _pieces([("results", sample, None)]).groupby("what")
    return kinds.seconds.sum() / kinds.work.sum()


def _facts(runs: Sequence[Run]) -> list[str]:
    facts = []
    for run in runs:
        ids, seeds = run.recordings.evaluable, ", ".join(map(str, run.profile.seeds))
        n_clips = sum(len(run.recordings.clips_of(name)) for name in ids)
        size = f"{n_clips:,} clips, {n_clips * run.settings.imaging.patches:,} patches"
        if run.recordings.kind == "sample":
            whole = sum(count.normal + count.abnormal for count in paper.MIMII[run.machine].values())
            size += f" (MIMII has {whole:,} clips; `mimii check {run.recordings.data}` tells how to fetch the rest)"
        facts.append(f"{run.machine}: {', '.join(ids) or 'no ID'}; {size}; seeds {seeds}")
        facts += [f"{run.machine} {name}: skipped, {reason}" for name, reason in run.recordings.skipped.items()]
    return facts + [f"not run: {reason}" for reason in runs[0].stages.unavailable_extractors.values()]


def _suggestions(run: Run, pieces: pd.DataFrame) -> list[str]:
    """Return what can be left out to save a twentieth of the time or more, the largest saving first."""
    classical, seed = [name for name in run.profile.detectors if name in paper.DETECTORS], run.profile.seeds[0]
    trained, other_seed = pieces.detector.isin([*paper.AUTOENCODERS]), pieces.seed.notna() & (pieces.seed != seed)
    options = {
        "CHOICES=no leaves out the page on the open choices": pieces.part == "choices",
        f"SEEDS={seed} computes one seed instead of {len(run.profile.seeds)}": other_seed,
        f"SETTINGS='autoencoders.seeds={seed}' trains the auto-encoders for one seed": trained & other_seed,
        f"DETECTORS='{' '.join(classical)}' leaves out the auto-encoders": trained & bool(classical),
    }
    for name in list(run.stages.weights_used)[1:]:  # the page on the open choices repeats the first
        rest = " ".join(other for other in run.stages.weights_used if other != name)
        options[f"EXTRACTORS='{rest}' leaves out {extractors.get(name).title}"] = pieces.extractor == name
    shares = {text: pieces.seconds[mask].sum() / (pieces.seconds.sum() or 1) for text, mask in options.items()}
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return [f"{text}: {share:.0%} of the time" for text, share in ranked if share >= 0.05]
