"""The points that the paper leaves open: how they follow from the settings, and what is measured of them."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimii_lib import paper
from mimii_lib.cli import main
from mimii_lib.errors import MimiiError
from mimii_lib.pages import evidence, open_points
from mimii_lib.pages.open_points import POINTS, SOURCES, Alternative, Point
from mimii_lib.run import Run
from mimii_lib.settings import Settings

ROOT = Path(__file__).parents[2]
EXTRACTOR = "squeezenet1_1"


@pytest.fixture
def run(tiny, quick):
    """Return a run of one machine ID with all detectors but the auto-encoders, and two seeds."""
    return Run("fan", profile=quick, data=tiny, ids="id_00", detectors=list(paper.DETECTORS), seeds=[0, 1])


def effect(run, alternative):
    """Return the effect of an alternative, or of the first one of the point with a number."""
    alternative = POINTS[alternative - 1].alternatives[0] if isinstance(alternative, int) else alternative
    return next(open_points.effects([run], [Point(0, "a title", "", "", "", {}, [alternative])]).itertuples())


def mean_auc(run, **parameters):
    """Return the mean AUC in percent over all rows of a run."""
    return 100 * run.with_overrides(**parameters).auc().auc.mean()


def test_the_points_cover_the_settings():
    """Every point says what is open, and what we take; the number of a setting is that of a point; all are counted."""
    numbers = [point.number for point in POINTS]
    assert numbers == list(range(1, len(POINTS) + 1))
    assert all(point.says and point.open and (point.decision or point.settings) for point in POINTS)
    assert {source.point for source in SOURCES.values()} <= {None, *numbers}
    assert f"leaves {len(POINTS)} points open" in (ROOT / "README.md").read_text()
    assert {name for name, source in SOURCES.items() if source.alternatives} <= {
        name for point in POINTS for alternative in point.alternatives for name in alternative.change
    }


def test_the_page_lists_points_and_settings_with_their_values():
    """Every point has a row with the values and reasons of its settings; every setting has a row with its source."""
    points = open_points.points_table().data
    settings = open_points.settings_table(*dict(Settings()).values()).data
    assert points.count("</tr>") == 1 + len(POINTS)
    for group, values in Settings():
        for name, value in values:
            source = SOURCES[f"{group}.{name}"]
            assert (f"<code>{group}.{name} = {value}</code>" in points) == (source.point is not None)
            assert f"<code>{group}.{name}</code>" in settings
    assert "imaging.hop=512" in points and "split.balanced=true" in points


def test_a_run_against_itself_differs_by_nothing(run):
    """An alternative that is the default has no effect, and an interval of no width."""
    row = effect(run, Alternative({"imaging.hop": 256}))
    assert (row.difference, row.low, row.high) == (0, 0, 0)
    assert row.auc == row.default == pytest.approx(mean_auc(run))
    assert "no change" in open_points.effects_table(pd.DataFrame([row])).data


def test_scaled_by_each_clip_the_decibel_reference_cancels(run):
    """A fixed reference shifts all decibels of a clip alike: scaled between its own ends it is the same image."""
    row = effect(run, Alternative({"imaging.db_reference": "fixed"}))
    assert (row.difference, row.low, row.high) == (0, 0, 0)


def test_an_effect_is_the_difference_of_the_mean_aucs(run):
    """The effect is the mean AUC of the alternative minus that of the default, within its interval."""
    row = effect(run, 9)
    assert row.auc == pytest.approx(mean_auc(run, settings="imaging.origin=upper"))
    assert row.difference == pytest.approx(row.auc - mean_auc(run))
    assert row.low <= row.difference <= row.high


def test_an_effect_is_measured_on_the_detectors_of_its_point(run):
    """The kernel of the one-class SVM is measured on the one-class SVM alone."""
    row = effect(run, 17)
    svm = mean_auc(run, detectors="oc-svm", settings="detectors.kernel=linear")
    assert row.auc == pytest.approx(svm)
    assert row.difference == pytest.approx(svm - mean_auc(run, detectors="oc-svm"))


@pytest.mark.parametrize(
    ("number", "reason"),
    [(4, "one channel"), (23, "needs lenet-dcae or small-dcae"), (1, "no recordings of the fan at 6 dB")],
)
def test_an_alternative_that_cannot_be_run_has_a_reason(run, tiny, number, reason):
    """Files of one channel have no other, and one SNR alone cannot be compared; no page names the folder."""
    row = effect(run, number)
    assert reason in row.not_run and str(tiny) not in row.not_run
    assert np.isnan([row.auc, row.difference]).all()
    assert reason in open_points.effects_table(open_points.effects([run], [POINTS[number - 1]])).data


def test_as_much_is_measured_as_the_profile_says(tiny, quick, profile):
    """The first machine types and seeds, the first alternatives of a setting, and the detectors that it names."""
    size = "{machines: 1, ids: 1, seeds: 2, detectors: [kde, small-dcae], alternatives: 1}"
    file = profile(quick.read_text() + f"sensitivity: {size}\n")
    fan, valve = (Run(name, data=tiny, profile=file, ids="id_00", seeds=[0, 1, 2]) for name in ("fan", "valve"))
    (part,) = open_points.measured_part([fan, valve])
    assert (part.machine, part.ids, part.profile.seeds) == ("fan", ["id_00"], (0, 1))
    alternatives = {alternative.name: alternative for point in POINTS for alternative in point.alternatives}
    open_points.pair(part, alternatives["imaging.colormap=gray"])
    with pytest.raises(MimiiError, match="not part of the profile"):
        open_points.pair(part, alternatives["imaging.colormap=magma"])
    detectors = {detectors for _, detectors in open_points.alternative_runs([fan, valve])}
    assert detectors == {("kde",), ("b-gmm",), ("oc-svm",), ("gmm", "b-gmm"), ("small-dcae",)}


def test_the_machine_id_that_is_measured_has_room_for_a_change(tiny, quick, profile):
    """It is the one whose default AUC is closest to 75 %; before anything is computed, the first one stands in."""
    file = profile(quick.read_text() + "sensitivity: {ids: 1, seeds: 1}\n")
    run = Run("fan", data=tiny, profile=file, detectors="gmm kde", seeds=[0, 1])
    cold = run.with_overrides(settings="detectors.bandwidth=0.3")
    assert [part.ids for part in open_points.measured_part([cold], compute=False)] == [run.ids[:1]]
    means = 100 * run.auc().groupby("id").auc.mean()
    assert len(means) > 1
    assert open_points.measured_part([run])[0].ids == [(means - 75).abs().idxmin()]


def test_the_runs_of_the_alternatives_are_known_before_they_are_computed(run):
    """The forecast gets every run that the page computes, with the detectors that it needs of it, and no other."""
    runs = list(open_points.alternative_runs([run]))
    assert ("linear", ("oc-svm",)) in [(side.settings.detectors.kernel, detectors) for side, detectors in runs]
    assert {side.settings.detectors.pca for side, _ in runs} == {0, 64, 128, 256}
    assert all(side.settings.imaging.channel == 0 and side.profile.snr == -6 for side, _ in runs)


def test_networks_at_equal_dimension(tiny, quick):
    """At every dimension the networks are compared with the first; what was computed in full is read back."""
    run = Run("fan", profile=quick, data=tiny, ids="id_00", seeds=[0], extractors="squeezenet1_1 efficientnet_lite0")
    run = run.with_overrides(detectors=[*paper.DETECTORS, "knn"])
    assert open_points.reduced([run], [8]) == []
    table = open_points.at_equal_dimension([run], [0, 8, 10_000])
    assert list(table.dimensions) == [0, 0, 8, 8, 10_000, 10_000]
    assert table.not_run[4:].str.contains("10000 dimensions need at least 10000 training patches").all()
    first, second = table[2:4].itertuples()
    assert (first.difference, first.low, first.high) == pytest.approx((0, 0, 0), abs=1e-9)
    assert second.difference == pytest.approx(second.auc - first.auc)
    (estimates,) = open_points.reduced([run], [8])
    aucs = [auc for (name, _), auc in estimates["fan", "id_00"].values.items() if name == "squeezenet1_1"]
    assert np.mean(aucs) == pytest.approx(first.auc / 100)
    assert open_points.dimensions_table(table).data.count("not run") == 2


def test_the_record_of_the_arithmetics_is_compared_over_starts():
    """Means and the interval of the paired differences by hand; a failed fit is counted and left out."""
    place = {"where": "a place", "machine": "fan", "id": "id_00", "n_train": 216, "extractor": EXTRACTOR}
    areas = {
        ("gmm", "float64"): [0.50, 0.54, 0.52],
        ("gmm", "float32"): [0.62, 0.63, None],
        ("kde", "float64"): [0.7],
        ("kde", "float32"): [0.7],
    }
    record = pd.DataFrame(
        place | {"detector": detector, "precision": precision, "start": start, "auc": area}
        for (detector, precision), values in areas.items()
        for start, area in enumerate(values)
    )
    gmm, kde = evidence.by_arithmetic(record).itertuples()
    assert (gmm.starts, gmm.float64, gmm.float32, gmm.failed) == pytest.approx((3, 52, 62.5, 1))
    assert gmm.sd64 == pytest.approx(2)
    assert gmm.difference == pytest.approx((12 + 9) / 2)
    half = 12.706 * np.std([12, 9], ddof=1) / np.sqrt(2)  # t of one degree of freedom
    assert (gmm.low, gmm.high) == pytest.approx((10.5 - half, 10.5 + half), rel=1e-3)
    assert (kde.difference, kde.low, kde.high, kde.failed) == (0, 0, 0, 0)


def test_the_committed_record_has_pairs_in_all_places():
    """Each AUC in float32 has its counterpart in float64, of the same clips and start; mixtures have several starts."""
    record = pd.DataFrame(json.loads((ROOT / "benchmarks" / "precision.json").read_text()))
    pair = ["where", "machine", "id", "extractor", "weights", "n_train", "detector", "start", "n_normal", "n_abnormal"]
    wide = record.pivot(index=pair, columns="precision", values="auc")
    assert list(wide) == ["float32", "float64"] and wide.float64.between(0, 1).all()
    assert set(record["where"]) == {"miniature", "real recordings", "full size"}
    assert (record[record.detector == "gmm"].groupby(["where", "id", "n_train"]).start.nunique() >= 3).all()


def test_our_cells_at_each_snr(run):
    """At an SNR with recordings our cells stand beside the paper's same cells; else the reason does."""
    table = open_points.at_each_snr([run])
    published = paper.table_1().loc["SqueezeNet", ("fan", "id_00")][list(paper.DETECTORS.values())]
    ours = [100 * run.results.means("id_00")["squeezenet1_1", name] for name in paper.DETECTORS]
    assert list(table.index) == list(paper.SNRS)
    assert table.loc[-6, "the paper"] == pytest.approx(published.mean())
    assert table.loc[-6, "distance"] == pytest.approx(np.abs(ours - published).mean())
    assert "no recordings of the fan at 6 dB" in table.loc[6, "not run"]


def test_the_command_prints_every_alternative(tiny, quick, capsys):
    """A row for each alternative: its point, and its effect or why it was not run."""
    words = ["choices", str(tiny), "--machine", "fan", "--profile", str(quick), "--detectors", "small-dcae"]
    assert main(words) == 0
    lines = capsys.readouterr().out
    assert re.search(r"23 +input of the auto-encoders +autoencoders.channels=1( +-?\d+\.\d){3}", lines)
    assert re.search(r" 9 +orientation +imaging.origin=upper .*needs gmm or ", lines)
    assert lines.count("the files have one channel") == 8
