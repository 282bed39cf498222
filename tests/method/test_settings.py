"""Settings and profiles: what a run uses, and where that comes from."""

import re
from dataclasses import fields, replace

import pytest
import yaml

from mimii_lib import cli, run, settings
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Profile, Settings, as_json, as_tuple, load_profile, with_parameters

GROUPS = {group.name: group.default_factory for group in fields(Settings)}
VALUES = [(group, item.name) for group, made in GROUPS.items() for item in fields(made)]
CHOICES = [
    (group, item.name, choice)
    for group, made in GROUPS.items()
    for item in fields(made)
    for choice in item.metadata["choices"]
]
NUMBERS = [
    ("split", "test_clips", 40),
    ("split", "min_train_clips", 9),
    ("imaging", "hop", 512),
    ("imaging", "top_db", 60.5),
    ("imaging", "patch_offset", 64),
    ("detectors", "variance_floor", 0.01),
    ("detectors", "pca", 64),
    ("detectors", "n_init", 5),
    ("detectors", "nu", 1e-3),
    ("detectors", "reg_covar", 1e-4),
    ("detectors", "memory", 64),
    ("autoencoders", "epochs", 3),
    ("autoencoders", "seeds", (0, 1)),
    ("evaluation", "rank_weight", 0.5),
]
ALTERNATIVES = [*CHOICES, *NUMBERS]


# Several values


@pytest.mark.parametrize(
    "text",
    ["0 1 2", "0,1,2", "0, 1, 2", "[0, 1, 2]", "(0 1 2)", [0, 1, 2], (0, 1, 2), ["0", "1", "2"], range(3)],
)
def test_seeds_may_be_written_as_it_comes(text):
    """A list, and a text with blanks or commas, with or without brackets, name the same seeds."""
    assert as_tuple(text, number=True) == (0, 1, 2)


@pytest.mark.parametrize(("value", "expected"), [(3, (3,)), ("3", (3,)), ("4 4 1", (4, 1)), (None, None)])
def test_one_seed_none_and_one_twice(value, expected):
    """A single seed is a list of one, None stays None, and what is named twice counts once."""
    assert as_tuple(value, number=True) == expected


@pytest.mark.parametrize("text", ["id_00 id_02", "id_00,id_02", ["id_00", "id_02"], "['id_00', 'id_02']"])
def test_names_may_be_written_as_it_comes(text):
    """Names are several as seeds are."""
    assert as_tuple(text) == ("id_00", "id_02")


@pytest.mark.parametrize("value", ["one", "0 x", 1.5, [0.5], True, [None], "-1", [-1]])
def test_seeds_are_whole_numbers(value):
    """What is no whole number from 0 on is no seed, and the error names the parameter."""
    with pytest.raises(MimiiError, match=r"^seeds: found .* expected"):
        as_tuple(value, number=True, parameter="seeds")


@pytest.mark.parametrize("value", ["", " , ", []])
def test_nothing_is_an_error(value):
    """An empty list runs nothing, so it is an error."""
    with pytest.raises(MimiiError, match="ids: found nothing"):
        as_tuple(value, parameter="ids")


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
    "a number for a text": ("settings: {imaging: {colormap: 3}}", "colormap: '3'.*viridis, gray, magma"),
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


# Settings by name


def only(group, name, value):
    """Return the paper's settings with one other value."""
    return replace(Settings(), **{group: replace(getattr(Settings(), group), **{name: value})})


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def texted(value):
    """Return how a value is written in a text: YAML's way."""
    return f"{value}".lower() if isinstance(value, bool) else f"{value}"


def test_every_choice_of_the_facts_is_there():
    """What the paper leaves open can be chosen: the values that can be named, group by group."""
    there = {(group, name, choice) for group, name, choice in CHOICES}
    assert there >= {
        ("split", "balanced", True),
        *(("imaging", "channel", channel) for channel in (*range(8), "mean")),
        ("imaging", "pad_mode", "reflect"),
        ("imaging", "db_reference", "fixed"),
        *(("imaging", "scaling", scaling) for scaling in ("clip", "range", "patch", "training")),
        ("imaging", "origin", "upper"),
        *(("imaging", "colormap", name) for name in ("viridis", "gray", "magma")),
        ("features", "alexnet_relu", False),
        ("features", "precision", "bfloat16"),
        *(("features", "engine", engine) for engine in ("auto", "openvino", "torch")),
        ("detectors", "weight_prior", "dirichlet_distribution"),
        ("detectors", "kernel", "linear"),
        ("autoencoders", "channels", 1),
        ("autoencoders", "precision", "bfloat16"),
        *(("evaluation", "pooling", pooling) for pooling in ("mean", "max", "weighted_rank")),
    }


@pytest.mark.parametrize(("group", "name", "value"), ALTERNATIVES)
def test_a_setting_may_be_said_in_any_way(group, name, value, profile):
    """A text, a mapping by dotted names or by groups, and a profile mean the same, and change that setting only."""
    expected = only(group, name, value)
    if not isinstance(value, tuple):
        assert with_parameters(Profile(), settings=f"{group}.{name}={texted(value)}").settings == expected
    for said in ({f"{group}.{name}": value}, {group: {name: value}}):
        found = with_parameters(Profile(), settings=said).settings
        assert found == expected
        assert as_json(found) == as_json(expected)
    file = profile(yaml.safe_dump({"settings": {group: {name: plain(value)}}}))
    assert load_profile(file).settings == expected


@pytest.mark.parametrize(("group", "name", "value"), [each for each in ALTERNATIVES if not isinstance(each[2], tuple)])
def test_a_setting_may_be_said_on_the_command_line(group, name, value, monkeypatch, tmp_path):
    """The option --settings lands in the field that it names."""
    made = []

    class Seen(Exception):
        pass

    def start(self, machine, *, profile, **said):
        made.append(with_parameters(load_profile(profile, machine), settings=said["settings"]).settings)
        raise Seen

    monkeypatch.setattr(run.Run, "__init__", start)
    with pytest.raises(Seen):
        cli.main(["auc", str(tmp_path), "--machine", "fan", "--settings", f"{group}.{name}={texted(value)}"])
    assert made == [only(group, name, value)]


@pytest.mark.parametrize(
    "text",
    [
        "imaging.hop=512 split.balanced=true",
        "imaging.hop=512, split.balanced=true",
        "imaging.hop=512,split.balanced=true",
        " split.balanced=true\nimaging.hop=512 ",
        {"imaging.hop": 512, "split.balanced": True},
        {"imaging": {"hop": 512}, "split.balanced": True},
    ],
)
def test_several_settings_may_be_written_as_it_comes(text):
    """Settings stand between blanks or commas, or in a mapping, in whatever order."""
    found = with_parameters(Profile(), settings=text).settings
    assert found == replace(only("imaging", "hop", 512), split=settings.Split(balanced=True))


@pytest.mark.parametrize("nothing", [None, "", " ", {}, {"imaging": {}}])
def test_no_settings_change_nothing(nothing):
    """Where no setting is named the profile's own stay."""
    base = replace(Profile(), settings=only("imaging", "hop", 512))
    assert with_parameters(base, settings=nothing).settings == base.settings


def test_settings_by_name_go_over_the_profiles(profile):
    """A setting that is named takes the place of the profile's, and the profile's others stay."""
    base = load_profile(profile("settings: {imaging: {hop: 512, origin: upper}, split: {balanced: true}}"))
    found = with_parameters(base, settings="imaging.hop=128").settings
    assert (found.imaging.hop, found.imaging.origin, found.split.balanced) == (128, "upper", True)


@pytest.mark.parametrize(("group", "name", "value"), ALTERNATIVES)
def test_any_setting_can_be_set_back(group, name, value):
    """Where a profile says something else the paper's value, 0 among them, can still be asked for."""
    base = replace(Profile(), settings=only(group, name, value))
    default = getattr(getattr(Settings(), group), name)
    assert with_parameters(base, settings={f"{group}.{name}": default}).settings == Settings()


def test_ranks_may_weigh_nothing():
    """A rank weight of 0, which is the maximum, is a value like others."""
    assert with_parameters(Profile(), settings="evaluation.rank_weight=0").settings.evaluation.rank_weight == 0


def test_several_seeds_of_the_autoencoders_may_be_said_in_a_text():
    """A list in brackets is one value of a text, although it has commas within."""
    found = with_parameters(Profile(), settings="autoencoders.seeds=[0,1] imaging.hop=512").settings
    assert (found.autoencoders.seeds, found.imaging.hop) == ((0, 1), 512)


WRONG = {
    "a setting without a value": ("imaging.hop", "settings: found 'imaging.hop', expected name=value such as"),
    "a blank around the sign": ("imaging.hop = 512", "expected name=value"),
    "an unknown group": ("image.hop=512", "settings: 'image' is not known; expected one of split, imaging"),
    "an unknown name": ("imaging.hops=512", "settings: imaging: 'hops' is not known; expected one of .*hop"),
    "a group alone": ("imaging=512", "settings: imaging: found 512, expected settings by name"),
    "a name alone": ("hop=512", "settings: (hop: found 512|'hop' is not known)"),
    "a name of no group": (".hop=512", "settings: '' is not known; expected one of split"),
    "an unknown choice": ("imaging.scaling=loud", "scaling: 'loud' is not known; expected one of clip, range, patch"),
    "an unknown pooling": ("evaluation.pooling=median", "pooling: 'median' .*mean, max, weighted_rank"),
    "a channel that no file has": ("imaging.channel=8", "channel: '8' is not known; expected one of 0, 1.*7, mean"),
    "a truth for a channel": ("imaging.channel=true", "channel: 'True' is not known"),
    "a number for a truth": ("split.balanced=1", "balanced: '1' is not known; expected one of False, True"),
    "a text for a truth": ("split.balanced=maybe", "balanced: 'maybe' is not known"),
    "a text for a number": ("imaging.hop=wide", "hop: found 'wide', expected a value like 256"),
    "a float for a whole number": ("detectors.pca=1.5", "pca: found 1.5, expected a value like 0"),
    "no value": ("imaging.hop=", "hop: found None, expected a value like 256"),
    "a number below 0": ("imaging.hop=-1", "hop: found -1, expected a number above 0"),
    "0 where it cannot be": ("imaging.hop=0", "hop: found 0, expected a number above 0"),
    "a level below": ("imaging.channel.left=1", "imaging: 'channel.left' is not known"),
    "a list": (["imaging.hop=512"], "settings: found .*expected settings by name"),
    "a number": (512, "settings: found 512, expected settings by name"),
    "a group's text": ({"imaging": "hop=512"}, "settings: imaging: found 'hop=512', expected settings by name"),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_setting_that_is_none_is_refused(why):
    """A wrong group, name or value is an error of one sentence that says what was expected."""
    said, names = WRONG[why]
    with pytest.raises(MimiiError, match=names) as error:
        with_parameters(Profile(), settings=said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["imaging.hop=[1", "imaging.hop={a: 1", "imaging.hop='5", "imaging.hop=&", "imaging.hop=*a", "imaging.hop=@"],
)
def test_a_value_that_is_no_yaml_is_one_sentence(text):
    """A value that cannot be read is an error of one sentence, not a parser's traceback."""
    with pytest.raises(MimiiError, match="settings") as error:
        with_parameters(Profile(), settings=text)
    assert "\n" not in str(error.value)


def test_training_clips_follow_from_components_and_patches():
    """80 components need 80 patches: 5 clips of 18, or 10 of 8; a larger least number is kept."""
    assert Settings().min_train_clips == 5
    for said, needed in [
        ("imaging.hop=512", 10),
        ("detectors.n_components=91", 6),
        ("detectors.n_components=2", 5),
        ("split.min_train_clips=30", 30),
    ]:
        assert with_parameters(Profile(), settings=said).settings.min_train_clips == needed


# What a profile says of weights and of sensitivity


def test_a_profile_may_name_the_sources_of_weights(profile):
    """A profile names where weights are looked for, in its order; what is no source is refused."""
    assert Profile().weight_sources == ("folder", "torchvision", "package")
    assert load_profile(profile("weight_sources: [package, folder]")).weight_sources == ("package", "folder")
    assert load_profile(profile("weight_sources: package")).weight_sources == ("package",)
    with pytest.raises(MimiiError, match="weight_sources: 'hub' is not known; expected one of folder, torchvision"):
        load_profile(profile("weight_sources: [hub]"))


def test_a_profile_may_say_how_much_is_repeated(profile):
    """A profile says for how many IDs and seeds the open choices are tried; what it leaves out stays."""
    assert load_profile(profile("sensitivity: {ids: 2}")).sensitivity == settings.Sensitivity(ids=2, seeds=2)
    for text, names in [("{ids: all}", "ids: found 'all'"), ("{clips: 3}", "'clips'.*ids, seeds"), ("3", "found 3")]:
        with pytest.raises(MimiiError, match=f"sensitivity.*{names}"):
            load_profile(profile(f"sensitivity: {text}"))
