"""§3 Eq. 1 and §6: from patch scores to the AUC."""

import itertools

import numpy as np
import pytest

from mimii_lib import evaluation
from mimii_lib.errors import MimiiError
from mimii_lib.evaluation import auc_difference
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


# The difference of two systems


def scored(scores, unit="fan id_00", normal=60):
    """Return a system's scores of `normal` normal clips and then anomalous ones."""
    clips = np.array([f"{index:03d}" for index in range(len(scores))])
    return evaluation.Tested(unit, clips, np.arange(len(scores)) >= normal, np.asarray(scores, float))


def test_a_system_does_not_differ_from_itself():
    """Against itself the difference is exactly 0 in every draw, since each clip counts as often on both sides."""
    random = np.random.default_rng(0)
    side = [scored(random.normal(size=100), unit) for unit in ("fan id_00", "fan id_02") for _ in range(3)]
    assert auc_difference(side, side) == (0, 0, 0)
    transformed = [evaluation.Tested(one.unit, one.clips, one.anomalous, np.exp(one.scores)) for one in side]
    assert auc_difference(side, transformed) == (0, 0, 0)


def test_the_difference_is_that_of_the_mean_aucs():
    """What is returned first is the mean AUC of one side minus that of the other, and the sides can be exchanged."""
    random = np.random.default_rng(1)
    before, after = ([scored(random.normal(size=90)) for _ in range(3)] for _ in range(2))
    expected = np.mean([evaluation.auc(one.anomalous, one.scores) for one in after]) - np.mean(
        [evaluation.auc(one.anomalous, one.scores) for one in before]
    )
    found, low, high = auc_difference(before, after)
    assert found == pytest.approx(expected)
    assert low < found < high
    np.testing.assert_allclose(auc_difference(after, before), [-found, -high, -low])


def test_a_better_system_is_seen_to_be_better():
    """Where the anomalous clips stand clear of the normal ones on one side only, the whole interval is above 0."""
    random = np.random.default_rng(2)
    noise = random.normal(size=100)
    before, after = scored(noise), scored(noise + 2 * (np.arange(100) >= 60))
    difference, low, high = auc_difference([before], [after])
    assert 0 < low < difference < high <= 1


def test_more_clips_narrow_the_interval():
    """Four times the clips make the interval half as wide, and more seeds on the same clips do not."""
    random = np.random.default_rng(3)

    def width(size, seeds=1):
        common = random.normal(size=size)
        truth = np.arange(size) >= size // 2

        def side(shift):
            return [scored(common + shift * truth, normal=size // 2) for _ in range(seeds)]

        _, low, high = auc_difference(side(0.0), side(0.5))
        return high - low

    assert width(1600) == pytest.approx(width(400) / 2, rel=0.35)
    assert width(400, seeds=5) == pytest.approx(width(400), rel=0.35)


def test_the_interval_holds_what_it_promises():
    """Where two systems score at random the interval contains 0 in about 95 of 100 repetitions."""
    random = np.random.default_rng(4)
    contained = 0
    for repetition in range(200):
        before, after = ([scored(random.normal(size=120))] for _ in range(2))
        _, low, high = auc_difference(before, after, draws=300, seed=repetition)
        contained += low <= 0 <= high
    assert 0.88 <= contained / 200 <= 0.99


def test_the_interval_is_the_same_every_time():
    """One seed draws the same clips, whatever order the systems are given in."""
    random = np.random.default_rng(5)
    before, after = (
        [scored(random.normal(size=50), unit, normal=30) for unit in ("fan id_00", "valve id_02")] for _ in range(2)
    )
    first = auc_difference(before, after)
    assert auc_difference(before, after) == first
    np.testing.assert_allclose(auc_difference(before[::-1], after[::-1]), first)
    assert auc_difference(before, after, seed=1) != first


def test_sides_may_be_tested_on_different_clips():
    """Clips that only one side was tested on, as in a balanced test set, are drawn for that side alone."""
    random = np.random.default_rng(6)
    full = scored(random.normal(size=100) + (np.arange(100) >= 60))
    kept = np.arange(100) >= 20
    part = evaluation.Tested(full.unit, full.clips[kept], full.anomalous[kept], full.scores[kept])
    difference, low, high = auc_difference([full], [part])
    assert low <= difference <= high
    assert high - low < 0.2


def test_few_clips_leave_an_interval():
    """Where a draw may miss what little there is, the interval is still made of finite numbers."""
    random = np.random.default_rng(7)
    before, after = ([scored(random.normal(size=6), normal=4)] for _ in range(2))
    assert np.isfinite(auc_difference(before, after)).all()
