"""The benchmarks in their quick form: the library's results are the plain ones, and every row is measured."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import proof
import pytest

from mimii_lib import paper
from mimii_lib.run import Run

EXTRACTOR = "squeezenet1_1"
BENCHMARKS = Path(proof.__file__).parent
AUC_CLAIMS = {f"AUC × 100 from wav: {title}" for title in paper.DETECTORS.values()}


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


@pytest.fixture(scope="module")
def rows(run) -> list[proof.Row]:
    """Return every claim on the small miniature."""
    return list(proof.claims(run, "id_00"))


@pytest.mark.parametrize("engine", [*proof.ENGINES, "patches", "float32"])
def test_claims(rows, engine):
    """From wav to AUC, in features, scores and training, the library's numbers are the plain implementation's."""
    measured = [row for row in rows if engine in row[1] and "bfloat16" not in row[1]]
    assert measured
    assert [row for row in measured if not row[-1]] == []


def test_every_claim_is_measured(rows):
    """Colours, features, scores, AUCs of all detectors and training are compared."""
    assert rows[0][0] == "the same colours" and rows[0][-1]
    assert {row[0] for row in rows} >= AUC_CLAIMS | {"features from wav", "LeNet-DCAE: loss of every epoch"}


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


@pytest.mark.parametrize(("script", "n_rows"), [("speed.py", 9 + 3 + 6), ("proof.py", 18)])
def test_the_quick_form_prints_every_row(script, n_rows):
    """Every row of a benchmark is measured to its end."""
    command = [sys.executable, BENCHMARKS / script, "--quick"]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line for line in process.stdout.splitlines() if line.startswith("| ")]
    heads = [line for line in process.stdout.splitlines() if line.startswith("|---")]
    assert len(rows) - len(heads) == n_rows, process.stdout
