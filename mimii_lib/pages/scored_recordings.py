"""``mimii score --html``: scored recordings as one page to look at and to listen to, without a network."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray

from mimii_lib.data import embedding, own_recordings
from mimii_lib.data.formatting import duration
from mimii_lib.errors import MimiiError
from mimii_lib.imaging import log_mel
from mimii_lib.monitor.model import Monitor
from mimii_lib.monitor.results import Score
from mimii_lib.settings import Imaging

ROWS = 1000  # recordings that are listed
CELLS = 200  # windows; in a longer timeline, neighbours share a cell
EXCERPT = 30.0  # seconds that are played of a longer recording
COLUMNS = 800  # of a spectrogram
FURTHEST = 6.0  # standard deviations that the outline of the bands shows


@dataclass
class Sound:
    """Sound on the page, and how it looks."""

    caption: str
    audio: str  # address that holds the content
    decibels: NDArray[np.float32]  # (n_mels, columns)
    outline: str = ""  # SVG path: how far the level of every band is from the normal recordings'
    image: str = ""  # as `audio`
    key: str = ""  # of a normal recording, which may stand beside several

    @property
    def size(self) -> int:
        """Return the bytes that it takes with its image, or a little more."""
        return len(self.audio) + 2 * self.decibels.size


def page(scores: Sequence[Score], monitor: Monitor, normal: Sequence[Path] = (), most: float = 20e6) -> str:
    """Return the page of scored files, as HTML.

    Parameters
    ----------
    normal
        Recordings that the monitor was fitted on, of which the nearest is played beside every recording.
    most
        Bytes of sounds and images; the recordings with the lowest p-values come first.
    """
    ranked = sorted(scores, key=lambda score: (score.p_value, -score.score, score.path))
    top = os.path.commonpath([Path(score.path).absolute().parent for score in ranked]) if ranked else ""
    at_hand = {path.name: path for path in normal}
    shared: dict[str, Sound] = {}
    rows: list[dict[str, Any]] = []
    left = most
    for score in ranked[:ROWS]:
        rows.append(row := _row(score, os.path.relpath(Path(score.path).absolute(), top)))
        if left > 0 and (own := _sound(Path(score.path), monitor, "this recording", *_excerpt(score))):
            own.outline, name = _outline(score.deviations), score.nearest
            if name in at_hand and name not in shared:
                beside = _sound(at_hand[name], monitor, f"nearest normal recording: {name}", trained=True)
                if beside:
                    beside.key, shared[name] = name, beside
                    left -= beside.size
            left -= own.size
            row |= {"own": own, "nearest": shared.get(name)}
    with_sound = [row for row in rows if row["own"]]
    drawn = [*(row["own"] for row in with_sound), *shared.values()]
    loudest = max((float(sound.decibels.max()) for sound in drawn), default=0.0)
    for sound in drawn:
        sound.image = embedding.spectrogram(sound.decibels, loudest)
    content = (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
        .render(
            rows=rows,
            total=len(scores),
            anomalous=sum(score.anomalous is True for score in scores),
            alpha=ranked[0].alpha if ranked else None,
            monitor=monitor,
            timelines=any(len(row["cells"]) > 1 for row in rows),
            with_sound=len(with_sound),
            alone=sum(row["nearest"] is None for row in with_sound),
            furthest=FURTHEST,
            shared={name: {"audio": sound.audio, "img": sound.image} for name, sound in shared.items()},
        )
    )
    return content.encode("utf-8", "backslashreplace").decode()  # names of files need not be text


def _row(score: Score, name: str) -> dict[str, Any]:
    """Return the texts of a recording."""
    start, length = _excerpt(score)
    cells = []
    for indices in np.array_split(np.arange(len(score.windows)), min(CELLS, len(score.windows))):
        windows = score.windows[indices[0] : indices[-1] + 1]
        highest = max(windows, key=lambda window: window.score)
        played = windows[0].start < start + length and windows[-1].end > start and length < score.seconds
        marks = ["anomalous"] * (highest.p_value <= score.alpha) + ["played"] * played
        title = f"{windows[0].start:.1f} to {windows[-1].end:.1f} s: score {highest.score:.4g}"
        cells.append({"mark": " ".join(marks), "title": title, "text": f"{highest.p_value:.2g}"})
    return {
        "name": name,
        "score": score,
        "seconds": duration(score.seconds),
        "bands": "; ".join(
            f"{band.low:,.0f} to {band.high:,.0f} Hz ({abs(band.deviation):.1f} standard deviations "
            f"{'louder' if band.deviation > 0 else 'quieter'})"
            for band in score.bands
        ),
        "cells": cells,
        "own": None,
        "nearest": None,
    }


def _excerpt(score: Score) -> tuple[float, float]:
    """Return the start and the length in seconds of what is played: of a long recording, around its worst window."""
    worst = max(score.windows, key=lambda window: window.score)
    length = min(EXCERPT, score.seconds)
    return min(max(0.0, (worst.start + worst.end - length) / 2), score.seconds - length), length


def _sound(
    path: Path, monitor: Monitor, caption: str, start: float = 0.0, length: float = EXCERPT, trained: bool = False
) -> Sound | None:
    """Return an excerpt of a recording as the monitor hears it.

    None where it is not there any more, or is to be one that the monitor was `trained` on and is not.
    """
    try:
        recording = own_recordings.read(path, monitor.rate, monitor.channel)
    except MimiiError:
        return None
    if trained and recording.digest not in monitor.about["digests"]:
        return None
    samples = recording.samples[round(start * monitor.rate) :][: round(length * monitor.rate)]
    if len(samples) < len(recording.samples):
        caption += f", {len(samples) / monitor.rate:.0f} s from {start:.0f} s on"
    decibels = log_mel(samples, Imaging(sample_rate=monitor.rate, db_reference="fixed"))
    step = -(-decibels.shape[1] // COLUMNS)
    decibels = np.maximum.reduceat(decibels, np.arange(0, decibels.shape[1], step), axis=1)
    return Sound(caption, embedding.flac(samples, monitor.rate), decibels)


def _outline(deviations: Sequence[float]) -> str:
    """Return the deviations of the bands as an SVG path, low frequencies below."""
    steps = [
        f"L{np.clip(deviation, -FURTHEST, FURTHEST):.2f},{len(deviations) - band - 0.5}"
        for band, deviation in enumerate(deviations)
    ]
    return f"M0,{len(deviations)}{''.join(steps)}L0,0Z" if steps else ""
