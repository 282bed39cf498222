"""Settings and profiles: what a run uses, and where that comes from."""

import re
from dataclasses import fields, replace

import pytest

from mimii_lib import settings
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Profile, Settings, as_json, load_profile, several

GROUPS = {group.name: group.default_factory for group in fields(Settings)}
VALUES = [(group, item.name) for group, made in GROUPS.items() for item in fields(made)]


# Several values


@pytest.mark.parametrize(
    "text",
    ["0 1 2", "0,1,2", "0, 1, 2", "[0, 1, 2]", "(0 1 2)", [0, 1, 2], (0, 1, 2), ["0", "1", "2"], range(3)],
)
def test_seeds_may_be_written_as_it_comes(text):
    """A list, and a text with blanks or commas, with or without brackets, name the same seeds."""
    assert several(text, number=True) == (0, 1, 2)


@pytest.mark.parametrize(("value", "expected"), [(3, (3,)), ("3", (3,)), ("4 4 1", (4, 1)), (None, None)])
def test_one_seed_none_and_one_twice(value, expected):
    """A single seed is a list of one, None stays None, and what is named twice counts once."""
    assert several(value, number=True) == expected


@pytest.mark.parametrize("text", ["id_00 id_02", "id_00,id_02", ["id_00", "id_02"], "['id_00', 'id_02']"])
def test_names_may_be_written_as_it_comes(text):
    """Names are several as seeds are."""
    assert several(text) == ("id_00", "id_02")


@pytest.mark.parametrize("value", ["one", "0 x", 1.5, [0.5], True, [None], "-1", [-1]])
def test_seeds_are_whole_numbers(value):
    """What is no whole number from 0 on is no seed, and the error names the parameter."""
    with pytest.raises(MimiiError, match=r"^seeds: found .* expected"):
        several(value, number=True, parameter="seeds")


@pytest.mark.parametrize("value", ["", " , ", []])
def test_nothing_is_an_error(value):
    """An empty list runs nothing, so it is an error."""
    with pytest.raises(MimiiError, match="ids: found nothing"):
        several(value, parameter="ids")


# Settings


@pytest.mark.parametrize(("group", "name"), VALUES)
def test_every_setting_says_where_it_comes_from(group, name):
    """Every setting is either stated by the paper, and where, or chosen by us, and why."""
    metadata = next(item.metadata for item in fields(GROUPS[group]) if item.name == name)
    assert set(metadata) - {"choices"} in ({"stated"}, {"chosen"})
    assert metadata.get("stated") or metadata.get("chosen")


@pytest.mark.parametrize(("group", "name"), VALUES)
def test_a_default_is_one_of_its_choices(group, name):
    """Where a setting can take a few values only, its default is one of them."""
    item = next(item for item in fields(GROUPS[group]) if item.name == name)
    assert not item.metadata["choices"] or item.default in item.metadata["choices"]


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("split", "test_clips", 150),
        ("imaging", "sample_rate", 16_000),
        ("imaging", "seconds", 10),
        ("imaging", "n_mels", 64),
        ("imaging", "window", 1024),
        ("imaging", "hop", 256),
        ("imaging", "patch_frames", 64),
        ("imaging", "patch_offset", 32),
        ("imaging", "colormap", "viridis"),
        ("imaging", "image_size", 224),
        ("detectors", "n_components", 80),
        ("detectors", "max_iter", 150),
        ("detectors", "init_params", "kmeans"),
        ("detectors", "n_trees", 128),
        ("detectors", "nu", 1e-4),
        ("detectors", "bandwidth", 0.1),
        ("autoencoders", "epochs", 80),
        ("autoencoders", "batch_size", 128),
        ("autoencoders", "learning_rate", 1e-4),
    ],
)
def test_what_the_paper_states(group, name, value):
    """A default that the paper states is the paper's value and is marked as such."""
    assert getattr(getattr(Settings(), group), name) == value
    assert "stated" in next(item.metadata for item in fields(GROUPS[group]) if item.name == name)


def test_the_table_of_settings():
    """The table for a page tells the paper's values from our choices, each with a reason."""
    table = settings.table(*(made() for made in GROUPS.values()))
    assert len(table) == len(VALUES)
    assert set(table["from"]) == {"the paper", "our choice"}
    assert table.loc["hop", "from"] == "the paper"
    assert table.loc["channel", "from"] == "our choice"
    assert table["where or why"].str.len().gt(0).all()


def _other(value):
    return {str: "other", float: 0.5, int: 7}.get(type(value), (3,))


def test_the_same_settings_have_the_same_key():
    """Equal settings are the same text, however they came about and in whatever order they were named."""
    assert as_json(Settings()) == as_json(replace(Settings(), imaging=settings.Imaging(hop=256)))
    assert as_json({"a": 1, "b": [1, 2]}) == as_json({"b": [1, 2], "a": 1})
    assert "\n" not in as_json(Settings())


@pytest.mark.parametrize(("group", "name"), VALUES)
def test_every_setting_is_part_of_the_key(group, name):
    """A setting with another value makes another key."""
    old = getattr(Settings(), group)
    other = replace(Settings(), **{group: replace(old, **{name: _other(getattr(old, name))})})
    assert as_json(other) != as_json(Settings())


# Profiles


def test_no_profile_is_the_papers_settings():
    """Without a profile a run uses the defaults."""
    assert load_profile(None) == Profile()
    assert load_profile(None).settings == Settings()


def test_a_profile_says_only_what_differs(profile):
    """What a profile does not name stays as it was."""
    said = load_profile(profile("seeds: 0 1\nsettings:\n  detectors:\n    n_components: 2\n", "two.yaml"))
    assert said.name == "two"
    assert said.seeds == (0, 1)
    assert said.settings.detectors == settings.Detectors(n_components=2)
    assert said.settings.imaging == settings.Imaging()
    assert said.machines == Profile().machines


def test_an_empty_profile(profile):
    """A profile that says nothing changes nothing."""
    assert load_profile(profile("", "empty.yaml")) == replace(Profile(), name="empty")


def test_a_whole_number_may_stand_for_a_float(profile):
    """A whole number where a float is expected becomes one, so that keys do not differ by how it was written."""
    said = load_profile(profile("settings: {imaging: {top_db: 80}}"))
    assert as_json(said.settings) == as_json(Settings())


def test_folders_of_a_profile_start_at_the_checkout(profile, tmp_path):
    """A relative folder is looked for in the checkout, an absolute one where it is."""
    said = load_profile(profile(f"data: data/mimii\nweights: {tmp_path}\n"))
    assert said.data == settings.ROOT / "data" / "mimii"
    assert said.weights == tmp_path


def test_a_machine_may_have_settings_of_its_own(profile):
    """What per_machine says of a machine type applies to that machine type only, over what the profile says."""
    file = profile("ids: [id_00]\nper_machine:\n  valve:\n    ids: [id_04]\n    settings: {imaging: {hop: 512}}\n")
    valve, fan, unnamed = (load_profile(file, machine) for machine in ("valve", "fan", None))
    assert (valve.ids, valve.settings.imaging.hop) == (("id_04",), 512)
    assert (fan.ids, fan.settings.imaging.hop) == (("id_00",), 256)
    assert fan == unnamed


def test_every_profile_of_the_project_can_be_read():
    """The profiles that come with the project say only what profiles can say, for every machine type."""
    for file in sorted((settings.ROOT / "profiles").glob("*.yaml")):
        for machine in Profile().machines:
            assert load_profile(file.stem, machine).name == file.stem


REFUSED = {
    "an unknown key": ("ixtractors: [alexnet]", "ixtractors.*extractors"),
    "an unknown group": ("settings: {image: {hop: 512}}", "settings: 'image'.*imaging"),
    "an unknown setting": ("settings: {imaging: {hops: 512}}", "settings: imaging: 'hops'.*hop"),
    "a text for a number": ("settings: {imaging: {hop: wide}}", "hop: found 'wide'.*256"),
    "a float for a whole number": ("settings: {imaging: {hop: 256.5}}", "hop: found 256.5"),
    "a truth for a number": ("settings: {imaging: {hop: yes}}", "hop: found True"),
    "a list for a number": ("settings: {imaging: {hop: [1, 2]}}", r"hop: found \[1, 2\]"),
    "a number for a text": ("settings: {imaging: {colormap: 3}}", "colormap: found 3"),
    "nothing for a number": ("settings: {imaging: {hop: null}}", "hop: found None"),
    "a number for a folder": ("data: 3", "data: found 3"),
    "a list for a folder": ("weights: [a, b]", "weights: found"),
    "a number for the settings": ("settings: 3", "settings.*3"),
    "a text for a group": ("settings: {imaging: small}", "imaging.*small"),
    "a number for the miniature": ("miniature: 3", "miniature.*3"),
    "a text for the SNR": ("snr: low", "snr: found 'low'"),
    "a text for seeds": ("seeds: first", "seeds: found 'first'"),
    "an unknown machine in per_machine": (
        "per_machine: {drone: {ids: [id_00]}}",
        "per_machine: 'drone'.*fan, pump",
    ),
    "a list for per_machine": ("per_machine: [fan]", "per_machine"),
    "an unknown key in per_machine": ("per_machine: {fan: {idz: [id_00]}}", "per_machine: fan: 'idz'"),
    "a text for a machine's settings": ("per_machine: {fan: loud}", "per_machine: fan.*loud"),
    "a list": ("- 1\n- 2", "found .1, 2., expected settings by name"),
    "no YAML": ("a: [1, 2", "not a YAML file"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_profile_that_says_something_else_is_refused(why, profile):
    """A profile with an unknown name or a value of another type is an error that names the file and the place."""
    text, names = REFUSED[why]
    with pytest.raises(MimiiError) as error:
        load_profile(profile(text), "fan")
    assert re.search(rf"some\.yaml.*{names}", str(error.value))
    assert "\n" not in str(error.value)


def test_a_profile_that_is_not_there(tmp_path):
    """A profile that does not exist is an error that says what can be named."""
    for name in ("nowhere", tmp_path / "nowhere.yaml"):
        with pytest.raises(MimiiError, match="profile: .*nowhere.* is not known; expected one of.*YAML"):
            load_profile(name)
