"""Profiles: what a run takes from a file, and from the parameters of a command or a notebook."""

import re

import pytest
import yaml

from mimii_lib import paper
from mimii_lib.errors import MimiiError
from mimii_lib.pages.open_points import POINTS
from mimii_lib.run.profiles import PROFILES, ROOT, Profile, Sensitivity, as_tuple, load_profile, with_parameters
from mimii_lib.settings import Detectors, Imaging, Settings, Split

ALTERNATIVES = [alternative for point in POINTS for alternative in point.alternatives]
CHANGES = [{name: value for name, value in other.change.items() if "." in name} for other in ALTERNATIVES]


@pytest.mark.parametrize("value", ["a b", "a,b", "a, b", "[a, b]", "('a' 'b')", ["a", "b"], ("a", "b", "a")])
def test_several_items_may_be_a_text_or_a_list(value):
    """A list, and a text with blanks or commas, with or without brackets, name the same items, each once."""
    assert as_tuple(value) == ("a", "b")


@pytest.mark.parametrize("value", ["0 1 2", ["0", "1", "2"], range(3)])
def test_seeds_are_whole_numbers_however_written(value):
    """Seeds are written as names are, and are numbers afterwards; a single seed is a list of one."""
    assert with_parameters(Profile(), seeds=value).seeds == (0, 1, 2)
    assert with_parameters(Profile(), seeds=3).seeds == (3,)


def test_a_profile_names_only_what_differs(profile):
    """What a profile does not name stays as it was, group by group: the paper's values."""
    assert load_profile(None) == Profile(settings=Settings(), machines=paper.MACHINES, detectors=list(paper.DETECTORS))
    text = "seeds: 0 1\nsensitivity: {ids: 2}\nsettings:\n  detectors: {n_components: 2}\n  imaging.hop: 512\n"
    loaded = load_profile(profile(text, "two.yaml"))
    settings = Settings(detectors=Detectors(n_components=2), imaging=Imaging(hop=512))
    assert loaded == Profile(name="two", seeds=(0, 1), sensitivity=Sensitivity(ids=2), settings=settings)
    assert load_profile(profile("weight_sources: package")).weight_sources == ("package",)


def test_relative_folders_start_at_the_checkout(profile, tmp_path):
    """A relative folder of a profile lies in the checkout, an absolute one where it says; the SNR is filled in."""
    loaded = load_profile(profile(f"data: data/miniature_{{snr}}_dB\nsnr: 6\nweights: {tmp_path}\n"))
    assert (loaded.recordings, loaded.weights) == (ROOT / "data" / "miniature_6_dB", tmp_path)


def test_a_machine_type_may_have_values_of_its_own(profile):
    """The section per_machine applies to its machine type alone, over the rest of the profile."""
    file = profile("ids: [id_00]\nper_machine:\n  valve:\n    ids: [id_04]\n    settings: {imaging: {hop: 512}}\n")
    valve, fan = load_profile(file, "valve"), load_profile(file, "fan")
    assert (valve.ids, valve.settings.imaging.hop) == (("id_04",), 512)
    assert fan == load_profile(file) == Profile(name="some", ids="id_00")


@pytest.mark.parametrize("name", sorted(file.stem for file in PROFILES.glob("*.yaml")))
def test_the_projects_profiles_are_valid(name):
    """The profiles of the project can be read for every machine type."""
    assert [load_profile(name, machine).name for machine in paper.MACHINES] == [name] * 4


REFUSED = {
    "ixtractors: [alexnet]": "'ixtractors' is not known.*did you mean 'extractors'",
    "settings: {image: {hop: 512}}": "settings: 'image' is not known; expected one of split, imaging",
    "settings: {imaging: {hops: 512}}": "settings: imaging: 'hops'.*did you mean 'hop'",
    "settings: {imaging: {hop: wide}}": "hop: found 'wide', expected a valid integer",
    "settings: {imaging: {colormap: 3}}": "colormap: found 3, expected 'viridis', 'gray' or 'magma'",
    "settings: {imaging: small}": "imaging: found 'small', expected values by name",
    "data: [a, b]": "data: found.*expected a valid path",
    "seeds: first": "seeds: found 'first', expected a valid integer",
    "seeds: [-1]": "seeds: found '-1', expected greater than or equal to 0",
    "ids: []": "ids: found nothing, expected at least one item",
    "extractors: [vgg]": "extractors: 'vgg' is not known.*alexnet",
    "detectors: [kdee]": "detectors: 'kdee'.*did you mean 'kde'",
    "weight_sources: [hub]": "weight_sources: 'hub'.*folder, torchvision, package",
    "per_machine: {drone: {ids: [id_00]}}": "per_machine: found.*drone",
    "per_machine: {fan: {idz: [id_00]}}": "per_machine: fan: 'idz'.*did you mean 'ids'",
    "per_machine: {fan: loud}": "per_machine: fan: found 'loud'",
    "- 1\n- 2": "found .1, 2., expected values by name",
    "a: [1, 2": "not YAML",
    "settings:": "settings: found None, expected values by name",
    "settings: {imaging: }": "settings: imaging: found None, expected values by name",
    "extractors:": "extractors: found None",
    "seeds: [[0], [1]]": "seeds: found .0., expected one item or a list of them",
    "detectors: {gmm: 1}": "detectors: found .*gmm.*, expected one item or a list of them",
    f"seeds: [{2**32}]": "seeds: found '4294967296', expected less than 4294967296",
    "miniature: {seed: -1}": "miniature: seed: found -1, expected greater",
    "snr: -99999": "snr: found -99999, expected greater than or equal to -100",
    "settings: {detectors: {nu: .nan}}": "nu: found nan, expected a finite number",
    "settings: {detectors: {bandwidth: 1e300}}": "bandwidth: found '1e300', expected less than or equal to 1000000",
    "settings: {imaging: {image_size: 1}}": "image_size: found 1, expected greater than or equal to 64",
    "settings: {imaging: {patch_frames: 700}}": "patch_frames: found 700, expected at most the 626 frames of a clip",
    "settings: {imaging: {window: 160001}}": "window: found 160001, expected at most the 160000 samples of a clip",
    "settings: {imaging: {n_mels: 514}}": "n_mels: found 514, expected at most the 513 frequencies of a window",
    "settings: {autoencoders: {epochs: 1" + 20 * "0" + "}}": "epochs: found 10+, expected less than or equal to",
    "settings: {autoencoders: {batch_size: 1}}": "batch_size: found 1, expected greater than or equal to 2",
    "seeds: 0\nsettings: {autoencoders: {seeds: 5}}": "seeds: found 5, expected some of the run's seeds 0",
    "a: " + 1500 * "[" + 1500 * "]": "nested too deeply",
    "a: " + 5000 * "1": "an impossible number",
    "settings: {imaging: {hop: 512}}\nsettings: {}": "not YAML .settings is named twice",
    "settings: {imaging: {hop: 010}}": "hop: found '010', expected a valid integer",
    "settings: {imaging: {hop: 1:30}}": "hop: found '1:30', expected a valid integer",
    'name: "\\ud800"': "holds half a character",
    "extractors: " + 1000 * "x": "extractors: 'x{80}' is not known",
    "snr: &a [*a]": r"snr: found .*\[\.\.\.\].*, expected",
    "x0: &x0 [1]\n"
    + "".join(f"x{n}: &x{n} [{', '.join(9 * [f'*x{n - 1}'])}]\n" for n in range(1, 9))
    + "snr: *x8": "snr: found ",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_a_wrong_profile_is_an_error_of_one_sentence(text, profile):
    """The error names the file, the place, what was found and what is expected."""
    with pytest.raises(MimiiError) as error:
        load_profile(profile(text), "fan")
    assert re.match(rf"some\.yaml: .*{REFUSED[text]}", str(error.value))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500  # aliases of aliases are not written out


def test_auto_encoders_train_for_the_runs_seeds(profile):
    """A profile that trains them for few seeds follows a run of other seeds; a setting that names others is refused."""
    loaded = load_profile(profile("seeds: 0 1 2\nsettings: {autoencoders: {seeds: [0, 1]}}"))
    for seeds, trained in (("1 2", (0, 1)), ("7 8", (7,))):
        assert with_parameters(loaded, seeds=seeds).settings.autoencoders.seeds == trained
    own = {"seeds": "7", "settings": "autoencoders.seeds=[7]"}
    assert with_parameters(loaded, **own).settings.autoencoders.seeds == (7,)
    with pytest.raises(MimiiError, match="autoencoders: seeds: found 5, expected some of the run's seeds 7"):
        with_parameters(loaded, seeds="7", settings="autoencoders.seeds=5")


def test_a_missing_profile_is_an_error_with_the_known_names(tmp_path):
    """A profile that does not exist is an error that lists the project's."""
    for name in ("nowhere", tmp_path / "nowhere.yaml"):
        with pytest.raises(MimiiError, match="profile: .*nowhere.* is not known; expected one of full, .*miniature"):
            load_profile(name)


@pytest.mark.parametrize("change", [*filter(None, CHANGES)], ids=str)
def test_a_setting_is_named_the_same_everywhere(change, profile):
    """A text, a mapping by dotted names and a profile give the same settings, and change no other."""
    text = " ".join(f"{name}={yaml.safe_dump(value).split()[0]}" for name, value in change.items())
    settings = with_parameters(Profile(), settings=change).settings
    dump, default = settings.model_dump(), Settings().model_dump()
    names = [(group, name) for group in dump for name in dump[group] if dump[group][name] != default[group][name]]
    assert {f"{group}.{name}": dump[group][name] for group, name in names} == change
    assert with_parameters(Profile(), settings=text).settings == settings
    assert load_profile(profile(yaml.safe_dump({"settings": change}))).settings == settings


@pytest.mark.parametrize("separator", [" ", ", ", ",", "\n"])
def test_settings_in_a_text_go_over_the_profiles(separator, profile):
    """Settings stand between blanks or commas, a list is one value, and the profile's other settings stay."""
    base = load_profile(profile("settings: {imaging: {hop: 512, origin: upper}}"))
    text = separator.join(["imaging.hop=128", "autoencoders.seeds=[0, 1]", "split.balanced=true"])
    settings = with_parameters(base, settings=text).settings
    assert (settings.imaging, settings.split) == (Imaging(hop=128, origin="upper"), Split(balanced=True))
    assert settings.autoencoders.seeds == (0, 1)
    assert with_parameters(base, settings="").settings == base.settings


@pytest.mark.parametrize("text", ["imaging.hop", "imaging=512", "imaging.hop=", ".hop=1", "imaging.hop=[1", "a=@", 512])
def test_settings_that_cannot_be_read_are_an_error_of_one_sentence(text):
    """What is no name with a value, or no YAML, is an error and not a parser's traceback."""
    with pytest.raises(MimiiError, match="^settings: ") as error:
        with_parameters(Profile(), settings=text)
    assert "\n" not in str(error.value)


def test_named_data_are_taken_as_they_are():
    """Where a folder is named no miniature is made in it and no sample downloaded; an unknown parameter is an error."""
    for name in ("miniature", "sample"):
        assert getattr(load_profile(name), name) is not None
        assert getattr(with_parameters(load_profile(name), data="recordings"), name) is None
    with pytest.raises(MimiiError, match="'seed' is not known.*did you mean 'seeds'"):
        with_parameters(Profile(), seed=3)
