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
# # Does it do what the paper says?
#
# Sections 3 to 5 of the paper make statements that can be checked: 64 Mel bands, 128 trees, no anomalous clip in training. Each
# stands here beside the setting that holds its value, the function that does it, and the test that would fail if it were
# not so.
#
# The table is made from the code. A setting with another value, or a function or a test that is gone, stops the making of this page.

# %% tags=["hide-input"]
from mimii_lib.pages import conformance, tables

held = conformance.table()
tables.conformance(held)

# %% tags=["remove-cell"]
from myst_nb import glue

glue("n_statements", len(held), display=False)
glue("n_settings", int((held.setting != "").sum()), display=False)
glue("n_remarks", int((held.remark != "").sum()), display=False)
glue("n_tests", int(held.test.nunique()), display=False)

# %% [markdown]
# {glue:text}`n_statements` statements, {glue:text}`n_settings` of them with a setting of their own, held by
# {glue:text}`n_tests` tests. {glue:text}`n_remarks` carry a remark: there the paper's words can be read in more than one way, or cannot be followed
# to the letter. [What the paper leaves open](open_points.ipynb) has the rest of that story.
#
# The tests run with `make test`; a single one by its name:
#
# ```bash
# .venv/bin/pytest tests/test_imaging.py::test_log_mel_is_librosas
# ```
#
# ## Against a second implementation
#
# A test can share an error with the code that it tests. So there is a second implementation, in `benchmarks/reference.py`: plain calls of
# librosa, matplotlib, torchvision and scikit-learn, one clip at a time, and nothing of this library. `benchmarks/proof.py` runs both on the same
# clips, splits and weights and compares pictures, features, scores and AUCs; `make test` repeats its heart.
