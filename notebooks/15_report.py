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
# (report)=
# # The report
#
# What these pages rest on, in one place: which recordings, which weights, which versions, how long it took, and what was left
# out. The same stands in `results/report.json`, which a script can compare.

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

# %% tags=["hide-input"]
from IPython.display import HTML

from mimii_lib.pages import tables
from mimii_lib.pages.report import report
from mimii_lib.pages.run_box import facts
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
HTML(facts(runs))

# %% tags=["hide-input"]
found = report(runs)
tables.report_facts(found)

# %% [markdown]
# ## The recordings
#
# Clips by machine ID, how many of them train and test for a seed, and a digest of their contents: two runs with the same
# digests heard the same sounds.

# %%
tables.report_data(found)

# %% [markdown]
# ## What came of it
#
# The mean AUC of every row, in percent. Two runs of a profile on one machine agree in all of them to the last bit; on another
# machine every AUC is within half a point.

# %%
import pandas as pd

pd.Series(found["auc"], name="AUC").to_frame()

# %% [markdown]
# ## How long it took
#
# By stage, with every core at work, as far as it was noted down.

# %% tags=["hide-input"]
tables.report_times(found)

# %% [markdown]
# ## What was left out

# %% tags=["hide-input"]
tables.left_out(runs)
