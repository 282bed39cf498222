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
# (results-{machine})=
# # Results: {machine}
#
# Every row of the table, every machine ID, every seed: this page gathers what was computed for the {machine}, and follows
# §6 of the paper.

# %% tags=["parameters", "remove-cell"]
machine = "fan"  # machine type: fan, pump, slider or valve
profile = "miniature"  # a file of profiles/ or the path of one; it says what is None below
data = None  # folder of the recordings, laid out as MIMII is
snr = None  # signal-to-noise ratio, in dB
ids = None  # machine IDs, such as ["id_00", "id_02"]
extractors = None  # feature extractors, such as ["squeezenet1_1"]
detectors = None  # detectors, such as ["gmm", "kde"]
seeds = None  # seeds, such as [0, 1]: each draws a split and starts the detectors
weights = None  # folder of weight files

# %% tags=["hide-input"]
from myst_nb import glue

from mimii_lib import Run, figures, tables

run = Run(
    machine,
    profile=profile,
    data=data,
    snr=snr,
    ids=ids,
    extractors=extractors,
    detectors=detectors,
    seeds=seeds,
    weights=weights,
)
run

# %% [markdown]
# ## The AUC of every row
#
# The area under the ROC curve is the chance that an abnormal clip scores higher than a normal one: 50 % is guessing, 100 %
# is perfect.

# %%
areas = run.auc()
table = tables.auc_table(areas)
table.round(1)

# %% tags=["remove-cell"]
glue("best", table.mean(axis=1).idxmax(), display=False)
glue("best_auc", float(table.mean(axis=1).max()), display=False)
glue("easiest", table.mean().idxmax(), display=False)
glue("easiest_auc", float(table.mean().max()), display=False)
glue("hardest", table.mean().idxmin(), display=False)
glue("hardest_auc", float(table.mean().min()), display=False)
spread = (
    areas.groupby(["id", "extractor", "detector"])
    .auc.agg(lambda each: each.max() - each.min())
    .mul(100)
)
glue("seed_spread", float(spread.median()), display=False)
glue("n_test", int(areas.n_normal.min() + areas.n_abnormal.min()), display=False)

# %% [markdown]
# Means over the seeds, in percent. The highest mean over the machine IDs is {glue:text}`best_auc:.1f`
# ({glue:text}`best`). Averaged over all rows, {glue:text}`easiest` comes out at {glue:text}`easiest_auc:.1f` and
# {glue:text}`hardest` at {glue:text}`hardest_auc:.1f`: product models of one machine type can be very different tasks.
# Below 50, a row takes the abnormal clips for the more ordinary ones.
#
# ## How sure is that?
#
# Each dot is a seed, each bar the mean.

# %% mystnb={"image": {"alt": "AUC of every row, one dot a seed and a bar for the mean, in a panel per machine ID"}}
figures.auc_dots(run, areas)

# %% [markdown]
# Between its best and its worst seed a row typically moves by {glue:text}`seed_spread:.1f` points (the median). A test set holds
# {glue:text}`n_test` clips or more, and the seeds share many of them. Differences between rows that are smaller than
# that should not be read.
#
# ## Heard and unheard
#
# In the best row, which abnormal clip stands out most, and which hides best?

# %%
chosen, scores = figures.caught_and_missed(run, areas)
figures.clips(run, chosen, scores)

# %% [markdown]
# Above each spectrogram are the scores of its patches along time and their mean. Listen to both, then look: can you tell what
# the network saw in the first, and what it overlooked in the second?
#
# ## In short
#
# These are the numbers that enter [Table 1](../table1.ipynb), where all four machine types stand beside the paper's.
