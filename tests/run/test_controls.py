"""Rows that the paper has not: what they compute, that they stand on the same clips, and that they need no network."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf

from mimii_lib import evaluation, extractors, imaging, paper
from mimii_lib.data import checks, weights
from mimii_lib.errors import MimiiError
from mimii_lib.run import Run, engines, simple_baselines
from mimii_lib.settings import SIMPLE_BASELINES, Detectors

RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.standard_normal((12, 30)), 2 * RANDOM.standard_normal((7, 30))


@pytest.fixture
def run(tiny, quick, monkeypatch):
    """Return a run of the controls alone, on one machine ID, where no network can be reached."""
    monkeypatch.setenv(weights.OFFLINE, "1")
    return Run(
        "fan",
        data=tiny,
        profile=quick,
        ids="id_00",
        detectors=list(SIMPLE_BASELINES),
        extractors="alexnet",
        seeds=[0, 1],
    )


def test_neighbours_are_the_nearest():
    """The score is the mean of the three smallest of all distances, and of all where there are fewer."""
    expected = np.sort(cdist(TEST, TRAIN), axis=1)
    assert simple_baselines.Neighbours().fit(TRAIN).score_samples(TEST) == pytest.approx(-expected[:, :3].mean(axis=1))
    few = np.sort(cdist(TEST, TRAIN[:2]), axis=1).mean(axis=1)
    assert simple_baselines.Neighbours().fit(TRAIN[:2]).score_samples(TEST) == pytest.approx(-few)


def test_mahalanobis_is_the_distance_in_the_shrunk_covariance():
    """With fewer clips than numbers the distance exists, and is that of the definition."""
    shrunk = LedoitWolf().fit(TRAIN)
    off = TEST - TRAIN.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", off, np.linalg.inv(shrunk.covariance_), off)
    assert simple_baselines.Mahalanobis().fit(TRAIN).score_samples(TEST) == pytest.approx(-expected)


@pytest.mark.parametrize("name", SIMPLE_BASELINES)
def test_units_do_not_matter(name):
    """Whatever unit and zero a band is measured in, the scores are the same: the training clips standardise it."""
    scale, shift = RANDOM.uniform(0.1, 10, 30), RANDOM.uniform(-50, 50, 30)
    plain = simple_baselines.build_baseline(name, Detectors()).fit(TRAIN).score_samples(TEST)
    changed = (
        simple_baselines.build_baseline(name, Detectors())
        .fit(TRAIN * scale + shift)
        .score_samples(TEST * scale + shift)
    )
    assert changed == pytest.approx(plain)


def test_band_statistics_know_no_order():
    """Mean and deviation of each band over time; frames in another order say the same."""
    spectrograms = RANDOM.normal(-40, 10, (3, 64, 50)).astype(np.float32)
    found = simple_baselines.band_statistics(spectrograms)
    assert found.shape == (3, 128)
    assert found[1, 5] == pytest.approx(spectrograms[1, 5].mean(), rel=1e-5)
    assert found[2, 64 + 9] == pytest.approx(spectrograms[2, 9].std(), rel=1e-4)
    assert simple_baselines.band_statistics(spectrograms[:, :, ::-1]) == pytest.approx(found)


def test_level_is_in_decibels():
    """A sine at full scale has −3 dB; ten times less amplitude is 20 dB less; silence is as quiet as it gets."""
    sine = np.sin(np.linspace(0, 200 * np.pi, 16_000, endpoint=False)).astype(np.float32)
    assert checks.level(sine) == pytest.approx(-3.01, abs=0.01)
    assert checks.level(sine / 10) == pytest.approx(-23.01, abs=0.01)
    assert checks.level(0 * sine) == checks.QUIETEST == checks.level(1e-9 * sine)


def test_they_need_no_network(run):
    """Where no network can be reached the controls run, and nothing but spectrograms is computed for them."""
    assert run.stages.unavailable_extractors
    areas = run.auc()
    assert set(areas.detector) == set(SIMPLE_BASELINES)
    assert areas.extractor.isna().all()
    assert areas.auc.between(0, 1).all()
    assert run.results.with_provenance(areas)[["engine", "weights_source"]].isna().all(axis=None)
    assert run.results.complete
    with pytest.raises(MimiiError, match="alexnet"):
        _ = run.stages.extractors


def test_they_are_tested_on_the_same_clips(run, tiny, quick):
    """Every row of a machine ID and seed has the same test clips in the same order."""
    network = Run("fan", data=tiny, profile=quick, ids="id_00", extractors="squeezenet1_1", seeds=[0, 1])
    for seed in (0, 1):
        expected = network.clip_scores("id_00", "squeezenet1_1", "kde", seed)
        for name in SIMPLE_BASELINES:
            found = run.clip_scores("id_00", None, name, seed)
            assert list(found.clips) == list(expected.clips)
            assert (found.anomalous == expected.anomalous).all()


def test_a_louder_clip_is_another_level_and_the_same_spectrogram(run, recordings):
    """What the level's row hears, the others do not: decibels are below the clip's own maximum."""
    sound = recordings[0] / np.abs(recordings[0]).max() / 4
    quiet, loud = (imaging.log_mel(gain * sound, run.settings.imaging)[None] for gain in (1, 3))
    assert simple_baselines.band_statistics(loud) == pytest.approx(simple_baselines.band_statistics(quiet), abs=1e-3)
    assert checks.level(3 * sound) - checks.level(sound) == pytest.approx(20 * np.log10(3))


def test_their_names_are_in_no_row_of_the_paper(run):
    """In the table they stand below the paper's rows, under names of their own."""
    table = evaluation.table_1_shape(run.auc())
    assert list(table.index[: len(paper.table_1())]) == list(paper.table_1().index)
    assert list(table.index[len(paper.table_1()) :]) == list(SIMPLE_BASELINES.values())
    assert table.iloc[len(paper.table_1()) :]["fan", "id_00"].notna().all()


def test_random_weights_are_drawn_as_they_are_before_a_training():
    """The same every time, not the trained ones, without touching torch's generator; the network is the same."""
    state = torch.random.get_rng_state()
    found = weights.find_weights("squeezenet1_1_random")
    one, other = found.state(), found.state()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], other[name]) for name in one)
    trained = weights.find_weights("squeezenet1_1", sources=["package"]).state()
    assert {name: each.shape for name, each in one.items()} == {name: each.shape for name, each in trained.items()}
    assert not torch.allclose(one["features.0.weight"], trained["features.0.weight"])
    assert "drawn at random" in str(found) and "sha256" not in str(found)


def test_random_weights_are_never_a_stand_in(tmp_path):
    """A folder with weights of that name changes nothing, and a network that was to be trained is never drawn."""
    net = extractors.get("squeezenet1_1").network()
    torch.save(net.state_dict(), tmp_path / "squeezenet1_1_random.pt")
    assert weights.find_weights("squeezenet1_1_random", tmp_path).path is None
    with pytest.raises(weights.WeightsNotFound):
        weights.find_weights("resnet18", tmp_path, sources=["folder"])


def test_random_weights_describe_otherwise(run):
    """The control's features have the shape of the trained network's and other values."""
    patches = run.patches("id_00")[0]
    trained, drawn = (
        engines.extract(patches, weights.find_weights(name, sources=["package"]), run.settings.imaging)
        for name in ("squeezenet1_1", "squeezenet1_1_random")
    )
    assert trained.shape == drawn.shape
    assert np.isfinite(drawn).all()
    assert np.corrcoef(trained.ravel(), drawn.ravel())[0, 1] < 0.9
