"""Systems that score whole clips, in a run: on the same clips as the paper's, from training clips alone."""

import numpy as np
import pytest
import torch

from mimii_lib import evaluation, extractors, paper
from mimii_lib.data import weights
from mimii_lib.errors import MimiiError, NotRun
from mimii_lib.run import Run, engines
from mimii_lib.run.scorer import Scorer
from mimii_lib.settings import AFTER_PAPER, CLIP_SYSTEMS, SIMPLE_BASELINES
from mimii_lib.systems import catalogue


@pytest.fixture
def run(tiny, quick, monkeypatch):
    """Return a run of the simple baselines on one machine ID, where no network can be reached."""
    monkeypatch.setenv(weights.OFFLINE, "1")
    systems = {"detectors": list(SIMPLE_BASELINES), "extractors": "alexnet", "seeds": [0, 1]}
    return Run("fan", data=tiny, profile=quick, ids="id_00", **systems)


def test_they_run_without_a_network(run):
    """Where no network can be reached the simple baselines run, below the paper's rows and under their own names."""
    assert run.stages.unavailable_extractors
    areas = run.auc()
    assert areas.extractor.isna().all() and areas.auc.between(0, 1).all()
    assert run.results.with_provenance(areas)[["engine", "weights_source"]].isna().all(axis=None)
    with pytest.raises(MimiiError, match="alexnet"):
        _ = run.stages.extractors
    table = evaluation.table_1_shape(areas)
    assert list(table.index) == [*paper.table_1().index, *SIMPLE_BASELINES.values()]
    assert table["fan", "id_00"].tail(len(SIMPLE_BASELINES)).notna().all()


def test_they_are_tested_on_the_same_clips(run, tiny, quick):
    """Every system of a machine ID and seed has the same test clips in the same order."""
    network = Run("fan", data=tiny, profile=quick, ids="id_00", extractors="squeezenet1_1", seeds=[0, 1])
    for seed in (0, 1):
        expected = network.clip_scores("id_00", "squeezenet1_1", "kde", seed)
        for tested in (run.clip_scores("id_00", None, name, seed) for name in SIMPLE_BASELINES):
            np.testing.assert_array_equal(tested.clips, expected.clips)
            np.testing.assert_array_equal(tested.anomalous, expected.anomalous)


def test_an_untrained_network_has_random_weights(run):
    """The weights are the same every time and not the pretrained ones, and so are the features."""
    generator = torch.random.get_rng_state()
    untrained, trained = (weights.find_weights(f"squeezenet1_1{end}", sources=["package"]) for end in ("_random", ""))
    torch.testing.assert_close(untrained.state(), untrained.state(), rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert "sha256" not in str(untrained)
    one, other = (engines.extract(run.patches("id_00")[0], w, run.settings.imaging) for w in (untrained, trained))
    assert np.isfinite(one).all()
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.9


def test_random_weights_are_never_a_substitute(tmp_path):
    """A weight file of an untrained network is ignored, and a pretrained network without weights is an error."""
    torch.save(extractors.get("squeezenet1_1").network().state_dict(), tmp_path / "squeezenet1_1_random.pt")
    assert weights.find_weights("squeezenet1_1_random", tmp_path).path is None
    with pytest.raises(weights.WeightsNotFound):
        weights.find_weights("resnet18", tmp_path, sources=["folder"])


def test_a_run_and_a_scorer_give_the_same_scores(run_on):
    """The scores of a run's test clips are those of the system on their sounds, fitted to the training sounds."""
    names = [name for name in CLIP_SYSTEMS if not catalogue.SYSTEMS[name].missing_package]
    run = run_on(detectors=names, seeds=[0])
    train, test = (
        np.stack([run.waveform(path) for path in run.recordings.split_clips("id_00", 0, role).path])
        for role in ("train", "test")
    )
    for name in names:
        scorer = Scorer(name, run.settings).fit(train)
        assert run.scores("id_00", None, name, 0)[:, 0] == pytest.approx(scorer.scores(test), rel=1e-6), name


def test_a_test_clip_is_scored_the_same_whatever_else_is_tested(run_on):
    """Scores of clips do not depend on the other test clips, nor on their order, nor on any label."""
    run = run_on()
    clips = run.clips
    sounds = np.stack([run.waveform(path) for path in clips.path])
    normal = np.flatnonzero(clips.label == "normal")
    scorer = Scorer("ensemble", run.settings).fit(sounds[normal])
    scores = scorer.scores(sounds)
    assert scorer.scores(sounds[::-1])[::-1] == pytest.approx(scores, rel=1e-6)
    assert [scorer.scores(sound[None])[0] for sound in sounds[:3]] == pytest.approx(list(scores[:3]), rel=1e-6)


@pytest.mark.parametrize("system", ["squeezenet1_1/kde", "small-dcae"])
def test_a_scorer_takes_the_papers_systems_too(run_on, system):
    """A row of the paper gives the same scores on sounds as in a run."""
    extractor, _, detector = system.rpartition("/")
    run = run_on(detectors=[detector], extractors="squeezenet1_1", seeds=[0])
    train, test = (
        np.stack([run.waveform(path) for path in run.recordings.split_clips("id_00", 0, role).path])
        for role in ("train", "test")
    )
    expected = run.clip_scores("id_00", extractor or None, detector, 0).scores
    assert Scorer(system, run.settings).fit(train).scores(test) == pytest.approx(expected, rel=1e-5)


def test_systems_after_the_paper_stand_below_its_rows(run_on):
    """They run on the same clips; their network's weights are named with their rows and only with these."""
    run = run_on(detectors=["kde", "maps-middle", "spectrum-mahalanobis"], extractors="squeezenet1_1")
    areas = run.auc()
    table = evaluation.table_1_shape(areas)
    assert list(table.index[-2:]) == [AFTER_PAPER["spectrum-mahalanobis"], AFTER_PAPER["maps-middle"]]
    engine = run.results.with_provenance(areas).set_index("detector").engine
    assert engine.isna().to_dict() == {"kde": False, "maps-middle": False, "spectrum-mahalanobis": True}


def test_a_system_whose_network_has_no_weights_is_not_run(run_on, monkeypatch):
    """The reason is at hand, and the others run."""
    monkeypatch.setattr(weights, "BUNDLED", {})
    run = run_on(detectors=["maps-middle", "level"], extractors="alexnet")
    assert "efficientnet_lite0: weights not reachable" in run.stages.unavailable_systems["maps-middle"]
    assert set(run.auc().detector) == {"level"}
    with pytest.raises(NotRun, match="efficientnet_lite0"):
        run_on(detectors="maps-middle", extractors="alexnet").results.systems()


def test_an_unknown_layer_is_named(run_on):
    """A layer that the network does not have is one sentence."""
    run = run_on(detectors="maps-early", settings={"systems.layers": ["_blocks.99"]})
    with pytest.raises(MimiiError, match=r"systems\.layers: .*efficientnet_lite0"):
        run.auc()


def test_clips_of_every_system_are_described_once(run_on, nothing_new):
    """The three maps of the ensemble are kept once; another system of the same network computes none."""
    run = run_on(detectors=["ensemble"])
    run.auc()
    nothing_new("maps", "spectrograms")
    run_on(detectors=["maps-early", "maps-late"], seeds=[0]).auc()
    assert catalogue.SYSTEMS["ensemble"].extractors == ("efficientnet_lite0",)
