# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (conformance)=
# # Does the code do what the paper says?
#
# Sections 3 to 5 of the paper make statements that can be tested: 64 Mel bands, 128 trees, no anomalous clip in training. In this project a
# statement is a mark on the test that checks it:
#
# ```python
# @pytest.mark.paper("§5", "64 Mel bands", code="imaging.log_mel", setting="imaging.n_mels")
# def test_log_mel_is_librosas(): ...
# ```
#
# The table lists all marks, each with the setting, the code and the test. A mark that names code or a setting that does not exist is an error.
# A setting stands there with its default, which is what the test checks. **A run may use another value**, to save time on a laptop: then the
# run's own value stands below it, as *this run: …*.

# %% tags=["parameters", "remove-cell"]
machine = None  # machine types, such as ["fan", "pump"]; None: all of the profile's
profile = "miniature"  # a file of profiles/ or the path of one; it says what is None below
data = None  # folder of the recordings, laid out as MIMII is
snr = None  # signal-to-noise ratio, in dB
ids = None  # machine IDs, such as ["id_00", "id_02"]
extractors = None  # feature extractors, such as ["squeezenet1_1"]
detectors = None  # detectors, such as ["gmm", "kde"]
seeds = None  # seeds, such as [0, 1]: each draws a split and starts the detectors
weights = None  # folder of weight files
settings = None  # settings by name, such as {"imaging.hop": 512}
statements = "results/conformance.json"  # the marks of the tests; collected here where the file is missing

# %% tags=["remove-cell"]
import json
import subprocess
import sys

from mimii_lib.run.profiles import ROOT

file = ROOT / statements
if not file.is_file():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    subprocess.run(
        [*command, "--paper-statements", str(file)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
marks = json.loads(file.read_text())

# %% tags=["hide-input"]
from mimii_lib.pages import conformance, run_box, tables
from mimii_lib.run import runs_of

runs = runs_of(
    machine,
    profile=profile,
    data=data,
    snr=snr,
    ids=ids,
    extractors=extractors,
    detectors=detectors,
    seeds=seeds,
    weights=weights,
    settings=settings,
)
run_box.facts(runs)

# %%
conformance.statements_table(marks, runs)

# %% tags=["remove-cell"]
from myst_nb import glue

used = conformance.used_otherwise(marks, runs)
sizes = [
    len(run.recordings.split_clips(name, run.profile.seeds[0], "test"))
    for run in runs
    for name in run.ids
]
glue("n_statements", len(marks), display=False)
glue("n_settings", sum(bool(mark["setting"]) for mark in marks), display=False)
glue("n_remarks", sum(bool(mark["remark"]) for mark in marks), display=False)
glue("n_tests", len({mark["test"] for mark in marks}), display=False)
glue(
    "used",
    "; ".join(f"{name}: {value}" for name, value in used.items()) or "none",
    display=False,
)
glue("n_test_clips", tables.number_range(sizes), display=False)

# %% [markdown]
# {glue:text}`n_statements` statements, {glue:text}`n_settings` of them with a setting, are checked by {glue:text}`n_tests` tests.
# {glue:text}`n_remarks` carry a remark: there the paper's words are ambiguous, or cannot be followed literally.
# [The page on open points](open_points.ipynb) explains those that name an open point. The others restore minus signs that the text has lost.
#
# The tests check what the code does at the paper's values. They say nothing about what a run used. Settings that this run uses with another value:
# {glue:text}`used`. The paper tests each machine ID with 150 normal clips and as many abnormal ones; this run has
# {glue:text}`n_test_clips` test clips for each machine ID.
#
# All tests run with `make test`; a single one runs by its name:
#
# ```bash
# .venv/bin/pytest tests/method/test_imaging.py::test_log_mel_is_librosas
# ```
#
# ## Against a second implementation
#
# A test can share an error with the code that it tests. Therefore `benchmarks/reference.py` is a second implementation: it calls librosa,
# matplotlib, torchvision and scikit-learn directly, one clip at a time, without this library. `benchmarks/proof.py` runs both on the same
# clips, splits and weights and compares images, features, scores and AUCs. `.ci/run` repeats a quick form of it.
