"""Fixtures of the tests on runs: a quick run on one machine ID of the tests' miniature, and what is kept of it."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mimii_lib.data import weights
from mimii_lib.run import Run

STAGES = ("spectrograms", "features", "auto-encoders", "scores")


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))  # without weights, and none is downloaded
    monkeypatch.setenv(weights.OFFLINE, "1")


@pytest.fixture
def run_on(tiny, quick):
    """Return a function that makes a run on the fan's id_00 of the small miniature, with other parameters if named."""

    def make(machine="fan", **parameters):
        return Run(machine, **({"data": tiny, "profile": quick, "ids": "id_00"} | parameters))

    return make


@pytest.fixture
def kept_results():
    """Return a function that counts the kept results of each stage, by default in the tests' own cache."""
    return lambda folder=None: Counter(
        file.parts[-3] for file in Path(folder or os.environ["MIMII_CACHE"]).rglob("result.*")
    )


@pytest.fixture
def nothing_new(kept_results):
    """Return a function after whose call some stages, by default all, compute nothing until the test ends."""
    before = []
    yield lambda *stages: before.append((stages or STAGES, kept_results()))
    for stages, results in before:
        assert {stage: kept_results()[stage] for stage in stages} == {stage: results[stage] for stage in stages}


@pytest.fixture
def fan_id_00(tiny, tmp_path):
    """Return a folder with a copy of the fan's id_00 of the small miniature."""
    shutil.copytree(tiny / "-6_dB_fan" / "fan" / "id_00", tmp_path / "data" / "-6_dB_fan" / "fan" / "id_00")
    return tmp_path / "data"
