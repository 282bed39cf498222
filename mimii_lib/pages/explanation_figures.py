"""What the page on single decisions shows and says of what :mod:`~mimii_lib.pages.explanations` found."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from mimii_lib import imaging
from mimii_lib.pages import explanations, tables
from mimii_lib.pages.drawing import ABNORMAL, QUIET, drawing, svg
from mimii_lib.pages.explanations import TIE, Explanation
from mimii_lib.pages.figures import draw_spectrogram, player
from mimii_lib.run import Run

FLAT = np.array([0.1, 0.05])
"""Falls that are not worth a colour: of the score in standard deviations, of the distance as a share of it."""
DARK = "#010101"
"""Black that stays black on a picture, where "black" would take on the colour of the page's type."""
PAUSE = 0.4
"""Silence between patches that are played one after the other, in seconds."""
UNITS = ("score falls by (sd)", "distance falls by (%)")


def no_ids_reason(runs: Sequence[Run]) -> HTML:
    """Say why there is no decision of a network to look into."""
    reasons = "; ".join(dict.fromkeys(reason for run in runs for reason in run.stages.unavailable_extractors.values()))
    why = reasons or "no extractor with a detector was asked for"
    return HTML(f'<p class="not-run">No network could be run: {html.escape(why)}.</p>')


def rows(areas: Mapping[Run, pd.DataFrame]) -> pd.DataFrame:
    """Return whose decisions are looked into: by machine type the best row, its mean AUC, and the seed.

    Takes what :meth:`mimii_lib.run.Run.auc` found of each run.
    """
    said = []
    for run, table in areas.items():
        row = explanations.best_row(table)
        mean = table[(table.extractor == row[0]) & (table.detector == row[1])].auc.mean()
        said.append((run.machine, tables.name_of(row), round(100 * mean, 1), run.results.seeds(row[1])[0]))
    return pd.DataFrame(said, columns=["machine", "row", "AUC (%)", "seed"]).set_index("machine").rename_axis(None)


# Which clips


def gallery(shown: Mapping[Run, pd.DataFrame]) -> HTML:
    """Show what :func:`mimii_lib.pages.explanations.gallery` chose of each machine type, to look at and to play."""
    made = []
    for run, table in shown.items():
        clips = "".join(_thumbnail(run, clip) for clip in table.itertuples())
        made.append(f'<h3 class="type">{run.machine.capitalize()}</h3><div class="clips five">{clips}</div>')
    return HTML("".join(made))


def place(clip: Any) -> str:
    """Tell a clip's place among the normal test clips of its machine ID, and a normal one's among the abnormal too."""
    other = " other" if clip.label == "normal" else ""
    said = f"above {clip.above_normal} of {clip.n_normal}{other} normal clips"
    return said if clip.label == "abnormal" else f"{said} and {clip.above_abnormal} of {clip.n_abnormal} abnormal ones"


def _thumbnail(run: Run, clip: Any) -> str:
    settings, waveform = run.settings.imaging, run.waveform(clip.path)
    name = f"{run.machine} {clip.id}, clip {Path(clip.path).stem}"
    with drawing(figsize=(2.1, 1.6)) as (figure, axes):
        draw_spectrogram(axes[0, 0], imaging.log_mel(waveform, settings), settings)
        axes[0, 0].set(xlabel="time (s)", ylabel="")
        picture = svg(figure, f"Log-mel spectrogram of the {name}, {clip.kind}")
    return (
        f'<figure class="clip"><figcaption>{clip.kind.capitalize()}<span>{clip.id}, clip {Path(clip.path).stem}: '
        f"{place(clip)}</span></figcaption>{picture}"
        f"{player(waveform, settings.sample_rate, f'{name}, {clip.kind}')}</figure>"
    )


# Into one of them


def along(looks: Sequence[Explanation]) -> HTML:
    """Show each clip's spectrogram with its worst patches framed, and along the same time its patches' measures."""
    return HTML(f'<div class="clips">{"".join(map(_along, looks))}</div>')


def _along(look: Explanation) -> str:
    settings, waveform = look.run.settings.imaging, look.run.waveform(look.path)
    decibels = imaging.log_mel(waveform, settings)
    told = (
        f"Log-mel spectrogram of the {look.name}, with the patches at {_times(look)} framed; below it the score of "
        "every patch and its distance to the nearest training patch, over the band of the normal test patches"
    )
    with drawing(3, figsize=(4.2, 3.9), sharex=True, height_ratios=[2, 1, 1]) as (figure, axes):
        picture, *below = axes[:, 0]
        draw_spectrogram(picture, decibels, settings)
        picture.set(ylabel="mel scale (kHz)")
        for rank, number in enumerate(look.worst):
            _frame(picture, look.time(number), len(decibels), rank)
        middles = [np.mean(look.time(number)) for number in range(look.measured.shape[1])]
        for axis, values, band, name in zip(below, look.measured, look.bands, ("score (sd)", "distance"), strict=True):
            axis.axhspan(band[0], band[-1], color=QUIET, alpha=0.35, lw=0)
            axis.plot(middles, values, "o-", color="black", ms=3, lw=1)
            axis.plot([middles[at] for at in look.worst], values[look.worst], "o", color=ABNORMAL, ms=5)
            axis.set(ylabel=name)
        below[1].set(xlabel="time (s)", yscale="log")
        below[1].yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        below[1].yaxis.set_major_formatter("{x:,.0f}")
        below[1].yaxis.set_minor_locator(NullLocator())
        figure.align_ylabels(axes[:, 0])
        drawn = svg(figure, told)
    sound = player(waveform, settings.sample_rate, look.name)
    return f'<figure class="clip"><figcaption>{look.name.capitalize()}</figcaption>{drawn}{sound}</figure>'


def _frame(axis: Axes, time: tuple[float, float], height: int, rank: int) -> None:
    low, style = 0.6 + 1.5 * rank, ("-", "--")[rank % 2]
    for colour, width in ((DARK, 3.0), ("white", 1.5)):  # seen on dark and on light
        corner, size = (time[0], low), (time[1] - time[0], height - 2 * low)
        axis.add_patch(Rectangle(corner, *size, fill=False, color=colour, ls=style if width < 2 else "-", lw=width))
    axis.text(time[0] + 0.08, height - 9 - 8 * rank, f"{rank + 1}", color="white", weight="bold", size=8)


def _times(look: Explanation) -> str:
    return " and ".join("{:.1f} to {:.1f} s".format(*look.time(number)) for number in look.worst)


def nearest(looks: Sequence[Explanation]) -> HTML:
    """Show each clip's worst patches, and beside each the training patches nearest to it, to see and to hear."""
    made = []
    for look in looks:
        lines = "".join(_beside(look, rank) for rank in range(len(look.worst)))
        made.append(f'<section class="nearest"><h3 class="type">{look.name.capitalize()}</h3>{lines}</section>')
    return HTML(f'<div class="clips">{"".join(made)}</div>')


def _beside(look: Explanation, rank: int) -> str:
    settings, number = look.run.settings.imaging, look.worst[rank]
    score = f"{look.measured[0, number]:.1f}".replace("-", "−")
    shown = [(look.path, number, f"Patch {rank + 1}", f"score {score} sd")]
    for each in look.nearest[look.nearest.patch == number].itertuples():
        title = "Nearest" if len(shown) == 1 else "Next"
        shown.append(
            (each.path, each.number, f"{title}: clip {Path(each.path).stem}", f"distance {each.distance:,.0f}")
        )
    cells, heard = [], []
    for entries, (path, at, title, said) in zip(look.patches[rank], shown, strict=True):
        time = "{:.1f}–{:.1f} s".format(*look.time(at))
        alt = f"{look.name}, as the network sees it: {title}, {time}"
        source = f"data:image/png;base64,{_picture(entries, look)}"
        cells.append(
            f'<figure class="patch"><figcaption>{html.escape(title)}<span>{time}, {said}</span></figcaption>'
            f'<img class="dark-light" src="{source}" alt="{html.escape(alt)}"></figure>'
        )
        start, end = (round(second * settings.sample_rate) for second in look.time(at))
        heard += [look.run.waveform(path)[start:end], np.zeros(int(PAUSE * settings.sample_rate), np.float32)]
    label = f"{look.name}: patch {rank + 1}, then the training patches nearest to it"
    sound = player(np.concatenate(heard[:-1]), settings.sample_rate, label)
    return f'<div class="patches">{"".join(cells)}{sound}</div>'


def _picture(entries: NDArray[np.uint8], look: Explanation) -> str:
    """Return a patch as the network sees it, pixel by pixel, as a PNG in base64."""
    buffer = io.BytesIO()
    plt.imsave(buffer, imaging.rgb_patches(entries[None], look.run.settings.imaging)[0].permute(1, 2, 0).numpy())
    return base64.b64encode(buffer.getvalue()).decode()


# Where on the picture


def occlusions(looks: Sequence[Explanation]) -> HTML:
    """Show each clip's worst patch beside how far its score and its distance fall with a block of it hidden."""
    made = []
    for look in looks:
        panels = "".join([_framed(look), *(_map(look, measure) for measure in range(2))])
        head = f"{look.name.capitalize()}, patch 1 ({{:.1f}}–{{:.1f}} s)".format(*look.time(look.worst[0]))
        made.append(f'<section><h3 class="type">{head}</h3><div class="maps">{panels}</div></section>')
    return HTML("".join(made))


def shares(look: Explanation) -> NDArray[np.float64]:
    """Return the falls of a look in the units they are drawn in: standard deviations, and shares of the distance."""
    return np.stack([look.falls[0], look.falls[1] / (look.measured[1, look.worst[0]] or 1.0)])


def _upright(picture: NDArray[Any], look: Explanation) -> NDArray[Any]:
    """Return a picture's rows from low to high frequencies."""
    return picture[::-1] if look.run.settings.imaging.origin == "lower" else picture


def _framed(look: Explanation) -> str:
    """Return the patch, with those blocks outlined that make up half of what the distance falls by."""
    with drawing(figsize=(2.1, 2.1)) as (figure, axes):
        picture, axis = _upright(look.patches[0, 0], look), axes[0, 0]
        draw_spectrogram(axis, picture, look.run.settings.imaging).set_clim(0, 255)
        chosen = _upright(explanations.half_of(np.where(shares(look)[1] > FLAT[1], look.falls[1], 0)), look)
        height, width = look.patches.shape[-2], imaging.seconds(look.patches.shape[-1], look.run.settings.imaging)
        for row, column in np.argwhere(chosen):
            corner = (column * width / explanations.GRID, row * height / explanations.GRID)
            size = (width / explanations.GRID, height / explanations.GRID)
            axis.add_patch(Rectangle(corner, *size, fill=False, color=DARK, lw=2.4))
            axis.add_patch(Rectangle(corner, *size, fill=False, color="white", lw=1.0))
        axis.set(xlabel="time (s)")
        drawn = svg(figure, f"The worst patch of the {look.name}; {int(chosen.sum())} blocks of it are outlined")
    return f'<figure class="clip"><figcaption>Patch (kHz)</figcaption>{drawn}</figure>'


def _map(look: Explanation, measure: int) -> str:
    settings = look.run.settings.imaging
    falls, scale, flat = shares(look)[measure], (1, 100)[measure], FLAT[measure]
    told = (
        f"Map of the worst patch of the {look.name}: {UNITS[measure]}, with a block hidden; at most "
        f"{falls.max() * scale:.2g}, and it rises clearly for {int((falls < -flat).sum())} of {falls.size} blocks"
    )
    with drawing(figsize=(2.1, 2.1)) as (figure, axes):
        axis = axes[0, 0]
        extent = (0.0, imaging.seconds(look.patches.shape[-1], settings), 0.0, float(explanations.GRID))
        drawn = _upright(falls, look)
        top = max(float(falls.max()), float(flat)) * scale
        picture = axis.imshow(
            drawn.clip(min=0) * scale, origin="lower", aspect="auto", cmap="Purples", vmin=0, vmax=top, extent=extent
        )
        for row, column in np.argwhere(drawn < -flat):
            middle = (column + 0.5) * extent[1] / explanations.GRID
            axis.text(middle, row + 0.5, "+", color="#707070", ha="center", va="center", size=7)
        figure.colorbar(picture, ax=axis, shrink=0.9)
        axis.set(xlabel="time (s)", yticks=[])
        shown = svg(figure, told)
    return f'<figure class="clip"><figcaption>{UNITS[measure].capitalize()}</figcaption>{shown}</figure>'


# What is read off


def readings(shown: Mapping[Run, pd.DataFrame], looks: Sequence[Explanation]) -> dict[str, str]:
    """Return the sentences that read the page's pictures, by the picture; empty where there is none."""
    if not looks:
        return dict.fromkeys(("gallery", "along", "nearest", "maps", "flat"), "")
    clips = pd.concat(shown.values())
    caught, missed, false = (clips[clips.kind == kind] for kind in explanations.KINDS)
    above, below, ahead = (caught.place == 1).sum(), (missed.place < 0.5).sum(), (false.place == 1).sum()
    outside = [look.measured.round(TIE) > look.bands[:, -1:].round(TIE) for look in looks]
    high, far = (np.mean([each[measure].mean() for each in outside]) for measure in range(2))
    first = [look.nearest.iloc[0] for look in looks]
    ratios = [each.distance / look.bands[1, 1] for each, look in zip(first, looks, strict=True)]
    few = _range([int(each.features) for each in first])
    rises = _range([int((shares(look)[1] < -FLAT[1]).sum()) for look in looks])
    blank = [look.run.machine for look in looks if np.abs(look.falls[0]).max() < FLAT[0]]
    return {
        "gallery": (
            f"{above} of the {len(caught)} best caught clips score above every normal clip of their machine ID. Of the "
            f"{len(missed)} worst missed, {below} score below most of them. {ahead} of the {len(false)} false alarms "
            "score above every abnormal clip."
        ),
        "along": (
            f"On average {high:.0%} of a clip's patches score above the band, and {far:.0%} lie farther from the "
            "training patches than it."
        ),
        "nearest": (
            f"The worst patches lie {min(ratios):,.1f} to {max(ratios):,.1f} times as far from the nearest training "
            "patch as a normal test patch does in the median. Half of the squared distance is made by "
            f"{few} of the {looks[0].dimension} features."
        ),
        "maps": (
            f"Of the {explanations.GRID**2} blocks of a picture, {rises} take the patch clearly farther from training "
            "when they are hidden."
        ),
        "flat": (
            f"For {_and(blank)} the score hardly moves: so far from all training patches, the detector gives every "
            "picture nearly the same score. The distance still tells."
            if blank
            else ""
        ),
    }


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
