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
# This page goes from the scores of patches to the results of the {machine}, as §6 of the paper does: the AUC of every system on every machine ID, for every seed. A **system**
# is a network with a detector, or an auto-encoder: a row of Table 1.

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

# %%
from mimii_lib.pages import figures, run_box, score_figures, tables
from mimii_lib.run import Run

recordings = {"data": data, "snr": snr, "ids": ids, "seeds": seeds}
systems = {"extractors": extractors, "detectors": detectors, "weights": weights}
run = Run(machine, profile=profile, settings=settings, **recordings, **systems)
run_box.facts([run])

# %% [markdown] tags=["once"]
# ## One AUC by hand
#
# We follow the first system of this run with its first seed, on one machine ID. Each row of its scores is a test clip, each column a patch.

# %% tags=["once"]
import numpy as np

system = run.results.systems()[0]
machine_id, seed = run.ids[0], run.results.seeds(system[1])[0]

patch_scores = run.scores(machine_id, *system, seed)
test_clips = run.recordings.split_clips(machine_id, seed, "test")
abnormal = (test_clips.label == "abnormal").to_numpy()
tables.name_of(system), patch_scores.shape

# %% [markdown] tags=["once"]
# ### From patches to clips
#
# Equation {eq}`eq-mean-pooling` of the paper, the score of a clip from those of its patches:

# %% tags=["once"]
from mimii_lib.evaluation import pool

clip_scores = patch_scores.sum(axis=1) / patch_scores.shape[1]
assert np.allclose(clip_scores, pool(patch_scores))
clip_scores.shape

# %% [markdown] tags=["once"]
# ### The ROC curve
#
# Suppose that an alarm is raised for every clip whose score is at least some threshold. Two shares say how good that threshold is: the **hit rate**, the share of abnormal
# clips with an alarm, and the **{index}`false-alarm rate <!false alarm>`**, the share of normal clips with an alarm. We take each score as the threshold, from the highest to the lowest, and count.

# %% tags=["once"]
import pandas as pd

thresholds = np.sort(np.unique(clip_scores))[::-1]
alarms = clip_scores[:, None] >= thresholds  # (clips, thresholds)
hit_rate = np.r_[0, alarms[abnormal].mean(axis=0)]
false_alarm_rate = np.r_[0, alarms[~abnormal].mean(axis=0)]
pd.DataFrame(
    {"hit rate": hit_rate[1:], "false-alarm rate": false_alarm_rate[1:]},
    index=pd.Index(thresholds, name="threshold"),
).head()

# %% [markdown] tags=["once"]
# These are the five highest thresholds. (The scores of a mixture can be very large: [Detectors](04_detectors.ipynb) says why.) Above all scores both rates are 0, below all scores both are 1. Drawn against each other they are the ROC curve (*receiver operating characteristic*).

# %% tags=["once"] mystnb={"figure": {"caption": "The ROC curve, a point for each threshold. The dotted diagonal is guessing; the area under the curve is shaded."}, "image": {"alt": "The hit rate against the false-alarm rate, as a curve of steps from the lower left to the upper right corner"}}
score_figures.roc(false_alarm_rate, hit_rate)

# %% [markdown] tags=["once"]
# ### The area under it
#
# The area is a sum of trapezoids, one between each point and the next:

# %% tags=["once"]
widths = np.diff(false_alarm_rate)
heights = (hit_rate[1:] + hit_rate[:-1]) / 2
area = (widths * heights).sum()
f"AUC: {area:.2%}"

# %% [markdown] tags=["once"]
# **Predict, then check.** Pair each abnormal clip with each normal one. In what share of the pairs has the abnormal clip the higher score?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"}
difference = clip_scores[abnormal][:, None] - clip_scores[~abnormal]
right_order = (difference > 0).mean() + (difference == 0).mean() / 2
assert np.isclose(right_order, area)
f"in {right_order:.2%} of the pairs"

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# It is the area. Each step to the right is a normal clip, and the height of the curve there is the share of abnormal clips with a higher score; the area is the mean of
# these shares. A pair of equal scores counts half, as the slope of a trapezoid does.
# :::
#
# So the **AUC**, the area under the ROC curve, is the probability that an abnormal clip scores higher than a normal one: 50 % is guessing, 100 % is perfect. It needs no threshold. The
# library and scikit-learn return the same number:

# %% tags=["once"]
from sklearn.metrics import roc_auc_score

from mimii_lib.evaluation import auc

assert np.isclose(area, roc_auc_score(abnormal, clip_scores))
assert np.isclose(area, auc(abnormal, clip_scores))

# %% [markdown]
# ## Choosing a threshold
#
# The **AUC** of a system is the probability that an abnormal clip scores higher than a normal one, and it needs no threshold. A monitor
# needs one: a clip raises an alarm if its score lies above it, not on it. Move the threshold, and watch the false alarms, the misses, and
# the point on the ROC curve. Then let a clip's score be the maximum of its patch scores instead of their mean. The figure names its system and its machine ID, which need not be those above.

# %%
from mimii_lib.pages import threshold

threshold.figure(run)

# %% [markdown]
# ## The AUC of every system
#
# The table has the AUC of every system on every machine ID: the share of pairs of an abnormal and a normal clip in which the abnormal one scores higher, in percent, as the mean over the
# seeds.

# %%
import numpy as np

aucs = run.auc()
table = tables.auc_table(aucs)
table.round(1)

# %%
by_system, by_id = table.mean(axis=1), table.mean()
by_id.round(1).to_frame("mean over the systems")

# %% tags=["remove-cell"]
from myst_nb import glue

from mimii_lib.pages import explanations

glue("best", by_system.idxmax(), display=False)
glue("best_auc", float(by_system.max()), display=False)
glue("easiest", by_id.idxmax(), display=False)
glue("hardest", by_id.idxmin(), display=False)
glue("untrained", explanations.untrained_note(run, aucs), display=False)
trained = f"The auto-encoders were trained for {run.results.training}."
glue("training", trained * bool(run.results.autoencoders), display=False)

# %% [markdown]
# {glue:text}`training` The highest mean over the machine IDs is that of {glue:text}`best`, {glue:text}`best_auc:.1f`. {glue:text}`untrained` By the mean over the systems,
# {glue:text}`easiest` is the easiest machine ID and {glue:text}`hardest` the hardest. A system below 50 ranks abnormal clips as the more normal ones.
#
# ## Uncertainty
#
# How far would an AUC move with other test clips? We estimate that for every system by a **{index}`bootstrap <!bootstrap>`**: draw as many clips as there are, with replacement, compute the AUC again, and repeat this many times. The library draws whole clips a thousand times, jointly for all
# seeds and systems, since they share clips. It takes the standard error of the draws, and the interval on the logit scale, which keeps it within 0 and 100 %.

# %%
estimates = {name: run.results.estimates(name) for name in run.ids}

# %% mystnb={"figure": {"caption": "AUC of every system. Dots: seeds; bar: their mean; line: its 95 % interval; dotted line: guessing. It does not test the difference of two systems, which score the same clips."}, "image": {"alt": "A panel per machine ID, a line per system: the AUCs of the seeds as dots, their mean as a bar and its interval as a line"}}
score_figures.auc_dots(run, aucs, estimates)

# %%
intervals = [
    of_id.interval(system)
    for of_id in estimates.values()
    for system in of_id.values.index
]
widths = np.array([interval.high - interval.low for interval in intervals])
of_seeds = aucs.groupby(["id", "extractor", "detector"], dropna=False).auc
spreads = of_seeds.max() - of_seeds.min()
f"{50 * np.median(widths):.1f} and {100 * spreads.median():.1f} points"

# %% [markdown]
# The first number is half the width of an interval, the second the difference between the highest and the lowest seed; both are medians over all systems and machine IDs. The seeds understate the uncertainty, since their
# test sets share many clips. The interval of one AUC does not test a difference: two systems score the same clips, so their difference has an
# interval of its own, which [Table 1](../table1.ipynb) gives.

# %% [markdown] tags=["once"]
# The size of the test set explains the width. For an AUC $A$ over $n_a$ abnormal and $n_n$ normal clips, {cite:t}`hanley1982meaning` give the standard error
#
# $$
# \begin{gathered}
# n_a\, n_n\, \mathrm{SE}^2 = A(1 - A) + (n_a - 1)(Q_1 - A^2) \\
# {} + (n_n - 1)(Q_2 - A^2), \\
# Q_1 = \frac{A}{2 - A}, \qquad Q_2 = \frac{2A^2}{1 + A} .
# \end{gathered}
# $$
#
# $Q_1$ estimates the probability that two abnormal clips both score higher than a normal one, $Q_2$ that an abnormal clip scores higher than two normal ones. For the median AUC of the table:

# %% tags=["once"]
from mimii_lib.evaluation import standard_error

A = aucs.auc.median()
n_a, n_n = abnormal.sum(), (~abnormal).sum()
Q1, Q2 = A / (2 - A), 2 * A**2 / (1 + A)
squared = A * (1 - A) + (n_a - 1) * (Q1 - A**2) + (n_n - 1) * (Q2 - A**2)
error = np.sqrt(squared / (n_a * n_n))
assert np.isclose(error, standard_error(A, n_n, n_a))
f"AUC {A:.1%} with {n_a} and {n_n} clips: SE {100 * error:.1f} points"

# %% [markdown] tags=["once"]
# An interval reaches 1.96 standard errors to each side. That of the mean over several seeds is narrower, since the seeds test different normal clips.
#
# And this is a bootstrap of our one system and seed, within each label, with the quantiles of the draws for an interval:

# %% tags=["once"]
random = np.random.default_rng(0)
of_abnormal, of_normal = clip_scores[abnormal], clip_scores[~abnormal]
is_abnormal = np.repeat([True, False], [n_a, n_n])
draws = []
for _ in range(500):
    drawn = random.choice(of_abnormal, n_a), random.choice(of_normal, n_n)
    draws.append(auc(is_abnormal, np.concatenate(drawn)))
low, high = np.quantile(draws, [0.025, 0.975])
f"AUC {area:.1%}; 95 % of the draws lie between {low:.1%} and {high:.1%}"

# %% [markdown]
# ## The clips that are easiest and hardest to detect
#
# Which abnormal clips rank highest and lowest? We ask the system with the highest mean among those that score patches, or among all
# if none does.

# %%
best = explanations.best_system(aucs)
tables.name_of(best)

# %%
ranked = explanations.ranked_clips(run, best)
paths, scores = {}, {}
for clip in explanations.example_clips(ranked, k=1).itertuples():
    if clip.label == "abnormal":
        rank = f"scores above {clip.place:.0%} of the normal clips"
        caption = f"{clip.kind}: {clip.id}, {rank}"
        paths[caption] = clip.path
        scores[caption] = run.scores(clip.id, *best, clip.seed)[clip.at]
figures.clips(run, paths, scores)

# %% [markdown]
# Above each spectrogram are the scores of its patches over time, and their mean. Listen to the clips, then look at the spectrograms:
# what distinguishes the first from a normal clip, and what could the system have missed in another? (A level line is that of a detector that has reached its largest score, as [the OC-SVM](04_detectors.ipynb) does. A simple baseline scores
# whole clips: it has the orange line alone.)

# %% [markdown] tags=["once"]
# ## Exercises
#
# **1.** One of many systems is always the best. How high is the best AUC if the scores carry no information? Permute the labels of the
# test clips a few hundred times and take the highest AUC over the systems. (The AUC is a function of the sum of ranks.)

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from scipy.stats import rankdata

ranks = [
    rankdata(run.clip_scores(machine_id, *system, seed).scores)
    for system in run.results.systems()
    if seed in run.results.seeds(system[1])
]
labels = random.permuted(np.tile(abnormal, (500, 1)), axis=1)
rank_sums = np.stack(ranks) @ labels.T  # (systems, permutations)
by_chance = (rank_sums - n_a * (n_a + 1) / 2) / (n_a * n_n)
best_by_chance = by_chance.max(axis=0)
low, high = best_by_chance.mean(), np.quantile(best_by_chance, 0.95)
f"best of {len(ranks)} systems: mean {low:.0%}, 95th percentile {high:.0%}"

# %% [markdown] tags=["once"]
# **2.** §7 of the paper suggests ensembles. Average the ranks that two systems give the clips. Is the pair better than either system?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
first, second = ranks[0], ranks[min(3, len(ranks) - 1)]
{
    name: round(100 * auc(abnormal, ranks_of_clips), 1)
    for name, ranks_of_clips in (
        ("first", first),
        ("second", second),
        ("both", first + second),
    )
}

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# An ensemble helps if its members err on different clips.
# :::

# %% [markdown]
# ## Summary
#
# The AUCs of this page enter [Table 1](../table1.ipynb), which sets all four machine types beside the paper's results.
