"""``mimii score --html``: what a monitor says of recordings, as a page to look at and to listen to, without a network."""

import base64
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import soundfile
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image

from mimii_lib.data.formatting import duration
from mimii_lib.errors import MimiiError
from mimii_lib.imaging import log_mel
from mimii_lib.monitor import recordings
from mimii_lib.monitor.model import Monitor
from mimii_lib.monitor.results import Score
from mimii_lib.settings import Imaging

BYTES = 20_000_000  # of sounds and images; the recordings of the lowest p-values come first
ROWS = 1000  # recordings
CELLS = 200  # windows; neighbours in longer timelines share a cell
EXCERPT = 30.0  # seconds that are played of a longer recording
COLUMNS = 800  # of a spectrogram
RANGE = 80.0  # dB of a spectrogram, down from the loudest on the page
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


def page(scores: Sequence[Score], monitor: Monitor, normal: Sequence[Path] = ()) -> str:
    """Return the page of scored files, as HTML.

    `normal` are recordings that the monitor was fitted on, of which the nearest is played beside every recording.
    """
    ranked = sorted(scores, key=lambda score: (score.p_value, -score.score, score.path))
    top = os.path.commonpath([Path(score.path).absolute().parent for score in ranked]) if ranked else ""
    at_hand = {path.name: path for path in normal}
    sounds: list[Sound] = []
    shared: dict[str, Sound] = {}
    rows, missing = [], 0
    for score in ranked[:ROWS]:
        row = _row(score, os.path.relpath(Path(score.path).absolute(), top))
        used = sum(len(sound.audio) + 2 * sound.decibels.size for sound in [*sounds, *shared.values()])
        if used < BYTES and (sound := _sound(Path(score.path), monitor, *_excerpt(score))):
            sound.outline = _outline(score.deviations)
            name = Path(score.nearest).name
            if name in at_hand and name not in shared and (beside := _sound(at_hand[name], monitor)):
                beside.caption, beside.key = f"nearest normal recording: {name}{beside.caption}", name
                shared[name] = beside
            sound.caption = f"this recording{sound.caption}"
            sounds.append(sound)
            row |= {"own": sound, "nearest": shared.get(name)}
            missing += name not in shared
        rows.append(row)
    _draw([*sounds, *shared.values()])
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    content = (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(text)
        .render(
            rows=rows,
            total=len(scores),
            anomalous=sum(score.anomalous is True for score in scores),
            notes=list(_notes(ranked, monitor, len(sounds), missing)),
            shared={name: {"audio": sound.audio, "img": sound.image} for name, sound in shared.items()},
        )
    )
    return content.encode("utf-8", "backslashreplace").decode()  # names of files need not be text


def _notes(ranked: Sequence[Score], monitor: Monitor, n_sounds: int, missing: int) -> Iterator[str]:
    """Yield what holds for the whole page."""
    n = len(monitor.calibration)
    yield (
        f"At a false-alarm rate of {ranked[0].alpha if ranked else 0:g}. A p-value is the share of normal recordings that "
        f"score as high or higher, of {n} that were held back and this one; it is {1 / (n + 1):.2g} or more."
    )
    yield (
        f"Spectrograms: time to the right, up to {monitor.rate / 2000:g} kHz upwards (mel scale), brighter is louder. The "
        f"outline beside one: how far the level of every band is from that of normal recordings, ±{FURTHEST:g} standard "
        "deviations."
    )
    if n_sounds < len(ranked):
        listed = f", {ROWS} are listed" if len(ranked) > ROWS else ""
        yield f"{n_sounds} of {len(ranked)} recordings have a player, those of the lowest p-values{listed}."
    if missing:
        yield (
            f"Beside {missing} recordings there is no normal one to hear: the model file keeps no sound; --normal names "
            "the folder of the normal recordings."
        )


def _row(score: Score, name: str) -> dict[str, Any]:
    """Return the texts of a recording."""
    verdict = {True: "anomalous", False: "normal", None: "cannot be decided"}[score.anomalous]
    bands = [
        f"{band.low:,.0f} to {band.high:,.0f} Hz, {abs(band.deviation):.1f} standard deviations "
        f"{'louder' if band.deviation > 0 else 'quieter'}"
        for band in score.bands
    ]
    start, length = _excerpt(score)
    cells = []
    for windows in np.array_split(np.arange(len(score.windows)), min(CELLS, len(score.windows))):
        group = [score.windows[index] for index in windows]
        highest = max(group, key=lambda window: window.score)
        played = group[0].start < start + length and group[-1].end > start and length < score.seconds
        marks = ["anomalous"] * (highest.p_value <= score.alpha) + ["played"] * played
        title = (
            f"{group[0].start:.1f} to {group[-1].end:.1f} s: p-value {highest.p_value:.3g}, score {highest.score:.3g}"
        )
        cells.append({"mark": " ".join(marks), "title": title, "text": f"{highest.p_value:.2g}"})
    return {
        **{"name": name, "verdict": verdict, "p_value": f"{score.p_value:.3g}", "score": f"{score.score:.4g}"},
        **{
            "seconds": duration(score.seconds),
            "bands": "; ".join(bands),
            "windows": cells,
            "n_bands": len(score.deviations),
        },
        **{"own": None, "nearest": None},
    }


def _excerpt(score: Score) -> tuple[float, float]:
    """Return the start and the length in seconds of what is played: of a long recording, around its worst window."""
    worst = max(score.windows, key=lambda window: window.score)
    length = min(EXCERPT, score.seconds)
    return min(max(0.0, (worst.start + worst.end - length) / 2), score.seconds - length), length


def _sound(path: Path, monitor: Monitor, start: float = 0.0, length: float = EXCERPT) -> Sound | None:
    """Return an excerpt of a recording as the monitor hears it; None where it is no longer there."""
    try:
        samples = recordings.read(path, monitor.rate, monitor.channel).samples
    except MimiiError:
        return None
    whole = len(samples)
    samples = samples[round(start * monitor.rate) :][: round(length * monitor.rate)]
    caption = "" if len(samples) == whole else f", {len(samples) / monitor.rate:.0f} s from {start:.0f} s on"
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, monitor.rate, format="FLAC", subtype="PCM_16")
    decibels = log_mel(samples, Imaging(sample_rate=monitor.rate, db_reference="fixed"))
    step = -(-decibels.shape[1] // COLUMNS)
    decibels = np.maximum.reduceat(decibels, np.arange(0, decibels.shape[1], step), axis=1)
    return Sound(caption, _address("audio/flac", buffer), decibels)


def _draw(sounds: Sequence[Sound]) -> None:
    """Draw the spectrograms, in colours of the same decibels."""
    loudest = max((sound.decibels.max() for sound in sounds), default=0.0)
    palette = (matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3]).tobytes()
    for sound in sounds:
        levels = (256 * (1 + (sound.decibels - loudest) / RANGE)).clip(0, 255).astype(np.uint8)
        image, buffer = Image.fromarray(levels[::-1]), io.BytesIO()
        image.putpalette(palette)
        image.save(buffer, "png")
        sound.image = _address("image/png", buffer)


def _outline(deviations: Sequence[float]) -> str:
    """Return the deviations of the bands as an SVG path around them, low frequencies below."""
    points = [
        f"L{max(-FURTHEST, min(FURTHEST, value)):.2f},{len(deviations) - band - 0.5}"
        for band, value in enumerate(deviations)
    ]
    return f"M0,{len(deviations)}{''.join(points)}L0,0Z" if points else ""


def _address(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
