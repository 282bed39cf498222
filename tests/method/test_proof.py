"""The heart of `make proof`: the library's results are the plain implementation's, on few clips."""

from pathlib import Path

import numpy as np
import proof
import pytest

from mimii_lib import paper
from mimii_lib.run import Run, engines
from mimii_lib.settings import Features

EXTRACTOR = "squeezenet1_1"


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Path:
    """Return a profile with the paper's settings and the weights of packages."""
    file = tmp_path_factory.mktemp("profile") / "proof.yaml"
    file.write_text("weight_sources: [package]\n")
    return file


@pytest.fixture(scope="module")
def made(tiny, profile, tmp_path_factory) -> Run:
    """Return a run on one ID of the small miniature."""
    cache = tmp_path_factory.mktemp("cache")
    return Run("fan", profile=profile, data=tiny, ids="id_00", seeds=0, extractors=EXTRACTOR, cache=cache)


@pytest.fixture(scope="module", params=["miniature", "real recordings"])
def run(request, made, profile, tmp_path_factory) -> Run:
    """Return the run on the miniature, and one on four real recordings, which skips where there are none."""
    if request.param == "miniature":
        return made
    folder = request.getfixturevalue("shared") / "real_mimii"
    cache = tmp_path_factory.mktemp("real")
    return Run("slider", profile=profile, data=folder, ids="id_06", seeds=0, extractors=EXTRACTOR, cache=cache)


@pytest.fixture(scope="module")
def plain(made) -> proof.Features:
    """Return the plain features of the miniature."""
    return proof.expected_features(made, "id_00", EXTRACTOR)


@pytest.fixture(scope="module")
def expected(run, made, plain) -> proof.Features:
    """Return the plain features of the run's machine ID."""
    return plain if run is made else proof.expected_features(run, run.profile.ids[0], EXTRACTOR)


def test_the_same_colours(run):
    """From wav to the coloured patches no pixel differs."""
    assert sum(map(proof.pixels_off, proof.files(run, run.profile.ids[0]))) == 0


@pytest.mark.parametrize("engine", proof.ENGINES)
def test_features_are_the_plain_ones(run, expected, engine):
    """Every patch's features from the same pictures, and those of 99 % of the patches from wav."""
    other = run.with_overrides(settings={"features.engine": engine})
    machine_id = run.profile.ids[0]
    assert proof.errors_from_pictures(other, machine_id, EXTRACTOR, expected).max() <= proof.PICTURES
    errors = proof.errors_from_recordings(other, machine_id, EXTRACTOR, expected)
    assert np.mean(errors <= proof.RECORDINGS) >= proof.SHARE


@pytest.mark.parametrize("said", ["imaging.origin=upper", "imaging.pad_mode=reflect", "imaging.colormap=magma"])
def test_another_pipeline_is_noticed(made, plain, said):
    """What the plain implementation does not do fails the comparison: it can tell the two apart."""
    errors = proof.errors_from_recordings(made.with_overrides(settings=said), "id_00", EXTRACTOR, plain)
    assert np.mean(errors <= proof.RECORDINGS) < proof.SHARE


@pytest.mark.parametrize("detector", paper.DETECTORS)
def test_scores_are_scikit_learns(made, plain, detector):
    """On the same features every score is scikit-learn's, to a millionth."""
    assert proof.score_error(*proof.divided(made, "id_00", plain, 0), detector) <= proof.SCORES


def test_a_narrow_kernel_density_is_the_nearest_neighbours_distance(made, plain):
    """At bandwidth 0.1 the log density is a constant minus half the squared distance over the squared bandwidth."""
    misplaced, error = proof.nearest_neighbour_error(*proof.divided(made, "id_00", plain, 0))
    assert misplaced == 0
    assert error <= proof.NEAREST


@pytest.mark.parametrize("detector", paper.DETECTORS)
def test_auc_is_the_plain_one(made, plain, detector):
    """From wav to AUC: the same, or within the plain one's spread over ten starts."""
    expected = proof.expected_areas(made, "id_00", plain, detector, 0)
    slack = 0.0 if detector in proof.RANDOM else proof.allowance(made, "id_00", 0, "float32")
    assert proof.outside(proof.areas(made, "id_00", EXTRACTOR, 0)[detector], expected) <= slack + 1e-9


def test_bfloat16_moves_few_pairs(made):
    """In bfloat16 the AUC of forest and support vectors moves by no more than a point or two swapped pairs.

    Densities are left out: with a handful of training clips they rest on single neighbours, and `make proof` shows
    what rounding does to them.
    """
    if engines.choose(Features(precision="bfloat16")).precision != "bfloat16":
        pytest.skip("this processor has no bfloat16")
    exact, reduced = (
        proof.areas(made.with_overrides(settings={"features.precision": precision}), "id_00", EXTRACTOR, 0)
        for precision in proof.PRECISIONS
    )
    allowed = proof.allowance(made, "id_00", 0, "bfloat16")
    assert all(proof.outside(reduced[name], [exact[name]]) <= allowed + 1e-9 for name in ("if", "oc-svm"))


def test_training_follows_the_plain_loss(made):
    """From the same weights, in the same order, the loss of every epoch is the plain one, within 2 %."""
    expected, found = proof.loss_curves(proof.files(made, "id_00")[:3], patches=48, epochs=2, batch=16)
    for losses in found.values():
        assert proof.largest_difference(losses, expected) <= proof.LOSS
    assert expected[1] < expected[0]
