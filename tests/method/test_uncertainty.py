"""How sure an AUC is: what intervals and comparisons promise."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from intervals import ROW, covered, simulated
from sklearn.metrics import roc_auc_score

from mimii_lib import evaluation
from mimii_lib.evaluation import MAX_FPR, partial_auc, standard_error
from mimii_lib.uncertainty import AucEstimates, bootstrap_aucs, corrected, mean_difference, weighted_aucs

OTHER = ("other", "simulated")


def again(tested, scores, row=ROW):
    """Return the same clips with other scores."""
    return replace(tested, scores=scores, row=row)


@pytest.mark.parametrize("max_fpr", [None, MAX_FPR, 0.35])
@pytest.mark.parametrize("ties", [False, True])
def test_a_weighted_area_is_scikit_learns(max_fpr, ties):
    """Clips that count differently give the area that scikit-learn finds with weights, ties and partial areas too."""
    random = np.random.default_rng(0)
    anomalous = np.arange(60) % 3 == 0
    scores = random.normal(anomalous)
    scores = np.round(scores) if ties else scores
    counts = random.integers(0, 4, (60, 25)).astype(float)
    found = weighted_aucs(anomalous, scores, counts, max_fpr)
    expected = [roc_auc_score(anomalous, scores, sample_weight=each, max_fpr=max_fpr) for each in counts.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("area", "abnormal"), [(0.55, 150), (0.75, 100), (0.95, 89)])
def test_the_interval_covers_what_it_promises(area, abnormal):
    """Over new clips and seeds about 95 of 100 intervals hold the known AUC; `make intervals` tries many more."""
    ours, naive = np.mean(list(covered(area, abnormal, simulations=250, draws=200)), axis=0)
    assert 0.91 <= ours <= 0.985  # three standard errors of 250 simulations
    assert naive < 0.85  # seeds share clips: taken for independent, they promise too much


def test_the_standard_error_of_one_seed_is_hanley_and_mcneils():
    """Drawing clips again finds the spread that the formula foretells for normally distributed scores."""
    random = np.random.default_rng(1)
    errors = []
    for _ in range(20):
        found = bootstrap_aucs(simulated(0.75, 150, random, seeds=1), draws=400)
        errors.append(np.sqrt(found.covariance.iloc[0, 0]))
    assert np.mean(errors) == pytest.approx(standard_error(0.75, 150, 150), rel=0.08)


def test_more_seeds_narrow_the_interval_less_than_new_clips_would():
    """Five seeds on shared clips are surer than one, but not as sure as five machine IDs of clips."""
    one, five = (
        np.mean(
            [
                bootstrap_aucs(simulated(0.75, 100, np.random.default_rng(at), seeds), draws=300).covariance.iloc[0, 0]
                for at in range(10)
            ]
        )
        for seeds in (1, 5)
    )
    assert one / 5 < five < one


def test_a_row_differs_from_itself_by_nothing():
    """Two rows with the same order of clips have no difference, and no doubt of it."""
    tested = simulated(0.7, 100, np.random.default_rng(0), seeds=3)
    other = [again(each, np.exp(each.scores), OTHER) for each in tested]
    assert astuple(mean_difference(tested, other)) == pytest.approx((0, 0, 0), abs=1e-9)


def test_pairing_makes_a_difference_surer():
    """Rows that err on the same clips are compared more surely than rows of independent clips could be."""
    random = np.random.default_rng(3)
    tested = simulated(0.75, 120, random, seeds=2)
    other = [again(each, each.scores + 0.3 * random.standard_normal(len(each.scores)), OTHER) for each in tested]
    areas = bootstrap_aucs([*tested, *other])
    difference = mean_difference(tested, other)
    apart = np.sqrt(np.trace(areas.covariance))
    assert difference.high - difference.low < 0.5 * 2 * 1.96 * apart


def test_seeds_that_differ_by_more_than_their_clips_are_less_sure():
    """Where each seed has luck of its own on top of its clips, the interval is wider."""
    random = np.random.default_rng(4)
    tested = simulated(0.75, 120, random)
    lucky = [
        again(each, each.scores + shift * each.anomalous)
        for each, shift in zip(tested, np.linspace(-1, 1, len(tested)), strict=True)
    ]
    plain, wide = (bootstrap_aucs(each).covariance.iloc[0, 0] for each in (tested, lucky))
    assert wide > 2 * plain


@pytest.mark.parametrize("order", [1, -1])
def test_a_perfect_row_is_not_certain(order):
    """Without one wrong pair (or one right one) the interval still reaches inwards, and less far with more clips."""

    def interval(size):
        anomalous = np.arange(2 * size) >= size
        names = np.arange(2 * size).astype(str)
        tested = evaluation.ClipScores("fan id_00", ROW, names, anomalous, order * anomalous.astype(float))
        return bootstrap_aucs([tested], draws=50).interval(ROW)

    few, many = interval(20), interval(150)
    assert few.value == (1.0 if order == 1 else 0.0)
    assert 0 <= few.low < few.high <= 1
    assert 0 < many.high - many.low < few.high - few.low < 0.5


def test_intervals_stay_within_0_and_1():
    """However near to perfect a row is, and however few its clips, its interval has no impossible values."""
    random = np.random.default_rng(5)
    for area in (0.9, 0.99):
        found = bootstrap_aucs(simulated(area, 10, random, seeds=1)).interval(ROW)
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_correction_is_for_the_number_of_comparisons():
    """One p-value stays as it is; among many it must be the smaller for it."""
    assert corrected([0.03]) == pytest.approx([0.03])
    assert corrected([0.03] + [0.9] * 9)[0] > 0.3
    assert len(corrected([])) == 0


def test_partial_auc_is_the_dcase_challenges():
    """Up to a tenth of false alarms: 1 for a perfect order, 0.5 for a random one."""
    anomalous = np.arange(200) >= 100
    assert partial_auc(anomalous, anomalous.astype(float)) == 1
    random = np.random.default_rng(0)
    found = [partial_auc(anomalous, random.standard_normal(200)) for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_areas_are_the_means_of_the_seeds():
    """What is estimated is the mean of the seeds' AUCs, whatever the draws."""
    tested = simulated(0.8, 90, np.random.default_rng(0))
    areas = bootstrap_aucs(tested, draws=50)
    assert isinstance(areas, AucEstimates)
    assert areas.values.iloc[0] == pytest.approx(np.mean([roc_auc_score(e.anomalous, e.scores) for e in tested]))
    assert (areas.n_normal, areas.n_abnormal) == (150, 90)


# The difference of two systems


def scored(scores, unit="fan id_00", normal=60):
    """Return a system's scores of `normal` normal clips and then anomalous ones."""
    clips = np.array([f"{index:03d}" for index in range(len(scores))])
    return evaluation.ClipScores(unit, ROW, clips, np.arange(len(scores)) >= normal, np.asarray(scores, float))


def test_a_system_does_not_differ_from_itself():
    """Against itself the difference is exactly 0 in every draw, since each clip counts as often on both sides."""
    random = np.random.default_rng(0)
    side = [scored(random.normal(size=100), unit) for unit in ("fan id_00", "fan id_02") for _ in range(3)]
    np.testing.assert_allclose(astuple(mean_difference(side, side)), 0, atol=1e-9)
    transformed = [again(one, np.exp(one.scores)) for one in side]
    np.testing.assert_allclose(astuple(mean_difference(side, transformed)), 0, atol=1e-9)


def test_the_difference_is_that_of_the_mean_aucs():
    """What is returned first is the mean AUC of one side minus that of the other, and the sides can be exchanged."""
    random = np.random.default_rng(1)
    before, after = ([scored(random.normal(size=90)) for _ in range(3)] for _ in range(2))
    expected = np.mean([evaluation.auc(one.anomalous, one.scores) for one in after]) - np.mean(
        [evaluation.auc(one.anomalous, one.scores) for one in before]
    )
    found, low, high = astuple(mean_difference(before, after))
    assert found == pytest.approx(expected)
    assert low < found < high
    np.testing.assert_allclose(astuple(mean_difference(after, before)), [-found, -high, -low])


def test_a_better_system_is_seen_to_be_better():
    """Where the anomalous clips stand clear of the normal ones on one side only, the whole interval is above 0."""
    random = np.random.default_rng(2)
    noise = random.normal(size=100)
    before, after = scored(noise), scored(noise + 2 * (np.arange(100) >= 60))
    difference, low, high = astuple(mean_difference([before], [after]))
    assert 0 < low < difference < high <= 1


def test_more_clips_narrow_the_interval():
    """Four times the clips make the interval half as wide, and more seeds on the same clips do not."""
    random = np.random.default_rng(3)

    def width(size, seeds=1):
        common = random.normal(size=size)
        truth = np.arange(size) >= size // 2

        def side(shift):
            return [scored(common + shift * truth, normal=size // 2) for _ in range(seeds)]

        _, low, high = astuple(mean_difference(side(0.0), side(0.5)))
        return high - low

    assert width(1600) == pytest.approx(width(400) / 2, rel=0.35)
    assert width(400, seeds=5) == pytest.approx(width(400), rel=0.35)


def test_the_interval_of_a_difference_covers_what_it_promises():
    """Where two systems score at random the interval contains 0 in about 95 of 100 repetitions."""
    random = np.random.default_rng(4)
    contained = 0
    for _ in range(200):
        before, after = ([scored(random.normal(size=120))] for _ in range(2))
        contained += 0 in mean_difference(before, after, draws=300)
    assert 0.88 <= contained / 200 <= 0.99


def test_the_interval_is_the_same_every_time():
    """One seed draws the same clips, whatever order the systems are given in."""
    random = np.random.default_rng(5)
    before, after = (
        [scored(random.normal(size=50), unit, normal=30) for unit in ("fan id_00", "valve id_02")] for _ in range(2)
    )
    first = mean_difference(before, after)
    assert mean_difference(before, after) == first
    other = mean_difference(before[::-1], after[::-1])
    np.testing.assert_allclose(astuple(other), astuple(first))


def test_sides_may_be_tested_on_different_clips():
    """Clips that only one side was tested on, as in a balanced test set, are drawn for that side alone."""
    random = np.random.default_rng(6)
    full = scored(random.normal(size=100) + (np.arange(100) >= 60))
    kept = np.arange(100) >= 20
    part = replace(full, clips=full.clips[kept], anomalous=full.anomalous[kept], scores=full.scores[kept])
    difference, low, high = astuple(mean_difference([full], [part]))
    assert low <= difference <= high
    assert high - low < 0.2


def test_few_clips_leave_an_interval():
    """Where a draw may miss what little there is, the interval is still made of finite numbers."""
    random = np.random.default_rng(7)
    before, after = ([scored(random.normal(size=6), normal=4)] for _ in range(2))
    assert np.isfinite(astuple(mean_difference(before, after))).all()
