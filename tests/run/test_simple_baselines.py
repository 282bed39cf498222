"""The baselines without a network: what they compute, and that they are tested on the same clips as the systems."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf

from mimii_lib import evaluation, extractors, imaging, paper
from mimii_lib.data import checks, weights
from mimii_lib.errors import MimiiError
from mimii_lib.run import Run, engines
from mimii_lib.run.simple_baselines import Mahalanobis, Neighbours, band_statistics
from mimii_lib.settings import SIMPLE_BASELINES

RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.standard_normal((12, 30)), 2 * RANDOM.standard_normal((7, 30))


@pytest.fixture
def run(tiny, quick, monkeypatch):
    """Return a run of the simple baselines on one machine ID, where no network can be reached."""
    monkeypatch.setenv(weights.OFFLINE, "1")
    systems = {"detectors": list(SIMPLE_BASELINES), "extractors": "alexnet", "seeds": [0, 1]}
    return Run("fan", data=tiny, profile=quick, ids="id_00", **systems)


@pytest.mark.parametrize("n_train", [12, 2])
def test_neighbours_are_the_nearest(n_train):
    """The distance is the mean of the three smallest of all distances, and of all where there are fewer."""
    expected = np.sort(cdist(TEST, TRAIN[:n_train]), axis=1)[:, :3].mean(axis=1)
    assert Neighbours().fit(TRAIN[:n_train]).score_samples(TEST) == pytest.approx(-expected)


def test_mahalanobis_is_the_distance_in_the_shrunk_covariance():
    """With fewer clips than dimensions the distance exists, and is that of the definition."""
    shrunk = LedoitWolf().fit(TRAIN)
    off = TEST - TRAIN.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", off, np.linalg.inv(shrunk.covariance_), off)
    assert Mahalanobis().fit(TRAIN).score_samples(TEST) == pytest.approx(-expected)


def test_band_statistics_do_not_depend_on_the_order_of_the_frames():
    """The statistics are the mean and deviation of each band over time; reversed frames give the same."""
    spectrograms = RANDOM.normal(-40, 10, (3, 64, 50)).astype(np.float32)
    statistics = band_statistics(spectrograms)
    assert statistics.shape == (3, 128)
    assert statistics[1, 5] == pytest.approx(spectrograms[1, 5].mean(), rel=1e-5)
    assert statistics[2, 64 + 9] == pytest.approx(spectrograms[2, 9].std(), rel=1e-4)
    assert band_statistics(spectrograms[:, :, ::-1]) == pytest.approx(statistics)


def test_a_louder_clip_has_another_level_and_the_same_spectrogram(recordings):
    """A full-scale sine has −3 dB; three times the amplitude is 9.5 dB more, and the same below the clip's maximum."""
    sine = np.sin(np.linspace(0, 200 * np.pi, 16_000, endpoint=False)).astype(np.float32)
    assert checks.level(sine) == pytest.approx(-3.01, abs=0.01)
    assert checks.level(0 * sine) == checks.QUIETEST == checks.level(1e-9 * sine)
    sound = recordings[0] / np.abs(recordings[0]).max() / 4
    quiet, loud = (imaging.log_mel(gain * sound, imaging.Imaging())[None] for gain in (1, 3))
    assert band_statistics(loud) == pytest.approx(band_statistics(quiet), abs=1e-3)
    assert checks.level(3 * sound) - checks.level(sound) == pytest.approx(20 * np.log10(3))


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
