"""§5.2: the five detectors, on points where it is known what they must say."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from mimii_lib import detectors, paper
from mimii_lib.detectors import KDE, Standardiser
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Detectors

PAPER = Detectors()
SMALL = Detectors(n_components=2, n_trees=32)
SEEDED = ["gmm", "b-gmm", "if"]
WEIGHTED = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
CANNOT_HOLD = {
    "if": dict.fromkeys(WEIGHTED, "scikit-learn's own: each tree draws points, so a weight is not a repetition"),
    "oc-svm": dict.fromkeys(WEIGHTED, "scikit-learn's own: ν counts points, so a weight of 0 is not an absence"),
}
"""Checks of scikit-learn's contract that its own estimators do not keep, each with the reason."""


def cloud(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def standardised(name, settings=SMALL, seed=0):
    """Return a detector behind a standardisation."""
    return make_pipeline(Standardiser(), detectors.build_detector(name, settings, seed))


# Kernel density estimation


@pytest.mark.parametrize("bandwidth", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("d", [1, 3, 8, 64])
def test_kde_is_scikit_learns(d, bandwidth):
    """The log density equals that of scikit-learn's KernelDensity with all points in one leaf.

    With several leaves its bounds cancel in the logarithm, and narrow kernels come out far too dense.
    """
    train, test = cloud(150, d), cloud(60, d, seed=1)
    expected = KernelDensity(bandwidth=bandwidth, leaf_size=150).fit(train).score_samples(test)
    found = KDE(bandwidth).fit(train).score_samples(test)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("memory", [0, 1, 2, 1000])
def test_kde_does_not_depend_on_its_memory(memory):
    """How much memory may be filled decides how many points are compared at once and changes no score."""
    train, test = cloud(3000, 16), cloud(150, 16, seed=1)
    found, expected = (KDE(memory=each).fit(train).score_samples(test) for each in (memory, 256))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_kde_keeps_to_its_memory():
    """Distances fill what they may, and not the hundred times as much that all pairs would take."""
    train, test = cloud(4000, 8), cloud(3000, 8, seed=1)
    fitted = KDE(memory=1).fit(train)
    tracemalloc.start()
    try:
        fitted.score_samples(test)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * 2**20


@pytest.mark.parametrize("d", [512, 2048])
def test_kde_at_bandwidth_0_1_is_nearest_neighbour_distance(d):
    """In 512 dimensions or more the log density is minus d²/2h² of the nearest training point, and a constant."""
    train, test = cloud(200, d), cloud(80, d, seed=1)
    nearest = cdist(test, train, "sqeuclidean").min(axis=1)
    found = KDE(0.1).fit(train).score_samples(test)
    constant = -np.log(200) - d * np.log(0.1 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found, constant - nearest / (2 * 0.1**2), rtol=1e-9)
    np.testing.assert_array_equal(np.argsort(-found), np.argsort(nearest))


def test_the_density_itself_is_zero():
    """The density at bandwidth 0.1 in 512 dimensions cannot be told from 0 in float64: its logarithm is needed."""
    found = KDE(0.1).fit(cloud(200, 512)).score_samples(cloud(20, 512, seed=1))
    assert np.isfinite(found).all()
    assert not np.exp(found).any()


def test_no_point_is_denser_than_a_training_point():
    """A training point is not nearer than 0 to itself: far from the origin, too, rounding adds no density."""
    train = 1e3 + cloud(50, 512)
    densest = -np.log(50) - 512 * np.log(0.1 * np.sqrt(2 * np.pi))
    found = KDE(0.1).fit(train).score_samples(train)
    assert (found <= densest + 1e-9).all()
    np.testing.assert_allclose(found, densest, rtol=1e-6)


# scikit-learn's contract


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_detectors_keep_scikit_learns_contract(name):
    """A detector can stand wherever a scikit-learn estimator can."""
    made = detectors.build_detector(name, Detectors(n_components=2, n_trees=8), 0)
    check_estimator(made, expected_failed_checks=CANNOT_HOLD.get(name), on_skip=None)


@pytest.mark.parametrize("floor", [0.0, 0.01])
def test_the_standardiser_keeps_scikit_learns_contract(floor):
    """The standardisation can stand wherever a scikit-learn transformer can."""
    check_estimator(Standardiser(floor), on_skip=None)


# Standardisation


def test_the_standardiser_is_scikit_learns():
    """Without a floor the standardisation is StandardScaler's in float64, to the last bit, a dead feature included."""
    train, test = (100 + cloud(50, 6, seed).astype(np.float32) * np.arange(6, dtype=np.float32) for seed in (0, 1))
    expected = StandardScaler().fit(train.astype(float)).transform(test.astype(float))
    found = Standardiser().fit(train).transform(test)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_the_standardiser_leaves_its_input_alone():
    """What is standardised is a copy: the features that are kept stay as they were."""
    train = cloud(20, 3)
    before = train.copy()
    Standardiser(0.1).fit(train).transform(train)
    np.testing.assert_array_equal(train, before)


def test_a_variance_floor_by_hand():
    """A feature's variance counts as at least the floor's share of the mean variance; larger ones stay."""
    train, test = cloud(400, 4) * [1e-5, 0.1, 1, 10], cloud(30, 4, seed=1)
    variances = train.var(axis=0)
    deviations = np.sqrt(np.maximum(variances, 0.01 * variances.mean()))
    assert (deviations > np.sqrt(variances) * 1.001).tolist() == [True, True, False, False]
    np.testing.assert_allclose(
        Standardiser(0.01).fit(train).transform(test), (test - train.mean(axis=0)) / deviations, rtol=1e-10
    )


@pytest.mark.parametrize("name", ["kde", "oc-svm"])
def test_a_nearly_constant_feature_dominates_unless_there_is_a_floor(name):
    """A thousandth in a feature that hardly ever varied outweighs all others, and with a floor it counts for little."""
    train, test = cloud(200, 6), cloud(40, 6, seed=1)
    train[:, 0] *= 1e-6
    test[:, 0] = 0
    moved = test.copy()
    moved[:, 0] = 1e-3

    def shift(floor):
        fitted = make_pipeline(Standardiser(floor), detectors.build_detector(name, SMALL, 0)).fit(train)
        still = fitted.score_samples(test)
        return np.abs(fitted.score_samples(moved) - still).max() / np.ptp(still)

    assert shift(0.0) > 1
    assert shift(0.01) < 0.05


def test_features_are_standardised_before_a_detector():
    """Without PCA what a detector sees are the standardised features themselves."""
    train, test = 3 + cloud(50, 6), cloud(20, 6, seed=1)
    found = detectors.preprocessor(PAPER, 0).fit(train).transform(test)
    np.testing.assert_array_equal(found, Standardiser().fit(train).transform(test))
    floored = detectors.preprocessor(Detectors(variance_floor=0.5), 0).fit(train * np.arange(1, 7))
    np.testing.assert_array_equal(floored[0].scale_, Standardiser(0.5).fit(train * np.arange(1, 7)).scale_)


@pytest.mark.parametrize("dimension", [2, 5])
def test_pca_gives_uncorrelated_features(dimension):
    """PCA leaves as many features as were asked for, of falling variance and uncorrelated on the training patches."""
    train = cloud(200, 12) @ cloud(12, 12, seed=1) + 7
    found = detectors.preprocessor(Detectors(pca=dimension), 0).fit(train).transform(train)
    assert found.shape == (200, dimension)
    covariance = np.cov(found.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9 * covariance.max())
    assert (np.diff(np.diag(covariance)) <= 0).all()


def test_pca_is_of_standardised_features():
    """The principal components are those of the standardised features, so units do not matter to them."""
    train = cloud(100, 5) @ cloud(5, 5, seed=1)
    standardised = (train - train.mean(axis=0)) / train.std(axis=0)
    expected = PCA(3, random_state=0).fit(standardised).transform(standardised)
    for units in (1, np.array([1, 10, 100, 1000, 1e4])):
        found = detectors.preprocessor(Detectors(pca=3), 0).fit(train * units).transform(train * units)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


# What the paper states


@pytest.mark.parametrize("name", ["gmm", "b-gmm"])
def test_mixtures_have_the_papers_parameters(name):
    """Both mixtures have 80 diagonal components, start from k-means and iterate at most 150 times."""
    said = detectors.build_detector(name, PAPER, seed=3).get_params()
    stated = {"n_components": 80, "covariance_type": "diag", "init_params": "kmeans", "max_iter": 150}
    assert {key: said[key] for key in stated} == stated
    assert said["random_state"] == 3


def test_the_bayesian_mixtures_prior():
    """The Bayesian mixture has a Dirichlet process for its prior, unless another is chosen."""
    assert detectors.build_detector("b-gmm", PAPER, 0).weight_concentration_prior_type == "dirichlet_process"
    other = Detectors(weight_prior="dirichlet_distribution")
    assert detectors.build_detector("b-gmm", other, 0).weight_concentration_prior_type == "dirichlet_distribution"


def test_the_forest_has_128_trees():
    """The isolation forest has 128 trees."""
    assert detectors.build_detector("if", PAPER, 0).n_estimators == 128


def test_the_svms_parameters():
    """The one-class SVM has ν = 1e-4 and an RBF kernel whose width follows the features' scale."""
    svm = detectors.build_detector("oc-svm", PAPER, 0)
    assert (svm.nu, svm.kernel, svm.gamma) == (1e-4, "rbf", "scale")


def test_a_linear_kernel():
    """With a linear kernel the one-class SVM's score is linear in the features; with the paper's it is not."""
    train, (one, other) = 2 + cloud(60, 4), cloud(2, 4, seed=1)
    points = [one, other, (one + other) / 2]
    for kernel, linear in [("linear", True), ("rbf", False)]:
        svm = detectors.build_detector("oc-svm", Detectors(kernel=kernel, nu=0.5), 0).fit(train)
        a, b, middle = svm.score_samples(points)
        assert (middle == pytest.approx((a + b) / 2)) == linear


@pytest.mark.parametrize("name", ["gmm", "b-gmm"])
def test_several_starts_fit_no_worse(name):
    """With several starts a mixture keeps the best: never one that is worse than the first, and often a better one."""
    train = np.concatenate([cloud(40, 2, seed) + 6 * cloud(1, 2, 100 + seed) for seed in range(6)])
    gains = []
    for seed in range(4):
        settings = [Detectors(n_components=6, n_init=starts, init_params="random") for starts in (1, 5)]
        one, five = (detectors.build_detector(name, each, seed).fit(train).lower_bound_ for each in settings)
        gains.append(five - one)
    assert min(gains) >= 0
    assert max(gains) > 0


@pytest.mark.parametrize("start", ["k-means++", "random"])
def test_another_start_of_the_mixtures(start):
    """Another start than k-means is handed on to both mixtures, and fits otherwise."""
    train, test = cloud(120, 6), cloud(30, 6, seed=1)
    for name in ("gmm", "b-gmm"):
        made = [
            detectors.build_detector(name, Detectors(n_components=8, init_params=each), 0) for each in ("kmeans", start)
        ]
        assert made[1].init_params == start
        first, second = (each.fit(train).score_samples(test) for each in made)
        assert not np.allclose(first, second)


def test_the_density_estimates_bandwidth():
    """The kernel density estimate has bandwidth 0.1."""
    assert detectors.build_detector("kde", PAPER, 0).bandwidth == 0.1


def test_a_detector_that_is_not_known():
    """A detector that is not there is an error that names those that are, the auto-encoders among them."""
    with pytest.raises(MimiiError, match="lof.*gmm, b-gmm, if, kde, oc-svm, lenet-dcae"):
        detectors.build_detector("lof", PAPER, 0)


# What all five must do


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_far_away_is_less_normal(name):
    """A point far from all training points scores lower than every training point."""
    train = 5 + 3 * cloud(200, 8)
    detector = standardised(name).fit(train)
    far = np.full((1, 8), 5 + 3 * 30.0)
    assert detector.score_samples(far)[0] < detector.score_samples(train).min()


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_the_same_seed_gives_the_same_scores(name):
    """Two fits with one seed score alike, to the last bit."""
    train, test = cloud(120, 6), cloud(30, 6, seed=1)
    scores = [standardised(name, seed=5).fit(train).score_samples(test) for _ in range(2)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_other_scores(name):
    """The detectors that draw random numbers draw others for another seed."""
    settings = Detectors(n_components=20, n_trees=8)
    train, test = cloud(120, 6), cloud(30, 6, seed=1)
    first, second = (detectors.build_detector(name, settings, seed).fit(train).score_samples(test) for seed in (0, 1))
    assert not np.allclose(first, second)


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_standardisation_knows_the_training_patches_only(name):
    """Test patches are standardised by the mean and deviation of the training patches, not by their own."""
    train, test = 40 + 7 * cloud(100, 5), 43 + 20 * cloud(30, 5, seed=1)
    mean, std = train.mean(axis=0), train.std(axis=0)
    by_hand = detectors.build_detector(name, SMALL, 0).fit((train - mean) / std).score_samples((test - mean) / std)
    found = standardised(name).fit(train).score_samples(test)
    np.testing.assert_allclose(found, by_hand, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_units_do_not_matter(name):
    """Features in other units, with another origin, give the same scores."""
    train, test = cloud(100, 5), cloud(30, 5, seed=1)
    scale, shift = np.array([1.0, 2, 4, 8, 16]), 64.0
    fit = [standardised(name).fit(factor * train + offset) for factor, offset in [(1, 0), (scale, shift)]]
    np.testing.assert_allclose(
        fit[1].score_samples(scale * test + shift), fit[0].score_samples(test), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_a_feature_that_never_varies(name):
    """A feature that is constant in training, such as a dead ReLU, leaves every score finite."""
    train, test = cloud(100, 5), cloud(30, 5, seed=1)
    train[:, 2] = 0
    scores = standardised(name).fit(train).score_samples(test)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_detectors_can_be_cloned(name):
    """A detector is a scikit-learn estimator: its clone has its parameters and nothing it learned."""
    made = detectors.build_detector(name, SMALL, 4)
    assert clone(made).get_params() == made.get_params()
