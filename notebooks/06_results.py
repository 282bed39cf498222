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
settings = None  # settings by name, such as {"imaging.hop": 512}

# %% tags=["hide-input"]
from myst_nb import glue

from mimii_lib.pages import figures, run_box, tables
from mimii_lib.run import Run

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
    settings=settings,
)
run_box.facts([run])

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
import pandas as pd

from mimii_lib.evaluation import standard_error

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
smallest = areas.loc[(areas.n_normal + areas.n_abnormal).idxmin()]
glue("n_normal", int(smallest.n_normal), display=False)
glue("n_abnormal", int(smallest.n_abnormal), display=False)
error = standard_error(areas.auc.median(), smallest.n_normal, smallest.n_abnormal)
glue("error", 100 * error, display=False)
glue("typical", float(100 * areas.auc.median()), display=False)
glue("training", run.results.training, display=False)
sure = [run.results.estimates(machine_id) for machine_id in run.ids]
widths = [
    each.high - each.low
    for found in sure
    for each in map(found.interval, found.values.index)
]
glue("half", 50 * float(pd.Series(widths).median()), display=False)
n_seeds = len(run.profile.seeds)
glue("n_seeds", f"{n_seeds} seed{'s' * (n_seeds > 1)}", display=False)

# %% [markdown]
# Means over the seeds, in percent; the auto-encoders: {glue:text}`training`. The highest mean over the machine IDs is
# {glue:text}`best_auc:.1f` ({glue:text}`best`). Averaged over all rows, {glue:text}`easiest` comes out at
# {glue:text}`easiest_auc:.1f` and {glue:text}`hardest` at {glue:text}`hardest_auc:.1f`. Below 50, a row takes the abnormal clips
# for the more ordinary ones.
#
# ## How sure is that?
#
# Every seed drew another split. How far do they agree?

# %% mystnb={"figure": {"caption": "The AUC of every row: a dot is a seed, a bar their mean, the dotted line guessing. Where the dots of two rows mix, their order is not settled."}, "image": {"alt": "A panel for each machine ID, a line for each row of the table: the AUCs of the seeds as dots and their mean as a bar"}}
figures.auc_dots(run, areas)

# %% [markdown]
# Over {glue:text}`n_seeds`, the best and the worst AUC of a row differ by {glue:text}`seed_spread:.1f` points (the
# median over rows). That is less than other clips would make it: the seeds are tested on many of the same ones. So we draw the clips again,
# each as often as chance has it and then for every seed and row at once. Half of a cell's 95 % interval is {glue:text}`half:.0f`
# points in the median. On {glue:text}`n_normal` normal and {glue:text}`n_abnormal` abnormal clips that is no wonder: the formula of
# {cite:t}`hanley1982meaning` gives a standard error of {glue:text}`error:.1f` points for an AUC of {glue:text}`typical:.0f`.
# Differences between rows or machine IDs that are not well above it should not be read.
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

# %% [markdown]
# ## Exercises
#
# **1.** Of many rows one is always best. How good is the best row when nothing can be found? Shuffle the labels of the test clips a
# few hundred times and look at the highest AUC over the rows. (The AUC is a sum of ranks.)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
import numpy as np
from scipy.stats import rankdata

machine_id, seed = run.ids[0], run.profile.seeds[0]
each = [
    run.clip_scores(machine_id, *row, run.results.seeds(row[1])[0])
    for row in run.results.systems()
]
each = [one for one in each if len(one.scores) == len(each[0].scores)]
ranks = np.stack([rankdata(one.scores) for one in each])
anomalous = each[0].anomalous
n, rest = anomalous.sum(), (~anomalous).sum()
random = np.random.default_rng(0)
labels = random.permuted(np.tile(anomalous, (500, 1)), axis=1)
areas_by_luck = (ranks @ labels.T - n * (n + 1) / 2) / (n * rest)
best = areas_by_luck.max(axis=0)
f"best of {len(each)} rows by luck: {best.mean():.0%}, one time in twenty {np.quantile(best, 0.95):.0%} or more"

# %% [markdown]
# **2.** §7 of the paper suggests ensembles. Average the ranks that two rows give the clips. Is the pair better than each of them?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from mimii_lib.evaluation import auc

one, other = each[0], each[min(3, len(each) - 1)]
together = rankdata(one.scores) + rankdata(other.scores)
{
    "first": round(100 * auc(one.anomalous, one.scores), 1),
    "second": round(100 * auc(one.anomalous, other.scores), 1),
    "together": round(100 * auc(one.anomalous, together), 1),
}

# %% [markdown]
# :::{dropdown} What it says
# Two rows that err on different clips help each other; two that err alike do not.
# :::
#
# ## In short
#
# These are the numbers that enter [Table 1](../table1.ipynb), where all four machine types stand beside the paper's.
