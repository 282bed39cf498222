"""Figures and sentences of the page that explains single decisions (:mod:`~mimii_lib.pages.explanations`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mimii_lib import imaging
from mimii_lib.pages import figures
from mimii_lib.pages.drawing import ABNORMAL, QUIET, WIDTH, drawing, svg
from mimii_lib.pages.explanations import DECIMALS, GRID, KINDS, Explanation
from mimii_lib.pages.figures import card, draw_spectrogram, player
from mimii_lib.run import Run

NEGLIGIBLE = (0.1, 0.05)
"""Changes that are not shown: of the score in standard deviations, of the distance relative to the patch's."""


def example_figures(examples: Mapping[Run, pd.DataFrame]) -> HTML:
    """Show the clips of :func:`mimii_lib.pages.explanations.example_clips` with their spectrograms and sounds."""
    rows = []
    for run, clips in examples.items():
        cards = "".join(_example(run, clip) for clip in clips.itertuples())
        rows.append(f'<h3 class="type">{run.machine.capitalize()}</h3><div class="clips five">{cards}</div>')
    return HTML("".join(rows))


def _example(run: Run, clip: Any) -> str:
    name = f"{clip.kind}: {run.machine} {clip.id}, clip {Path(clip.path).stem}".capitalize()
    rank = f"above {clip.above_normal} of {clip.n_normal} normal, {clip.above_abnormal} of {clip.n_abnormal} abnormal"
    return figures.clip(run, name, clip.path, width=2.1, details=f"{rank} clips")


def score_track(explanation: Explanation) -> str:
    """Return a clip's spectrogram with its worst patches framed, over the measures of its patches in time, as HTML."""
    settings, waveform = explanation.run.settings.imaging, explanation.run.waveform(explanation.clip.path)
    decibels, worst = imaging.log_mel(waveform, settings), explanation.worst
    middles = np.array([np.mean(explanation.time(number)) for number in range(explanation.measures.shape[1])])
    with drawing(3, figsize=(4.2, 3.9), sharex=True, height_ratios=[2, 1, 1]) as (figure, axes):
        draw_spectrogram(axes[0, 0], decibels, settings)
        for rank, (start, end) in enumerate(map(explanation.time, worst)):
            _frame(axes[0, 0], (start, 0.6 + rank), (end - start, len(decibels) - 1.2 - 2 * rank))
            axes[0, 0].text(start + 0.08, len(decibels) - 9 - 8 * rank, rank + 1, color="white", weight="bold", size=8)
        for axis, values, band in zip(axes[1:, 0], explanation.measures, explanation.bands, strict=True):
            axis.axhspan(band[0], band[-1], color=QUIET, alpha=0.35, lw=0)
            axis.plot(middles, values, "o-", color="black", ms=3, lw=1)
            axis.plot(middles[worst], values[worst], "o", color=ABNORMAL, ms=5)
        for axis, label in zip(axes[:, 0], ("mel scale (kHz)", "score (sd)", "distance"), strict=True):
            axis.set(ylabel=label)
        axes[2, 0].set(xlabel="time (s)")
        figure.align_ylabels(axes[:, 0])
        text = "log-mel spectrogram with the worst patches framed; below it score and distance of every patch"
        drawn = svg(figure, f"{explanation.name}: {text}, over the band of the normal test patches")
    return card(explanation.name.capitalize(), drawn, player(waveform, settings.sample_rate, explanation.name))


def _frame(axis: Axes, corner: tuple[float, float], size: tuple[float, float]) -> None:
    """Draw a rectangle that is visible on dark and on light; pure black would become the text colour of the page."""
    for colour, width in (("#010101", 3.0), ("white", 1.5)):
        axis.add_patch(Rectangle(corner, *size, fill=False, color=colour, lw=width))


def nearest_patches(explanation: Explanation, rank: int) -> str:
    """Return one of a clip's worst patches beside the training patches nearest to it, to see and to hear, as HTML."""
    settings, worst = explanation.run.settings.imaging, int(explanation.worst[rank])
    titles = [f"patch {rank + 1}\n{explanation.measures[0, worst]:.1f} sd".replace("-", "−")]
    sources, pause = [(explanation.clip.path, worst)], np.zeros(settings.sample_rate // 2, np.float32)
    for patch in explanation.nearest[explanation.nearest.patch == worst].itertuples():
        titles.append(f"clip {Path(patch.path).stem}\ndistance {patch.distance:,.0f}")
        sources.append((patch.path, patch.number))
    sounds = []
    for path, number in sources:
        start, end = (round(second * settings.sample_rate) for second in explanation.time(number))
        sounds += [explanation.run.waveform(path)[start:end], pause]
    with drawing(1, len(titles), figsize=(WIDTH, 2.2), sharey=True) as (figure, axes):
        for axis, title, patch, (_, number) in zip(axes[0], titles, explanation.patches[rank], sources, strict=True):
            draw_spectrogram(axis, patch, settings).set_clim(0, 255)
            axis.set(title=title, xlabel="from {:.1f} s".format(*explanation.time(number)))
        drawn = svg(figure, f"{explanation.name}: patch {rank + 1} beside the training patches nearest to it")
    label = f"{explanation.name}: patch {rank + 1}, then those training patches"
    sound = player(np.concatenate(sounds[:-1]), settings.sample_rate, label)
    return card(f"{explanation.name.capitalize()}, patch {rank + 1}", drawn, sound)


def occlusion_maps(explanation: Explanation) -> str:
    """Return the worst patch beside how far its score and distance decrease with a block occluded, as HTML."""
    (height, width), settings = explanation.patches.shape[-2:], explanation.run.settings.imaging
    maps, right = explanation.maps, imaging.seconds(width, settings)
    with drawing(1, 3, figsize=(WIDTH, 1.9)) as (figure, axes):
        draw_spectrogram(axes[0, 0], explanation.patches[0, 0], settings).set_clim(0, 255)
        for row, column in np.argwhere(maps[1] > max(maps[1].max() / 2, NEGLIGIBLE[1])):
            _frame(axes[0, 0], (column * right / GRID, row * height / GRID), (right / GRID, height / GRID))
        axes[0, 0].set(title="patch 1 (kHz)", xlabel="time (s)")
        panels = zip(axes[0, 1:], maps, NEGLIGIBLE, ("score (sd)", "distance"), strict=True)
        for axis, values, negligible, unit in panels:
            style = {"cmap": "Purples", "vmin": 0, "vmax": max(values.max(), negligible)}
            image = axis.imshow(values, origin="lower", aspect="auto", extent=(0, right, 0, GRID), **style)
            for row, column in np.argwhere(values < -negligible):
                axis.text((column + 0.5) * right / GRID, row + 0.5, "+", color="#707070", ha="center", va="center")
            figure.colorbar(image, ax=axis)
            axis.set(title=unit, xlabel="time (s)", yticks=[])
        drawn = svg(figure, f"{explanation.name}: the worst patch, and maps of how far score and distance decrease")
    return card(f"{explanation.name.capitalize()}, patch 1", drawn)


def readings(examples: Mapping[Run, pd.DataFrame], explained: Sequence[Explanation]) -> dict[str, str]:
    """Return the sentences that read the figures, by figure."""
    clips = pd.concat(examples.values())
    caught, missed, alarms = (clips[clips.kind == kind] for kind in KINDS)
    outside = [(item.measures.round(DECIMALS) > item.bands[:, -1:].round(DECIMALS)).mean(axis=1) for item in explained]
    high, far = np.mean(outside, axis=0)
    first = pd.DataFrame([item.nearest.iloc[0] for item in explained])
    ratios = [item.nearest.distance[0] / item.bands[1, 1] for item in explained]
    increases = [int((item.maps[1] < -NEGLIGIBLE[1]).sum()) for item in explained]
    return {
        "examples": f"{(caught.place == 1).sum()} of the {len(caught)} best caught clips score above every normal clip "
        f"of their machine ID. Of the {len(missed)} worst missed, {(missed.place < 0.5).sum()} score below most of "
        f"them. The score of {(alarms.place == 1).sum()} of the {len(alarms)} false alarms is above that of every "
        f"abnormal clip.",
        "tracks": f"On average {high:.0%} of a clip's patches score above the band, as 5% of the normal patches do by "
        f"definition, and {far:.0%} are farther from the training patches than the band.",
        "nearest": f"The worst patches are {min(ratios):,.1f} to {max(ratios):,.1f} times as far from the nearest "
        f"training patch as the median normal test patch. Half of the squared distance is due to "
        f"{_range(first.features)} of {_range(first.dimension)} features.",
        "maps": f"{_range(increases)} of the {GRID**2} blocks clearly increase the distance when they are occluded.",
    }


def _range(values: Sequence[int]) -> str:
    return " to ".join(str(value) for value in sorted({min(values), max(values)}))
