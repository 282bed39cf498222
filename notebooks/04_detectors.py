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
# (detectors-{machine})=
# # Detectors: {machine}
#
# What does a normal {machine} look like, in the space of features? Five classical methods answer in five ways. Each is
# fitted on the patches of normal clips and then asked how unusual new patches are. This page follows the first
# part of §5.2 of the paper.

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
# ## Five ideas of normal
#
# :::{admonition} The paper says
# :class: paper
# **Isolation forest (IF)** {cite:p}`liu2008isolation`: random cuts isolate an anomaly sooner, since it lies where points are
# few. 128 trees.
#
# **Gaussian mixture (GMM)**: a mixture of 80 Gaussians with diagonal covariance, started by k-means, at most 150 iterations. The
# score is the log probability.
#
# **Bayesian Gaussian mixture (B-GMM)**: the same with priors over the parameters, fitted by variational inference; it should
# depend less on the number of components.
#
# **One-class SVM (OC-SVM)** {cite:p}`schoelkopf2000support`: a hyperplane of maximum margin around the data, with
# ν = 10⁻⁴ since all training clips are normal.
#
# **Kernel density (KDE)**: a Gaussian kernel of width 0.1 on every training point; the density is the score
# {cite:p}`mueller2021acoustic`.
# :::
#
# The paper's values, and ours where it is silent:

# %%
from mimii_lib.pages.open_points import settings_table

settings_table(run.settings.detectors)

# %% [markdown]
# ## One clip under the magnifier
#
# We fit a detector on the normal clips of one machine ID and look at a clip that it has never heard.

# %%
rows = run.results.systems(run.stages.extractors[0])
extractor, detector = rows[0]
machine_id, seed = run.ids[0], run.profile.seeds[0]

test = run.recordings.split_clips(machine_id, seed, "test").reset_index(drop=True)
scores = run.scores(machine_id, extractor, detector, seed)
scores.shape

# %% [markdown]
# That is an anomaly score for each test clip and each of its patches. Equation {eq}`eq-mean-pooling` takes the mean over the patches.

# %%
from mimii_lib.evaluation import pool

pooled = pool(scores, run.settings.evaluation)
abnormal = test.index[test.label == "abnormal"]
normal = test.index[test.label == "normal"]
shown = {
    "the abnormal clip with the highest score": abnormal[pooled[abnormal].argmax()],
    "the normal clip with the lowest score": normal[pooled[normal].argmin()],
}
paths = {caption: test.path[at] for caption, at in shown.items()}
figures.clips(run, paths, {caption: scores[at] for caption, at in shown.items()})

# %% tags=["remove-cell"]
glue("row", tables.name_of((extractor, detector)), display=False)
glue("machine_id", machine_id, display=False)

# %% [markdown]
# The black line is the score of each patch by {glue:text}`row`, drawn where the patch lies in time; the
# orange line is their mean, the clip's score. Each clip has a scale of its own here: only the shape of
# the line can be compared, and where it peaks is where the detector was surprised.
#
# ## All clips, all detectors
#
# The detectors' scores have different units. To see them side by side we line up the test clips by
# rank: the most normal one at the left, the most anomalous at the right.

# %% mystnb={"figure": {"caption": "The test clips in the order of their scores, a line for each detector. A perfect line has every cross to the right of every dot."}, "image": {"alt": "A line for each detector: normal test clips as blue dots and abnormal ones as orange crosses, placed by the rank of their scores"}}
figures.score_strips(run, machine_id, rows, seed)

# %% [markdown]
# A perfect detector would have all crosses to the right of all dots. The *area under the ROC curve* (AUC) counts how
# close it comes: it is the share of pairs, one normal and one abnormal clip, that are in the right order.

# %%
tables.auc_table(run.auc(rows, [seed])).round(1)

# %% [markdown]
# These are percentages for one seed. 50 is what guessing gives.
#
# ## Why the logarithm of the density
#
# :::{admonition} The paper says
# :class: paper
# The density at a point is its normality score, for the KDE with a bandwidth of 0.1 {cite:p}`mueller2021acoustic`.
# :::

# %% tags=["remove-cell"]
import numpy as np

if "kde" in run.profile.detectors:
    log_density = -run.scores(machine_id, extractor, "kde", seed)
    glue(
        "largest_log", f"{log_density.max():,.0f}".replace("-", "−"), display=False
    )
    glue("largest_density", f"{np.exp(log_density.max()):g}", display=False)
else:
    glue("largest_log", "(KDE was not run)", display=False)
    glue("largest_density", "(KDE was not run)", display=False)
glue("dimension", run.features(machine_id, extractor).shape[-1], display=False)

# %% [markdown]
# :::{admonition} We found
# :class: finding
# In {glue:text}`dimension` dimensions that cannot be done as_worded. The largest *logarithm* of a test
# patch's density is {glue:text}`largest_log`; the density itself, in double precision, is {glue:text}`largest_density`. Every
# patch would score the same.
# :::
#
# :::{admonition} We decided
# :class: decision
# The score is the logarithm of the density. At a bandwidth this small one training patch outweighs all others, so the score
# is a decreasing function of the distance to the nearest training patch: KDE is a nearest-neighbour detector here.
# :::

# %% [markdown]
# ## Exercises
#
# **1.** We said that this KDE is a nearest-neighbour detector. Check it: score the test patches by their distance to the nearest
# training patch, and compare the order of the clips.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors

from mimii_lib.detectors import Standardiser

train = run.stages.detector_inputs(
    machine_id, extractor, run.recordings.split_clips(machine_id, seed, "train")
)
scaler = Standardiser().fit(train)
nearest = NearestNeighbors(n_neighbors=1).fit(scaler.transform(train))
new = run.stages.detector_inputs(
    machine_id, extractor, run.recordings.split_clips(machine_id, seed, "test")
)
distance = nearest.kneighbors(scaler.transform(new))[0].reshape(len(test), -1)
by_kde = run.scores(machine_id, extractor, "kde", seed)
f"rank correlation of the patches: {spearmanr(distance.ravel(), by_kde.ravel())[0]:.4f}"

# %% [markdown]
# :::{dropdown} What it says
# A rank correlation of 1 means the same order. (The score falls with the *square* of the distance, so the means over patches may
# still order two clips otherwise.)
# :::
#
# **2.** The mean over patches hides a short knock among many quiet patches. Take the maximum instead. Whom does it help?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
import pandas as pd

from mimii_lib.evaluation import auc

anomalous = test.label == "abnormal"
ways = {
    how: run.settings.evaluation.model_copy(update={"pooling": how})
    for how in ("mean", "max")
}
aucs_by_pooling = {
    tables.name_of(row): {
        how: 100 * auc(anomalous, pool(run.scores(machine_id, *row, seed), way))
        for how, way in ways.items()
    }
    for row in rows
}
pd.DataFrame.from_dict(aucs_by_pooling, orient="index").round(1)

# %% [markdown]
# :::{dropdown} What it says
# Where a fault is short, as on a valve that sticks now and then, the maximum has the better chance; where it is always there, the mean
# is steadier. One seed of one machine ID settles nothing: [the choices](../choices.ipynb) compare all of them.
# :::
#
# ## In short
#
# Five detectors have learnt a normal {machine} from its features. Before we compare them, [two baselines](05_dcae_baselines.ipynb)
# learn from the pictures themselves.
