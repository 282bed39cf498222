"""The library's features are the plain implementation's; ``benchmarks/proof.py`` compares scores and AUCs, too."""

import numpy as np
import proof
import pytest

from mimii_lib.run import Run

EXTRACTOR = "squeezenet1_1"


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Run:
    """Return a run on one ID of the small miniature, with the paper's settings and the weights of packages."""
    folder = tmp_path_factory.mktemp("proof")
    (folder / "proof.yaml").write_text("weight_sources: [package]\n")
    parameters = {"data": tiny, "ids": "id_00", "seeds": 0, "extractors": EXTRACTOR}
    return Run("fan", profile=folder / "proof.yaml", cache=folder / "cache", **parameters)


@pytest.fixture(scope="module")
def expected(run) -> proof.Features:
    """Return the plain implementation's features."""
    return proof.expected_features(run, "id_00", EXTRACTOR)


def test_real_recordings_have_the_same_features(real, run, tmp_path):
    """On real recordings of a slider, too, colours and features are the plain implementation's."""
    run = Run("slider", profile=run.profile, data=real, ids="id_06", cache=tmp_path)
    expected = proof.expected_features(run, "id_06", EXTRACTOR)
    assert sum(map(proof.different_pixels, proof.recordings(run, "id_06"))) == 0
    assert all(row[-1] for row in proof.feature_claims(run, "id_06", EXTRACTOR, expected))


@pytest.mark.parametrize("setting", ["imaging.origin=upper", "imaging.pad_mode=reflect", "imaging.colormap=magma"])
def test_another_pipeline_is_noticed(run, expected, setting):
    """A pipeline that differs from the plain implementation fails the comparison."""
    errors = proof.errors_from_recordings(run.with_overrides(settings=setting), "id_00", EXTRACTOR, expected)
    assert np.mean(errors <= proof.MAX_FEATURE_ERROR) < proof.SHARE
