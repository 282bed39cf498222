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


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of all tables in a benchmark's output."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {lines[number - 1] for number, line in enumerate(lines) if line.startswith("|---")}
    return [line.strip("| ").split(" | ") for line in lines if line not in heads and not line.startswith("|---")]


def test_the_claims_hold_on_few_clips(capsys):
    """From wav to AUC, colours, features, scores and training are the plain implementation's in float32."""
    assert proof.main(["--quick"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert {row[0] for row in rows} >= AUC_CLAIMS | {"the same colours", "LeNet-DCAE: loss of every epoch"}
    assert len(rows) == 20


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


def test_the_quick_form_of_the_benchmark_measures_every_row():
    """Features, detectors, training, growth and memory are measured to the end."""
    command = [sys.executable, Path(proof.__file__).with_name("speed.py"), "--quick"]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(rows_of(process.stdout)) == 9 + 3 + 6, process.stdout
