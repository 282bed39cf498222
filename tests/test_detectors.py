"""§5.2: the five detectors, on points where it is known what they must say."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import check_estimator

from mimii_lib import detectors, paper
from mimii_lib.detectors import KDE
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Detectors

PAPER = Detectors()
SMALL = Detectors(n_components=2, n_trees=32)
SEEDED = ["gmm", "b-gmm", "if"]


def cloud(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


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


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_kde_does_not_depend_on_the_block(block):
    """How many points are compared at once bounds the memory and changes no score."""
    train, test = cloud(100, 32), cloud(60, 32, seed=1)
    np.testing.assert_allclose(
        KDE(block=block).fit(train).score_samples(test), KDE().fit(train).score_samples(test), rtol=1e-10
    )


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


def test_kde_keeps_scikit_learns_contract():
    """KDE can stand wherever a scikit-learn estimator can."""
    check_estimator(KDE())


# What the paper states


@pytest.mark.parametrize("name", ["gmm", "b-gmm"])
def test_mixtures_have_the_papers_parameters(name):
    """Both mixtures have 80 diagonal components, start from k-means and iterate at most 150 times."""
    said = detectors.make(name, PAPER, seed=3).get_params()
    stated = {"n_components": 80, "covariance_type": "diag", "init_params": "kmeans", "max_iter": 150}
    assert {key: said[key] for key in stated} == stated
    assert said["random_state"] == 3


def test_the_bayesian_mixtures_prior():
    """The Bayesian mixture has a Dirichlet process for its prior, unless another is chosen."""
    assert detectors.make("b-gmm", PAPER, 0).weight_concentration_prior_type == "dirichlet_process"
    other = Detectors(weight_prior="dirichlet_distribution")
    assert detectors.make("b-gmm", other, 0).weight_concentration_prior_type == "dirichlet_distribution"


def test_the_forest_has_128_trees():
    """The isolation forest has 128 trees."""
    assert detectors.make("if", PAPER, 0).n_estimators == 128


def test_the_svms_parameters():
    """The one-class SVM has ν = 1e-4 and an RBF kernel whose width follows the features' scale."""
    svm = detectors.make("oc-svm", PAPER, 0)
    assert (svm.nu, svm.kernel, svm.gamma) == (1e-4, "rbf", "scale")


def test_the_density_estimates_bandwidth():
    """The kernel density estimate has bandwidth 0.1."""
    assert detectors.make("kde", PAPER, 0).bandwidth == 0.1


def test_a_detector_that_is_not_known():
    """A detector that is not there is an error that names those that are, the auto-encoders among them."""
    with pytest.raises(MimiiError, match="lof.*gmm, b-gmm, if, kde, oc-svm, lenet-dcae"):
        detectors.make("lof", PAPER, 0)


# What all five must do


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_far_away_is_less_normal(name):
    """A point far from all training points scores lower than every training point."""
    train = 5 + 3 * cloud(200, 8)
    detector = detectors.standardised(detectors.make(name, SMALL, 0)).fit(train)
    far = np.full((1, 8), 5 + 3 * 30.0)
    assert detector.score_samples(far)[0] < detector.score_samples(train).min()


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_the_same_seed_gives_the_same_scores(name):
    """Two fits with one seed score alike, to the last bit."""
    train, test = cloud(120, 6), cloud(30, 6, seed=1)
    scores = [detectors.standardised(detectors.make(name, SMALL, 5)).fit(train).score_samples(test) for _ in range(2)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_other_scores(name):
    """The detectors that draw random numbers draw others for another seed."""
    settings = Detectors(n_components=20, n_trees=8)
    train, test = cloud(120, 6), cloud(30, 6, seed=1)
    first, second = (detectors.make(name, settings, seed).fit(train).score_samples(test) for seed in (0, 1))
    assert not np.allclose(first, second)


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_standardisation_knows_the_training_patches_only(name):
    """Test patches are standardised by the mean and deviation of the training patches, not by their own."""
    train, test = 40 + 7 * cloud(100, 5), 43 + 20 * cloud(30, 5, seed=1)
    mean, std = train.mean(axis=0), train.std(axis=0)
    by_hand = detectors.make(name, SMALL, 0).fit((train - mean) / std).score_samples((test - mean) / std)
    found = detectors.standardised(detectors.make(name, SMALL, 0)).fit(train).score_samples(test)
    np.testing.assert_allclose(found, by_hand, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_units_do_not_matter(name):
    """Features in other units, with another origin, give the same scores."""
    train, test = cloud(100, 5), cloud(30, 5, seed=1)
    scale, shift = np.array([1.0, 2, 4, 8, 16]), 64.0
    fit = [
        detectors.standardised(detectors.make(name, SMALL, 0)).fit(factor * train + offset)
        for factor, offset in [(1, 0), (scale, shift)]
    ]
    np.testing.assert_allclose(
        fit[1].score_samples(scale * test + shift), fit[0].score_samples(test), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_a_feature_that_never_varies(name):
    """A feature that is constant in training, such as a dead ReLU, leaves every score finite."""
    train, test = cloud(100, 5), cloud(30, 5, seed=1)
    train[:, 2] = 0
    scores = detectors.standardised(detectors.make(name, SMALL, 0)).fit(train).score_samples(test)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", paper.DETECTORS)
def test_detectors_can_be_cloned(name):
    """A detector is a scikit-learn estimator: its clone has its parameters and nothing it learned."""
    made = detectors.make(name, SMALL, 4)
    assert clone(made).get_params() == made.get_params()
