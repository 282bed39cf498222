"""The commands for one's own machine: ``mimii fit``, ``mimii check MODEL`` and ``mimii score``."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from mimii_lib.data import own_recordings
from mimii_lib.data.files import write_text
from mimii_lib.errors import MimiiError
from mimii_lib.monitor.model import Monitor
from mimii_lib.monitor.results import Score
from mimii_lib.run.profiles import Profile, with_parameters

COLUMNS = ("path", "score", "p_value", "anomalous", "seconds", "nearest")  # of --csv


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def fit_command(
    normal: Sequence[Path], *, output: Path, channel: str = "0", settings: Sequence[str] = (), **options: Any
) -> None:
    """Fit a monitor, write it, and print what it learnt and what it cannot hear."""
    if settings:
        options["settings"] = with_parameters(Profile(), settings=" ".join(settings)).settings
    monitor = Monitor.fit(normal, channel=int(channel) if channel.isdecimal() else channel, say=_say, **options)
    monitor.save(output)
    noise = np.random.default_rng(0).normal(0, 0.01, monitor.window).astype(np.float32)
    monitor.score(noise)  # the first one compiles the network
    start = perf_counter()
    monitor.score(noise)
    took, about = perf_counter() - start, monitor.about
    n, seconds, lowest = len(about["names"]), monitor.window / monitor.rate, min(about["rates"])
    held_back = len(monitor.calibration.recordings)
    more = f" (--rate {lowest} would hear up to {lowest / 2000:g} kHz)" * (lowest > monitor.rate)
    print(
        f"{output}: {about['system']}, fitted on {n} recordings of {about['seconds']:.0f} s in all\n"
        f"It hears up to {monitor.rate / 2000:g} kHz{more}, {seconds:.3g} s at a time: faults above, and faults that "
        "show less often, are not heard.\n"
        f"{held_back} recordings were scored by a fit without them, so p-values begin at 1/{held_back + 1} = "
        f"{monitor.calibration.smallest:.2g}: no lower false-alarm rate can be decided.\n"
        f"{seconds:.3g} s of sound take {took:.2g} s to score; the file has {output.stat().st_size / 1e6:.1f} MB.\n"
        f"Does it work? `mimii check {output} --normal DIR [--abnormal DIR]` tells, on recordings that it has not seen."
    )


def check_command(data: Path, normal: Sequence[Path] = (), json_file: str | None = None, **options: Any) -> int:
    """Print whether a monitor works; return 1 if it does not."""
    if not normal:
        raise MimiiError(f"{data}: is taken for a model file; name recordings that it has not seen with --normal")
    result = Monitor.load(data).check(normal, say=_say, **options)
    if json_file:
        rows = {"scores": [score.row() for score in result.scores]}
        write_text(json_file, json.dumps(asdict(result) | rows, indent=1))
    if json_file != "-":
        print(f"false alarms: {result.false_alarms:.1%} of {result.n_normal} normal recordings at {result.alpha:.1%}")
        if result.auc and result.detections:
            print(f"detected: {result.detections:.1%} of {result.n_abnormal} abnormal recordings")
            print(f"AUC: {result.auc:.3f}")
        for warning in result.warnings:
            print(f"The normal recordings differ: {warning}.")
        print(f"Verdict: {'; '.join([result.verdict, *result.reasons])}.")
    return int(result.verdict == "does not work")


def score_command(
    model: Path,
    recordings: Sequence[Path],
    json_file: str | None = None,
    csv_file: str | None = None,
    html: Path | None = None,
    normal: Sequence[Path] = (),
    alpha: float | None = None,
    page: Callable[..., str] | None = None,
    **options: Any,
) -> int:
    """Print what a monitor says of recordings; return 1 if it calls one anomalous, or cannot decide.

    `page` returns the page that is written to `html` (:func:`mimii_lib.pages.scored_recordings.page`).
    """
    monitor = Monitor.load(model)
    n, smallest = len(monitor.calibration.recordings), monitor.calibration.smallest
    if alpha is not None and alpha < smallest:
        _say(
            f"--alpha {alpha:g}: not decidable below 1/{n + 1} = {smallest:.2g}, since {n} normal recordings calibrate "
            "the model; what scores above them all is undecided"
        )
    heard = monitor.recordings(recordings, say=_say, **options)
    if not (scores := [monitor.score(recording, alpha=alpha) for recording in heard]):
        raise MimiiError("no recording could be scored; the reasons stand above")
    if json_file:
        write_text(json_file, json.dumps([score.row() for score in scores], indent=1))
    if csv_file:
        table = pd.DataFrame([{name: getattr(score, name) for name in COLUMNS} for score in scores])
        write_text(csv_file, table.to_csv(index=False, lineterminator="\n").rstrip("\n"))
    if html and page:
        write_text(html, page(scores, monitor, own_recordings.find(normal)))
    if "-" not in (json_file, csv_file):
        print(f"at a false-alarm rate of {scores[0].alpha:.1%}\n\n   score  p-value  verdict    seconds  recording")
        for score in scores:
            columns = f"{score.score:8.4g}  {score.p_value:7.4f}  {score.verdict:9}  {score.seconds:7.1f}"
            print(f"{columns}  {score.path}{'' if score.anomalous is False else _where(score)}")
    return int(any(score.anomalous is not False for score in scores))


def _where(score: Score) -> str:
    """Return where in time and at which frequencies a recording is unusual."""
    alarms = sum(window.p_value <= score.alpha for window in score.windows)
    time = f"{alarms} of {len(score.windows)} windows, " if len(score.windows) > 1 else ""
    bands = [
        f", {'louder' if band.deviation > 0 else 'quieter'} at {band.low:.0f}–{band.high:.0f} Hz"
        for band in score.bands
    ]
    return f" ({time}most at {score.moment[0]:.1f}–{score.moment[1]:.1f} s{''.join(bands)})"
