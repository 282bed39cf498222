"""What the book's pages show: one hand for figures and sounds (tables stand in :mod:`~mimii_lib.tables`).

Matplotlib figures are returned closed, so that a cell that ends in one shows it once.
"""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import soundfile
import torch
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mimii_lib import decisions, imaging, tables
from mimii_lib.choices import Effect
from mimii_lib.detectors import Standardiser
from mimii_lib.run import Run
from mimii_lib.settings import Imaging

NORMAL, ABNORMAL, QUIET = "#0072b2", "#d55e00", "#9a9a9a"
"""Colours of the classes (Okabe and Ito: they survive colour blindness), and of what stays behind."""


_STYLE: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


@contextmanager
def _figure(rows: int = 1, columns: int = 1, **said: Any) -> Iterator[tuple[Figure, NDArray[Any]]]:
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, layout="constrained", squeeze=False, **said)
        yield figure, axes
        plt.close(figure)


# Spectrograms and sounds


def _draw_spectrogram(axes: Axes, decibels: NDArray[np.float32], settings: Imaging) -> Any:
    duration = imaging.seconds(decibels.shape[1], settings)
    extent = (0.0, duration, 0.0, float(len(decibels)))
    picture = axes.imshow(decibels, origin="lower", aspect="auto", cmap=settings.colormap, extent=extent)
    centres = librosa.mel_frequencies(settings.n_mels + 2, fmax=settings.sample_rate / 2)[1:-1]
    ticks = [250, 1000, 3000, 7000]
    axes.set_yticks([float(np.interp(tick, centres, np.arange(len(centres)) + 0.5)) for tick in ticks])
    axes.set_yticklabels([f"{tick / 1000:g}" for tick in ticks])
    axes.spines[["left", "bottom"]].set_visible(False)
    return picture


def spectrogram(decibels: NDArray[np.float32], settings: Imaging, patches: Sequence[int] = ()) -> Figure:
    """Draw a log-mel spectrogram (n_mels, frames), and frame some of its patches by their numbers."""
    with _figure(figsize=(7, 2.4)) as (figure, axes):
        axis = axes[0, 0]
        picture = _draw_spectrogram(axis, decibels, settings)
        figure.colorbar(picture, ax=axis, label="dB below the maximum")
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


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return base64.b64encode(buffer.getvalue()).decode()


def _player(waveform: NDArray[np.float32], rate: int, label: str) -> str:
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


def gallery(run: Run) -> HTML:
    """Show Figure 2 anew, with players: a normal (top) and an abnormal (bottom) clip of every machine ID."""
    columns = [
        "".join(_clip(run, caption, path, width=2.1) for caption, path in examples(run, machine_id).items())
        for machine_id in run.ids
    ]
    return HTML(f'<div class="clips narrow">{"".join(f"<div>{column}</div>" for column in columns)}</div>')


def _clip(run: Run, caption: str, path: str, scores: NDArray[np.float64] | None = None, width: float = 4.2) -> str:
    settings, waveform = run.settings.imaging, run.waveform(path)
    decibels = imaging.log_mel(waveform, settings)
    rows, ratios = (1, [1]) if scores is None else (2, [1, 2])
    height = (0.56 if scores is None else 0.7) * width if width > 3 else 0.75 * width
    with _figure(rows, figsize=(width, height), sharex=True, height_ratios=ratios) as (figure, axes):
        axis = axes[-1, 0]
        _draw_spectrogram(axis, decibels, settings)
        axis.set(xlabel="time (s)", ylabel="mel scale (kHz)" if width > 3 else "")
        if scores is not None:
            _draw_scores(axes[0, 0], scores, decibels.shape[1], settings)
        png = _png(figure)
    text = html.escape(caption)
    return (
        f'<figure class="clip"><figcaption>{text}</figcaption>'
        f'<img src="data:image/png;base64,{png}" alt="Log-mel spectrogram of: {text}">'
        f"{_player(waveform, settings.sample_rate, text)}</figure>"
    )


def _draw_scores(axis: Axes, scores: NDArray[np.float64], frames: int, settings: Imaging) -> None:
    starts = imaging.patch_starts(frames, settings)
    middles = [imaging.seconds(int(start) + settings.patch_frames // 2, settings) for start in starts]
    axis.plot(middles, scores, "o-", color="black", ms=3, lw=1)
    axis.axhline(scores.mean(), color=ABNORMAL, lw=1)
    axis.set(ylabel="score", yticks=[])


def examples(run: Run, machine_id: str) -> dict[str, str]:
    """Return the first normal and the first abnormal clip of a machine ID, by caption."""
    table = run.of(machine_id)
    firsts = table.groupby("label", sort=False).path.first()
    return {f"{run.machine} {machine_id}, {label}": path for label, path in firsts.items()}


# §4 Dataset


def split_map(run: Run, machine_id: str) -> Figure:
    """Draw which normal clips of a machine ID test, seed by seed."""
    normal = run.of(machine_id).query("label == 'normal'").path
    rows = []
    for seed in run.profile.seeds:
        tests = normal.isin(run.members(machine_id, seed, "test").path)
        rows.append(tests.to_numpy())
    with _figure(figsize=(7, 0.5 + 0.25 * len(rows))) as (figure, axes):
        axis = axes[0, 0]
        edges = {"edgecolors": "white", "linewidth": 1.0} if len(normal) < 100 else {}
        axis.pcolormesh(np.array(rows), cmap=_two(QUIET, NORMAL), vmin=0, vmax=1, **edges)
        axis.set_yticks(np.arange(len(rows)) + 0.5, [f"seed {seed}" for seed in run.profile.seeds])
        axis.set(xlabel=f"normal clips of {run.machine} {machine_id}: blue ones test, grey ones train", xticks=[])
        axis.invert_yaxis()
        axis.spines[:].set_visible(False)
    return figure


def _two(low: str, high: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([low, high])


# §5 imaging


def patch_steps(entries: NDArray[np.uint8], settings: Imaging) -> Figure:
    """Draw one patch on its way: colour map entries, picture, picture at the extractor's size."""
    rgb = imaging.pictures(entries[None], settings)
    sides = (imaging.upscaling(side, settings) for side in entries.shape)
    large = imaging.extractor_input(torch.tensor(entries[None]), imaging.colour_table(settings.colormap), *sides)
    steps = {
        f"{entries.shape[0]} × {entries.shape[1]} values": entries,
        f"in colour ({settings.colormap})": rgb[0].permute(1, 2, 0).numpy(),
        f"{settings.image_size} × {settings.image_size} pixels": large[0].permute(1, 2, 0).clamp(0, 1).numpy(),
    }
    with _figure(1, 3, figsize=(7, 2.6)) as (figure, axes):
        for axis, (title, picture) in zip(axes[0], steps.items(), strict=True):
            axis.imshow(picture, cmap="gray")
            axis.set(title=title, xticks=[0, picture.shape[1] - 1], yticks=[])
    return figure


# §5.1 extractors


def feature_map(run: Run, extractor: str, seed: int) -> Figure:
    """Draw the clips of every machine ID on the two main axes of the normal training features."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    groups = {"train": ("train", "normal", QUIET), "test, normal": ("test", "normal", NORMAL)}
    groups |= {"test, abnormal": ("test", "abnormal", ABNORMAL)}
    with _figure(1, len(run.ids), figsize=(7.4, 2.5)) as (figure, axes):
        for axis, machine_id in zip(axes[0], run.ids, strict=True):
            train = run.inputs(machine_id, extractor, run.members(machine_id, seed, "train"))
            plane = make_pipeline(Standardiser(), PCA(2, random_state=0)).fit(train)
            for label, (role, kind, colour) in groups.items():
                members = run.members(machine_id, seed, role).query("label == @kind")
                points = plane.transform(run.inputs(machine_id, extractor, members))
                middle = points.reshape(len(members), -1, 2).mean(1)
                marker = "x" if kind == "abnormal" else "o"
                axis.scatter(*middle.T, s=16, color=colour, marker=marker, label=label, alpha=0.8)
            axis.set(title=machine_id, xticks=[], yticks=[])
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


# §5.2 detectors and auto-encoders


def score_strips(run: Run, machine_id: str, rows: Sequence[tuple[str | None, str]], seed: int) -> Figure:
    """Draw every test clip's anomaly score, row by row; ranks make the detectors' scales comparable."""
    anomalous = (run.members(machine_id, seed, "test").label == "abnormal").to_numpy()
    with _figure(figsize=(7, 0.8 + 0.42 * len(rows))) as (figure, axes):
        axis = axes[0, 0]
        for height, row in enumerate(rows):
            scores = run.clip_scores(machine_id, *row, seed).scores
            ranks = scores.argsort().argsort()
            axis.scatter(ranks[~anomalous], np.full((~anomalous).sum(), height), color=NORMAL, s=22, label="normal")
            axis.scatter(
                ranks[anomalous],
                np.full(anomalous.sum(), height),
                color=ABNORMAL,
                s=30,
                marker="x",
                label="abnormal",
            )
        axis.set_yticks(range(len(rows)), [tables.name_of(row) for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set(xlabel="test clips, from the most normal (left) to the most anomalous score (right)", xticks=[])
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(handles[:2], labels[:2], loc="outside upper right", ncols=2)
    return figure


def loss_curves(fits: dict[str, Any]) -> Figure:
    """Draw the training loss of fitted auto-encoders, by name."""
    with _figure(1, len(fits), figsize=(7, 2.2)) as (figure, axes):
        for axis, (name, fitted) in zip(axes[0], fits.items(), strict=True):
            epochs = np.arange(1, len(fitted.losses_) + 1)
            axis.plot(epochs, fitted.losses_, "o-", color=NORMAL, ms=3)
            axis.set(title=tables.NAMES[name], xlabel="epoch", ylabel="mean squared error", ylim=(0, None))
            if len(epochs) <= 10:
                axis.set_xticks(epochs)
    return figure


def reconstructions(fits: dict[str, Any], entries: dict[str, NDArray[np.uint8]], settings: Imaging) -> Figure:
    """Draw patches, by caption, over their reconstructions by each auto-encoder."""
    stacked = np.stack(list(entries.values()))
    rows = {"picture": imaging.pictures(stacked, settings).numpy()}
    rows |= {tables.NAMES[name]: fitted.reconstruct(stacked.reshape(len(stacked), -1)) for name, fitted in fits.items()}
    with _figure(len(rows), len(entries), figsize=(7, 1.6 * len(rows))) as (figure, axes):
        for line, (name, pictures) in zip(axes, rows.items(), strict=True):
            for axis, picture in zip(line, pictures, strict=True):
                axis.imshow(picture.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1)  # the map is for one plane only
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            line[0].set_ylabel(name)
        for axis, caption in zip(axes[0], entries, strict=True):
            axis.set_title(caption)
    return figure


# §6 results


def auc_dots(run: Run, table: pd.DataFrame) -> Figure:
    """Draw the AUC of every row and seed (dots) and their mean (bar), a panel per machine ID."""
    rows = run.rows()
    with _figure(1, len(run.ids), figsize=(7.4, 0.9 + 0.3 * len(rows)), sharex=True, sharey=True) as (
        figure,
        axes,
    ):
        for axis, machine_id in zip(axes[0], run.ids, strict=True):
            here = table[table.id == machine_id]
            for height, (extractor, detector) in enumerate(rows):
                same = here.extractor.isna() if extractor is None else here.extractor == extractor
                areas = here[same & (here.detector == detector)].auc * 100
                axis.plot(areas, [height] * len(areas), "o", color=NORMAL, ms=4, alpha=0.5, mew=0)
                axis.plot(areas.mean(), height, "|", color="black", ms=12, mew=2)
            axis.axvline(50, color=QUIET, lw=0.8, ls=":")
            axis.set(title=machine_id, xlabel="AUC (%)")
        axes[0, 0].set_yticks(range(len(rows)), [tables.name_of(row) for row in rows])
        axes[0, 0].invert_yaxis()
    return figure


def caught_and_missed(run: Run, table: pd.DataFrame) -> tuple[dict[str, str], dict[str, NDArray[np.float64]]]:
    """Return the abnormal test clip that stands out most and the one that hides best, and their patch scores.

    In the best row of the table that scores patches, and its first seed, over all machine IDs; a clip's place is the
    share of normal test clips with a lower score.
    """
    row = decisions.best_row(table)
    found = decisions.gallery(decisions.judged(run, row), k=1)
    chosen, scores = {}, {}
    for clip in found[found.label == "abnormal"].itertuples():
        number = Path(clip.path).stem
        caption = f"{clip.kind}: {clip.id}, clip {number}; scores above {clip.place:.0%} of the normal clips"
        chosen[caption], scores[caption] = clip.path, run.scores(clip.id, *row, clip.seed)[clip.at]
    return chosen, scores


def effects(found: Sequence[Effect]) -> Figure:
    """Draw how much each alternative changes the mean AUC, with its interval; those that were not run are left out."""
    done = [effect for effect in found if not effect.not_run]
    with _figure(figsize=(7, 0.9 + 0.24 * len(done))) as (figure, axes):
        axis = axes[0, 0]
        for height, effect in enumerate(done):
            clear = effect.low > 0 or effect.high < 0
            colour = ABNORMAL if clear else NORMAL
            axis.plot([effect.low, effect.high], [height, height], color=colour, lw=2)
            axis.plot(effect.difference, height, "o" if not clear else "D", color=colour)
        axis.axvline(0, color=QUIET, lw=1)
        axis.set_yticks(
            range(len(done)), [f"{effect.point.title}: {effect.alternative.name}" for effect in done], fontsize=8
        )
        axis.set_ylim(len(done) - 0.5, -0.5)
        axis.set(xlabel="AUC, percentage points against the default (95 % interval; diamonds: without 0)")
    return figure


def pipeline(run: Run) -> HTML:
    """Show the way of one clip from sound to score, each step with a link to its page (after the paper's Figure 1).

    Links are relative to a page of ``book/``.
    """
    settings, machine_id, extractor = run.settings.imaging, run.ids[0], run.extractors[0]
    row = next(row for row in run.rows() if row[0] == extractor)
    test = run.members(machine_id, run.profile.seeds[0], "test")
    clip = int(test.index[test.label == "abnormal"][0])
    waveform, decibels = run.waveform(test.path[clip]), run.spectrograms(machine_id)[clip]
    entries = run.patches(machine_id)[clip]
    features = run.features(machine_id, extractor)[clip, 0]
    scores = run.scores(machine_id, *row, run.profile.seeds[0])[list(test.index).index(clip)]

    def picture(draw: Any) -> str:
        with _figure(figsize=(1.7, 1.25)) as (figure, axes):
            draw(axes[0, 0])
            axes[0, 0].set(xticks=[], yticks=[])
            axes[0, 0].spines[:].set_visible(False)
            return _png(figure)

    square = features[: int(len(features) ** 0.5) ** 2].reshape(int(len(features) ** 0.5), -1)
    rgb = imaging.pictures(entries[:1], settings)[0].permute(1, 2, 0).numpy()
    steps = [
        ("01_dataset", "Sound", "10 s of a machine", lambda axis: axis.plot(waveform, color=NORMAL, lw=0.3)),
        (
            "02_spectrogram_imaging",
            "Spectrogram",
            f"{decibels.shape[0]} mel bands",
            lambda axis: axis.imshow(decibels, origin="lower", aspect="auto", cmap=settings.colormap),
        ),
        (
            "02_spectrogram_imaging",
            "Pictures",
            f"{len(entries)} overlapping patches",
            lambda axis: axis.imshow(rgb),
        ),
        (
            "03_feature_extraction",
            "Features",
            f"{len(features)} numbers by {tables.extractor_name(extractor)}",
            lambda axis: axis.imshow(np.sqrt(np.abs(square)), cmap="gray_r"),
        ),
        (
            "04_detectors",
            "Score",
            "how unusual each patch is, and the mean",
            lambda axis: (axis.plot(scores, "o-k", ms=2, lw=0.8), axis.axhline(scores.mean(), color=ABNORMAL)),
        ),
    ]
    items = "".join(
        f'<li><a href="../executed/{run.machine}/{page}.html"><img src="data:image/png;base64,{picture(draw)}" alt="">'
        f"<strong>{title}</strong>{text}</a></li>"
        for page, title, text, draw in steps
    )
    listen = _player(waveform, settings.sample_rate, f"the clip above, {run.machine} {machine_id}, abnormal")
    return HTML(
        f'<ol class="pipeline" aria-label="From sound to score">{items}</ol>'
        f'<figure class="clip listen"><figcaption>Listen to this clip</figcaption>{listen}</figure>'
    )
