"""The forecast: exactly what will be computed, about how long, how much disk and memory, and what to leave out."""

import json
import shutil
from collections import namedtuple
from functools import partial

import pytest

from mimii_lib import paper
from mimii_lib.cli import main
from mimii_lib.errors import MimiiError
from mimii_lib.run.forecast import forecast, time_spent

STAGES = ("spectrograms", "features", "auto-encoders", "scores")


@pytest.fixture
def fan(run_on, tmp_path):
    """Return a function that makes a run on one ID of the small miniature, with a cache of this test."""
    return partial(run_on, cache=tmp_path / "cache")


def kept(run):
    return sum(len(list((run.cache.folder / stage).glob("*/key.json"))) for stage in STAGES)


@pytest.mark.parametrize(
    ("before", "parameters"),
    [
        (None, {"detectors": "small-dcae kde", "seeds": "0 1"}),
        ({"detectors": "kde"}, {"detectors": "kde if knn", "seeds": "0 1"}),
        ({"ids": "id_04"}, {"ids": "id_00 id_04"}),
        ({}, {"settings": "imaging.scaling=training", "seeds": "0 1"}),
        ({"detectors": "kde"}, {"settings": "evaluation.pooling=max"}),
    ],
)
def test_what_is_missing_is_what_the_run_then_computes(fan, before, parameters):
    """As many results are missing as the run then keeps, and none afterwards; counting keeps nothing."""
    if before is not None:
        fan(**before).auc()
    run = fan(**parameters)
    counted, results = forecast([run], measure=False), kept(run)
    assert counted.seconds == 0
    assert kept(run) == results
    run.auc()
    assert counted.missing == kept(run) - results
    again = forecast([fan(**parameters)])
    assert (again.missing, again.seconds, again.bytes, "Nothing is left" in str(again)) == (0, 0, 0, True)


def test_alternatives_count_beyond_the_run_and_can_be_left_out(fan):
    """What a page computes beyond the run is a part of its own: results that both need are counted with the run."""
    run = fan(detectors="kde if")
    alternatives = [(run, None), (run.with_overrides(settings="detectors.bandwidth=0.2"), ("kde",))]
    alternatives.append((run.with_overrides(settings="imaging.hop=512"), None))
    counted = forecast([run], alternatives=alternatives, measure=False)
    stages = {(stage["part"], stage["what"]): stage["pieces"] for stage in counted.stages}
    assert stages["results", "SqueezeNet 1.1: KDE"] == 1
    assert stages["choices", "SqueezeNet 1.1: KDE"] == 2
    assert stages["choices", "SqueezeNet 1.1: IF"] == stages["choices", "log-mel spectrograms"] == 1


def test_a_forecast_measures_time_disk_and_memory_and_keeps_no_result(fan):
    """Every stage takes time; the bytes are those that the run then writes; savings stand with their shares."""
    run = fan(detectors=[*paper.DETECTORS, "small-dcae"], seeds="0 1")
    expected = forecast([run])
    assert not kept(run)
    assert all(stage["seconds"] > 0 for stage in expected.stages)
    assert 0.5e9 < expected.memory < expected.installed
    assert any("SEEDS=0 computes one seed instead of 2" in text for text in expected.suggestions)
    for part in ("15 clips, 45 patches; seeds 0, 1", "SqueezeNet 1.1: KDE", "Time: about", "are free"):
        assert part in str(expected)
    assert str(run.recordings.data) not in str(expected)
    run.auc()
    files = [file for stage in STAGES for file in (run.cache.folder / stage).rglob("result.*")]
    assert expected.bytes == pytest.approx(sum(file.stat().st_size for file in files), rel=0.1)
    assert time_spent([run]).keys() == {stage["what"] for stage in expected.stages}


def test_more_epochs_take_longer(fan):
    """Twenty epochs of training take longer than one, though one is measured."""
    once, often = (forecast([fan(detectors="small-dcae", settings=f"autoencoders.epochs={n}")]) for n in (1, 20))
    assert often.seconds > 2 * once.seconds


def test_a_full_disk_is_a_problem_that_ends_the_command_with_2(fan, tiny, quick, tmp_path, monkeypatch, capsys):
    """Too little disk is reported with the remedy, and as JSON."""
    assert forecast([fan()], measure=False).problems == []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(1000))
    monkeypatch.setenv("MIMII_CACHE", str(tmp_path / "other"))
    words = f"forecast {tiny} --profile {quick} --no-choices --count --json {tmp_path}/f.json"
    assert main(words.split()) == 2
    assert "MIMII_CACHE" in capsys.readouterr().out
    assert json.loads((tmp_path / "f.json").read_text())["problems"]


def test_what_cannot_be_run_costs_nothing_and_is_named(fan):
    """A network without weights is named; where no machine ID can be evaluated the reasons are an error."""
    counted = forecast([fan(extractors="squeezenet1_1 resnet34")], measure=False)
    assert counted.stages == forecast([fan()], measure=False).stages
    assert "not run: resnet34" in str(counted)
    with pytest.raises(MimiiError, match="too few clips"):
        forecast([fan(settings="split.min_train_clips=100")])
