"""The points that the paper leaves open: what it says, what we took, what else can be taken, and what that changes.

The value that is taken, and why, stand with each setting in :mod:`mimii_lib.settings`; here stand the points, in
the words of a reader, and the alternatives as parameters of :class:`mimii_lib.run.Run`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import soundfile

from mimii_lib import paper
from mimii_lib.errors import MimiiError
from mimii_lib.evaluation import ClipScores, auc, table_1_shape
from mimii_lib.run import Run
from mimii_lib.settings import Settings
from mimii_lib.uncertainty import AucEstimates, mean_difference


@dataclass(frozen=True)
class Alternative:
    """Another value than the default of one point.

    Attributes
    ----------
    name
        For a reader.
    change
        Parameters of a run that take it.
    base
        Parameters of the run that it is compared with, where that is not the run at hand.
    detectors
        The rows that it can change; None: the five detectors.
    """

    name: str
    change: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=dict)
    detectors: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Point:
    """Something that the paper leaves open.

    Attributes
    ----------
    says, open
        What the paper says, and what that leaves open.
    settings
        Names of the settings that hold our choice, such as ``imaging.hop``; or parameters of a run.
    why
        Our choice and its reason, where no setting tells it.
    """

    number: int
    title: str
    says: str
    open: str
    settings: tuple[str, ...]
    alternatives: tuple[Alternative, ...] = ()
    why: str = ""


def _set(name: str, detectors: tuple[str, ...] | None = None, **values: Any) -> Alternative:
    """Return the alternative of other settings: group__item=value."""
    said = {key.replace("__", "."): value for key, value in values.items()}
    return Alternative(name, {"settings": said}, detectors=detectors)


POINTS = (
    Point(
        1,
        "SNR",
        "“a SNR of 6dB”, in a text that has lost its minus signs",
        "whether 6 or −6 dB",
        ("snr",),
        (Alternative("0 dB", {"snr": 0}), Alternative("6 dB", {"snr": 6})),
        "−6 dB: the published table fits an independent auto-encoder's numbers at −6 dB best (see the page on Table 1)",
    ),
    Point(
        2,
        "test set",
        "150 normal clips and as many abnormal ones",
        "what to do where an ID has fewer than 150 abnormal clips, which nine of the sixteen have",
        ("split.test_clips", "split.balanced", "split.min_train_clips"),
        (_set("as many normal as abnormal clips", split__balanced=True),),
    ),
    Point(
        3,
        "what a seed changes",
        "five different seeds",
        "what they draw",
        ("seeds",),
        why="the split and every detector that draws random numbers; the splits are saved as results/splits.csv",
    ),
    Point(
        4,
        "channel",
        "single-channel recordings",
        "which of the files' eight channels",
        ("imaging.channel",),
        (
            *(_set(f"channel {number}", imaging__channel=number) for number in range(1, 8)),
            _set("mean of the channels", imaging__channel="mean"),
        ),
    ),
    Point(
        5,
        "window length",
        "64 frames “(2s)”, offset 32 “(1s)”, hop 256",
        "at 16 kHz these are 1.02 s and 0.51 s: either the frames or the seconds are meant",
        ("imaging.hop", "imaging.patch_frames", "imaging.patch_offset"),
        (_set("hop 512: the seconds", imaging__hop=512),),
    ),
    Point(
        6,
        "mel front end",
        "64 mel bands, Hann window of 1024, hop 256",
        "power, mel scale, centring and padding",
        ("imaging.pad_mode",),
        (_set("reflected at the edges", imaging__pad_mode="reflect"),),
    ),
    Point(
        7,
        "decibel reference",
        "nothing",
        "what 0 dB is, and how far below it counts",
        ("imaging.db_reference", "imaging.top_db"),
        (
            _set("fixed", imaging__db_reference="fixed"),
            _set("fixed, scaled from −80 to 0 dB", imaging__db_reference="fixed", imaging__scaling="range"),
        ),
    ),
    Point(
        8,
        "scaling to [0, 1]",
        "nothing",
        "which decibels become the ends of the colour map",
        ("imaging.scaling",),
        (
            _set("(x + 80) / 80", imaging__scaling="range"),
            _set("each patch for itself", imaging__scaling="patch"),
            _set("the training clips' range", imaging__scaling="training"),
        ),
    ),
    Point(
        9,
        "orientation",
        "nothing; Figure 2 has low frequencies at the bottom",
        "whether the network saw them so",
        ("imaging.origin",),
        (_set("low frequencies at the top", imaging__origin="upper"),),
    ),
    Point(
        10,
        "up-scaling",
        "images are up-scaled to 224 × 224",
        "the interpolation",
        ("imaging.image_size", "imaging.interpolation"),
    ),
    Point(
        11,
        "colour map",
        "viridis; a footnote says that the choice hardly matters",
        "the footnote gives no numbers",
        ("imaging.colormap",),
        (_set("grey", imaging__colormap="gray"), _set("magma", imaging__colormap="magma")),
    ),
    Point(
        12,
        "AlexNet",
        "“Alexnetv3”, “two stream”, penultimate layer, 4096 numbers",
        "torchvision's AlexNet has one stream; whether the layer is read before or after its ReLU",
        ("features.alexnet_relu",),
        (
            Alternative(
                "before the ReLU",
                {"extractors": "alexnet", "settings": {"features.alexnet_relu": False}},
                {"extractors": "alexnet"},
            ),
        ),
    ),
    Point(
        13,
        "SqueezeNet",
        "the last map, averaged to 2 × 2: 2048 numbers",
        "version 1.0 or 1.1",
        ("extractors",),
        (Alternative("1.1 instead of 1.0", {"extractors": "squeezenet1_1"}, {"extractors": "squeezenet1_0"}),),
        "1.0, which is the paper's own reference, where its weights can be had (profile mimii); 1.1, which a package "
        "carries, elsewhere",
    ),
    Point(
        14,
        "standardisation",
        "features are standardised",
        "over what, and what becomes of features that hardly vary",
        ("detectors.variance_floor",),
        (_set("variance floor of 1 % of the mean", detectors__variance_floor=0.01),),
    ),
    Point(
        15,
        "GMM",
        "80 components, diagonal covariances, k-means, 150 iterations",
        "regularisation, tolerance, number of starts",
        ("detectors.reg_covar", "detectors.tol", "detectors.n_init"),
    ),
    Point(
        16,
        "B-GMM",
        "the same parameters as the GMM, and prior distributions",
        "which priors",
        ("detectors.weight_prior",),
        (_set("Dirichlet distribution", ("b-gmm",), detectors__weight_prior="dirichlet_distribution"),),
    ),
    Point(
        17,
        "OC-SVM",
        "ν = 10⁻⁴",
        "the kernel and its width",
        ("detectors.kernel", "detectors.gamma"),
        (_set("linear kernel", ("oc-svm",), detectors__kernel="linear"),),
    ),
    Point(
        18,
        "KDE",
        "Gaussian kernel, bandwidth 0.1, the density as score",
        "the density itself is 0 in double precision in hundreds of dimensions",
        ("detectors.bandwidth",),
        why="the logarithm of the density; at this bandwidth it is the nearest-neighbour distance",
    ),
    Point(
        19,
        "pooling",
        "the mean over a clip's patches (Equation 1)",
        "of densities or of their logarithms; and a short fault weighs little in a mean",
        ("evaluation.pooling",),
        (
            _set("maximum", evaluation__pooling="max"),
            _set("weighted by rank", evaluation__pooling="weighted_rank"),
        ),
    ),
    Point(
        20,
        "isolation forest",
        "128 trees",
        "size of the subsamples and the rest",
        ("detectors.n_trees",),
        why="scikit-learn's other defaults",
    ),
    Point(
        21,
        "LeNet-DCAE",
        "LeNet style, 32, 64 and 128 channels, kernel 5, ELU, batch normalisation, 128-d bottleneck",
        "the layout",
        (),
        why="the layout of Deep SVDD's CIFAR-10 auto-encoder, which has these parts, for 64 × 64 pixels",
    ),
    Point(
        22,
        "Small-DCAE",
        "12, 24 and 48 channels, kernel 4, ReLU",
        "strides, padding, normalisation, bottleneck",
        (),
        why="stride 2, padding 1, mirrored, and nothing that is not named",
    ),
    Point(
        23,
        "input of the auto-encoders",
        "“the Mel-spectrogram images”",
        "whether the coloured images or the spectrograms themselves",
        ("autoencoders.channels",),
        (_set("one plane, grey", tuple(paper.AUTOENCODERS), autoencoders__channels=1),),
    ),
    Point(
        24,
        "training of the auto-encoders",
        "Adam, learning rate 10⁻⁴, batches of 128, 80 epochs, mean squared error",
        "nothing, once the lost minus sign is put back",
        ("autoencoders.learning_rate", "autoencoders.batch_size", "autoencoders.epochs"),
    ),
    Point(
        25,
        "PCA",
        "the findings also hold when all features are reduced to the same dimension",
        "which dimension, and by how much",
        ("detectors.pca",),
        tuple(_set(f"{number} dimensions", detectors__pca=number) for number in (64, 128, 256)),
    ),
)
"""All that the paper leaves open, in its own order."""


def reasons(point: Point) -> list[tuple[str, str]]:
    """Return our choice, ``name = value``, and its reason, for every setting of a point."""
    told = []
    for name in point.settings:
        group, _, item = name.partition(".")
        if item:
            values = getattr(Settings(), group)
            meant = next(each for each in fields(values) if each.name == item).metadata
            told.append((f"{name} = {getattr(values, item)}", str(meant.get("chosen") or meant["stated"])))
    return told


@dataclass(frozen=True)
class Effect:
    """What an alternative changes.

    Attributes
    ----------
    difference, low, high
        Change of the mean AUC in percentage points with its 95 % interval; NaN where it was not run.
    not_run
        Why it was not run; empty where it was.
    """

    point: Point
    alternative: Alternative
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    not_run: str = ""


def effects(runs: Sequence[Run]) -> list[Effect]:
    """Return what every alternative changes against the default, over machine types together.

    As much of each run is repeated as its profile's `sensitivity` says, with its first extractor.
    """
    part = repeated(runs)
    return [effect(part, point, alternative) for point in POINTS for alternative in point.alternatives]


AnyRun = TypeVar("AnyRun", bound=Run)


def repeated(runs: Sequence[AnyRun]) -> Sequence[AnyRun]:
    """Return the runs of the machine types that are repeated, as their profile's `sensitivity` says."""
    return runs[: runs[0].profile.sensitivity.machines]


def effect(runs: Sequence[Run], point: Point, alternative: Alternative) -> Effect:
    """Return what one alternative changes."""
    before: list[ClipScores] = []
    after: list[ClipScores] = []
    for run in runs:
        try:
            default, changed = pair(run, alternative)
            before += _tested(default, alternative)
            after += _tested(changed, alternative)
        except MimiiError as error:
            return Effect(point, alternative, not_run=_without_folder(error, run))
    found = mean_difference(before, after)
    return Effect(point, alternative, *(100 * value for value in astuple(found)))


def _without_folder(error: MimiiError, run: Run) -> str:
    """Return why something was not run, for a page: where the recordings lie is nobody's business."""
    return str(error).replace(f"{run.recordings.data}: ", "").replace(str(run.recordings.data), "the data folder")


def pair(run: Run, alternative: Alternative) -> tuple[Run, Run]:
    """Return the run that an alternative is compared with and the one that takes it, or raise if it cannot be run."""
    part = run.profile.sensitivity
    small: dict[str, Any] = {
        "ids": run.ids[: part.ids],
        "seeds": run.profile.seeds[: part.seeds],
        "extractors": run.stages.extractors[:1],
    }
    channel = dict(alternative.change.get("settings", {})).get("imaging.channel")
    if channel is not None and soundfile.info(run.recordings.data / run.clips.path[0]).channels == 1:
        raise MimiiError("the files have one channel")
    default = run.with_overrides(**(small | dict(alternative.base)))
    changed = default.with_overrides(**alternative.change)
    for each in (default, changed):
        if each.stages.unavailable_extractors:
            raise MimiiError("weights not reachable")
        if each.recordings.skipped:
            raise MimiiError("; ".join(f"{name}: {reason}" for name, reason in each.recordings.skipped.items()))
    return default, changed


def _tested(run: Run, alternative: Alternative) -> list[ClipScores]:
    wanted = alternative.detectors or tuple(paper.DETECTORS)
    rows = [row for row in run.results.systems() if row[1] in wanted]
    if not rows:
        raise MimiiError(f"needs {' or '.join(wanted)}, which this run has not")
    cells = [(machine_id, *row, seed) for machine_id in run.ids for row in rows for seed in run.results.seeds(row[1])]
    run.results.compute(cells)
    return [run.clip_scores(*cell) for cell in cells]


DIMENSIONS = (0, 64, 128, 256)
"""Lengths to which PCA brings the features of every network (point 25); 0: as long as they are."""


@dataclass(frozen=True)
class Reduced:
    """A network's mean AUC at one number of dimensions, in percent, and how much it differs from the first network's.

    `difference`, `low` and `high` are in percentage points, with a 95 % interval; 0 for the first network itself.
    Where it was not run, `not_run` says why, and the numbers are NaN.
    """

    extractor: str
    dimensions: int
    auc: float = float("nan")
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    not_run: str = ""


def at_equal_dimension(runs: Sequence[Run]) -> list[Reduced]:
    """Return the mean AUC of every network that can be run, with all of its features and reduced by PCA.

    At each number of dimensions the first network that was run is the others' measure. Over the five detectors, and
    the machine types, IDs and seeds that the profile's `sensitivity` names.
    """
    found, part = [], repeated(runs)
    for number in DIMENSIONS:
        first: list[ClipScores] = []
        for name in part[0].stages.extractors:
            alternative = Alternative(name, {"extractors": name, "settings": {"detectors.pca": number}})
            try:
                tested = [each for run in part for each in _tested(pair(run, alternative)[1], alternative)]
            except MimiiError as error:
                found.append(Reduced(name, number, not_run=_without_folder(error, part[0])))
                continue
            first = first or tested
            difference = (100 * value for value in astuple(mean_difference(first, tested)))
            mean = 100 * float(np.mean([auc(each.anomalous, each.scores) for each in tested]))
            found.append(Reduced(name, number, mean, *difference))
    return found


def reduced(runs: Sequence[Run]) -> list[dict[tuple[str, str], AucEstimates]]:
    """Return the AUCs that :func:`at_equal_dimension` has computed, with how sure they are.

    A table for each number of dimensions, by machine type and ID; none where it was not run in full.
    """
    found = []
    for number in DIMENSIONS[1:]:
        change = {"extractors": runs[0].stages.extractors, "detectors": list(paper.DETECTORS)}
        each = Alternative("", {**change, "settings": {"detectors.pca": number}})
        try:
            part = [pair(run, each)[1] for run in repeated(runs)]
        except MimiiError:
            return []
        if not all(run.results.complete for run in part):
            return []
        found.append({(run.machine, name): run.results.estimates(name) for run in part for name in run.ids})
    return found


def at_each_snr(runs: Sequence[Run]) -> pd.DataFrame:
    """Hold our AUCs at each SNR against the paper's Table 1, in the rows that both have.

    Of the first network, and as much of the runs as the profile's `sensitivity` says.

    Returns
    -------
    DataFrame
        By SNR in dB: the mean of ours and of the paper's in the same cells in percent, the mean distance of a cell in
        points, and their correlation over the cells; NaN, and why in the column `not run`, where it was not run.
    """
    rows: dict[int, dict[str, Any]] = {}
    for snr in paper.SNRS:
        try:
            part = [pair(run, Alternative("", {"snr": snr}))[1] for run in repeated(runs)]
            areas = pd.concat([run.auc([row for row in run.results.systems() if row[0]]) for run in part])
        except MimiiError as error:
            rows[snr] = {"not run": _without_folder(error, runs[0])}
            continue
        both = pd.concat(
            {
                "ours": table_1_shape(areas).stack([0, 1], future_stack=True),
                "paper": paper.table_1().stack([0, 1], future_stack=True),
            },
            axis=1,
        ).dropna()
        rows[snr] = {
            "ours": both.ours.mean(),
            "the paper": both.paper.mean(),
            "distance": (both.ours - both.paper).abs().mean(),
            "correlation": both.ours.corr(both.paper),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("SNR (dB)")
