"""§3 Equation 1 and §6: from patch scores to the AUC."""

import itertools

import numpy as np
import pytest

from mimii_lib import evaluation
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Evaluation

stated = pytest.mark.paper
PATCHES = [[1.0, 2.0, 6.0], [0.0, 0.0, -3.0]]
POOLINGS = [Evaluation(pooling=pooling) for pooling in ("mean", "max", "weighted_rank")]


@stated("§3", "a higher score means a more anomalous recording", code="evaluation.anomaly_scores")
def test_anomaly_scores_reverse_the_order_of_normality():
    """What is most normal has the lowest anomaly score."""
    normality = np.array([0.5, -2.0, 3.0])
    np.testing.assert_array_equal(np.argsort(evaluation.anomaly_scores(normality)), np.argsort(normality)[::-1])


@stated(
    "§3",
    "a clip's score is the mean over its patches (Equation 1)",
    code="evaluation.pool",
    setting="evaluation.pooling",
)
def test_mean_pooling_is_equation_1():
    """A clip's score is the mean of its patches' scores; pooled by the maximum, that of its most anomalous patch."""
    np.testing.assert_array_equal(evaluation.pool(PATCHES), [3.0, -1.0])
    np.testing.assert_array_equal(evaluation.pool(PATCHES, Evaluation(pooling="max")), [6.0, 0.0])


def test_weighted_rank_pooling_lies_between_the_maximum_and_the_mean():
    """Each patch weighs r times the next more anomalous one: r = 0 is the maximum, r = 1 the mean, in any order."""
    ranked = {r: Evaluation(pooling="weighted_rank", rank_weight=r) for r in (0.0, 0.3, 0.5, 1.0)}
    for order in itertools.permutations(PATCHES[0]):
        expected = (6 + 0.5 * 2 + 0.25 * 1) / (1 + 0.5 + 0.25)
        assert evaluation.pool(order, ranked[0.5]) == pytest.approx(expected)
    patches = np.random.default_rng(0).normal(size=(7, 18))
    pooled = [evaluation.pool(patches, settings) for settings in ranked.values()]
    np.testing.assert_allclose(pooled[0], patches.max(axis=1))
    np.testing.assert_allclose(pooled[-1], patches.mean(axis=1))
    assert (np.diff(pooled, axis=0) < 0).all()


@pytest.mark.parametrize("settings", POOLINGS, ids=lambda settings: settings.pooling)
def test_pooling_is_monotonic(settings):
    """A patch that becomes more anomalous never makes its clip less anomalous; equal patches give their own score."""
    random = np.random.default_rng(0)
    patches = random.normal(size=(50, 18))
    more = patches + (random.random(patches.shape) < 0.2) * random.exponential(size=patches.shape)
    assert (evaluation.pool(more, settings) >= evaluation.pool(patches, settings) - 1e-12).all()
    np.testing.assert_allclose(evaluation.pool([[2.5], [-1.0]], settings), [2.5, -1.0])
    np.testing.assert_allclose(evaluation.pool(np.full((3, 18), -7.25), settings), -7.25)


@stated("§5", "results are areas under the ROC curve", code="evaluation.auc")
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_auc_is_a_probability(seed, ties):
    """The AUC is the share of (anomalous, normal) pairs in which the anomalous clip scores higher; a tie is half.

    Increasing transforms leave it as it is, and exchanging the classes gives its complement.
    """
    anomalous = np.arange(40) % 3 == 0
    scores = np.random.default_rng(seed).normal(anomalous, 1.0).round(0 if ties else 9)
    pairs = list(itertools.product(scores[anomalous], scores[~anomalous]))
    counted = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    assert evaluation.auc(anomalous, scores) == pytest.approx(counted, abs=1e-12)
    assert evaluation.auc(~anomalous, scores) == pytest.approx(1 - counted)
    for increasing in (np.exp, np.cbrt, np.arctan):
        assert evaluation.auc(anomalous, increasing(scores)) == pytest.approx(counted, abs=1e-12)


def test_partial_auc_is_the_dcase_challenges():
    """Up to a false-positive rate of 0.1: 1 for a perfect order, 0.5 on average for a random one."""
    anomalous, random = np.arange(200) >= 100, np.random.default_rng(0)
    assert evaluation.partial_auc(anomalous, anomalous.astype(float)) == 1
    areas = [evaluation.partial_auc(anomalous, random.standard_normal(200)) for _ in range(300)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("metric", [evaluation.auc, evaluation.partial_auc])
def test_auc_needs_both_classes_and_finite_scores(metric):
    """Without a normal or an anomalous clip, or with a score that is not finite, there is no AUC."""
    for anomalous in ([True, True], [False, False], []):
        with pytest.raises(MimiiError, match="normal and anomalous"):
            metric(anomalous, np.arange(len(anomalous)))
    for score in (np.nan, np.inf, -np.inf):
        with pytest.raises(MimiiError, match="1 of 4 scores"):
            metric([False, False, True, True], [0.0, 1.0, score, 2.0])


def test_standard_error_is_the_spread_over_new_clips():
    """Hanley and McNeil's formula predicts the spread of the AUC over new clips; four times the clips halve it."""
    random, truth = np.random.default_rng(0), np.repeat([False, True], [150, 100])
    areas = [evaluation.auc(truth, random.standard_normal(250) + truth) for _ in range(500)]
    assert evaluation.standard_error(float(np.mean(areas)), 150, 100) == pytest.approx(np.std(areas), rel=0.15)
    half = evaluation.standard_error(0.7, 150, 100) / 2
    assert evaluation.standard_error(0.7, 600, 400) == pytest.approx(half, rel=0.02)
