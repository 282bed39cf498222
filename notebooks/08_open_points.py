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
# No paper says everything. To run this one, somebody has to decide which of eight channels is read, what 0 dB is, or which kernel a
# support vector machine has. This page lists every such point: what the paper says, what that leaves open, what we
# took and why, and what else can be taken.

# %% tags=["hide-input"]
from mimii_lib.pages import tables
from mimii_lib.pages.open_points import POINTS

tables.open_points_table(POINTS)

# %% tags=["remove-cell"]
from myst_nb import glue

glue("n_points", len(POINTS), display=False)
glue("n_others", sum(bool(point.alternatives) for point in POINTS), display=False)
glue(
    "n_alternatives",
    sum(len(point.alternatives) for point in POINTS),
    display=False,
)

# %% [markdown]
# {glue:text}`n_points` points, of which {glue:text}`n_others` have something else to choose:
# {glue:text}`n_alternatives` alternatives in all. What each of them changes is measured on [a page of its own](choices.ipynb).
#
# ## How to choose otherwise
#
# A setting goes by the name that stands in the table. Three places take it.
#
# On the command line:
#
# ```bash
# mimii auc DATA --machine fan --settings imaging.hop=512 split.balanced=true
# ```
#
# In a notebook, run by papermill, or in the whole book:
#
# ```bash
# papermill notebooks/06_results.ipynb out.ipynb -p machine fan -p settings 'imaging.hop=512'
# make book SETTINGS='imaging.hop=512 split.balanced=true'
# ```
#
# In a profile, `profiles/mine.yaml`:
#
# ```yaml
# settings:
#   imaging: {hop: 512}
#   split: {balanced: true}
# ```
#
# `snr`, `seeds` and `extractors` are parameters of their own, in the same three places. A name or a value that does not exist is
# refused with the ones that do.
#
# ## All settings
#
# What a run uses, with the place in the paper that states it or the reason that we chose it.

# %% tags=["hide-input"]
from mimii_lib.settings import Settings

tables.all_settings(Settings())
