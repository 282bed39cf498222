"""Figures and sounds of the book's pages; a figure is returned closed, so that a cell that ends in it shows it once."""

import base64
import html
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

import librosa
import numpy as np
import pandas as pd
import soundfile
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from mimii_lib import evaluation, extractors, imaging
from mimii_lib.detectors import Standardiser
from mimii_lib.pages import tables
from mimii_lib.pages.drawing import ABNORMAL, NORMAL, QUIET, WIDTH, drawing, svg
from mimii_lib.run import Run
from mimii_lib.settings import Imaging

MAX_VECTOR_MARKS = 200
"""More marks than this are drawn as one raster image, since each vector mark is an element of the page."""
STYLES = {"normal": {"marker": "o", "color": NORMAL}, "abnormal": {"marker": "x", "color": ABNORMAL}}
"""Style of the marks of each label; the markers distinguish them without colour."""


def draw_spectrogram(axis: Axes, decibels: NDArray[np.float32], settings: Imaging) -> Any:
    """Draw a spectrogram (n_mels, frames) over time in s, with frequencies in kHz as ticks; return its image."""
    extent = (0.0, imaging.seconds(decibels.shape[1], settings), 0.0, float(len(decibels)))
    image = axis.imshow(decibels, origin="lower", aspect="auto", cmap=settings.colormap, extent=extent)
    centres = librosa.mel_frequencies(settings.n_mels + 2, fmax=settings.sample_rate / 2)[1:-1]
    ticks = {"0.25": 250, "1": 1000, "3": 3000, "7": 7000}
    axis.set_yticks(np.interp(list(ticks.values()), centres, np.arange(len(centres)) + 0.5).tolist(), list(ticks))
    axis.spines[["left", "bottom"]].set_visible(False)
    return image


def spectrogram(decibels: NDArray[np.float32], settings: Imaging, patches: Sequence[int] = ()) -> Figure:
    """Draw a log-mel spectrogram (n_mels, frames) with frames around some of its patches, by their numbers."""
    starts = imaging.patch_starts(decibels.shape[1], settings)
    width, height = imaging.seconds(settings.patch_frames, settings), len(decibels)
    with drawing(figsize=(WIDTH, 2.3)) as (figure, ((axis,),)):
        image = draw_spectrogram(axis, decibels, settings)
        figure.colorbar(image, ax=axis, label="dB to the maximum")
        axis.set(xlabel="time (s)", ylabel="mel scale (kHz)")
        for number in patches:
            start, odd = imaging.seconds(int(starts[number]), settings), number % 2  # neighbours overlap
            line: dict[str, Any] = {"color": "white", "ls": "--" if odd else "-", "lw": 1.6}
            axis.add_patch(Rectangle((start, 0.4 + odd), width, height - 0.8 - 2 * odd, fill=False, **line))
            axis.text(start + 0.05, height - 5 - 6 * odd, f"{number}", color="white", weight="bold")
    return figure


def player(waveform: NDArray[np.float32], rate: int, label: str) -> str:
    """Return an audio player as HTML; it embeds the sound (samples,) as MP3 at about 80 kbit/s."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    source = f"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<audio controls preload="metadata" aria-label="Sound of: {html.escape(label)}" src="{source}"></audio>'


def clips(run: Run, paths: dict[str, str], scores: dict[str, NDArray[np.float64]] | None = None) -> HTML:
    """Show clips by caption side by side: spectrogram and player, and over them patch scores where given."""
    return side_by_side(clip(run, caption, path, (scores or {}).get(caption)) for caption, path in paths.items())


def side_by_side(cards: Iterable[str]) -> HTML:
    """Show cards (:func:`card`) in rows."""
    return HTML(f'<div class="clips">{"".join(cards)}</div>')


def clip_pairs(*runs: Run) -> HTML:
    """Show the paper's Figure 2 for our recordings, with players: a normal clip above an abnormal one per column.

    The columns are the machine IDs of a single run, or the first machine ID of each of several runs.
    """
    columns = [(run, name) for run in runs for name in (run.ids if len(runs) == 1 else run.ids[:1])]
    pairs = (
        "".join(clip(run, caption, path, width=2.0) for caption, path in examples(run, name).items())
        for run, name in columns
    )
    return HTML(f'<div class="clips narrow">{"".join(f"<div>{pair}</div>" for pair in pairs)}</div>')


def clip(
    run: Run, caption: str, path: str, scores: NDArray[np.float64] | None = None, width: float = 3.6, details: str = ""
) -> str:
    """Return the spectrogram of a clip, `width` inches wide, with its player and over it its patch scores, as HTML.

    The score (1,) of a system that scores no patches is drawn as a line.
    """
    settings, waveform = run.settings.imaging, run.waveform(path)
    decibels = imaging.log_mel(waveform, settings)
    levels = decibels.mean(axis=1)
    bands = f"loudest in mel band {levels.argmax() + 1} of {len(levels)}, {np.ptp(levels):.0f} dB above the quietest"
    description = f"Log-mel spectrogram of {caption}: {bands}, band {levels.argmin() + 1}"
    ratios = [1] if scores is None else [1, 2]
    size = (width, 0.6 + 0.4 * width + 0.7 * (scores is not None))
    with drawing(len(ratios), figsize=size, sharex=True, height_ratios=ratios) as (figure, axes):
        draw_spectrogram(axes[-1, 0], decibels, settings)
        axes[-1, 0].set(xlabel="time (s)", ylabel="mel scale (kHz)" if width > 3 else "")
        if scores is not None:
            middles = imaging.patch_starts(decibels.shape[1], settings) + settings.patch_frames // 2
            times = [imaging.seconds(int(middle), settings) for middle in middles]
            if len(scores) not in (1, len(times)):  # the windows of an audio network, which overlap by half
                times = list(np.arange(1, len(scores) + 1) * settings.seconds / (len(scores) + 1))
            if len(scores) == len(times):
                axes[0, 0].plot(times, scores, "o-", color="black", ms=3, lw=1)
                description += f"; highest score in patch {scores.argmax()} of {len(scores)}"
            axes[0, 0].axhline(scores.mean(), color=ABNORMAL, lw=1)
            axes[0, 0].set(ylabel="score")
            axes[0, 0].locator_params(axis="y", nbins=2)
        image = svg(figure, description)
    text = html.escape(caption) + (f"<span>{html.escape(details)}</span>" if details else "")
    return card(text, image, player(waveform, settings.sample_rate, caption))


def card(caption: str, image: str, sound: str = "") -> str:
    """Return a figure of a page as HTML: a caption, a drawing and a player."""
    return f'<figure class="clip"><figcaption>{caption}</figcaption>{image}{sound}</figure>'


def examples(run: Run, machine_id: str) -> dict[str, str]:
    """Return the paths of the first normal and the first abnormal clip of a machine ID, by caption."""
    first = run.recordings.clips_of(machine_id).groupby("label", sort=False).path.first()
    return {f"{run.machine} {machine_id}, {label}": path for label, path in first.items()}


def split_map(run: Run, machine_id: str) -> Figure:
    """Draw which normal clips of a machine ID are test clips (long strokes), a row per seed."""
    normal = run.recordings.clips_of(machine_id).query("label == 'normal'").path
    seeds = run.profile.seeds
    test = np.array([normal.isin(run.recordings.split_clips(machine_id, seed, "test").path) for seed in seeds])
    with drawing(figsize=(WIDTH, 0.5 + 0.25 * len(seeds))) as (figure, ((axis,),)):
        for role, length, colour in ((test, 0.9, NORMAL), (~test, 0.35, QUIET)):
            strokes = {"linelengths": length, "colors": colour, "rasterized": len(normal) > MAX_VECTOR_MARKS}
            axis.eventplot([np.flatnonzero(selected) for selected in role], **strokes)
        axis.set_yticks(range(len(seeds)), [f"seed {seed}" for seed in seeds])
        axis.set(xlabel=f"normal clips of {run.machine} {machine_id}", xticks=[], ylim=(len(seeds) - 0.5, -0.5))
        axis.spines[:].set_visible(False)
    return figure


def colour_channels(patch: NDArray[np.uint8], settings: Imaging) -> Figure:
    """Draw a patch (n_mels, patch_frames) of colour map indices as red, green and blue, up-scaled and standardised."""
    scales = (imaging.upscaling(side, settings.image_size) for side in patch.shape)
    colours = imaging.standardised_colours(extractors.IMAGENET_MEAN, extractors.IMAGENET_STD, settings)
    channels = imaging.extractor_input(torch.tensor(patch[None]), colours, *scales)[0].numpy()
    bands = (0, settings.n_mels) if settings.origin == "lower" else (settings.n_mels, 0)
    extent = (0.0, imaging.seconds(settings.patch_frames, settings), *bands)
    limits = {"vmin": channels.min(), "vmax": channels.max()}
    with drawing(1, 3, figsize=(WIDTH, 2.0), sharey=True) as (figure, axes):
        for axis, channel, name in zip(axes[0], channels, ("red", "green", "blue"), strict=True):
            image = axis.imshow(channel, cmap="gray", extent=extent, aspect="auto", **limits)
            axis.set(title=name, xlabel="time (s)")
        axes[0, 0].set(ylabel="mel band")
        figure.colorbar(image, ax=axes[0].tolist(), label="standardised value")
    return figure


def reconstructions(fits: dict[str, Any], patches: dict[str, NDArray[np.uint8]], settings: Imaging) -> Figure:
    """Draw patches of colour map indices, a row each by caption: the input, each auto-encoder's drawing and its error.

    The error of a pixel, its root mean square over the colours, is black where 0 and white where largest in the figure.
    """
    stacked = np.stack(list(patches.values()))
    inputs = imaging.rgb_patches(stacked, settings).numpy()
    height, width = stacked.shape[1:]  # the networks draw squares, of which the rest is padding
    drawings = {
        name: fitted.reconstruct(stacked.reshape(len(stacked), -1))[..., :height, :width]
        for name, fitted in fits.items()
    }
    errors = {name: ((drawn - inputs) ** 2).mean(axis=1, keepdims=True) ** 0.5 for name, drawn in drawings.items()}
    largest = max(error.max() for error in errors.values())
    columns = [inputs, *chain(*((drawings[name], errors[name] / largest) for name in fits))]
    rows = {caption.replace(", ", "\n"): [column[row] for column in columns] for row, caption in enumerate(patches)}
    return _image_grid(rows, ["input", *chain(*((tables.NAMES[name], "its error") for name in fits))])


def _image_grid(rows: Mapping[str, Iterable[NDArray[Any]]], titles: Sequence[str]) -> Figure:
    """Draw images (channels, height, width) with values in [0, 1], a labelled row per entry."""
    side = min(1.2, (WIDTH - 0.5) / len(titles))
    with drawing(len(rows), len(titles), figsize=(WIDTH, 0.6 + side * len(rows))) as (figure, axes):
        for axis, image in zip(axes.flat, chain(*rows.values()), strict=True):
            axis.imshow(image.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)  # cmap: for images of one channel
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for axis, label in zip(axes[:, 0], rows, strict=True):
            axis.set_ylabel(label)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
    return figure


@contextmanager
def panels(number: int, height: float, **options: Any) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """Open a figure with a `number` of panels of a height in inches, two in a row."""
    columns = min(number, 2)
    rows = -(-number // columns)
    with drawing(rows, columns, figsize=(WIDTH, 0.5 + height * rows), **options) as (figure, axes):
        for axis in axes.flat[number:]:
            axis.set_visible(False)
        yield figure, axes.flat[:number]


def feature_map(run: Run, extractor: str, seed: int) -> Figure:
    """Draw the clips of every machine ID on the two principal axes of the training features, with their variance."""
    with panels(len(run.ids), height=2.2) as (figure, axes):
        for axis, machine_id in zip(axes, run.ids, strict=True):
            train = run.recordings.split_clips(machine_id, seed, "train")
            projection = make_pipeline(Standardiser(), PCA(2, random_state=0))
            projection.fit(run.stages.detector_inputs(machine_id, extractor, train))
            for role, label in (("train", "normal"), ("test", "normal"), ("test", "abnormal")):
                members = run.recordings.split_clips(machine_id, seed, role).query("label == @label")
                points = projection.transform(run.stages.detector_inputs(machine_id, extractor, members))
                centres = points.reshape(len(members), -1, 2).mean(axis=1)
                style = STYLES[label] | {"rasterized": len(centres) > MAX_VECTOR_MARKS}
                style |= {"color": QUIET} if role == "train" else {}
                axis.scatter(*centres.T, **style, s=16, alpha=0.8, label=f"{role}, {label}")
            first, second = projection[-1].explained_variance_ratio_
            axis.set(title=machine_id, xlabel=f"axis 1: {first:.0%} of variance", ylabel=f"axis 2: {second:.0%}")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, columnspacing=1)
    return figure


def loss_curves(losses: Mapping[str, Sequence[float]], step: str = "epoch") -> Figure:
    """Draw the training loss of each auto-encoder, by its name, over the steps: epochs or batches."""
    with drawing(1, len(losses), figsize=(WIDTH, 2.2), sharey=True) as (figure, axes):
        for axis, (name, values) in zip(axes[0], losses.items(), strict=True):
            axis.plot(np.arange(1, len(values) + 1), values, "o-", color=NORMAL, ms=3)
            axis.set(title=name, xlabel=step)
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[0, 0].set(ylabel="mean squared error", ylim=(0, None))
    return figure


def effects(effects: pd.DataFrame) -> Figure:
    """Draw how each alternative changes the mean AUC, with its interval; diamonds mark intervals without zero.

    A change far beyond the others is an arrow at the edge with its number. Alternatives without a change are left out.
    """
    shown = effects[(effects.not_run == "") & ((effects.low != 0) | (effects.high != 0))]
    limit = max(10.0, 2.5 * float(shown[["low", "high"]].abs().max(axis=1).median()))
    with drawing(figsize=(WIDTH, 0.7 + 0.36 * len(shown))) as (figure, ((axis,),)):
        for row, effect in enumerate(shown.itertuples()):
            marker, colour = ("D", ABNORMAL) if effect.low > 0 or effect.high < 0 else ("o", NORMAL)
            edge = np.sign(effect.difference) * limit
            if abs(effect.difference) > limit:
                axis.plot(edge, row, "<" if edge < 0 else ">", color=colour, clip_on=False)
                side: dict[str, Any] = (
                    {"ha": "left", "xytext": (8, 0)} if edge < 0 else {"ha": "right", "xytext": (-8, 0)}
                )
                place = {"textcoords": "offset points", "va": "center", "fontsize": 9}
                axis.annotate(tables.signed(effect.difference), (edge, row), **side, **place)
            else:
                axis.plot(np.clip([effect.low, effect.high], -limit, limit), [row, row], color=colour, lw=2)
                axis.plot(effect.difference, row, marker, color=colour)
            name = f"{effect.title}: {effect.alternative.partition(' (')[0]}"  # the table says against what
            axis.text(0, row - 0.3, name, transform=axis.get_yaxis_transform(), fontsize=9)
            axis.plot([0, 0], [row - 0.2, row + 0.3], color=QUIET, lw=1, zorder=0)  # interrupted by the names
        axis.spines["left"].set_visible(False)
        axis.set(xlim=(-limit, limit), ylim=(len(shown) - 0.5, -0.9), yticks=[])
        axis.set_xlabel("AUC minus that of the default, percentage points")
    return figure


def pipeline(run: Run) -> HTML:
    """Show the method as a map of the book, after the paper's Figure 1: one abnormal clip from sound to AUC.

    Each step links to its page, relative to a page of ``book/``. The scores are those of the run's first system that
    takes pictures, if any; if it has no such network, no step shows features.
    """
    settings, machine_id, systems = run.settings.imaging, run.ids[0], run.results.systems()
    system = next((one for one in systems if one[0] is None or extractors.get(one[0]).takes_pictures), systems[0])
    seed = run.results.seeds(system[1])[0]
    test, scores = run.recordings.split_clips(machine_id, seed, "test"), run.scores(machine_id, *system, seed)
    abnormal = (test.label == "abnormal").to_numpy()
    clip, path = test.index[abnormal][0], test.path[abnormal].iloc[0]
    waveform, decibels = run.waveform(path), run.spectrograms(machine_id)[clip]
    patches = run.patches(machine_id)[clip]
    ranks = rankdata(evaluation.pool(scores, run.settings.evaluation))
    image = imaging.rgb_patches(patches[:1], settings)[0].permute(1, 2, 0).numpy()
    peaks = np.abs(waveform[: len(waveform) // 200 * 200]).reshape(200, -1).max(axis=1)
    colours = np.where(abnormal, ABNORMAL, NORMAL)
    levels = f"the level over time in {len(decibels)} mel bands"
    scored = "each image is, and their mean" if scores.shape[1] > 1 else "the clip is"
    baseline = "an auto-encoder reconstructs the images; a large error means an anomaly"
    steps: list[tuple[str, str, str, Callable[[Axes], Any]]] = [
        ("01_dataset", "Sound", f"{settings.seconds} s of a {run.machine}",
         lambda axis: axis.fill_between(range(200), -peaks, peaks, color=NORMAL, lw=0)),
        ("02_spectrogram_imaging", "Spectrogram", levels, lambda axis: draw_spectrogram(axis, decibels, settings)),
        ("02_spectrogram_imaging", "Images", f"{len(patches)} overlapping patches", lambda axis: axis.imshow(image)),
        ("04_detectors", "Scores", f"how anomalous {scored}",
         lambda axis: axis.plot(scores[abnormal][0], "o-", color="black", ms=3, lw=1)),
        ("06_results", "AUC", "do abnormal clips (upper row) score above normal ones (lower)?",
         lambda axis: axis.scatter(ranks, abnormal, s=12, c=colours)),
        ("05_dcae_baselines", "The baseline", baseline, lambda axis: axis.imshow(image[::8, ::8])),
    ]  # fmt: skip
    if system[0] is not None and extractors.get(system[0]).takes_pictures:
        features = run.features(machine_id, system[0])[clip, 0]
        text = f"{len(features):,} numbers per image, by {extractors.get(system[0]).title}"
        side = int(len(features) ** 0.5)
        square = np.abs(features[: side**2]).reshape(side, side) ** 0.5
        draw = partial(Axes.imshow, X=square, cmap=settings.colormap)
        steps.insert(3, ("03_feature_extraction", "Features", text, draw))
    items = ""
    for page, title, text, draw_on in steps:
        with drawing(figsize=(1.6, 1.0)) as (figure, ((axis,),)):
            draw_on(axis)
            axis.set_axis_off()
            content = f"{svg(figure, '')}<span><strong>{title}</strong> {text}</span>"  # the text is the description
        items += f'<li><a href="../executed/{run.machine}/{page}.html">{content}</a></li>'
    return HTML(f'<nav aria-label="From sound to AUC, by page"><ol class="pipeline">{items}</ol></nav>')
