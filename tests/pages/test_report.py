"""The report on runs."""

import hashlib
import json
import re

import pytest

from mimii_lib.pages.report import omissions, reason_not_run, report
from mimii_lib.run import Run


@pytest.fixture
def run_on(tiny, quick, tmp_path):
    """Return a function that makes a run on one machine ID of the small miniature."""
    return lambda **options: Run(
        "fan", **({"data": tiny, "profile": quick, "ids": "id_00", "cache": tmp_path} | options)
    )


def test_two_reports_differ_only_in_their_times(run_on, tmp_path):
    """Results computed twice from nothing give the same report except for the times, and it can be written as JSON."""
    first, second = (report([run_on(cache=tmp_path / name)]) for name in ("first", "second"))
    assert json.loads(json.dumps(first)) == first
    assert first.pop("seconds").keys() == second.pop("seconds").keys()
    assert first == second


def test_a_report_describes_its_run(run_on):
    """Clips, seeds, weights and AUCs are those of the run; the checksum is that of the sorted table of AUCs."""
    run = run_on(detectors="kde if", seeds="0 1")
    summary, aucs = report([run]), run.auc()
    assert summary["seeds"] == {"fan": [0, 1]}
    assert [(clips["normal"], clips["abnormal"]) for clips in summary["data"]["ids"]] == [(12, 3)]
    assert summary["weights"].keys() == set(run.stages.extractors)
    assert sorted(summary["auc"].values()) == pytest.approx(
        sorted(100 * aucs.groupby("detector").auc.mean()), abs=0.005
    )
    table = aucs.sort_values(["machine", "id", "extractor", "detector", "seed"]).round(6).to_csv(index=False)
    assert summary["auc_sha256"] == hashlib.sha256(table.encode()).hexdigest()
    assert report([run_on(detectors="if kde", seeds="0 1")])["auc_sha256"] == summary["auc_sha256"]
    assert report([run_on(detectors="kde if", seeds="0 2")])["auc_sha256"] != summary["auc_sha256"]


def test_omissions_are_listed(run_on):
    """Machine types, networks and detectors outside the run are listed, those of the run are not."""
    reasons = "\n".join(omissions([run_on(detectors="kde", extractors="squeezenet1_1")]))
    for name in ("pump", "slider", "valve", "ResNet34", "AlexNet", "GMM", "LeNet-DCAE"):
        assert f"{name}: not part of" in reasons
    for name in ("fan", "KDE", "SqueezeNet"):
        assert f"{name}: " not in reasons


def test_a_network_is_not_run_for_one_reason(run_on, profile):
    """Whether it was asked for or not, a network has the same reason; if it ran, it has none."""
    offline = "weight_sources: [folder, package]\nextractors: [%s]"
    asked, not_asked = (
        run_on(profile=profile(offline % names, f"{number}.yaml"))
        for number, names in enumerate(("squeezenet1_1, resnet34", "squeezenet1_1"))
    )
    reason = reason_not_run(asked, "resnet34")
    assert reason.startswith("weights not reachable (")
    assert reason_not_run(not_asked, "resnet34") == reason
    assert f"ResNet34: {reason}" in omissions([asked]) and f"ResNet34: {reason}" in omissions([not_asked])
    assert reason_not_run(asked, "squeezenet1_1") == ""
    assert reason_not_run(asked, "squeezenet1_1_random").startswith("not part of the profile")


def test_machine_types_with_values_of_their_own(tiny, quick, tmp_path):
    """What a profile says of one machine type is reported of that one alone: settings, networks and detectors."""
    file = tmp_path / "two.yaml"
    own = "{extractors: [resnet34, squeezenet1_1], settings: {detectors.bandwidth: 0.5}}"
    file.write_text(f"{quick.read_text()}per_machine:\n  valve: {own}\n")
    runs = [Run(name, data=tiny, profile=file, ids="id_00", cache=tmp_path) for name in ("fan", "valve")]
    summary = report(runs)
    assert (summary["settings"]["detectors"]["bandwidth"], summary["splits"]) == (0.1, "drawn by the seeds")
    assert summary["own_settings"] == {"valve": {"detectors.bandwidth": 0.5}}
    text = "\n".join(summary["left_out"])
    assert re.search(r"ResNet34: weights not reachable .*\(valve\)", text)
    assert "ResNet34: not part of the profile “two” (fan)" in text
    assert "SqueezeNet: not part" not in text
    assert "AlexNet: not part of the profile “two”\n" in text
    broken = Run("valve", data=tiny, profile=file, ids="id_00", cache=tmp_path, splits=_saved(runs[1], tmp_path))
    assert report([broken])["splits"].startswith("file splits.csv, sha256 ")


def _saved(run, folder):
    run.recordings.splits.to_csv(folder / "splits.csv", index=False)
    return folder / "splits.csv"
