"""The peer row: PyOD's audio detector, taken apart, scores as PyOD does."""

import sys

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from mimii_lib.errors import MimiiError, NotRun
from mimii_lib.systems import peer


def test_the_peer_scores_as_pyod_does(recordings):
    """Features first and neighbours then give the scores of PyOD's own detector on the same waveforms."""
    embedding = pytest.importorskip("pyod.models.embedding")
    noise = np.random.default_rng(0).standard_normal((9, 16_000)).astype(np.float32)
    clips = [*(0.1 * noise), *(sound[:16_000] for sound in recordings[:2])]
    features = np.stack([peer.pyod_features(clip, 16_000) for clip in clips])
    assert features.shape == (11, 74)
    tuples = [(clip, 16_000) for clip in clips]
    expected = embedding.EmbeddingOD.for_audio().fit(tuples[:8]).decision_function(tuples[8:])
    scores = -peer.PyodNeighbours().fit(features[:8]).score_samples(features[8:])
    np.testing.assert_allclose(scores, expected)
    assert scores[0] < scores[1:].min()
    with pytest.raises(MimiiError, match="5 found, more than 5 expected"):
        peer.PyodNeighbours().fit(features[:5])


@pytest.mark.filterwarnings("ignore")
def test_the_peer_is_an_estimator():
    """It keeps scikit-learn's contract."""
    pytest.importorskip("pyod")
    check_estimator(peer.PyodNeighbours(), on_skip=None)


def test_without_pyod_the_peer_is_not_run(monkeypatch):
    """The reason names the extra that brings PyOD."""
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(NotRun, match="PyOD is not installed; .* extra 'peers'"):
        peer.pyod_features(np.zeros(16_000, np.float32), 16_000)
