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
# This page lists the results of the {machine}, as §6 of the paper does: the AUC of every system on every machine ID, for every seed.

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
# ## The AUC of every system
#
# A **system** is an extractor with a detector, or an auto-encoder: a row of Table 1. Its AUC, the area under the ROC curve, is the
# probability that an abnormal clip scores higher than a normal one: 50 % is guessing, 100 % is perfect.

# %%
aucs = run.auc()
table = tables.auc_table(aucs)
table.round(1)

# %% tags=["remove-cell"]
import numpy as np

from mimii_lib.evaluation import standard_error

by_system, by_id = table.mean(axis=1), table.mean()
system_aucs = aucs.groupby(["id", "extractor", "detector"], dropna=False).auc
smallest = aucs.loc[(aucs.n_normal + aucs.n_abnormal).idxmin()]
typical = aucs.auc.median()
intervals = [
    estimates.interval(system)
    for estimates in map(run.results.estimates, run.ids)
    for system in estimates.values.index
]
n_seeds = len(run.profile.seeds)
facts = {
    "best": by_system.idxmax(),
    "best_auc": float(by_system.max()),
    "easiest": by_id.idxmax(),
    "easiest_auc": float(by_id.max()),
    "hardest": by_id.idxmin(),
    "hardest_auc": float(by_id.min()),
    "seed_spread": float(100 * (system_aucs.max() - system_aucs.min()).median()),
    "half_width": float(
        50 * np.median([interval.high - interval.low for interval in intervals])
    ),
    "n_normal": int(smallest.n_normal),
    "n_abnormal": int(smallest.n_abnormal),
    "typical": float(100 * typical),
    "error": 100 * standard_error(typical, smallest.n_normal, smallest.n_abnormal),
    "training": run.results.training,
    "n_seeds": f"{n_seeds} seed{'s' * (n_seeds > 1)}",
}
for name, fact in facts.items():
    glue(name, fact, display=False)

# %% [markdown]
# The table shows means over the seeds, in percent; the auto-encoders were trained for {glue:text}`training`. The highest mean over the
# machine IDs is {glue:text}`best_auc:.1f` ({glue:text}`best`). Averaged over all systems, {glue:text}`easiest` is the easiest machine ID
# with {glue:text}`easiest_auc:.1f`, and {glue:text}`hardest` the hardest with {glue:text}`hardest_auc:.1f`. A system below 50 ranks abnormal clips
# as the more normal ones.
#
# ## Choosing a threshold
#
# An AUC needs no threshold, an alarm does: a clip whose score lies above it counts as anomalous.

# %% [markdown]
# ## Uncertainty
#
# Each seed draws another split. How much do the AUCs of a system vary between seeds?

# %% mystnb={"figure": {"caption": "AUC of every system. Dots: seeds; bar: their mean; dotted line: guessing. Where the dots of two systems overlap, their order is uncertain."}, "image": {"alt": "A panel per machine ID, a line per system: the AUCs of the seeds as dots and their mean as a bar"}}
figures.auc_dots(run, aucs)

# %% [markdown]
# Over {glue:text}`n_seeds`, the highest and the lowest AUC of a system differ by {glue:text}`seed_spread:.1f` points (median over
# systems). This understates the uncertainty, since the test sets of the seeds share many clips. We bootstrap clips jointly across
# seeds and systems. Half the width of a 95 % interval is {glue:text}`half_width:.0f` points (median). The size of the test set explains
# this: for {glue:text}`n_normal` normal and {glue:text}`n_abnormal` abnormal clips, the formula of {cite:t}`hanley1982meaning` gives an AUC of
# {glue:text}`typical:.0f` a standard error of {glue:text}`error:.1f` points. Smaller differences between systems or machine IDs are no evidence.
#
# ## Choosing a threshold
#
# The AUC is taken over all thresholds. A monitor needs one: above it a clip raises an alarm. Move the threshold, and watch the false
# alarms, the misses, and the point on the ROC curve. Then let a clip's score be the maximum of its patch scores instead of their mean.

# %%
from mimii_lib.pages import threshold

threshold.figure(run)

# %% [markdown]
# ## The clips that are easiest and hardest to detect
#
# Which abnormal clips rank highest and lowest in the best system?

# %%
from mimii_lib.pages import explanations

best = explanations.best_system(aucs)
ranked = explanations.ranked_clips(run, best)
paths, scores = {}, {}
for clip in explanations.example_clips(ranked, k=1).itertuples():
    if clip.label == "abnormal":
        rank = f"scores above {clip.place:.0%} of the normal clips"
        caption = f"{clip.kind}: {clip.id}, {rank}"
        patch_scores = run.scores(clip.id, *best, clip.seed)
        paths[caption], scores[caption] = clip.path, patch_scores[clip.at]
figures.clips(run, paths, scores)

# %% [markdown]
# Above each spectrogram are the scores of its patches over time, and their mean. Listen to both clips, then look at the spectrograms:
# what distinguishes the first from a normal clip, and what could the network have missed in the second?

# %% [markdown]
# ## Exercises
#
# **1.** One of many systems is always the best. How high is the best AUC if the scores carry no information? Permute the labels of the
# test clips a few hundred times and take the highest AUC over the systems. (The AUC is a function of the sum of ranks.)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from scipy.stats import rankdata

machine_id, seed = run.ids[0], run.profile.seeds[0]
results = [
    run.clip_scores(machine_id, *system, seed)
    for system in run.results.systems()
    if seed in run.results.seeds(system[1])
]
ranks = np.stack([rankdata(result.scores) for result in results])
anomalous = results[0].anomalous
n_abnormal, n_normal = anomalous.sum(), (~anomalous).sum()
random = np.random.default_rng(0)
labels = random.permuted(np.tile(anomalous, (500, 1)), axis=1)
chance = (ranks @ labels.T - n_abnormal * (n_abnormal + 1) / 2) / (
    n_abnormal * n_normal
)
best = chance.max(axis=0)
f"best of {len(results)} systems by chance: {best.mean():.0%} on average, 95th percentile {np.quantile(best, 0.95):.0%}"

# %% [markdown]
# **2.** §7 of the paper suggests ensembles. Average the ranks that two systems give the clips. Is the pair better than either system?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from mimii_lib.evaluation import auc

first, second = ranks[0], ranks[min(3, len(ranks) - 1)]
{
    name: round(100 * auc(anomalous, scores), 1)
    for name, scores in (
        ("first", first),
        ("second", second),
        ("both", first + second),
    )
}

# %% [markdown]
# :::{dropdown} Interpretation
# An ensemble helps if its members err on different clips.
# :::
#
# ## Summary
#
# These AUCs enter [Table 1](../table1.ipynb), where all four machine types are set beside the paper's results.
