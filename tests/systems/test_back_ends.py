"""Estimators of clip systems: distances by definition, leave-one-out scores, the contract of scikit-learn."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf
from sklearn.utils.estimator_checks import check_estimator

from mimii_lib.systems.back_ends import BandNeighbours, Mahalanobis, Neighbours
from mimii_lib.systems.ensemble import Ensemble, held_out_scores

RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.standard_normal((12, 30)), 2 * RANDOM.standard_normal((7, 30))
EVERY = slice(None)
ESTIMATORS = {
    "neighbours": Neighbours(),
    "Mahalanobis": Mahalanobis(),
    "neighbours per band": BandNeighbours(),
    "neighbours without density": BandNeighbours(density_neighbors=0),
    "ensemble": Ensemble([("near", BandNeighbours(), EVERY), ("far", Mahalanobis(), EVERY)]),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_keep_scikit_learns_contract(name):
    """A back end can stand wherever a scikit-learn estimator can."""
    check_estimator(ESTIMATORS[name], on_skip=None)


@pytest.mark.parametrize("n_train", [12, 2])
def test_neighbours_are_the_nearest(n_train):
    """The distance is the mean of the three smallest of all distances, and of all where there are fewer."""
    expected = np.sort(cdist(TEST, TRAIN[:n_train]), axis=1)[:, :3].mean(axis=1)
    assert Neighbours().fit(TRAIN[:n_train]).score_samples(TEST) == pytest.approx(-expected)


def test_mahalanobis_is_the_distance_in_the_shrunk_covariance():
    """With fewer clips than dimensions the distance exists, and is that of the definition."""
    shrunk = LedoitWolf().fit(TRAIN)
    off = TEST - TRAIN.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", off, np.linalg.inv(shrunk.covariance_), off)
    assert Mahalanobis().fit(TRAIN).score_samples(TEST) == pytest.approx(-expected)


def plain_band_scores(train, test, n_bands, density_neighbors):
    """Return the standardised distances of test clips by band, written out with scipy: (clips, bands)."""
    columns = []
    for reference, tested in zip(np.split(train, n_bands, 1), np.split(test, n_bands, 1), strict=True):
        among = cdist(reference, reference)
        np.fill_diagonal(among, np.inf)
        density = np.ones(len(train))
        if density_neighbors:
            density = np.sort(among, axis=1)[:, : min(density_neighbors, len(train) - 1)].mean(axis=1)
        own, nearest = (among / density).min(axis=1), (cdist(tested, reference) / density).min(axis=1)
        columns.append((nearest - own.mean()) / own.std())
    return np.stack(columns, 1)


@pytest.mark.parametrize("density_neighbors", [0, 2, 4, 40])
@pytest.mark.parametrize("n_bands", [1, 5])
@pytest.mark.parametrize("memory", [64, 1e-4])
def test_each_band_has_its_own_neighbours(n_bands, density_neighbors, memory):
    """Distances are those of the definition in each band, however few of them fit into the memory at a time."""
    estimator = BandNeighbours(n_bands, density_neighbors, memory).fit(TRAIN)
    expected = plain_band_scores(TRAIN, TEST, n_bands, density_neighbors)
    assert estimator.band_scores(TEST) == pytest.approx(expected)
    assert estimator.score_samples(TEST) == pytest.approx(-expected.mean(axis=1))


def test_training_scores_leave_the_clip_itself_out():
    """A training clip's own score is that of a reference set without it: never the distance 0 to itself."""
    estimator = BandNeighbours(3, density_neighbors=0).fit(TRAIN)
    among = np.stack([cdist(part, part) + np.diag(np.full(12, np.inf)) for part in np.split(TRAIN, 3, 1)])
    own = among.min(axis=2)
    standardised = (own - own.mean(1, keepdims=True)) / own.std(1, keepdims=True)
    assert estimator.training_scores_ == pytest.approx(-standardised.mean(axis=0))
    assert (estimator.score_samples(TRAIN) > estimator.training_scores_).all()


def test_local_density_forgives_a_clip_among_sparse_neighbours():
    """A clip in a sparse group of training clips is as normal as one in a dense group: without density it is not."""
    dense, sparse = RANDOM.normal(0, 0.1, (40, 8)), RANDOM.normal(20, 2, (40, 8))
    tested = np.concatenate([RANDOM.normal(0, 0.1, (40, 8)), RANDOM.normal(20, 2, (40, 8))])
    for density_neighbors, forgiven in ((0, False), (4, True)):
        scores = BandNeighbours(1, density_neighbors).fit(np.concatenate([dense, sparse])).score_samples(tested)
        near_dense, near_sparse = scores[:40], scores[40:]
        assert (np.mean(near_dense[:, None] > near_sparse) < 0.75) == forgiven


def test_equal_training_clips_leave_finite_scores():
    """Where the distance of training clips is 0, scores are finite, and another clip is less normal than these."""
    estimator = BandNeighbours(2).fit(np.ones((5, 4)))
    same, other = estimator.score_samples(np.array([[1.0, 1, 1, 1], [2, 1, 1, 1]]))
    assert np.isfinite([same, other]).all()
    assert same > other


def test_bands_must_divide_the_columns():
    """Columns that cannot be divided into the bands are an error that names both numbers."""
    with pytest.raises(ValueError, match="30 columns cannot be divided into 4 bands"):
        BandNeighbours(4).fit(TRAIN)


@pytest.mark.parametrize(("combine", "expected"), [("mean", np.mean), ("min", np.min), ("max", np.max)])
def test_an_ensemble_combines_the_standardised_anomaly_scores_of_its_members(combine, expected):
    """Each member sees its columns; its scores are standardised by held-out scores of training clips."""
    members = [("a", BandNeighbours(2), slice(0, 10)), ("b", Mahalanobis(), slice(10, 30))]
    ensemble = Ensemble(members, combine).fit(TRAIN)
    standardised = []
    for _, estimator, columns in members:
        held_out = held_out_scores(estimator.fit(TRAIN[:, columns]), TRAIN[:, columns])
        scores = estimator.score_samples(TEST[:, columns])
        standardised.append(-(scores - held_out.mean()) / held_out.std())
    assert ensemble.score_samples(TEST) == pytest.approx(-expected(standardised, axis=0))


def test_held_out_scores_of_training_clips_are_no_better_than_those_of_new_ones():
    """Cross-validated scores are on the scale of new clips; scores of the training clips themselves are far better."""
    mixing = RANDOM.standard_normal((20, 60))
    many, new = (RANDOM.standard_normal((n, 20)) @ mixing + 0.1 * RANDOM.standard_normal((n, 60)) for n in (60, 400))
    fitted = Mahalanobis().fit(many)
    held_out, unseen = held_out_scores(fitted, many).mean(), fitted.score_samples(new).mean()
    assert held_out == pytest.approx(unseen, rel=0.25)
    assert fitted.score_samples(many).mean() > 0.75 * unseen


def test_a_combination_that_there_is_not_is_an_error():
    """An unknown combination is named with those that there are."""
    with pytest.raises(ValueError, match="'median', expected one of mean, min, max"):
        Ensemble([("a", Mahalanobis(), EVERY)], "median").fit(TRAIN)
