"""What the book's pages show: figures and sounds, in the one hand of :mod:`~mimii_lib.pages.drawing`.

Matplotlib figures are returned closed, so that a cell that ends in one shows it once.
"""

import base64
import html
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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

from mimii_lib import evaluation, imaging
from mimii_lib.detectors import Standardiser
from mimii_lib.pages import explanations, tables
from mimii_lib.pages.drawing import ABNORMAL, NORMAL, QUIET, WIDTH, drawing, svg
from mimii_lib.pages.open_points import Effect
from mimii_lib.run import Run
from mimii_lib.settings import Imaging

MANY = 200
"""Marks; more are drawn as one picture, since each would be an element of the page."""

# Spectrograms and sounds


def draw_spectrogram(axes: Axes, decibels: NDArray[np.float32], settings: Imaging) -> Any:
    """Draw a spectrogram of shape (n_mels, frames), time to the right and its frequencies upwards; return its image."""
    duration = imaging.seconds(decibels.shape[1], settings)
    extent = (0.0, duration, 0.0, float(len(decibels)))
    picture = axes.imshow(decibels, origin="lower", aspect="auto", cmap=settings.colormap, extent=extent)
    centres = librosa.mel_frequencies(settings.n_mels + 2, fmax=settings.sample_rate / 2)[1:-1]
    ticks = [250, 1000, 3000, 7000]
    axes.set_yticks([float(np.interp(tick, centres, np.arange(len(centres)) + 0.5)) for tick in ticks])
    axes.set_yticklabels([f"{tick / 1000:g}" for tick in ticks])
    axes.spines[["left", "bottom"]].set_visible(False)
    return picture


def _described(decibels: NDArray[np.float32], settings: Imaging) -> str:
    """Tell what the picture of a log-mel spectrogram shows to those who cannot see it."""
    centres = librosa.mel_frequencies(settings.n_mels + 2, fmax=settings.sample_rate / 2)[1:-1]
    levels = decibels.mean(axis=1)
    loudest, quietest = centres[levels.argmax()], centres[levels.argmin()]
    return (
        f"{settings.seconds} s to the right, up to {settings.sample_rate / 2000:g} kHz; on average "
        f"loudest near {loudest:.0f} Hz and quietest near {quietest:.0f} Hz, {np.ptp(levels):.0f} dB below"
    )


def spectrogram(decibels: NDArray[np.float32], settings: Imaging, patches: Sequence[int] = ()) -> Figure:
    """Draw a log-mel spectrogram (n_mels, frames), and frame some of its patches by their numbers."""
    with drawing(figsize=(WIDTH, 2.3)) as (figure, axes):
        axis = axes[0, 0]
        picture = draw_spectrogram(axis, decibels, settings)
        figure.colorbar(picture, ax=axis, label="dB to the maximum")
        axis.set(xlabel="time (s)", ylabel="mel scale (kHz)")
        starts = imaging.patch_starts(decibels.shape[1], settings)
        width = imaging.seconds(settings.patch_frames, settings)
        for number in patches:
            start = imaging.seconds(int(starts[number]), settings)
            low = 0.4 + number % 2
            style = "-" if number % 2 == 0 else "--"
            box = Rectangle((start, low), width, len(decibels) - 2 * low, fill=False, color="white", ls=style, lw=1.6)
            axis.add_patch(box)
            axis.text(start + 0.05, len(decibels) - 5 - 6 * (number % 2), f"{number}", color="white", weight="bold")
    return figure


def player(waveform: NDArray[np.float32], rate: int, label: str) -> str:
    """Return a player whose sound is part of the page: MP3 at about 80 kbit/s, which every browser plays."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    sound = base64.b64encode(buffer.getvalue()).decode()
    source = f"data:audio/mpeg;base64,{sound}"
    return f'<audio controls preload="metadata" aria-label="Sound of: {label}" src="{source}"></audio>'


def clips(run: Run, chosen: dict[str, str], scores: dict[str, NDArray[np.float64]] | None = None) -> HTML:
    """Show clips side by side: each one's spectrogram over its sound, and over that what it is.

    Parameters
    ----------
    chosen
        Clip paths by caption.
    scores
        Patch scores by caption, drawn along time over the spectrogram.
    """
    shown = [_clip(run, caption, path, (scores or {}).get(caption)) for caption, path in chosen.items()]
    return HTML(f'<div class="clips">{"".join(shown)}</div>')


def gallery(*runs: Run) -> HTML:
    """Show Figure 2 anew, with players: a normal (top) and an abnormal (bottom) clip in each column.

    A column is a machine ID of one run; of several runs it is the first machine ID of each.
    """
    columns = [(run, machine_id) for run in runs for machine_id in (run.ids if len(runs) == 1 else run.ids[:1])]
    shown = [
        "".join(_clip(run, caption, path, narrow=True) for caption, path in examples(run, machine_id).items())
        for run, machine_id in columns
    ]
    return HTML(f'<div class="clips narrow">{"".join(f"<div>{column}</div>" for column in shown)}</div>')


def _clip(run: Run, caption: str, path: str, scores: NDArray[np.float64] | None = None, narrow: bool = False) -> str:
    settings, waveform = run.settings.imaging, run.waveform(path)
    decibels = imaging.log_mel(waveform, settings)
    rows, ratios = (1, [1]) if scores is None else (2, [1, 2])
    size = (2.0, 1.6) if narrow else (3.6, 2.1 if scores is None else 2.8)
    with drawing(rows, figsize=size, sharex=True, height_ratios=ratios) as (figure, axes):
        axis = axes[-1, 0]
        draw_spectrogram(axis, decibels, settings)
        axis.set(xlabel="time (s)", ylabel="" if narrow else "mel scale (kHz)")
        if scores is not None:
            _draw_scores(axes[0, 0], scores, decibels.shape[1], settings)
        told = "" if scores is None else f"; highest score in patch {scores.argmax()} of {len(scores)}"
        picture = svg(figure, f"Log-mel spectrogram of {caption}: {_described(decibels, settings)}{told}")
    text = html.escape(caption)
    return (
        f'<figure class="clip"><figcaption>{text}</figcaption>{picture}'
        f"{player(waveform, settings.sample_rate, text)}</figure>"
    )


def _draw_scores(axis: Axes, scores: NDArray[np.float64], frames: int, settings: Imaging) -> None:
    starts = imaging.patch_starts(frames, settings)
    middles = [imaging.seconds(int(start) + settings.patch_frames // 2, settings) for start in starts]
    axis.plot(middles, scores, "o-", color="black", ms=3, lw=1)
    axis.axhline(scores.mean(), color=ABNORMAL, lw=1)
    axis.set(ylabel="score", yticks=[])


def examples(run: Run, machine_id: str) -> dict[str, str]:
    """Return the first normal and the first abnormal clip of a machine ID, by caption."""
    table = run.recordings.clips_of(machine_id)
    firsts = table.groupby("label", sort=False).path.first()
    return {f"{run.machine} {machine_id}, {label}": path for label, path in firsts.items()}


# §4 Dataset


def split_map(run: Run, machine_id: str) -> Figure:
    """Draw which normal clips of a machine ID test, seed by seed."""
    normal = run.recordings.clips_of(machine_id).query("label == 'normal'").path
    rows = []
    for seed in run.profile.seeds:
        tests = normal.isin(run.recordings.split_clips(machine_id, seed, "test").path)
        rows.append(tests.to_numpy())
    with drawing(figsize=(WIDTH, 0.5 + 0.25 * len(rows))) as (figure, axes):
        axis = axes[0, 0]
        many = len(normal) > MANY
        for row, tests in enumerate(rows):
            # Those that test stand higher, so that they can be told without the colours too.
            for chosen, height, colour in ((tests, 0.9, NORMAL), (~tests, 0.35, QUIET)):
                places = np.flatnonzero(chosen) + 0.5
                axis.bar(places, -height, 0.9, bottom=row + 0.95, color=colour, lw=0, rasterized=many)
        axis.set_yticks(np.arange(len(rows)) + 0.5, [f"seed {seed}" for seed in run.profile.seeds])
        axis.tick_params(length=0)
        axis.set(xlabel=f"normal clips of {run.machine} {machine_id}", xticks=[], xlim=(0, len(normal)))
        axis.invert_yaxis()
        axis.spines[:].set_visible(False)
    return figure


# §5 imaging


def patch_steps(entries: NDArray[np.uint8], settings: Imaging) -> Figure:
    """Draw one patch on its way: colour map entries, picture, picture at the extractor's size."""
    rgb = imaging.rgb_patches(entries[None], settings)
    sides = (imaging.upscaling(side, settings) for side in entries.shape)
    large = imaging.extractor_input(torch.tensor(entries[None]), imaging.colour_table(settings.colormap), *sides)
    steps = {
        f"{entries.shape[0]} × {entries.shape[1]} values": entries,
        f"in {settings.colormap}": rgb[0].permute(1, 2, 0).numpy(),
        f"{settings.image_size} × {settings.image_size} pixels": large[0].permute(1, 2, 0).clamp(0, 1).numpy(),
    }
    with drawing(1, 3, figsize=(WIDTH, 2.0)) as (figure, axes):
        for axis, (title, picture) in zip(axes[0], steps.items(), strict=True):
            axis.imshow(picture, cmap="gray")
            axis.set(title=title, xticks=[0, picture.shape[1] - 1], yticks=[])
    return figure


# §5.1 extractors


@contextmanager
def _panels(number: int, height: float, **said: Any) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """Open a drawing of panels, two in a row, each `height` inches high; a place that is left over stays empty."""
    columns = min(number, 2)
    rows = -(-number // columns)
    with drawing(rows, columns, figsize=(WIDTH, 0.5 + height * rows), **said) as (figure, axes):
        for axis in axes.flat[number:]:
            axis.set_visible(False)
        yield figure, axes.flat[:number]


def feature_map(run: Run, extractor: str, seed: int) -> Figure:
    """Draw the clips of every machine ID on the two main axes of the normal training features."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    groups = {"train": ("train", "normal", QUIET), "test, normal": ("test", "normal", NORMAL)}
    groups |= {"test, abnormal": ("test", "abnormal", ABNORMAL)}
    with _panels(len(run.ids), height=2.0) as (figure, axes):
        for axis, machine_id in zip(axes, run.ids, strict=True):
            train = run.stages.detector_inputs(
                machine_id, extractor, run.recordings.split_clips(machine_id, seed, "train")
            )
            plane = make_pipeline(Standardiser(), PCA(2, random_state=0)).fit(train)
            for label, (role, kind, colour) in groups.items():
                members = run.recordings.split_clips(machine_id, seed, role).query("label == @kind")
                points = plane.transform(run.stages.detector_inputs(machine_id, extractor, members))
                middle = points.reshape(len(members), -1, 2).mean(1)
                marker = "x" if kind == "abnormal" else "o"
                many = len(middle) > MANY
                axis.scatter(*middle.T, s=16, color=colour, marker=marker, label=label, alpha=0.8, rasterized=many)
            axis.set(title=machine_id, xticks=[], yticks=[])
        figure.legend(
            *axes[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=3,
            columnspacing=1,
            handletextpad=0.2,
        )
    return figure


# §5.2 detectors and auto-encoders


def score_strips(run: Run, machine_id: str, rows: Sequence[tuple[str | None, str]], seed: int) -> Figure:
    """Draw every test clip's anomaly score, row by row; ranks make the detectors' scales comparable."""
    anomalous = (run.recordings.split_clips(machine_id, seed, "test").label == "abnormal").to_numpy()
    with drawing(figsize=(WIDTH, 0.8 + 0.36 * len(rows))) as (figure, axes):
        axis = axes[0, 0]
        kinds = (("normal", ~anomalous, NORMAL, "o", 22), ("abnormal", anomalous, ABNORMAL, "x", 30))
        for height, row in enumerate(rows):
            ranks = run.clip_scores(machine_id, *row, seed).scores.argsort().argsort()
            for label, chosen, colour, marker, size in kinds:
                level, many = np.full(chosen.sum(), height), len(anomalous) > MANY
                axis.scatter(ranks[chosen], level, s=size, color=colour, marker=marker, label=label, rasterized=many)
        axis.set_yticks(range(len(rows)), [tables.name_of(row) for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.tick_params(length=0)
        axis.set(xlabel="test clips by rank: more anomalous →", xticks=[])
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(handles[:2], labels[:2], loc="outside upper right", ncols=2)
    return figure


def loss_curves(fits: dict[str, Any]) -> Figure:
    """Draw the training loss of fitted auto-encoders, by name."""
    with drawing(1, len(fits), figsize=(WIDTH, 2.2), sharey=True) as (figure, axes):
        for axis, (name, fitted) in zip(axes[0], fits.items(), strict=True):
            epochs = np.arange(1, len(fitted.losses_) + 1)
            axis.plot(epochs, fitted.losses_, "o-", color=NORMAL, ms=3)
            axis.set(title=tables.NAMES[name], xlabel="epoch")
            if len(epochs) <= 10:
                axis.set_xticks(epochs)
        axes[0, 0].set(ylabel="mean squared error", ylim=(0, None))
    return figure


def reconstructions(fits: dict[str, Any], entries: dict[str, NDArray[np.uint8]], settings: Imaging) -> Figure:
    """Draw patches, by caption, over their reconstructions by each auto-encoder."""
    stacked = np.stack(list(entries.values()))
    rows = {"picture": imaging.rgb_patches(stacked, settings).numpy()}
    rows |= {tables.NAMES[name]: fitted.reconstruct(stacked.reshape(len(stacked), -1)) for name, fitted in fits.items()}
    with drawing(len(rows), len(entries), figsize=(WIDTH, 1.3 * len(rows))) as (figure, axes):
        for line, (name, pictures) in zip(axes, rows.items(), strict=True):
            for axis, picture in zip(line, pictures, strict=True):
                axis.imshow(picture.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)  # the map is for one plane only
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            line[0].set_ylabel(name)
        for axis, caption in zip(axes[0], entries, strict=True):
            axis.set_title(caption.replace(", ", "\n"))
    return figure


# §6 results


def auc_dots(run: Run, table: pd.DataFrame) -> Figure:
    """Draw the AUC of every row and seed (dots) and their mean (bar), a panel per machine ID."""
    rows = run.results.systems()
    with _panels(len(run.ids), height=0.4 + 0.21 * len(rows), sharex=True, sharey=True) as (figure, axes):
        for axis, machine_id in zip(axes, run.ids, strict=True):
            here = table[table.id == machine_id]
            for height, (extractor, detector) in enumerate(rows):
                same = here.extractor.isna() if extractor is None else here.extractor == extractor
                areas = here[same & (here.detector == detector)].auc * 100
                axis.plot(areas, [height] * len(areas), "o", color=NORMAL, ms=4, alpha=0.5, mew=0)
                axis.plot(areas.mean(), height, "|", color="black", ms=12, mew=2)
            axis.axvline(50, color=QUIET, lw=0.8, ls=":")
            axis.set(title=machine_id)
        axes[0].set_yticks(range(len(rows)), [tables.name_of(row) for row in rows])
        axes[0].invert_yaxis()
        figure.supxlabel("AUC (%)")
    return figure


def caught_and_missed(run: Run, table: pd.DataFrame) -> tuple[dict[str, str], dict[str, NDArray[np.float64]]]:
    """Return the abnormal test clip that stands out most and the one that hides best, and their patch scores.

    In the best row of the table that scores patches, and its first seed, over all machine IDs; a clip's place is the
    share of normal test clips with a lower score.
    """
    row = explanations.best_row(table)
    found = explanations.gallery(explanations.judged(run, row), k=1)
    chosen, scores = {}, {}
    for clip in found[found.label == "abnormal"].itertuples():
        number = Path(clip.path).stem
        caption = f"{clip.kind}: {clip.id}, clip {number}; scores above {clip.place:.0%} of the normal clips"
        chosen[caption], scores[caption] = clip.path, run.scores(clip.id, *row, clip.seed)[clip.at]
    return chosen, scores


def effects(found: Sequence[Effect]) -> Figure:
    """Draw how much each alternative changes the mean AUC, with its interval; those that were not run are left out."""
    done = [effect for effect in found if not effect.not_run]
    with drawing(figsize=(WIDTH, 0.7 + 0.36 * len(done))) as (figure, axes):
        axis = axes[0, 0]
        for height, effect in enumerate(done):
            clear = effect.low > 0 or effect.high < 0
            colour = ABNORMAL if clear else NORMAL
            axis.plot([effect.low, effect.high], [height, height], color=colour, lw=2)
            axis.plot(effect.difference, height, "o" if not clear else "D", color=colour)
            name = f"{effect.point.title}: {effect.alternative.name}"
            axis.text(0, height - 0.3, name, transform=axis.get_yaxis_transform(), fontsize=9)
        axis.axvline(0, color=QUIET, lw=1, zorder=0)
        axis.spines["left"].set_visible(False)
        axis.set(ylim=(len(done) - 0.5, -0.9), yticks=[], xlabel="AUC against the default, percentage points")
    return figure


def pipeline(run: Run) -> HTML:
    """Draw the map of the book: the way of one clip from sound to AUC (after the paper's Figure 1), and the rival's.

    Every box leads to its page; links are relative to a page of ``book/``.
    """
    settings, machine_id, extractor = run.settings.imaging, run.ids[0], run.stages.extractors[0]
    row, seed = next(row for row in run.results.systems() if row[0] == extractor), run.profile.seeds[0]
    test = run.recordings.split_clips(machine_id, seed, "test")
    anomalous = (test.label == "abnormal").to_numpy()
    clip = int(test.index[anomalous][0])
    waveform, decibels = run.waveform(test.path[clip]), run.spectrograms(machine_id)[clip]
    entries = run.patches(machine_id)[clip]
    features = run.features(machine_id, extractor)[clip, 0]
    scores = run.scores(machine_id, *row, seed)
    pooled = evaluation.pool(scores, run.settings.evaluation)
    rgb = imaging.rgb_patches(entries[:1], settings)[0].permute(1, 2, 0).numpy()
    side = int(len(features) ** 0.5)

    def shape(axis: Axes) -> None:
        pieces = waveform[: len(waveform) // 200 * 200].reshape(200, -1)
        axis.fill_between(np.arange(200), pieces.min(axis=1), pieces.max(axis=1), color=NORMAL, lw=0)

    def spectrogram(axis: Axes) -> None:
        axis.imshow(decibels, origin="lower", aspect="auto", cmap=settings.colormap)

    def description(axis: Axes) -> None:
        axis.imshow(np.sqrt(np.abs(features[: side**2])).reshape(side, side), cmap=settings.colormap)

    def patch_scores(axis: Axes) -> None:
        mine = scores[int(anomalous.argmax())]
        axis.plot(mine, "o-", color="black", ms=3, lw=1)
        axis.axhline(mine.mean(), color=ABNORMAL)

    def clip_scores(axis: Axes) -> None:
        ranks = pooled.argsort().argsort()
        axis.plot(ranks[anomalous], np.ones(anomalous.sum()), "x", color=ABNORMAL, ms=5)
        axis.plot(ranks[~anomalous], np.zeros((~anomalous).sum()), "o", color=NORMAL, ms=4)
        axis.set_ylim(-1, 2)

    def hourglass(axis: Axes) -> None:
        axis.imshow(rgb, extent=(0, 1, 0, 1))
        for left, right in ((1.2, 1.9), (2.8, 2.1)):
            axis.fill([left, right, right, left], [0, 0.4, 0.6, 1], color=QUIET)
        axis.imshow(rgb.mean(axis=2), extent=(3, 4, 0, 1), cmap="gray")
        axis.set(xlim=(0, 4), ylim=(0, 1), aspect="equal")

    steps = [
        ("01_dataset", "Sound", f"{settings.seconds} s of a {run.machine}", shape),
        ("02_spectrogram_imaging", "Spectrogram", f"what is loud when, in {len(decibels)} mel bands", spectrogram),
        (
            "02_spectrogram_imaging",
            "Pictures",
            f"{len(entries)} overlapping patches, in colour",
            lambda axis: axis.imshow(rgb),
        ),
        (
            "03_feature_extraction",
            "Features",
            f"{len(features):,} numbers a picture, by {tables.extractor_name(extractor)}",
            description,
        ),
        ("04_detectors", "Scores", "how unusual each picture is, and their mean", patch_scores),
        ("06_results", "AUC", "do abnormal clips (×) score above normal ones (•)?", clip_scores),
        (
            "05_dcae_baselines",
            "The rival",
            "an auto-encoder learns to redraw the pictures; where it fails, it calls them unusual",
            hourglass,
        ),
    ]
    items = "".join(
        f'<li><a href="../executed/{run.machine}/{page}.html">{_thumbnail(draw)}'
        f"<span><strong>{title}</strong> {text}</span></a></li>"
        for page, title, text, draw in steps
    )
    normal = test.path[~anomalous].iloc[0]
    listen = "".join(
        f'<figure class="clip listen"><figcaption>{run.machine} {machine_id}, {label}</figcaption>'
        f"{player(sound, settings.sample_rate, f'{run.machine} {machine_id}, {label}')}</figure>"
        for label, sound in (("normal", run.waveform(normal)), ("abnormal, the clip above", waveform))
    )
    return HTML(
        f'<nav aria-label="From sound to score, each step with its page"><ol class="pipeline">{items}</ol></nav>'
        f'<div class="clips">{listen}</div>'
    )


def _thumbnail(draw: Callable[[Axes], Any]) -> str:
    """Draw without axes; the words beside it say what it is."""
    with drawing(figsize=(1.6, 1.0)) as (figure, axes):
        draw(axes[0, 0])
        axes[0, 0].set(xticks=[], yticks=[])
        axes[0, 0].spines[:].set_visible(False)
        return svg(figure, "")
