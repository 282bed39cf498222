"""What a run uses: the paper's value or, where the paper is silent, a named choice with its reason beside it.

Every field of a settings class carries where it comes from: :func:`stated` in the paper, or :func:`chosen`
here. A :class:`Profile` adds what to run it on, and is read from a YAML file of ``profiles/`` that says only
what differs from the defaults.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass, replace
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd
import yaml

from mimii_lib import paper
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.extractors import EXTRACTORS

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: profiles are looked up, and a profile's own relative paths start, here."""

SIMPLE_BASELINES = MappingProxyType(
    {"knn": ("log-mel", "3-NN"), "mahalanobis": ("log-mel", "Mahalanobis"), "level": ("level", "Mahalanobis")}
)
"""Rows that need no network, and what the table calls their features and detector."""

DETECTORS = (*paper.DETECTORS, *paper.AUTOENCODERS, *SIMPLE_BASELINES)
"""Names of the detectors and the auto-encoders, in the order of Table 1, and of the controls."""

MAY_BE_ZERO = ("rank_weight", "reg_covar", "tol")
"""Settings that may be 0 although their default is not."""


def stated(value: Any, where: str, choices: tuple[Any, ...] = ()) -> Any:
    """Return a field whose default is the paper's: the place `where` it says so, and the values it can take."""
    return field(default=value, metadata={"stated": where, "choices": choices})


def chosen(value: Any, why: str, choices: tuple[Any, ...] = ()) -> Any:
    """Return a field that the paper leaves open: the reason `why` for our default, and the values it can take."""
    return field(default=value, metadata={"chosen": why, "choices": choices})


@dataclass(frozen=True)
class Split:
    """Which clips train and which test (§5); redrawn for every seed."""

    test_clips: int = stated(150, "§5: 150 normal clips are left out, as many abnormal ones added")
    balanced: bool = chosen(
        False,
        "most IDs have fewer than 150 abnormal clips; True leaves normal test clips out until both are as many",
        (False, True),
    )
    min_train_clips: int = chosen(5, "80 mixture components need 80 patches; a clip gives 18")
    unreadable: str = chosen(
        "stop", "a clip that cannot be used is named; leave_out: go on without it, and say so", ("stop", "leave_out")
    )


@dataclass(frozen=True)
class Imaging:
    """From a waveform to pictures (§5)."""

    sample_rate: int = stated(16_000, "§4, in Hz")
    seconds: int = stated(10, "§4: length of a clip")
    channel: int | str = chosen(
        0, "§4 says single-channel, the files have 8; DCASE 2020 took the first", (*range(8), "mean")
    )
    n_mels: int = stated(64, "§5: Mel bands")
    window: int = stated(1024, "§5: Hann window, in samples")
    hop: int = stated(256, "§5: hop length, in samples; 512 would fit its “2 s” and “1 s”")
    pad_mode: Literal["constant", "reflect"] = chosen(
        "constant", "librosa's default: centred frames, padded with zeros", ("constant", "reflect")
    )
    db_reference: str = chosen(
        "clip", "0 dB is the clip's maximum; fixed: a mel power of 1, librosa's own default", ("clip", "fixed")
    )
    top_db: float = chosen(80.0, "librosa's default, below the clip's maximum")
    scaling: str = chosen(
        "clip",
        "decibels to [0, 1] between the clip's minimum and maximum; range: from -80 to 0 dB; patch: between each "
        "patch's own; training: between the training clips' minimum and maximum",
        ("clip", "range", "patch", "training"),
    )
    origin: str = chosen(
        "lower", "low frequencies at the bottom, as in Figure 2; upper: at the top", ("lower", "upper")
    )
    patch_frames: int = stated(64, "§5: frames in a patch")
    patch_offset: int = stated(32, "§5: frames between the starts of two patches")
    colormap: str = stated("viridis", "§5", ("viridis", "gray", "magma"))
    image_size: int = stated(224, "§5: pixels a side, for the extractor")
    interpolation: str = chosen(
        "bilinear", "torchvision's default; pixel centres, not corners, are aligned", ("bilinear",)
    )

    @property
    def samples(self) -> int:
        """Samples in a clip."""
        return self.sample_rate * self.seconds

    @property
    def frames(self) -> int:
        """Frames of a clip's spectrogram, centred: 626 at the paper's settings."""
        return 1 + self.samples // self.hop

    @property
    def patches(self) -> int:
        """Patches of a clip: 18 at the paper's settings."""
        return max(0, (self.frames - self.patch_frames) // self.patch_offset + 1)


@dataclass(frozen=True)
class Features:
    """How the extractors compute (§5.1)."""

    alexnet_relu: bool = chosen(True, "AlexNet's last layer but one is read after its ReLU", (True, False))
    precision: str = chosen(
        "float32",
        "the paper does not say; bfloat16 is faster, but moves features by 2 % and, on few clips, AUCs by points",
        ("float32", "bfloat16"),
    )
    engine: str = chosen("auto", "the fastest that is installed; it is recorded", ("auto", "openvino", "torch"))


@dataclass(frozen=True)
class Detectors:
    """The five detectors (§5.2), fitted on standardised features."""

    variance_floor: float = chosen(
        0.0, "plain standardisation; above 0: no feature's variance counts as less than this share of their mean"
    )
    pca: int = chosen(0, "no reduction; §6 says its findings also hold at equal dimension by PCA")
    n_components: int = stated(80, "§5.2: mixture components, diagonal covariances")
    max_iter: int = stated(150, "§5.2: limit of EM iterations")
    init_params: str = stated("kmeans", "§5.2", ("kmeans", "k-means++", "random"))
    n_init: int = chosen(1, "scikit-learn's default: one start")
    reg_covar: float = chosen(1e-6, "scikit-learn's default; fitted in float64")
    tol: float = chosen(1e-3, "scikit-learn's default")
    weight_prior: str = chosen(
        "dirichlet_process",
        "scikit-learn's default for the Bayesian mixture",
        ("dirichlet_process", "dirichlet_distribution"),
    )
    n_trees: int = stated(128, "§5.2: trees of the isolation forest")
    nu: float = stated(1e-4, "§5.2; the text extraction lost the minus sign of the exponent")
    kernel: str = chosen("rbf", "scikit-learn's default", ("rbf", "linear"))
    gamma: str = chosen("scale", "scikit-learn's default", ("scale", "auto"))
    bandwidth: float = stated(0.1, "§5.2: Gaussian kernel; we keep the log of the density")
    n_neighbors: int = chosen(3, "control: training clips that the distance is the mean to; one alone follows outliers")
    memory: int = chosen(256, "MiB that the kernel density may fill with distances; changes no score")


@dataclass(frozen=True)
class Autoencoders:
    """The convolutional auto-encoders (§5.2), trained on the 64 x 64 pictures."""

    channels: int = chosen(3, "“the Mel-spectrogram images”: RGB; 1: the scaled decibels themselves", (3, 1))
    epochs: int = stated(80, "§5.2")
    batch_size: int = stated(128, "§5.2")
    learning_rate: float = stated(1e-4, "§5.2: Adam; the text extraction lost the minus sign")
    seeds: tuple[int, ...] | None = chosen(None, "None: every seed of the run; fewer where time is short")
    precision: str = chosen("float32", "the paper does not say; bfloat16 is opted into", ("float32", "bfloat16"))
    device: str = chosen("auto", "a GPU where there is one", ("auto", "cpu", "cuda"))


@dataclass(frozen=True)
class Evaluation:
    """From the scores of a clip's patches to the clip's score (§3)."""

    pooling: str = stated("mean", "§3, Equation 1, of log scores", ("mean", "max", "weighted_rank"))
    rank_weight: float = chosen(
        0.8, "weighted_rank: each patch weighs this much of the next more anomalous one; about five of 18 decide"
    )


@dataclass(frozen=True)
class Settings:
    """Everything that changes a number."""

    split: Split = field(default_factory=Split)
    imaging: Imaging = field(default_factory=Imaging)
    features: Features = field(default_factory=Features)
    detectors: Detectors = field(default_factory=Detectors)
    autoencoders: Autoencoders = field(default_factory=Autoencoders)
    evaluation: Evaluation = field(default_factory=Evaluation)

    @property
    def min_train_clips(self) -> int:
        """Clips that a machine ID needs to train on: as many as give a patch per mixture component, or more."""
        return max(self.split.min_train_clips, ceil(self.detectors.n_components / max(1, self.imaging.patches)))


@dataclass(frozen=True)
class Miniature:
    """The size of the miniature that a profile makes for itself."""

    normal: int = 32
    abnormal: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Sensitivity:
    """How much of a run the page on the open choices repeats for every alternative."""

    machines: int = 4
    """Machine types: the first ones of the run."""
    ids: int = 1
    """Machine IDs of each type: the first ones."""
    seeds: int = 2
    """Seeds: the first ones."""


@dataclass(frozen=True)
class Profile:
    """What to run: data, machine IDs, rows of Table 1, seeds, and the settings.

    Attributes
    ----------
    name
        The profile's name: its file's stem.
    data
        Folder of the recordings; None where the caller must name one.
    miniature
        Size of the miniature to make in `data` where nothing is there; None: never make one.
    snr
        Signal-to-noise ratio in dB.
    machines, ids
        Machine types and machine IDs; `ids` None means every ID that is there.
    extractors, detectors, seeds
        Rows of the table and the seeds that redraw the split.
    weights
        A folder of weight files.
    weight_sources
        Where weights are looked for, in this order: folder, torchvision, package.
    sensitivity
        How much of the run is repeated for every open choice.
    """

    name: str = "default"
    data: Path | None = None
    miniature: Miniature | None = None
    snr: int = -6
    machines: tuple[str, ...] = paper.MACHINES
    ids: tuple[str, ...] | None = None
    extractors: tuple[str, ...] = ("squeezenet1_1",)
    detectors: tuple[str, ...] = tuple(paper.DETECTORS)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    weights: Path | None = None
    weight_sources: tuple[str, ...] = ("folder", "torchvision", "package")
    sensitivity: Sensitivity = field(default_factory=Sensitivity)
    settings: Settings = field(default_factory=Settings)

    @property
    def recordings(self) -> Path | None:
        """The folder `data`, with ``{snr}`` in its name filled in: a miniature has one folder per SNR."""
        return None if self.data is None else Path(str(self.data).replace("{snr}", str(self.snr)))


def load_profile(name: str | Path | None, machine: str | None = None) -> Profile:
    """Read a profile.

    Parameters
    ----------
    name
        A file of ``profiles/`` without its suffix, a path to a YAML file, or None for the defaults.
    machine
        Apply what the profile's ``per_machine`` section says of this machine type.

    Raises
    ------
    MimiiError
        If there is no such profile, or it says something that no profile can say.
    """
    if name is None:
        return Profile()
    file = Path(name) if str(name).endswith((".yaml", ".yml")) else ROOT / "profiles" / f"{name}.yaml"
    if not file.is_file():
        known = sorted(found.stem for found in (ROOT / "profiles").glob("*.yaml"))
        raise unknown_value("profile", name, [*known, "a path to a YAML file"])
    try:
        said = yaml.safe_load(file.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MimiiError(f"{file.name}: not a YAML file ({' '.join(str(error).split())})") from None
    said = dict(_mapping(said, file.name))
    per_machine = _mapping(said.pop("per_machine", None) or {}, f"{file.name}: per_machine")
    for other in per_machine:
        if other not in paper.MACHINES:
            raise unknown_value(f"{file.name}: per_machine", other, paper.MACHINES)
    profile = _filled(Profile(), said, file.name)
    profile = _filled(profile, per_machine.get(str(machine)) or {}, f"{file.name}: per_machine: {machine}")
    return replace(profile, name=file.stem)


def with_parameters(
    profile: Profile,
    *,
    data: str | Path | None = None,
    snr: int | None = None,
    ids: Any = None,
    extractors: Any = None,
    detectors: Any = None,
    seeds: Any = None,
    weights: str | Path | None = None,
    settings: Any = None,
) -> Profile:
    """Return the profile with the parameters that are not None in the place of what it says.

    Data that are named are taken as they are: no miniature is made in their place. `settings` go by name, as a
    text such as ``imaging.hop=512 split.balanced=true`` or as a mapping: ``{"imaging.hop": 512}``.

    Raises
    ------
    MimiiError
        If a name is not known or a number is none.
    """
    said: dict[str, Any] = {
        "data": None if data is None else Path(data),
        "snr": snr,
        "ids": as_tuple(ids, parameter="ids"),
        "extractors": as_tuple(extractors, parameter="extractors"),
        "detectors": as_tuple(detectors, parameter="detectors"),
        "seeds": as_tuple(seeds, number=True, parameter="seeds"),
        "weights": None if weights is None else Path(weights),
    }
    made = replace(profile, **{name: value for name, value in said.items() if value is not None})
    made = replace(made, settings=_filled(made.settings, _nested(settings), "settings"))
    if data is not None:
        made = replace(made, miniature=None)
    if not isinstance(made.snr, int) or isinstance(made.snr, bool):
        raise MimiiError(f"snr: found {made.snr!r}, expected a whole number of dB such as -6")
    for parameter, known in (("extractors", EXTRACTORS), ("detectors", DETECTORS)):
        for name in getattr(made, parameter):
            if name not in known:
                raise unknown_value(parameter, name, known)
    return made


def _nested(said: Any) -> dict[str, Any]:
    """Return settings that go by dotted names, in a mapping or a text, as a mapping of groups."""
    if isinstance(said, str):
        # A value may hold blanks and commas, as a list does: the next setting begins with the next name and its sign.
        words = [word for word in re.split(r"[\s,]+(?=[^\s,=]+=)", said.strip(" ,\n\t")) if word]
        said = dict(map(_name_and_value, words))
    groups: dict[str, Any] = {}
    for name, value in _mapping({} if said is None else said, "settings").items():
        group, dot, item = str(name).partition(".")
        values = _mapping({item: value} if dot else value, f"settings: {name}")
        groups[group] = groups.get(group, {}) | dict(values)
    return groups


def _name_and_value(word: str) -> tuple[str, Any]:
    name, sign, value = word.partition("=")
    with suppress(yaml.YAMLError):
        if sign and name == name.strip() and value == value.lstrip():
            return name, yaml.safe_load(value)
    raise MimiiError(f"settings: found {word!r}, expected name=value such as imaging.hop=512")


def _mapping(said: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(said, Mapping):
        raise MimiiError(f"{where}: found {said!r}, expected settings by name")
    return said


def _filled(base: Any, said: Any, where: str) -> Any:
    """Return the dataclass `base` with the values that `said` names."""
    known = {item.name: item for item in fields(base) if item.name != "name"}
    changes = {}
    for name, value in _mapping(said, where).items():
        if name not in known:
            raise unknown_value(where, name, known)
        changes[name] = _value(getattr(base, name), value, known[name], f"{where}: {name}")
    return replace(base, **changes)


def _value(old: Any, value: Any, item: Field[Any], where: str) -> Any:
    """Return what a profile says of a field, as the type it replaces, or raise."""
    if item.name == "miniature" and value is not None:
        old = old or Miniature()
    if is_dataclass(old):
        return None if value is None else _filled(old, value, where)
    if isinstance(old, tuple) or (item.name in ("seeds", "ids") and not isinstance(old, int)):
        found = as_tuple(value, number=item.name == "seeds", parameter=where)
        if item.name == "weight_sources" and (wrong := set(found or ()) - set(old)):
            raise unknown_value(where, wrong.pop(), old)
        return found
    if item.name in ("data", "weights") and (value is None or isinstance(value, str)):
        return None if value is None else ROOT / Path(value).expanduser()
    choices = item.metadata.get("choices")
    if choices:
        for choice in choices:
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        raise unknown_value(where, value, choices)
    expected = (int, float) if isinstance(old, float) else type(old)
    if isinstance(old, float) and isinstance(value, str):  # YAML takes 1e-4, without a dot, for a text
        with suppress(ValueError):
            value = float(value)
    if old is None or isinstance(value, bool) or not isinstance(value, expected):
        raise MimiiError(f"{where}: found {value!r}, expected {'a text' if old is None else f'a value like {old!r}'}")
    zero = item.name in MAY_BE_ZERO or not item.default
    if not isinstance(value, str) and item.name != "snr" and (value < 0 or not (value or zero)):
        expected_number = "0 or more" if zero else f"a number above 0, like {old!r}"
        raise MimiiError(f"{where}: found {value!r}, expected {expected_number}")
    return type(old)(value)


def as_tuple(value: Any, *, number: bool = False, parameter: str = "value") -> tuple[Any, ...] | None:
    """Return the items of a parameter that can hold several.

    Parameters
    ----------
    value
        A list, one item, or a text with items between commas or blanks; None stays None. So papermill's
        ``-p seeds '0 1 2'``, ``-p seeds 0`` and a YAML list all mean what they look like.
    number
        Whether the items are whole numbers.

    Examples
    --------
    >>> as_tuple("id_00, id_02")
    ('id_00', 'id_02')
    >>> as_tuple(3, number=True)
    (3,)
    """
    if value is None:
        return None
    if isinstance(value, str):
        items: Iterable[Any] = [item for item in re.split(r"[\s,\[\]\(\)'\"]+", value) if item]
    elif isinstance(value, Iterable):
        items = value
    else:
        items = [value]
    found = tuple(dict.fromkeys(items))
    if not found:
        raise MimiiError(f"{parameter}: found nothing, expected at least one item")
    if not number:
        return tuple(map(str, found))
    try:
        if any(isinstance(item, (bool, float)) for item in found):
            raise ValueError
        numbers = tuple(int(item) for item in found)
    except (TypeError, ValueError):
        raise MimiiError(f"{parameter}: found {value!r}, expected whole numbers such as 0 1 2") from None
    if any(item < 0 for item in numbers):
        raise MimiiError(f"{parameter}: found {value!r}, expected numbers from 0 on")
    return numbers


def as_json(value: Any) -> str:
    """Return settings as one line of JSON, the same for the same values: a key for what was made from them."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(plain, sort_keys=True, default=str)


def table(*groups: Any) -> pd.DataFrame:
    """Return settings as a table for a page: name, value, and whether the paper states or we chose it."""
    rows = []
    for group in groups:
        for item in fields(group):
            source = "the paper" if "stated" in item.metadata else "our choice"
            why = item.metadata.get("stated") or item.metadata.get("chosen", "")
            rows.append((item.name, getattr(group, item.name), source, why))
    return (
        pd.DataFrame(rows, columns=["setting", "value", "from", "where or why"]).set_index("setting").rename_axis(None)
    )
