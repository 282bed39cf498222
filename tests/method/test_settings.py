"""Settings: the paper's values, our assumptions, and what a setting cannot be."""

from typing import Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from mimii_lib.settings import Detectors, Imaging, Settings, as_json, sources

GROUPS = dict(Settings())
SETTINGS = [(group, name, source) for group, values in GROUPS.items() for name, source in sources(values).items()]
ALTERNATIVES = [(group, name, value) for group, name, source in SETTINGS for value in source.alternatives]


def changed(group, name, value):
    """Return the default settings with one other value, validated."""
    return Settings.model_validate(Settings().model_dump() | {group: dict(GROUPS[group]) | {name: value}})


@pytest.mark.parametrize(
    ("group", "values"),
    {
        "split": {"test_clips": 150},
        "imaging": {"sample_rate": 16_000, "seconds": 10, "colormap": "viridis", "image_size": 224}
        | {"n_mels": 64, "window": 1024, "hop": 256, "patch_frames": 64, "patch_offset": 32},
        "detectors": {"n_components": 80, "max_iter": 150, "init_params": "kmeans", "n_trees": 128}
        | {"nu": 1e-4, "bandwidth": 0.1},
        "autoencoders": {"epochs": 80, "batch_size": 128, "learning_rate": 1e-4},
        "evaluation": {"pooling": "mean"},
    }.items(),
)
def test_defaults_that_the_paper_states_are_its_values(group, values):
    """A default is declared as the paper's exactly where it is the value that the paper prints."""
    stated = {name for other, name, source in SETTINGS if other == group and not source.is_assumption}
    assert stated == set(values)
    assert {name: getattr(GROUPS[group], name) for name in values} == values


@pytest.mark.parametrize(("group", "name", "source"), SETTINGS)
def test_a_setting_has_a_source_and_a_place_in_the_key(group, name, source):
    """Every setting names the paper's section or our reason, and another value gives another key."""
    assert source.text.startswith("§") or (source.is_assumption and source.text)
    other = GROUPS[group].model_copy(update={name: "other"})
    assert as_json(Settings().model_copy(update={group: other})) != as_json(Settings())


@pytest.mark.parametrize(("group", "name", "value"), ALTERNATIVES)
def test_an_alternative_is_an_allowed_value_other_than_the_default(group, name, value):
    """An alternative changes the setting that it belongs to, and nothing else."""
    settings = changed(group, name, value)
    assert getattr(getattr(settings, group), name) == value != getattr(GROUPS[group], name)
    assert changed(group, name, getattr(GROUPS[group], name)) == Settings()


def test_every_assumption_among_few_values_has_its_alternatives_measured():
    """An assumption whose point has several values to choose from measures all of them, but for the SVM's width."""
    for group, name, source in SETTINGS:
        annotation = type(GROUPS[group]).model_fields[name].annotation
        allowed = {True, False} if annotation is bool else set(get_args(annotation))
        if source.is_assumption and source.point and (annotation is bool or get_origin(annotation) is Literal):
            assert set(source.alternatives) == allowed - {getattr(GROUPS[group], name)} or name == "gamma"


def test_equal_settings_are_one_key():
    """Settings are immutable; equal ones are of one hash and one line of JSON, however they were made."""
    with pytest.raises(ValidationError):
        Imaging().hop = 512
    assert Settings() == Settings(imaging=Imaging(hop=256, top_db=80))
    assert hash(Settings()) == hash(Settings(imaging=Imaging(hop=256)))
    assert as_json(Settings()) == as_json(Settings(imaging=Imaging(hop=256, top_db=80)))
    assert as_json({"b": [1, 2], "a": Imaging()}) == as_json({"a": Imaging(), "b": [1, 2]})


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        *(("imaging", "hop", value) for value in (0, -1, True, "512", 256.5, None, [1, 2])),
        *(("imaging", "channel", value) for value in (8, True, 0.0, "0", "left")),
        *(("imaging", "top_db", value) for value in (0, True, "loud", float("nan"))),
        *(("split", "balanced", value) for value in (1, "true", None)),
        *(("detectors", "nu", value) for value in (0, 2, "small")),
        *(("autoencoders", "seeds", value) for value in ((), [-1], [0.5], True)),
        ("autoencoders", "channels", True),
        ("imaging", "colour", "viridis"),
    ],
)
def test_a_wrong_value_is_refused(group, name, value):
    """Values of another type, outside their range, or of an unknown name are errors, and nothing is converted."""
    with pytest.raises(ValidationError):
        changed(group, name, value)


def test_numbers_may_be_written_as_yaml_reads_them():
    """YAML reads 1e-4 as a text and 80 as a whole number: both are the number that they look like."""
    assert changed("detectors", "nu", "1e-4") == Settings() == changed("imaging", "top_db", 80)
    assert changed("autoencoders", "seeds", [0, 1]).autoencoders.seeds == (0, 1)
    assert changed("autoencoders", "seeds", 0).autoencoders.seeds == (0,)
    assert changed("evaluation", "rank_weight", 0).evaluation.rank_weight == 0


@pytest.mark.parametrize(
    ("settings", "clips"),
    [
        (Settings(), 5),
        (Settings(imaging=Imaging(hop=512)), 10),
        (Settings(detectors=Detectors(n_components=91)), 6),
        (Settings(detectors=Detectors(n_components=2)), 5),
        (changed("split", "min_train_clips", 30), 30),
    ],
)
def test_training_clips_follow_from_components_and_patches(settings, clips):
    """80 components need 80 patches: 5 clips of 18, or 10 of 8; a larger minimum is kept."""
    assert settings.min_train_clips == clips
