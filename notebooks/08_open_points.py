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
# (open-points)=
# # What the paper leaves open
#
# A paper cannot state everything. To run this one, somebody has to decide which of eight channels is read, what 0 dB is, or which
# kernel a support vector machine has. This page lists these points: what the paper says, what that leaves open, which values
# we use and why, and which alternatives there are.
#
# The values, reasons and alternatives in the table are read from `mimii_lib.settings`, which a run uses too.

# %%
from mimii_lib.pages import open_points

open_points.points_table()

# %% tags=["remove-cell"]
from myst_nb import glue

points = open_points.POINTS
glue("n_points", len(points), display=False)
glue("n_others", sum(bool(point.alternatives) for point in points), display=False)
glue(
    "n_alternatives",
    sum(len(point.alternatives) for point in points),
    display=False,
)

# %% [markdown]
# There are {glue:text}`n_points` points, and {glue:text}`n_others` of them have alternatives that this project can run:
# {glue:text}`n_alternatives` in all. [The next page](choices.ipynb) measures those that this run can: how each changes the AUC.
#
# ## How to use another value
#
# The alternatives are written as the command line takes them; brackets hold what one is compared with, where that is not the default:
#
# ```bash
# mimii auc DATA --machine fan --settings imaging.hop=512 split.balanced=true
# ```
#
# A notebook that papermill runs, and the whole book, take the same text:
#
# ```bash
# papermill notebooks/06_results.ipynb out.ipynb -p machine fan -p settings 'imaging.hop=512'
# make book SETTINGS='imaging.hop=512 split.balanced=true'
# ```
#
# A profile, such as `profiles/mine.yaml`, groups the settings:
#
# ```yaml
# settings:
#   imaging: {hop: 512}
#   split: {balanced: true}
# ```
#
# `snr`, `seeds` and `extractors` are parameters of their own in the same three places. An unknown name or a wrong value is an error
# that lists what is allowed.
#
# ## All settings
#
# Every setting of a run has a source: the place in the paper that states its value, or the reason for our assumption.

# %%
from mimii_lib.settings import Settings

defaults = Settings()
open_points.settings_table(
    defaults.split,
    defaults.imaging,
    defaults.features,
    defaults.detectors,
    defaults.autoencoders,
    defaults.evaluation,
)
