"""The settings of a run: the paper's values and, where the paper is silent, named assumptions.

Every setting is a field of a group such as :class:`Imaging`. Its default is declared by ``from_paper`` or by
``assumption``, with where it comes from, the other values whose effect is measured, and the number of the open
point that it answers; the book's pages on settings and on open points are derived from that. The groups are pydantic
models: immutable, hashable, without unknown names and without silent conversions of types.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mimii_lib import paper

SIMPLE_BASELINES = MappingProxyType(
    {"knn": ("log-mel", "3-NN"), "mahalanobis": ("log-mel", "Mahalanobis"), "level": ("level", "Mahalanobis")}
)
"""Detectors that need no network, with the names of their features and of themselves in the results table."""
AFTER_PAPER = MappingProxyType(
    {
        "spectrum-mahalanobis": ("mean spectrum", "Mahalanobis"),
        "spectrum-density": ("mean spectrum", "NN, local density"),
        "loudest-mahalanobis": ("mean and loudest", "Mahalanobis"),
        "ranked-gmm": ("ranked frames", "GMM, small"),
        "maps-early": ("EfficientNet-Lite0 maps, early", "NN per band"),
        "maps-middle": ("EfficientNet-Lite0 maps, middle", "NN per band"),
        "maps-late": ("EfficientNet-Lite0 maps, late", "NN per band"),
        "ensemble": ("three maps, loudest", "ensemble"),
        "pyod": ("hand-made", "PyOD"),
    }
)
"""Systems after the paper (see :mod:`mimii_lib.systems`), named like the simple baselines."""
CLIP_SYSTEMS = MappingProxyType({**SIMPLE_BASELINES, **AFTER_PAPER})
"""Systems that score a clip as a whole, where the paper's score its patches."""
DETECTORS = (*paper.DETECTORS, *paper.AUTOENCODERS, *CLIP_SYSTEMS)
"""Names of all detectors: the five of §5.2, the two auto-encoders, and the clip systems."""


@dataclass(frozen=True)
class Source:
    """Where the default of a setting comes from."""

    text: str  # the place in the paper, or the reason for the assumption
    is_assumption: bool
    alternatives: tuple[Any, ...]  # other values, whose effect on the AUC the book measures
    point: int | None  # number of the open point that the setting answers, if it answers one


def _declared(is_assumption: bool, value: Any, text: str, alternatives: tuple = (), point: int | None = None) -> Any:
    """Return a setting with its default `value` and the :class:`Source` of it."""
    return Field(value, json_schema_extra={"source": Source(text, is_assumption, alternatives, point)})  # type: ignore


from_paper = partial(_declared, False)  # a default that the paper states
assumption = partial(_declared, True)  # our default where the paper leaves it open


class StrictModel(BaseModel):
    """Base of settings and profiles."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _several(value: Any) -> Any:
    """Return the tuple that a list of YAML, or one item, means."""
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value


def _names(value: Any) -> Any:
    """Return the tuple that a list of YAML, or one name, means."""
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    """Return the number that a text such as ``1e-4`` means: without a dot, YAML reads a text."""
    with suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _literal(value: Any) -> Any:
    """Return `value` such that True and 1.0 do not equal the literal 1."""
    return repr(value) if isinstance(value, (bool, float)) else value


LARGEST = 2**31 - 1  # whole number that all libraries take
PositiveInt = Annotated[int, Field(gt=0, le=LARGEST)]
NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST)]
SEEDS = 2**32  # scikit-learn takes seeds below
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=SEEDS)], ...], Field(min_length=1), BeforeValidator(_several)]
Positive = Annotated[float, Field(gt=0), BeforeValidator(_number)]
NonNegative = Annotated[float, Field(ge=0), BeforeValidator(_number)]
ImageChannels = Annotated[Literal[3, 1], BeforeValidator(_literal)]
Precision = Literal["float32", "bfloat16"]


class Split(StrictModel):
    """Which clips train and which test (§5); every seed draws its own split."""

    test_clips: PositiveInt = from_paper(150, "§5: 150 normal clips are left out, as many abnormal ones added", (), 2)
    balanced: bool = assumption(
        False, "most IDs have under 150 abnormal clips; true: test on as many normal as abnormal ones", (True,), 2
    )
    min_train_clips: PositiveInt = assumption(5, "80 mixture components need 80 patches; a clip gives 18", (), 2)
    unreadable: Literal["stop", "leave_out"] = assumption(
        "stop", "the run stops and names a clip that cannot be used; leave_out: it goes on and reports the clip"
    )


class Imaging(StrictModel):
    """From a waveform to images (§5)."""

    sample_rate: PositiveInt = from_paper(16_000, "§4, in Hz")
    seconds: PositiveInt = from_paper(10, "§4: length of a clip")
    channel: Annotated[Literal[0, 1, 2, 3, 4, 5, 6, 7, "mean"], BeforeValidator(_literal)] = assumption(
        0,
        "§4 says single-channel, the files have 8; DCASE 2020 took the first, as far as one clip could be compared",
        (1, 2, 3, 4, 5, 6, 7, "mean"),
        4,
    )
    n_mels: PositiveInt = from_paper(64, "§5: Mel bands")
    window: PositiveInt = from_paper(1024, "§5: Hann window, in samples")
    hop: PositiveInt = from_paper(256, "§5: in samples; 512 would fit its “2 s” and “1 s”", (512,), 5)
    pad_mode: Literal["constant", "reflect"] = assumption("constant", "librosa's default: zeros", ("reflect",), 6)
    db_reference: Literal["clip", "fixed"] = assumption(
        "clip", "0 dB is the clip's maximum; fixed: a mel power of 1, librosa's own default", ("fixed",), 7
    )
    top_db: Positive = assumption(80.0, "librosa's default, below the clip's maximum", (), 7)
    scaling: Literal["clip", "range", "patch", "training"] = assumption(
        "clip",
        "decibels to [0, 1] between the clip's minimum and maximum; range: from -80 to 0 dB; patch: between each "
        "patch's own; training: between the training clips' minimum and maximum",
        ("range", "patch", "training"),
        8,
    )
    origin: Literal["lower", "upper"] = assumption("lower", "low frequencies below, as in Figure 2", ("upper",), 9)
    patch_frames: PositiveInt = from_paper(64, "§5: frames in a patch", (), 5)
    patch_offset: PositiveInt = from_paper(32, "§5: frames between the starts of two patches", (), 5)
    colormap: Literal["viridis", "gray", "magma"] = from_paper("viridis", "§5", ("gray", "magma"), 11)
    image_size: Annotated[int, Field(ge=64, le=2048)] = from_paper(224, "§5: pixels a side, for the extractor", (), 10)
    interpolation: Literal["bilinear"] = assumption("bilinear", "torchvision's default; pixel centres align", (), 10)

    @property
    def samples(self) -> int:
        """Samples in a clip."""
        return self.sample_rate * self.seconds

    @property
    def frames(self) -> int:
        """Centred frames in a clip's spectrogram: 626 at the paper's settings."""
        return 1 + self.samples // self.hop

    @property
    def patches(self) -> int:
        """Patches in a clip: 18 at the paper's settings."""
        return max(0, (self.frames - self.patch_frames) // self.patch_offset + 1)


class Features(StrictModel):
    """How the extractors compute (§5.1)."""

    alexnet_relu: bool = assumption(True, "AlexNet's penultimate layer is read after its ReLU", (False,), 12)
    precision: Precision = assumption(
        "float32", "the paper is silent; bfloat16 is faster, moves features by 2 % and, on few clips, AUCs by points"
    )
    engine: Literal["auto", "openvino", "torch"] = assumption("auto", "the fastest one installed; it is recorded")


class Detectors(StrictModel):
    """The five detectors (§5.2), fitted on standardised features."""

    variance_floor: NonNegative = assumption(
        0.0, "plain standardisation; above 0: the least variance of a feature, as a share of their mean", (0.01,), 14
    )
    pca: NonNegativeInt = assumption(
        0, "no reduction; §6 says its findings also hold at equal dimension by PCA", (64, 128, 256), 25
    )
    precision: Literal["float64", "float32"] = assumption(
        "float64",
        "type of the standardised features, which PCA and both mixtures compute in; KDE and OC-SVM compute in float64, "
        "the isolation forest in float32. In float32 rounding widens mixture components of few patches, or fails them",
        ("float32",),
        26,
    )
    n_components: PositiveInt = from_paper(80, "§5.2: mixture components, diagonal covariances", (), 15)
    max_iter: PositiveInt = from_paper(150, "§5.2: limit of EM iterations", (), 15)
    init_params: Literal["kmeans", "k-means++", "random"] = from_paper("kmeans", "§5.2", (), 15)
    n_init: PositiveInt = assumption(1, "scikit-learn's default: one start", (), 15)
    reg_covar: NonNegative = assumption(1e-6, "scikit-learn's default", (), 15)
    tol: NonNegative = assumption(1e-3, "scikit-learn's default", (), 15)
    weight_prior: Literal["dirichlet_process", "dirichlet_distribution"] = assumption(
        "dirichlet_process", "scikit-learn's default for the Bayesian mixture", ("dirichlet_distribution",), 16
    )
    n_trees: PositiveInt = from_paper(128, "§5.2: trees of the isolation forest", (), 20)
    nu: Annotated[Positive, Field(le=1)] = from_paper(1e-4, "§5.2; the text lost the minus sign", (), 17)
    kernel: Literal["rbf", "linear"] = assumption("rbf", "scikit-learn's default", ("linear",), 17)
    gamma: Literal["scale", "auto"] = assumption("scale", "scikit-learn's default", (), 17)
    bandwidth: Annotated[Positive, Field(ge=1e-6, le=1e6)] = from_paper(
        0.1, "§5.2: Gaussian kernel; the score is the log of the density", (), 18
    )
    n_neighbors: PositiveInt = assumption(3, "knn: mean distance to as many training clips; one alone follows outliers")
    memory: PositiveInt = assumption(256, "MiB that the kernel density may fill with distances; changes no score")


class Autoencoders(StrictModel):
    """The convolutional auto-encoders (§5.2), trained on the 64 x 64 images."""

    channels: ImageChannels = assumption(3, "“the Mel-spectrogram images”: RGB; 1: scaled decibels", (1,), 23)
    epochs: PositiveInt = from_paper(80, "§5.2", (), 24)
    batch_size: Annotated[int, Field(ge=2, le=LARGEST)] = from_paper(128, "§5.2", (), 24)
    learning_rate: Positive = from_paper(1e-4, "§5.2: Adam; the text lost the minus sign", (), 24)
    seeds: Seeds | None = assumption(None, "None: every seed of the run; fewer to save time")
    precision: Precision = assumption("float32", "the paper is silent; bfloat16 is faster")
    device: Literal["auto", "cpu", "cuda"] = assumption("auto", "a GPU where there is one")


class Evaluation(StrictModel):
    """From the scores of a clip's patches to the clip's score (§3)."""

    pooling: Literal["mean", "max", "weighted_rank"] = from_paper(
        "mean", "§3, Equation 1, of log scores", ("max", "weighted_rank"), 19
    )
    rank_weight: Annotated[NonNegative, Field(le=1)] = assumption(
        0.8, "weighted_rank: each patch weighs this much of the next more anomalous one; five of 18 decide", (), 19
    )


class Systems(StrictModel):
    """The systems after the paper (:mod:`mimii_lib.systems`); the paper's own do not depend on these settings."""

    below: NonNegative = assumption(60.0, "decibels under the training clips' median level that become black")
    above: NonNegative = assumption(40.0, "decibels over it that become the brightest colour")
    step: Positive = assumption(10.0, "the median level is rounded to so many dB: most splits share their pictures")
    picture_rows: Annotated[int, Field(ge=32, le=512)] = assumption(
        128, "height of a whole clip's picture; half of 224, which costs a quarter of the time"
    )
    layers: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = assumption(
        None, "None: the last layer at each of the strides 8, 16 and 32"
    )
    loudest: Annotated[Positive, Field(le=1)] = assumption(0.05, "share of the frames that count as the loudest")
    rank_weight: Annotated[NonNegative, Field(le=1)] = assumption(
        0.99, "ranked: each frame weighs this much of the next louder one; 100 of 626 decide"
    )
    density_neighbors: NonNegativeInt = assumption(4, "neighbours that local density is estimated from; 0: no density")
    components: PositiveInt = assumption(2, "mixture components of the small GMM: clips, not patches, are few")
    combine: Literal["mean", "min", "max"] = assumption(
        "mean", "an anomaly that several members hear counts more than one that a single member hears"
    )


class Settings(StrictModel):
    """Everything that changes a number."""

    split: Split = Split()
    imaging: Imaging = Imaging()
    features: Features = Features()
    detectors: Detectors = Detectors()
    autoencoders: Autoencoders = Autoencoders()
    evaluation: Evaluation = Evaluation()
    systems: Systems = Systems()

    @property
    def min_train_clips(self) -> int:
        """Training clips that a machine ID needs: at least one patch per mixture component."""
        return max(self.split.min_train_clips, ceil(self.detectors.n_components / max(1, self.imaging.patches)))


def sources(group: StrictModel) -> dict[str, Source]:
    """Return where the default of every setting of a group comes from, by the setting's name."""
    fields: dict[str, Any] = dict(type(group).model_fields)
    return {name: info.json_schema_extra["source"] for name, info in fields.items()}


def as_json(value: Any) -> str:
    """Return settings, or a mapping that holds settings, as one line of JSON: equal values give equal lines."""
    return json.dumps(
        value, sort_keys=True, default=lambda item: dict(item) if isinstance(item, BaseModel) else str(item)
    )
