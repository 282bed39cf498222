"""The points that the paper leaves open: that there are 25, that each alternative is one, and what is measured."""

from dataclasses import asdict, fields

import numpy as np
import pytest
import yaml

from mimii_lib import paper
from mimii_lib.cli import main
from mimii_lib.errors import MimiiError
from mimii_lib.pages import open_points, tables
from mimii_lib.pages.open_points import POINTS, Alternative, Point
from mimii_lib.run import Run
from mimii_lib.run.profiles import Profile, load_profile, with_parameters
from mimii_lib.settings import Settings

SETTINGS = [
    pytest.param(side, id=f"{point.number} {alternative.name}")
    for point in POINTS
    for alternative in point.alternatives
    if (side := alternative.change.get("settings"))
]


@pytest.fixture
def run(tiny, quick):
    """Return a run of one machine ID with all detectors but the auto-encoders, and two seeds."""
    return Run("fan", profile=quick, data=tiny, ids="id_00", detectors=list(paper.DETECTORS), seeds=[0, 1])


def test_the_25_points_are_in_order():
    """Every point has its number, and says what the paper leaves open and what we took."""
    assert [point.number for point in POINTS] == list(range(1, 26))
    for point in POINTS:
        assert point.says and point.open and (point.why or open_points.reasons(point))


def test_every_choice_among_values_is_an_alternative_of_a_point():
    """A setting that we chose, and that can take other values, belongs to a point, and so do its values."""
    beyond = {
        "precision",
        "engine",
        "device",
        "unreadable",
        "interpolation",
        "gamma",
    }  # of the machine, or without a named alternative
    for group in Settings.__dataclass_fields__:
        values = getattr(Settings(), group)
        for name, item in type(values).__dataclass_fields__.items():
            others = set(map(str, item.metadata["choices"])) - {str(getattr(values, name))}
            if "chosen" not in item.metadata or not others or name in beyond:
                continue
            points = [point for point in POINTS if f"{group}.{name}" in point.settings]
            assert points, f"{group}.{name}"
            said = [dict(other.change["settings"]) for other in points[0].alternatives]
            assert others <= {str(each.get(f"{group}.{name}")) for each in said}, f"{group}.{name}"


def test_the_page_shows_every_setting_as_it_is():
    """Every setting has a row with its value."""
    shown = tables.all_settings(Settings()).data
    for group in fields(Settings):
        for name, value in asdict(getattr(Settings(), group.name)).items():
            assert f'{group.name}.{name}</code></th><td data-head="value">{value}</td>' in shown


@pytest.mark.parametrize("said", SETTINGS)
def test_an_alternative_changes_what_it_names_and_nothing_else(said):
    """Each alternative changes the settings that it names to the values that it names, from other ones."""
    changed, default = (asdict(with_parameters(Profile(), settings=each).settings) for each in (said, None))
    found = {
        f"{group}.{name}": value
        for group, values in changed.items()
        for name, value in values.items()
        if value != default[group][name]
    }
    assert found == said


@pytest.mark.parametrize("said", SETTINGS)
def test_an_alternative_can_be_said_everywhere(said, profile):
    """A text (command line, papermill, make) and a profile say an alternative as the mapping does."""
    text = " ".join(f"{name}={yaml.safe_dump(value).split()[0]}" for name, value in said.items())
    nested = {}
    for name, value in said.items():
        nested.setdefault(name.split(".")[0], {})[name.split(".")[1]] = value
    file = profile(yaml.safe_dump({"settings": nested}))
    expected = with_parameters(Profile(), settings=said).settings
    assert with_parameters(Profile(), settings=text).settings == expected
    assert load_profile(file).settings == expected


def test_the_same_side_twice_differs_by_nothing(run):
    """A run against itself: no difference, and an interval of no width."""
    found = open_points.effect([run], POINTS[0], Alternative("the same", {}))
    assert (found.difference, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-5)
    assert found.not_run == ""


def test_with_each_clip_for_itself_the_decibel_reference_cancels(run):
    """A fixed reference shifts all decibels of a clip alike: scaled between its own ends it is the same picture."""
    point = POINTS[6]
    found = open_points.effect([run], point, point.alternatives[0])
    assert (found.difference, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-5)


def test_the_difference_is_that_of_the_aucs(run):
    """What an alternative changes is the mean AUC with it minus the mean AUC without it."""
    point = POINTS[8]
    found = open_points.effect([run], point, point.alternatives[0])
    aucs = [each.auc().auc.mean() for each in (run, run.with_overrides(settings="imaging.origin=upper"))]
    assert found.difference == pytest.approx(100 * (aucs[1] - aucs[0]))
    assert found.low <= found.difference <= found.high


def test_only_the_detectors_that_a_point_touches_count(run):
    """The kernel of the one-class SVM is judged by the one-class SVM alone."""
    point = POINTS[16]
    found = open_points.effect([run], point, point.alternatives[0])
    rows = [("squeezenet1_1", "oc-svm")]
    aucs = [each.auc(rows).auc.mean() for each in (run, run.with_overrides(settings="detectors.kernel=linear"))]
    assert found.difference == pytest.approx(100 * (aucs[1] - aucs[0]))


@pytest.mark.parametrize(
    ("number", "reason"),
    [(4, "one channel"), (23, "needs lenet-dcae or small-dcae"), (1, "no recordings of the fan at 0 dB")],
)
def test_what_cannot_be_run_says_why(run, number, reason):
    """Files of one channel have no other; a run without auto-encoders, or with one SNR only, cannot compare them."""
    point = POINTS[number - 1]
    found = open_points.effect([run], point, point.alternatives[0])
    assert reason in found.not_run


def test_a_part_of_the_run_is_repeated(run):
    """One machine ID and two seeds, unless the profile says otherwise."""
    default, changed = open_points.pair(run.with_overrides(ids=None, seeds=[0, 1, 2]), Alternative("the same", {}))
    for each in (default, changed):
        assert (each.ids, each.profile.seeds) == (["id_00"], (0, 1))


def test_networks_at_equal_dimension(tiny, quick, monkeypatch):
    """At every number of dimensions the first network is its own measure; the AUC is the mean of all cells."""
    monkeypatch.setattr(open_points, "DIMENSIONS", (0, 8, 10_000))
    run = Run("fan", profile=quick, data=tiny, ids="id_00", seeds=[0], extractors="squeezenet1_1 efficientnet_lite0")
    found = open_points.at_equal_dimension([run])
    assert [(each.extractor, each.dimensions) for each in found] == [
        (name, number) for number in (0, 8, 10_000) for name in ("squeezenet1_1", "efficientnet_lite0")
    ]
    assert all("detectors.pca: found 10000, expected at most" in each.not_run for each in found[4:])
    for first, second in (found[:2], found[2:4]):
        assert (first.difference, first.low, first.high) == (0, 0, 0)
        assert second.auc - first.auc == pytest.approx(second.difference)
    reduced = run.with_overrides(extractors="squeezenet1_1", settings="detectors.pca=8")
    assert found[2].auc == pytest.approx(100 * reduced.auc().auc.mean())


def test_the_command_line_prints_every_alternative(tiny, quick, monkeypatch, capsys):
    """A line for each alternative: its point, and what it changes or why it was not run."""
    point = Point(9, "orientation", "", "", (), POINTS[8].alternatives)
    monkeypatch.setattr(open_points, "POINTS", (point, POINTS[3]))
    monkeypatch.setattr(open_points, "DIMENSIONS", (0,))
    assert main(["choices", str(tiny), "--machine", "fan", "--ids", "id_00", "--profile", str(quick)]) == 0
    said = capsys.readouterr().out
    assert "9 orientation, low frequencies at the top: " in said
    assert said.count("not run: the files have one channel") == 8


def test_an_alternative_that_is_none(run):
    """A setting that does not exist is an error, not an alternative."""
    with pytest.raises(MimiiError, match="settings: imaging: 'colour' is not known"):
        run.with_overrides(settings="imaging.colour=gray")


def test_a_reason_on_a_page_names_no_folder(tiny, quick, tmp_path):
    """Where the recordings lie is not published with the reason why an alternative was not run."""
    run = Run("fan", data=tiny, profile=quick, ids="id_00")
    found = open_points.effect([run], POINTS[0], POINTS[0].alternatives[0])
    assert "no recordings of the fan at 0 dB" in found.not_run
    assert str(tiny) not in found.not_run


def test_as_many_machine_types_are_repeated_as_the_profile_says(tiny, quick, profile):
    """The first ones of the run; a run of others repeats its own."""
    file = profile(quick.read_text() + "sensitivity: {machines: 1}\n")
    fan, valve = (Run(name, data=tiny, profile=file, ids="id_00") for name in ("fan", "valve"))
    assert open_points.repeated([fan, valve]) == [fan]
    assert open_points.repeated([valve]) == [valve]


def test_what_was_computed_at_equal_dimension_is_read_back(tiny, quick, monkeypatch):
    """There are tables with reduced features when all of them were computed, with the networks' rows alone."""
    monkeypatch.setattr(open_points, "DIMENSIONS", (0, 6))
    run = Run("fan", profile=quick, data=tiny, ids="id_00", seeds=[0], detectors=[*paper.DETECTORS, "knn"])
    assert open_points.reduced([run]) == []
    open_points.at_equal_dimension([run])
    (found,) = open_points.reduced([run])
    assert list(found["fan", "id_00"].values.index) == [("squeezenet1_1", name) for name in paper.DETECTORS]
    expected = run.with_overrides(settings="detectors.pca=6").results.means("id_00")["squeezenet1_1", "if"]
    assert found["fan", "id_00"].values["squeezenet1_1", "if"] == pytest.approx(expected)


def test_our_rows_at_each_snr(run):
    """Where recordings of an SNR are there, the same cells stand beside the paper's; elsewhere the reason does."""
    found = open_points.at_each_snr([run])
    assert list(found.index) == list(paper.SNRS)
    cells = [(("SqueezeNet", name), ("fan", "id_00")) for name in paper.DETECTORS.values()]
    published = [paper.table_1().loc[cell] for cell in cells]
    ours = [100 * run.results.means("id_00")["squeezenet1_1", name] for name in paper.DETECTORS]
    assert found.loc[-6, "the paper"] == pytest.approx(np.mean(published))
    assert found.loc[-6, "distance"] == pytest.approx(np.mean(np.abs(np.subtract(ours, published))))
    assert "no recordings of the fan at 6 dB" in found.loc[6, "not run"]


def test_the_page_holds_our_rows_against_the_papers_on_mimii_alone(run, monkeypatch):
    """Where the recordings are not MIMII's there is no table of distances."""
    assert "the recordings are not MIMII" in tables.at_each_snr([run]).data
    monkeypatch.setattr(run, "kind", "MIMII")
    shown = tables.at_each_snr([run]).data
    assert "not MIMII" not in shown
    assert "−6 dB" in shown and "no recordings of the fan at 6 dB" in shown
