"""What a report tells of a run."""

import json

import pytest

from mimii_lib.pages.report import left_out, report
from mimii_lib.run import Run


@pytest.fixture
def made(tiny, quick, tmp_path):
    """Return a function that makes a run on one ID of the small miniature."""

    def make(machine="fan", **said):
        return Run(machine, **({"data": tiny, "profile": quick, "ids": "id_00", "cache": tmp_path} | said))

    return make


def test_two_reports_differ_by_their_times_alone(made, tmp_path):
    """Computed twice from nothing, everything but the times is the same, and it can be written as JSON."""
    first, again = (report([made(cache=tmp_path / name)]) for name in ("one", "two"))
    assert json.loads(json.dumps(first)) == first
    assert first.pop("seconds").keys() == again.pop("seconds").keys()
    assert first == again


def test_a_report_tells_what_its_numbers_rest_on(made):
    """Clips, seeds, weights and results are those of the run."""
    run = made(detectors="kde if", seeds="0 1")
    found = report([run])
    assert found["seeds"] == {"fan": [0, 1]}
    assert [(each["normal"], each["abnormal"]) for each in found["data"]["ids"]] == [(12, 3)]
    assert found["weights"].keys() == set(run.stages.extractors)
    areas = run.auc()
    assert sorted(found["auc"].values()) == pytest.approx(sorted(100 * areas.groupby("detector").auc.mean()), abs=0.005)
    assert found["seconds"]


def test_a_report_knows_other_results_from_its_own(made):
    """Another seed gives another sum, the order of what was asked for does not."""
    one, same, other = (
        report([made(detectors=names, seeds=seeds)])["auc_sha256"]
        for names, seeds in (("kde if", "0 1"), ("if kde", "0 1"), ("kde if", "0 2"))
    )
    assert one == same != other


def test_what_was_left_out_is_named(made):
    """Machine types, networks and detectors that were not asked for stand in the report, those that were do not."""
    why = "\n".join(left_out([made(detectors="kde", extractors="squeezenet1_1")]))
    for name in ("pump", "slider", "valve", "ResNet34", "AlexNet", "GMM", "LeNet-DCAE"):
        assert f"{name}: not part of" in why
    for name in ("fan", "KDE", "SqueezeNet"):
        assert f"{name}: " not in why
