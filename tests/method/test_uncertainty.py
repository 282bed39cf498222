"""Confidence intervals of AUCs and of their differences: what they promise."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from intervals import SYSTEM, covered, simulated
from sklearn.metrics import roc_auc_score

from mimii_lib.evaluation import ClipScores, auc, standard_error
from mimii_lib.uncertainty import Z, bootstrap_aucs, corrected, mean_difference, weighted_aucs

OTHER = ("other", "simulated")


def clip_scores(scores, unit="fan id_00", normal=60):
    """Return a system's scores of `normal` normal clips and then anomalous ones."""
    clips = np.array([f"{index:03d}" for index in range(len(scores))])
    return ClipScores(unit, SYSTEM, clips, np.arange(len(scores)) >= normal, np.asarray(scores, float))


def variance(tested, **options):
    return bootstrap_aucs(tested, **options).covariance.iloc[0, 0]


@pytest.mark.parametrize("ties", [False, True])
def test_a_weighted_auc_is_scikit_learns(ties):
    """Clips that are drawn several times give the AUC that scikit-learn computes with weights, ties included."""
    random = np.random.default_rng(0)
    anomalous = np.arange(60) % 3 == 0
    scores = random.normal(anomalous).round(0 if ties else 9)
    counts = random.integers(0, 4, (60, 25)).astype(float)
    expected = [roc_auc_score(anomalous, scores, sample_weight=weights) for weights in counts.T]
    np.testing.assert_allclose(weighted_aucs(anomalous, scores, counts), expected, atol=1e-12)


def test_estimates_are_the_means_of_the_seeds():
    """The estimate is the mean of the seeds' AUCs, whatever the bootstrap draws."""
    tested = simulated(0.8, 90, np.random.default_rng(0))
    estimates = bootstrap_aucs(tested, draws=50)
    assert estimates.values.iloc[0] == pytest.approx(np.mean([auc(one.anomalous, one.scores) for one in tested]))
    assert (estimates.n_normal, estimates.n_abnormal) == (150, 90)


@pytest.mark.parametrize(("area", "abnormal"), [(0.55, 150), (0.95, 89)])
def test_95_of_100_intervals_cover_the_auc(area, abnormal):
    """Over new clips and seeds about 95 of 100 intervals hold the known AUC; `make intervals` tries many more."""
    ours, naive = np.mean(list(covered(area, abnormal, simulations=250, draws=100)), axis=0)
    assert 0.91 <= ours <= 0.985  # three standard errors of 250 simulations
    assert naive < 0.85  # seeds share clips: an interval that takes them for independent is too narrow


def test_the_standard_error_of_one_seed_is_hanley_and_mcneils():
    """The bootstrap finds the spread that the formula predicts for normally distributed scores."""
    random = np.random.default_rng(1)
    errors = [variance(simulated(0.75, 150, random, seeds=1), draws=400) ** 0.5 for _ in range(20)]
    assert np.mean(errors) == pytest.approx(standard_error(0.75, 150, 150), rel=0.08)


def test_more_seeds_narrow_the_interval_less_than_new_clips_would():
    """Five seeds on shared clips are surer than one, but not as sure as five machine IDs of clips."""
    one, five = (
        np.mean([variance(simulated(0.75, 100, np.random.default_rng(at), seeds), draws=300) for at in range(10)])
        for seeds in (1, 5)
    )
    assert one / 5 < five < one


def test_seeds_that_differ_by_more_than_their_clips_are_less_sure():
    """Where each seed has luck of its own on top of its clips, the interval is wider."""
    tested = simulated(0.75, 120, np.random.default_rng(4))
    shifts = np.linspace(-1, 1, len(tested))
    lucky = [replace(one, scores=one.scores + by * one.anomalous) for one, by in zip(tested, shifts, strict=True)]
    assert variance(lucky) > 2 * variance(tested)


@pytest.mark.parametrize("order", [1, -1])
def test_a_perfect_system_is_not_certain(order):
    """Without one wrong pair (or one right one) the interval still reaches inwards, and less far with more clips."""
    few, many = (
        bootstrap_aucs([clip_scores(order * (np.arange(2 * n) >= n), normal=n)], draws=50).interval(SYSTEM)
        for n in (20, 150)
    )
    assert few.value == (1.0 if order == 1 else 0.0)
    assert 0 <= few.low < few.high <= 1
    assert 0 < many.high - many.low < few.high - few.low < 0.5


@pytest.mark.parametrize("wins", [0, 0.5, 1])
@pytest.mark.parametrize("n", [(1, 1), (1, 12), (12, 1), (150, 1)])
def test_without_variance_an_interval_is_not_certain(n, wins):
    """However few clips there are, the interval of equal scores or a perfect order has a width and ends in [0, 1]."""
    n_normal, n_abnormal = n
    scores = np.repeat([0, 2 * wins - 1], n)
    interval = bootstrap_aucs([clip_scores(scores, normal=n_normal)], draws=20).interval(SYSTEM)
    assert interval.value == wins
    assert 0 <= interval.low <= wins <= interval.high <= 1
    for end in {interval.low, interval.high} - {wins}:  # where the estimate is as far as an interval reaches
        assert abs(wins - end) == pytest.approx(Z * standard_error(end, n_normal, n_abnormal), abs=1e-6)
    assert interval.high - interval.low > 0.05


def test_correction_is_for_the_number_of_comparisons():
    """One p-value stays as it is; among many it must be smaller to remain significant."""
    assert corrected([0.03]) == pytest.approx([0.03])
    assert corrected([0.03] + [0.9] * 9)[0] > 0.3
    assert len(corrected([])) == 0


def test_a_system_does_not_differ_from_itself():
    """The same order of clips has a difference of exactly 0, without doubt: each clip counts alike on both sides."""
    random = np.random.default_rng(0)
    side = [clip_scores(random.normal(size=100), unit) for unit in ("fan id_00", "fan id_02") for _ in range(3)]
    for system in (SYSTEM, OTHER):
        transformed = [replace(one, scores=np.exp(one.scores), system=system) for one in side]
        np.testing.assert_allclose(astuple(mean_difference(side, transformed)), 0, atol=1e-9)


def test_pairing_makes_a_difference_surer():
    """Systems that err on the same clips are compared more surely than systems on independent clips could be."""
    random = np.random.default_rng(3)
    tested = simulated(0.75, 120, random, seeds=2)
    noisy = [one.scores + 0.3 * random.standard_normal(len(one.scores)) for one in tested]
    other = [replace(one, scores=scores, system=OTHER) for one, scores in zip(tested, noisy, strict=True)]
    difference = mean_difference(tested, other)
    independent = np.sqrt(np.trace(bootstrap_aucs([*tested, *other]).covariance))
    assert difference.high - difference.low < 0.5 * 2 * 1.96 * independent


def test_the_difference_is_that_of_the_mean_aucs():
    """The estimate is the mean AUC of one side minus that of the other, the sides can be exchanged, draws are fixed."""
    random = np.random.default_rng(1)
    units = ("fan id_00", "fan id_00", "valve id_02")
    before, after = ([clip_scores(random.normal(size=90), unit) for unit in units] for _ in range(2))
    means = [np.mean([auc(one.anomalous, one.scores) for one in side]) for side in (before, after)]
    difference, low, high = astuple(mean_difference(before, after))
    assert difference == pytest.approx(means[1] - means[0])
    np.testing.assert_allclose(astuple(mean_difference(after, before)), [-difference, -high, -low])
    assert astuple(mean_difference(before, after)) == (difference, low, high)
    reordered = (side[2:] + side[:2] for side in (before, after))  # another order of machine IDs, the same of seeds
    np.testing.assert_allclose(astuple(mean_difference(*reordered)), (difference, low, high))


@pytest.mark.parametrize("shift", [-6, 6])
def test_a_difference_is_one_of_two_aucs(shift):
    """Between a good system and one that is always right, or always wrong, the interval stays within 100 points."""
    random = np.random.default_rng(2)
    good = clip_scores(random.normal(size=40) + 2 * (np.arange(40) >= 30), normal=30)
    extreme = replace(good, scores=good.scores + shift * good.anomalous, system=OTHER)
    difference, low, high = astuple(mean_difference([good], [extreme]))
    assert -1 <= low <= difference <= high <= 1
    assert (low >= 0) if shift > 0 else (high < -0.5)
    lucky = [replace(extreme, scores=extreme.scores * sign) for sign in (1, -1, 1)]
    wide = mean_difference([good] * 3, lucky)  # a system that is right with some seeds and wrong with others
    assert wide.high - wide.low > 0.3 + high - low


def test_sides_may_be_tested_on_different_clips():
    """Clips that only one side was tested on are drawn for that side alone; six clips still give finite intervals."""
    random = np.random.default_rng(6)
    full = clip_scores(random.normal(size=100) + (np.arange(100) >= 60))
    kept = np.arange(100) >= 20
    part = replace(full, clips=full.clips[kept], anomalous=full.anomalous[kept], scores=full.scores[kept])
    difference, low, high = astuple(mean_difference([full], [part]))
    assert low <= difference <= high < low + 0.2
    few = [[clip_scores(random.normal(size=6), normal=4)] for _ in range(2)]
    assert np.isfinite(astuple(mean_difference(*few))).all()
