"""§3 Eq. 1 and §6: from patch scores to the AUC."""

import itertools

import numpy as np
import pytest

from mimii_lib import evaluation
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Evaluation


def drawn(seed, ties=False):
    """Return classes and scores; with `ties`, from few values only."""
    random = np.random.default_rng(seed)
    anomalous = np.arange(40) % 3 == 0
    scores = random.normal(anomalous, 1.0)
    return anomalous, np.round(scores) if ties else scores


def test_mean_pooling_is_equation_1():
    """A clip's score is the mean of its patches' scores."""
    patches = [[1.0, 2.0, 6.0], [0.0, 0.0, -3.0]]
    np.testing.assert_array_equal(evaluation.pool(patches), [3.0, -1.0])


def test_pooling_by_the_maximum():
    """Pooled by the maximum a clip is as anomalous as its most anomalous patch."""
    patches = [[1.0, 2.0, 6.0], [0.0, 0.0, -3.0]]
    np.testing.assert_array_equal(evaluation.pool(patches, Evaluation(pooling="max")), [6.0, 0.0])


def test_weighted_rank_pooling_by_hand():
    """Each patch weighs r times as much as the next more anomalous one, wherever in the clip it lies."""
    settings = Evaluation(pooling="weighted_rank", rank_weight=0.5)
    expected = (6 + 0.5 * 2 + 0.25 * 1) / (1 + 0.5 + 0.25)
    for order in itertools.permutations([1.0, 2.0, 6.0]):
        assert evaluation.pool(order, settings) == pytest.approx(expected)


def test_weighted_rank_pooling_lies_between_the_maximum_and_the_mean():
    """Weighted by rank with r = 0 is the maximum, with r = 1 the mean, and in between it falls with r."""
    patches = np.random.default_rng(0).normal(size=(7, 18))
    found = [evaluation.pool(patches, Evaluation(pooling="weighted_rank", rank_weight=r)) for r in (0.0, 0.3, 0.8, 1.0)]
    np.testing.assert_allclose(found[0], evaluation.pool(patches, Evaluation(pooling="max")))
    np.testing.assert_allclose(found[-1], evaluation.pool(patches))
    assert (np.diff(found, axis=0) < 0).all()


@pytest.mark.parametrize("pooling", ["mean", "max", "weighted_rank"])
def test_a_clip_of_one_patch_has_its_score(pooling):
    """However patches are pooled, a clip of one patch has that patch's score, and equal patches have theirs."""
    settings = Evaluation(pooling=pooling)
    np.testing.assert_allclose(evaluation.pool([[2.5], [-1.0]], settings), [2.5, -1.0])
    np.testing.assert_allclose(evaluation.pool(np.full((3, 18), -7.25), settings), -7.25)


@pytest.mark.parametrize("pooling", ["mean", "max", "weighted_rank"])
def test_pooling_is_monotonic(pooling):
    """A patch that becomes more anomalous never makes its clip less anomalous."""
    random, settings = np.random.default_rng(0), Evaluation(pooling=pooling)
    patches = random.normal(size=(50, 18))
    more = patches + (random.random(patches.shape) < 0.2) * random.exponential(size=patches.shape)
    assert (evaluation.pool(more, settings) >= evaluation.pool(patches, settings) - 1e-12).all()


def test_anomaly_scores_turn_normality_round():
    """What is most normal has the lowest anomaly score."""
    normality = np.array([0.5, -2.0, 3.0])
    np.testing.assert_array_equal(np.argsort(evaluation.anomaly_scores(normality)), np.argsort(normality)[::-1])


@pytest.mark.parametrize(("scores", "expected"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([7, 7, 7, 7], 0.5)])
def test_auc_of_perfect_reversed_and_tied_scores(scores, expected):
    """The AUC is 1 for a perfect order, 0 for the reversed one and chance where all scores are tied."""
    assert evaluation.auc([False, False, True, True], scores) == expected


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_auc_is_a_probability(seed, ties):
    """The AUC is the share of (anomalous, normal) pairs in which the anomalous clip scores higher; a tie is half."""
    anomalous, scores = drawn(seed, ties)
    pairs = list(itertools.product(scores[anomalous], scores[~anomalous]))
    counted = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    assert evaluation.auc(anomalous, scores) == pytest.approx(counted, abs=1e-12)


@pytest.mark.parametrize("increasing", [np.exp, np.cbrt, lambda x: 3 * x - 100, np.arctan])
def test_auc_knows_only_the_order(increasing):
    """An increasing transform of the scores leaves the AUC as it is."""
    anomalous, scores = drawn(0, ties=True)
    assert evaluation.auc(anomalous, increasing(scores)) == evaluation.auc(anomalous, scores)


@pytest.mark.parametrize("seed", range(3))
def test_auc_of_the_other_class(seed):
    """Exchanging the classes exchanges the AUC with its complement."""
    anomalous, scores = drawn(seed, ties=True)
    assert evaluation.auc(~anomalous, scores) == pytest.approx(1 - evaluation.auc(anomalous, scores))


@pytest.mark.parametrize("anomalous", [[True, True], [False, False], []])
def test_auc_needs_both_classes(anomalous):
    """Without a normal or without an anomalous clip there is no AUC."""
    with pytest.raises(MimiiError, match="normal and anomalous"):
        evaluation.auc(anomalous, np.arange(len(anomalous)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_auc_refuses_scores_that_are_not_finite(wrong):
    """A score that is not a finite number has no place in an order."""
    with pytest.raises(MimiiError, match="1 of 4 scores"):
        evaluation.auc([False, False, True, True], [0.0, 1.0, wrong, 2.0])


def test_standard_error_is_the_spread_over_new_clips():
    """Hanley and McNeil's formula foretells how much the AUC of new clips varies (their model is near a Gaussian's)."""
    random = np.random.default_rng(0)
    truth = np.repeat([False, True], [150, 100])
    areas = [evaluation.auc(truth, random.standard_normal(250) + truth) for _ in range(500)]
    assert evaluation.standard_error(float(np.mean(areas)), 150, 100) == pytest.approx(np.std(areas), rel=0.15)


def test_standard_error_shrinks_with_the_clips():
    """Four times the clips halve the standard error, as for a mean."""
    assert evaluation.standard_error(0.7, 600, 400) == pytest.approx(
        evaluation.standard_error(0.7, 150, 100) / 2, rel=0.02
    )
