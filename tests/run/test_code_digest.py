"""A kept result is computed anew when the code that computes it changes, and only then: in copies of the library."""

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from mimii_lib import extractors
from mimii_lib.data import checks
from mimii_lib.extractors import Extractor
from mimii_lib.run import code_digest, stages
from mimii_lib.run.stages import clip_systems, detection, features, reconstruction, spectrograms

LIBRARY = Path(code_digest.__file__).parents[1]
STAGES = {
    "clips": checks.inspect,
    "spectrograms": spectrograms.log_mel_spectrograms,
    "features": features.extract_features,
    "training": reconstruction.train_autoencoder,
    "detector scores": detection.detector_scores,
    "clip scores": clip_systems.clip_scores,
}


@pytest.fixture
def library(tmp_path):
    """Return a copy of the library."""
    return Path(shutil.copytree(LIBRARY, tmp_path / "mimii_lib", ignore=shutil.ignore_patterns("__pycache__")))


def digests(library):
    """Return the digest of every stage's code in a copy of the library, as a new process there would find it."""
    file = library / "run" / "code_digest.py"
    spec = importlib.util.spec_from_file_location(code_digest.__name__, file)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    arguments = copy.syntax_digest(stages.__name__)
    return {stage: copy.code_digest(function) for stage, function in STAGES.items()} | {"arguments": arguments}


def edit(library, module, old, new):
    """Replace a text in a module of a copy of the library."""
    file = library / module
    source = file.read_text()
    assert re.search(old, source, flags=re.MULTILINE), f"{module} has no {old}"
    file.write_text(re.sub(old, new, source, count=1, flags=re.MULTILINE))


CHANGES = {
    "reading a clip": ("dataset.py", r"^def read\(", r"WIDE = 1\n\n\ndef read(", {"clips", "spectrograms"}),
    "log-mel": ("imaging.py", r"\(spectrum\) \*\* 2", "(spectrum)", {"spectrograms", "features", "training"}),
    "weights": ("data/weights.py", r"\.flip\(1\)", "", {"features"}),
    "the engine": ("run/engines.py", r'"openvino": 2', '"openvino": 4', {"features"}),
    "the cut of a network": ("extractors.py", r"AdaptiveAvgPool2d\(2\)", "AdaptiveAvgPool2d(1)", {"features"}),
    "selecting patches": ("run/stages/patches.py", r"inputs\[clips\]", "inputs[clips][::-1]", {"detector scores"}),
    "a detector": ("detectors.py", r"np\.minimum\(", "np.maximum(", {"detector scores"}),
    "a fit": ("run/stages/detection.py", r"\.fit\(features\.train\)", ".fit(features.test)", {"detector scores"}),
    "the sign": ("evaluation.py", r"return -np\.asarray", "return np.asarray", {"detector scores", "clip scores"}),
    "a clip system": ("systems/back_ends.py", r"\.mean\(axis=1\)", ".max(axis=1)", {"clip scores"}),
    "arguments": ("run/stages/__init__.py", r'\("train", "test"\)', '("test", "train")', {"arguments"}),
    "training": ("autoencoders.py", r"mse_loss\(", "2 * mse_loss(", {"training"}),
    "a default": ("settings.py", r"16_000", "8_000", set(STAGES)),
}  # fmt: skip


@pytest.mark.parametrize(("module", "old", "new", "changed"), CHANGES.values(), ids=CHANGES)
def test_changed_code_makes_another_key(library, module, old, new, changed):
    """A changed line changes the digests of the stages that reach it by imports."""
    before = digests(library)
    edit(library, module, old, new)
    after = digests(library)
    assert changed <= {stage for stage in before if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("module", "old", "new", "kept"),
    [
        ("evaluation.py", r"return -np\.asarray", "return np.asarray", {"clips", "spectrograms", "features"}),
        ("detectors.py", r"np\.minimum\(", "np.maximum(", {"spectrograms", "features", "training"}),
        ("autoencoders.py", r"mse_loss\(", "2 * mse_loss(", {"spectrograms", "features", "detector scores"}),
        ("run/results.py", r"^class Results", "WIDE = 1\n\n\nclass Results", set(STAGES)),
        ("cli.py", r"^def main", "WIDE = 1\n\n\ndef main", set(STAGES)),
        ("pages/figures.py", r"\Z", "WIDE = 1\n", set(STAGES)),
    ],
)
def test_code_that_a_stage_does_not_reach_leaves_its_results(library, module, old, new, kept):
    """What a stage does not import may change without computing it anew."""
    before = digests(library)
    edit(library, module, old, new)
    after = digests(library)
    assert not {stage for stage in kept if before[stage] != after[stage]}


def test_docstrings_comments_and_layout_are_no_code(library):
    """Rewritten docstrings, added comments and blank lines in every module leave all digests as they are."""
    before = digests(library)
    for file in library.rglob("*.py"):
        if file.name != "code_digest.py":
            source = re.sub(r'^(\s*)"""(?=\S)', r'\1"""Rewritten. ', file.read_text(), flags=re.MULTILINE)
            file.write_text(f"# A comment.\n\n{source}\n\n# Another one.\n")
    assert digests(library) == before


def test_versions_are_of_the_packages_that_compute():
    """A stage depends on the packages that it reaches, and on what these need for computing."""
    clips, spectrogram, detector = (
        set(code_digest.package_versions(STAGES[name])) for name in ("clips", "spectrograms", "detector scores")
    )
    assert {"matplotlib", "numpy", "soundfile"} <= spectrogram
    assert {"scikit-learn", "scipy", "numpy"} <= detector
    assert "soundfile" in clips
    assert "matplotlib" not in clips
    assert not {"tqdm", "filelock", "pytest"} & (spectrogram | detector)


def registered(*, depth=3, layer="last", mean=0.5, **fields):
    """Return an extractor such as a notebook registers, as its results' keys describe it."""

    class Network(nn.Module):
        width = depth

        def forward(self, images):
            return images + depth

    def cut(net):
        return extractors.without_layer(layer)(net)[:depth]

    return Extractor("some", "Some", 4, Network, cut, mean=(mean,) * 3, **fields)


def test_a_registered_extractor_is_part_of_the_key():
    """Its fields count, the code of its functions and classes, and the values that these have from around them."""
    odd = {"network": partial(nn.Linear, 3, 4)}, {"cut": lambda net: net}, {"cut": lambda net: net or {"a", "b"}}
    ways = [{}, {"depth": 2}, {"layer": "first"}, {"mean": 0.4}, {"variant": "some"}]
    different = [registered(**way) for way in ways] + [dataclasses.replace(registered(), **fields) for fields in odd]
    different += [extractors.get("resnet18"), dataclasses.replace(different[0], cut=extractors.without_layer("fc"))]
    different += [dataclasses.replace(different[0], cut=extractors.without_layer("classifier"))]
    texts = [json.dumps(code_digest.described(extractor)) for extractor in different]
    assert len({*texts}) == len(texts)
    assert texts[0] == json.dumps(code_digest.described(registered()))
    assert not any(" at 0x" in text for text in texts)


def test_stale_results_do_not_come_back(library, run_on, kept_results, tiny, quick, tmp_path):
    """With another sign in `anomaly_scores` the AUC is mirrored, with the features kept that a run of ours computed."""
    run = run_on(cache=tmp_path / "cache")
    (area,), results = run.auc().auc, kept_results(run.cache.folder)
    edit(library, "evaluation.py", r"return -np\.asarray", "return np.asarray")
    command = ["auc", tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick, "--json", tmp_path / "auc.json"]
    environment = {**os.environ, "PYTHONPATH": str(library.parent), "MIMII_CACHE": str(run.cache.folder)}
    subprocess.run(
        [sys.executable, "-m", "mimii_lib.cli", *map(str, command)], env=environment, cwd=tmp_path, check=True
    )
    (mirrored,) = json.loads((tmp_path / "auc.json").read_text())
    assert mirrored["auc"] == pytest.approx(1 - area)
    assert kept_results(run.cache.folder) - results == Counter(scores=results["scores"])
