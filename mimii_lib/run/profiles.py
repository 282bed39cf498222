"""Profiles: which rows of Table 1 to run on which recordings, with which seeds and settings.

A profile is a YAML file that names only what differs from the defaults. The project's profiles ship with the package.
An unknown name and a wrong value are a :class:`MimiiError`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mimii_lib import paper
from mimii_lib.errors import MimiiError, invalid_input, shown, unknown_value
from mimii_lib.extractors import EXTRACTORS
from mimii_lib.settings import DETECTORS, SEEDS, PositiveInt, Settings, StrictModel
from mimii_lib.systems import audio_networks  # noqa: F401  # registers their extractors

ROOT = Path(__file__).resolve().parents[2]  # the checkout, or the folder in which the package is installed
IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()
PROFILES = ROOT / "profiles" if IN_CHECKOUT else ROOT / "mimii_lib" / "profiles"
WEIGHT_SOURCES = ("folder", "torchvision", "package")
KNOWN = {"machines": paper.MACHINES, "extractors": EXTRACTORS, "detectors": DETECTORS, "weight_sources": WEIGHT_SOURCES}


def as_tuple(value: Any, parameter: str = "value") -> tuple[str, ...] | None:
    """Return the distinct items of a parameter that takes several: a list, one item, or a text such as ``a b, c``."""
    if value is None:
        return None
    items = re.findall(r"[^\s,\[\]()'\"]+", value) if isinstance(value, str) else value
    items = list(items) if isinstance(items, Iterable) and not isinstance(items, (bytes, Mapping)) else [items]
    for item in items:
        if isinstance(item, Iterable) and not isinstance(item, str):
            raise MimiiError(f"{parameter}: found {shown(item)}, expected one item or a list of them")
    names = tuple(dict.fromkeys(map(str, items)))
    if not names:
        raise MimiiError(f"{parameter}: found nothing, expected at least one item")
    return names


Folder = Annotated[Path, Field(strict=False)]
Several = BeforeValidator(lambda value, info: as_tuple(value, info.field_name))
Names = Annotated[tuple[str, ...], Several]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=SEEDS, strict=False)], ...], Several]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Miniature(StrictModel):
    """Size of the miniature that a profile makes for itself: clips per machine ID, and the random seed."""

    normal: PositiveInt = 24
    abnormal: PositiveInt = 8
    seed: Seed = 0


class Sample(StrictModel):
    """Clips of MIMII that a profile downloads for itself: so many per machine ID, drawn by the random seed."""

    normal: PositiveInt = 100
    abnormal: PositiveInt = 50
    seed: Seed = 0
    mirror: str | None = None  # address or folder of the archives; None: Zenodo
    registry: Folder | None = None  # CSV of other archives than MIMII's and DCASE's


class Sensitivity(StrictModel):
    """What is run again for every alternative of an open point: so many machine types, IDs of each, and seeds.

    Of the detectors that an alternative can affect these `detectors` are run, or all if none is among them. Of the
    alternatives of a setting that need new features so many `alternatives` are run; None: all.
    """

    machines: PositiveInt = 4
    ids: PositiveInt = 1
    seeds: PositiveInt = 2
    detectors: Names = (*paper.DETECTORS, *paper.AUTOENCODERS)
    alternatives: PositiveInt | None = None


class Profile(StrictModel):
    """What to run; `ids` None: all.

    Where `data` (``{snr}`` in it is filled in) is empty, a `miniature` is made or a `sample` is downloaded.
    """

    name: str = "default"
    data: Folder | None = None
    miniature: Miniature | None = None
    sample: Sample | None = None
    snr: Annotated[int, Field(ge=-100, le=100)] = -6  # dB
    machines: Names = paper.MACHINES
    ids: Names | None = None
    extractors: Names = ("squeezenet1_1",)
    detectors: Names = tuple(paper.DETECTORS)
    seeds: Seeds = (0, 1, 2, 3, 4)
    weights: Folder | None = None
    weight_sources: Names = WEIGHT_SOURCES
    sensitivity: Sensitivity = Sensitivity()
    settings: Settings = Settings()

    @field_validator(*KNOWN)
    @classmethod
    def _check_names(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in set(names) - set(KNOWN[str(info.field_name)]):
            raise unknown_value(str(info.field_name), name, KNOWN[str(info.field_name)])
        return names

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        view, trained = self.settings.imaging, self.settings.autoencoders.seeds
        if view.patches == 0:
            values = f"found {view.patch_frames}, expected at most the {view.frames} frames of a clip"
            raise MimiiError(f"settings: imaging: patch_frames: {values}")
        if view.window > view.samples:
            values = f"found {view.window}, expected at most the {view.samples} samples of a clip"
            raise MimiiError(f"settings: imaging: window: {values}")
        if view.n_mels > (frequencies := view.window // 2 + 1):
            values = f"found {view.n_mels}, expected at most the {frequencies} frequencies of a window"
            raise MimiiError(f"settings: imaging: n_mels: {values}")
        if trained is not None and not {*trained} & {*self.seeds}:
            own, of_run = (", ".join(map(str, seeds)) for seeds in (trained, self.seeds))
            raise MimiiError(f"settings: autoencoders: seeds: found {own}, expected some of the run's seeds {of_run}")
        return self

    @property
    def recordings(self) -> Path | None:
        """The folder of the recordings at the profile's SNR."""
        return self.data and Path(str(self.data).replace("{snr}", str(self.snr)))


def load_profile(name: str | Path | None, machine: str | None = None) -> Profile:
    """Read the profile of a name or a file (None: the defaults), with its ``per_machine`` values for `machine`.

    Relative folders start at the checkout, or at the current folder where the package is installed without one.
    """
    if name is None:
        return Profile()
    file = Path(name) if str(name).endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    try:
        values = _read_yaml(file.read_bytes(), file.name)
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error, MimiiError):
            raise
        known = sorted(path.stem for path in PROFILES.glob("*.yaml"))
        raise unknown_value("profile", name, [*known, "a path to a YAML file"]) from None
    except OSError as error:
        raise MimiiError(f"profile: {file}: cannot be opened ({error.strerror})") from None
    per_machine = values.pop("per_machine", {}) if isinstance(values, dict) else {}
    if not isinstance(per_machine, dict) or set(per_machine) - set(paper.MACHINES):
        raise MimiiError(
            f"{file.name}: per_machine: found {shown(per_machine)}, expected values by name of a machine type"
        )
    profile = _merged(Profile(name=file.stem), values, file.name)
    profile = _merged(profile, per_machine.get(machine, {}), f"{file.name}: per_machine: {machine}")
    start, folders = ROOT if IN_CHECKOUT else Path.cwd(), {"data": profile.data, "weights": profile.weights}
    return profile.model_copy(update={key: start / os.path.expanduser(path) for key, path in folders.items() if path})


def with_parameters(profile: Profile, /, **parameters: Any) -> Profile:
    """Return the profile with fields replaced by `parameters`, those that are None left out.

    `settings` are a text such as ``imaging.hop=512 split.balanced=true`` or a mapping: ``{"imaging.hop": 512}``. Named
    `data` are taken as they are: no miniature is made, and no sample downloaded.
    """
    values = {name: value for name, value in parameters.items() if value is not None}
    if isinstance(text := values.get("settings"), str):
        lines = re.sub(r"[\s,]+(?=[\w.]+=)", "\n", text.strip(" ,\n\t"))  # a value may be a list with blanks and commas
        values["settings"] = _read_yaml(lines.replace("=", ": "), "settings")
        if not isinstance(values["settings"], dict):
            raise MimiiError(f"settings: found {text!r}, expected name=value such as imaging.hop=512")
    if "seeds" in values and profile.settings.autoencoders.seeds is not None:
        seeds = _merged(Profile(), {"seeds": values["seeds"]}, "").seeds
        if not {*seeds} & {*profile.settings.autoencoders.seeds}:  # the profile's few are of other seeds
            own = {"autoencoders.seeds": list(seeds[:1])}
            profile = _merged(profile, {"seeds": seeds, "settings": own}, "")
    return _merged(profile, values | ({"miniature": None, "sample": None} if "data" in values else {}), "")


class YamlLoader(yaml.SafeLoader):
    """YAML's safe loader without what it does silently: of a name that stands twice it would take the last.

    A whole number is written in decimals (YAML reads 010 as 8 and 1:30 as 90), and a text is made of whole characters.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping in which every name stands once."""
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.YAMLError(f"{twice[0]} is named twice")
        return node

    def construct_scalar(self, node: Any) -> Any:
        """Return a value without halves of characters, which no file could hold."""
        if re.search("[\ud800-\udfff]", node.value):
            raise yaml.YAMLError(f"{node.value!r} holds half a character")
        return super().construct_scalar(node)


_INT = "tag:yaml.org,2002:int"
YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _INT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
YamlLoader.add_implicit_resolver(_INT, re.compile(r"[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))


def _read_yaml(text: str | bytes, where: str) -> Any:
    try:
        return yaml.load(text, YamlLoader) or {}
    except yaml.YAMLError as error:
        raise MimiiError(f"{where}: not YAML ({' '.join(str(error).split())})") from None
    except (RecursionError, ValueError):  # a number or a date that is none is a ValueError
        raise MimiiError(f"{where}: not YAML that can be read (nested too deeply, or an impossible number)") from None


def _merged(profile: Profile, values: Any, where: str) -> Profile:
    try:
        return Profile.model_validate(_update(profile.model_dump(), values))
    except ValidationError as error:
        raise invalid_input(error, Profile, where) from None


def _update(base: Any, values: Any) -> Any:
    """Return `base` with `values` in the place of its own, group by group; ``imaging.hop`` names ``hop`` of a group."""
    if not (isinstance(base, dict) and isinstance(values, dict)):
        return values
    merged = dict(base)
    for name, value in values.items():
        group, _, item = str(name).partition(".")
        merged[group] = _update(merged.get(group), {item: value} if item else value)
    return merged
