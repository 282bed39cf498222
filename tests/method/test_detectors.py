"""§5.2: the five detectors, on points whose scores are known."""

import tracemalloc

import numpy as np
import pytest
import reference
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from mimii_lib import paper
from mimii_lib.detectors import KDE, Standardiser, build_detector, preprocessor
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Detectors

PAPER = Detectors()
SMALL = Detectors(n_components=2, n_trees=32)
WEIGHTED = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
CANNOT_HOLD = {
    "if": dict.fromkeys(WEIGHTED, "scikit-learn's own: each tree draws points, so a weight is not a repetition"),
    "oc-svm": dict.fromkeys(WEIGHTED, "scikit-learn's own: ν counts points, so a weight of 0 is not an absence"),
}
"""Checks of scikit-learn's contract that its own estimators do not keep, each with the reason."""

stated = pytest.mark.paper
every = pytest.mark.parametrize("name", paper.DETECTORS)
PRECISIONS = ("float64", "float32")
precisions = pytest.mark.parametrize("precision", PRECISIONS)


def cloud(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def standardised(name, settings=SMALL, seed=0):
    return make_pipeline(Standardiser(), build_detector(name, settings, seed))


@stated(
    "§5",
    "features are standardised",
    code="detectors.Standardiser",
    setting="detectors.variance_floor",
    remark="over the training patches; open point 14",
)
@every
def test_standardisation_uses_the_training_patches_only(name):
    """Test patches are standardised by the mean and deviation of the training patches, not by their own."""
    train, test = 40 + 7 * cloud(100, 5), 43 + 20 * cloud(30, 5, seed=1)
    mean, std = train.mean(axis=0), train.std(axis=0)
    by_hand = build_detector(name, SMALL, 0).fit((train - mean) / std).score_samples((test - mean) / std)
    scores = standardised(name).fit(train).score_samples(test)
    np.testing.assert_allclose(scores, by_hand, rtol=1e-7, atol=1e-9)


@precisions
def test_the_standardiser_is_scikit_learns(precision):
    """Without a floor it is StandardScaler in its precision, bit for bit, a constant feature included; X is kept."""
    train, test = (100 + cloud(50, 6, seed).astype(np.float32) * np.arange(6, dtype=np.float32) for seed in (0, 1))
    before = test.copy()
    expected = StandardScaler().fit(train.astype(precision)).transform(test.astype(precision))
    for steps in (Standardiser(precision=precision), preprocessor(Detectors(precision=precision), 0)):
        transformed = steps.fit(train).transform(test)
        assert transformed.dtype == precision
        np.testing.assert_array_equal(transformed, expected)
    np.testing.assert_array_equal(test, before)


@precisions
@every
def test_in_either_precision_the_scores_are_scikit_learns(name, precision):
    """On float32 features as on float64 ones, standardised and scored as by scikit-learn alone; float64 is default."""
    settings = {} if precision == "float64" else {"precision": precision}
    train, test = (cloud(n, 20, seed=n).astype(np.float32) for n in (300, 50))
    ours = make_pipeline(preprocessor(Detectors(**settings), 0), build_detector(name, PAPER, 0)).fit(train)
    expected = reference.anomaly_scores(train, test, name, 0, leaf_size=300, precision=precision)
    np.testing.assert_allclose(-ours.score_samples(test), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["if", "kde", "oc-svm"])
def test_float32_hardly_changes_what_computes_in_float64(name):
    """The kernel density and the one-class SVM compute in float64 on features of either type, the forest in float32."""
    train, test = cloud(300, 64), cloud(50, 64, seed=1)
    scores = []
    for precision in PRECISIONS:
        steps = preprocessor(Detectors(precision=precision), 0), build_detector(name, SMALL, 0)
        scores.append(make_pipeline(*steps).fit(train).score_samples(test))
    np.testing.assert_allclose(*scores, rtol=1e-5)


def test_float32_widens_components_of_one_patch():
    """In float64 a component of one patch has the regularisation as variance; in float32 more where the patch is far.

    scikit-learn adds ten rounding errors to a component's number of patches, so that its mean square exceeds the square
    of its mean by their share: 1.2e-6 of it in float32.
    """
    train = preprocessor(PAPER, 0).fit_transform(cloud(80, 64))
    fitted = {dtype: build_detector("gmm", PAPER, 0).fit(train.astype(dtype)) for dtype in PRECISIONS}
    np.testing.assert_allclose(fitted["float64"].covariances_, 1e-6, rtol=1e-6)
    widened = 1e-6 + 1.2e-6 * fitted["float64"].means_ ** 2
    order = np.lexsort(fitted["float64"].means_.T), np.lexsort(fitted["float32"].means_.T)
    np.testing.assert_allclose(fitted["float32"].covariances_[order[1]], widened[order[0]], rtol=0.3)


def test_a_variance_floor_by_hand():
    """A feature's variance counts as at least the floor's share of the mean variance; larger ones stay."""
    train, test = cloud(400, 4) * [1e-5, 0.1, 1, 10], cloud(30, 4, seed=1)
    variances = train.var(axis=0)
    deviations = np.sqrt(np.maximum(variances, 0.01 * variances.mean()))
    assert (deviations > np.sqrt(variances) * 1.001).tolist() == [True, True, False, False]
    transformed = preprocessor(Detectors(variance_floor=0.01), 0).fit(train).transform(test)
    np.testing.assert_allclose(transformed, (test - train.mean(axis=0)) / deviations, rtol=1e-10)


def test_pca_is_of_standardised_features():
    """The principal components are those of the standardised features, so units do not matter to them."""
    train = cloud(100, 5) @ cloud(5, 5, seed=1)
    scaled = (train - train.mean(axis=0)) / train.std(axis=0)
    expected = PCA(3, random_state=0).fit(scaled).transform(scaled)
    for units in (1, np.array([1, 10, 100, 1000, 1e4])):
        reduced = preprocessor(Detectors(pca=3), 0).fit(train * units).transform(train * units)
        np.testing.assert_allclose(reduced, expected, rtol=1e-6, atol=1e-8)


MIXTURE = {"n_components": 80, "covariance_type": "diag", "init_params": "kmeans", "max_iter": 150}
PARAMETERS = {
    "if": {"n_estimators": 128},
    "gmm": MIXTURE,
    "b-gmm": MIXTURE | {"weight_concentration_prior_type": "dirichlet_process"},
    "oc-svm": {"nu": 1e-4, "kernel": "rbf", "gamma": "scale"},
}


@stated("§5.2", "isolation forest: 128 trees", code="detectors.build_detector", setting="detectors.n_trees")
@stated(
    "§5.2",
    "GMM: 80 components, diagonal covariances",
    code="detectors.build_detector",
    setting="detectors.n_components",
)
@stated("§5.2", "GMM: started by k-means", code="detectors.build_detector", setting="detectors.init_params")
@stated("§5.2", "GMM: at most 150 iterations", code="detectors.build_detector", setting="detectors.max_iter")
@stated("§5.2", "B-GMM: the same parameters", code="detectors.build_detector")
@stated(
    "§5.2",
    "OC-SVM: ν = 10⁻⁴",
    code="detectors.build_detector",
    setting="detectors.nu",
    remark="the text has lost the minus sign",
)
@pytest.mark.parametrize("name", PARAMETERS)
def test_detectors_have_the_papers_parameters(name):
    """128 trees; 80 diagonal components, started by k-means, at most 150 iterations; ν = 1e-4 and an RBF kernel."""
    assert PARAMETERS[name].items() <= build_detector(name, PAPER, 0).get_params().items()
    if "gmm" in name:
        others = {"n_init": 5, "init_params": "random", "reg_covar": 1e-4, "tol": 1e-2}
        assert others.items() <= build_detector(name, Detectors(**others), 0).get_params().items()


@stated("§5.2", "GMM: the score is the log-probability", code="detectors.build_detector")
def test_gmm_scores_are_log_probabilities():
    """They equal those of scikit-learn's mixture, and the logarithm of the density by its formula."""
    train, test = cloud(200, 8), cloud(60, 8, seed=1)
    detector = build_detector("gmm", SMALL, 0).fit(train)
    scores = detector.score_samples(test)
    plain = GaussianMixture(SMALL.n_components, covariance_type="diag", max_iter=SMALL.max_iter, random_state=0)
    np.testing.assert_allclose(scores, plain.fit(train).score_samples(test), rtol=1e-9)
    densities = norm.pdf(test[:, None], detector.means_, np.sqrt(detector.covariances_)).prod(axis=2)
    np.testing.assert_allclose(scores, np.log(densities @ detector.weights_), rtol=1e-9)


@every
def test_far_away_is_less_normal(name):
    """A point far from all training points scores lower than every training point."""
    train = 5 + 3 * cloud(200, 8)
    detector = standardised(name).fit(train)
    far = np.full((1, 8), 5 + 3 * 30.0)
    assert detector.score_samples(far)[0] < detector.score_samples(train).min()


def test_an_unknown_detector():
    """A detector that does not exist is an error that names those that do, the auto-encoders among them."""
    with pytest.raises(MimiiError, match="lof.*gmm, b-gmm, if, kde, oc-svm, lenet-dcae"):
        build_detector("lof", PAPER, 0)


@stated("§5.2", "KDE: Gaussian kernel, bandwidth 0.1", code="detectors.KDE", setting="detectors.bandwidth")
@pytest.mark.parametrize("bandwidth", [None, 0.5, 2.0])
@pytest.mark.parametrize("d", [1, 8, 64])
def test_kde_is_scikit_learns(d, bandwidth):
    """The log density equals that of scikit-learn's KernelDensity with all points in one leaf; the default is 0.1.

    With several leaves its bounds cancel in the logarithm, and narrow kernels come out far too dense.
    """
    kde = KDE(bandwidth) if bandwidth else build_detector("kde", PAPER, 0)
    train, test = cloud(150, d), cloud(60, d, seed=1)
    expected = KernelDensity(bandwidth=bandwidth or 0.1, leaf_size=150).fit(train).score_samples(test)
    np.testing.assert_allclose(kde.fit(train).score_samples(test), expected, rtol=1e-6, atol=1e-9)


@stated(
    "§5.2",
    "KDE: the density is the score",
    code="detectors.KDE",
    remark="its logarithm: the density is 0 in double precision; open point 18",
)
@pytest.mark.parametrize("d", [512, 2048])
def test_kde_at_bandwidth_0_1_is_nearest_neighbour_distance(d):
    """In 512 dimensions or more the log density is a constant minus d²/2h² of the nearest training point.

    The density itself is 0 in float64: its logarithm is needed.
    """
    train, test = cloud(200, d), cloud(80, d, seed=1)
    nearest = cdist(test, train, "sqeuclidean").min(axis=1)
    scores = KDE(0.1).fit(train).score_samples(test)
    constant = -np.log(200) - d * np.log(0.1 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(scores, constant - nearest / (2 * 0.1**2), rtol=1e-9)
    np.testing.assert_array_equal(np.argsort(-scores), np.argsort(nearest))
    assert not np.exp(scores).any()


def test_no_point_is_denser_than_a_training_point():
    """A training point is not nearer than 0 to itself: far from the origin, too, rounding adds no density."""
    train = 1e3 + cloud(50, 512)
    densest = -np.log(50) - 512 * np.log(0.1 * np.sqrt(2 * np.pi))
    scores = KDE(0.1).fit(train).score_samples(train)
    assert (scores <= densest + 1e-9).all()
    np.testing.assert_allclose(scores, densest, rtol=1e-6)


def test_kde_keeps_to_its_memory():
    """The memory limit changes no score, and distances fill a hundredth of what all pairs would take."""
    train, test = cloud(4000, 8), cloud(3000, 8, seed=1)
    fitted = KDE(memory=1).fit(train)
    tracemalloc.start()
    try:
        scores = fitted.score_samples(test)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2**20
    for memory in (0, 2, 256):
        np.testing.assert_allclose(KDE(memory=memory).fit(train).score_samples(test[:50]), scores[:50], rtol=1e-10)


ESTIMATORS = {name: build_detector(name, Detectors(n_components=2, n_trees=8), 0) for name in paper.DETECTORS}
ESTIMATORS |= {f"standardiser {floor}": Standardiser(floor) for floor in (0.0, 0.01)}
ESTIMATORS |= {"standardiser float32": Standardiser(precision="float32")}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_keep_scikit_learns_contract(name):
    """A detector, or the standardisation, can stand wherever a scikit-learn estimator can."""
    check_estimator(ESTIMATORS[name], expected_failed_checks=CANNOT_HOLD.get(name), on_skip=None)


@every
def test_the_seed_decides_the_scores(name):
    """Two fits with one seed have the same scores; another seed changes those of the random detectors alone."""
    settings = Detectors(n_components=20, n_trees=8)
    train, test = cloud(120, 6), cloud(30, 6, seed=1)
    first, same, other = (standardised(name, settings, seed).fit(train).score_samples(test) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert np.allclose(first, other) == (name in ("kde", "oc-svm"))
