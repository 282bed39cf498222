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
# statement is a mark on the test that holds it:
#
# ```python
# @pytest.mark.paper("§5", "64 Mel bands", code="imaging.log_mel", setting="imaging.n_mels")
# def test_log_mel_is_librosas(): ...
# ```
#
# The table lists all marks, each with the setting and its value, the code, and the test. A mark that names code or a setting that does not exist
# is an error.

# %% tags=["parameters", "remove-cell"]
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

# %%
from mimii_lib.pages import conformance

conformance.statements_table(marks)

# %% tags=["remove-cell"]
from myst_nb import glue

glue("n_statements", len(marks), display=False)
glue("n_settings", sum(bool(mark["setting"]) for mark in marks), display=False)
glue("n_remarks", sum(bool(mark["remark"]) for mark in marks), display=False)
glue("n_tests", len({mark["test"] for mark in marks}), display=False)

# %% [markdown]
# {glue:text}`n_statements` statements, {glue:text}`n_settings` of them with a setting, are held by {glue:text}`n_tests` tests.
# {glue:text}`n_remarks` carry a remark: there the paper's words are ambiguous, or cannot be followed literally.
# [The page on open points](open_points.ipynb) explains these cases.
#
# All tests run with `make test`; a single one runs by its name:
#
# ```bash
# .venv/bin/pytest tests/method/test_imaging.py::test_log_mel_is_librosas
# ```
#
# ## Against a second implementation
#
# A test can share an error with the code that it tests. So there is a second implementation, in `benchmarks/reference.py`: direct calls of
# librosa, matplotlib, torchvision and scikit-learn, one clip at a time, without this library. `benchmarks/proof.py` runs both on the same
# clips, splits and weights and compares images, features, scores and AUCs; `.ci/run` repeats its core.
