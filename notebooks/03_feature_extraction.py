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
# (features-{machine})=
# # Feature extraction: {machine}
#
# A network that can tell a thousand kinds of objects apart has learnt to describe images. We cut off its last layer, the one that
# names the object, and keep the description: a *feature vector* for each picture of the {machine}. This page follows
# §5.1 of the paper.
#
# :::{admonition} The paper says
# :class: paper
# Four networks that were trained on ImageNet {cite:p}`deng2009imagenet` are used as they are. AlexNet gives 4096
# numbers (its last layer but one), ResNet18 and ResNet34 give 512 (after the average pooling), and SqueezeNet
# {cite:p}`iandola2016squeezenet` gives 2048 (its last map, averaged down to 2 × 2). The vectors are then standardised
# {cite:p}`mueller2021acoustic`.
# :::

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

from mimii_lib.pages import figures, run_box
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
# ## The networks
#
# A network is only worth its weights. They are looked for in a folder that you name, at torchvision's own address, and in
# packages of the package index. A network whose weights cannot be had does not run; random weights
# never stand in.

# %%
import pandas as pd

from mimii_lib.extractors import EXTRACTORS

rows = {}
for name, network in EXTRACTORS.items():
    source, checksum = "not run: not part of the profile", ""
    if name in run.stages.unavailable_extractors:
        source = "not run: weights not reachable"
    elif name in run.profile.extractors:
        network_weights = run.stages.weights(name)
        source = network_weights.source
        checksum = network_weights.sha256[:12]
    rows[name] = {
        "network": network.title,
        "features": network.dimension,
        "weights": source,
        "sha256": checksum,
    }
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# :::{admonition} Left open
# :class: open
# SqueezeNet exists in versions 1.0 and 1.1, and the paper does not say which it used. It calls AlexNet "v3" and "two-stream"; the
# network that torchvision offers under this name has one stream. Nor does it say whether AlexNet's numbers are read before or
# after the last ReLU.
# :::
#
# :::{admonition} We decided
# :class: decision
# Either SqueezeNet can be named; the table says which one ran. AlexNet is torchvision's, read after the ReLU, or before it if
# `features.alexnet_relu` is false. [Another network](../new_extractor.ipynb) takes a few lines.
# :::
#
# ## From pictures to features
#
# Every patch of every clip goes through the network once. The features are kept, so that each detector and
# each seed can read them.

# %%
extractor = run.stages.extractors[0]
machine_id = run.ids[0]

features = run.features(machine_id, extractor)
features.shape

# %% tags=["remove-cell"]
glue("extractor", EXTRACTORS[extractor].title, display=False)
glue("n_clips", features.shape[0], display=False)
glue("n_patches", features.shape[1], display=False)
glue("dimension", features.shape[2], display=False)
glue("zeros", float((features == 0).mean()), display=False)
glue("dead", int((features == 0).all((0, 1)).sum()), display=False)

# %% [markdown]
# {glue:text}`n_clips` clips, {glue:text}`n_patches` patches each, {glue:text}`dimension` numbers a patch from
# {glue:text}`extractor`. Each number tells how strongly some learnt pattern shows in some part of the picture.
# {glue:text}`zeros:.0%` of all values are exactly zero, and {glue:text}`dead` of the {glue:text}`dimension` features are zero
# on every patch of this machine ID: patterns that these pictures never show.
#
# ## Standardisation
#
# Features live on different scales. Each is shifted and scaled to mean 0 and variance 1, so that none
# of them rules by its size alone.
#
# :::{admonition} We decided
# :class: decision
# Mean and variance come from the training patches of the same machine ID and seed, and from nothing else. A feature
# that never varies in training keeps its scale of 1.
# :::

# %%
from mimii_lib.detectors import Standardiser

seed = run.profile.seeds[0]
test = run.recordings.split_clips(machine_id, seed, "test")
groups = {
    "train": run.recordings.split_clips(machine_id, seed, "train"),
    "test, normal": test[test.label == "normal"],
    "test, abnormal": test[test.label == "abnormal"],
}
patches = {
    name: run.stages.detector_inputs(machine_id, extractor, group)
    for name, group in groups.items()
}
scaler = Standardiser().fit(patches["train"])
spread = {
    name: float(scaler.transform(features_of_group).std())
    for name, features_of_group in patches.items()
}
{name: round(value, 2) for name, value in spread.items()}

# %% tags=["remove-cell"]
glue("normal_spread", spread["test, normal"], display=False)
glue("abnormal_spread", spread["test, abnormal"], display=False)

# %% [markdown]
# The training patches spread by at most 1, by construction. New normal patches spread by
# {glue:text}`normal_spread:.2f` and abnormal ones by {glue:text}`abnormal_spread:.2f`: what is new lies partly outside of the
# range that training has seen, even where nothing is wrong. A detector has to tell the two apart.
#
# ## A look at the feature space
#
# {glue:text}`dimension` dimensions do not fit on a page. The next figure lays the clips on the two directions in which
# the training features vary most.

# %% mystnb={"figure": {"caption": "The clips in the plane in which the training features vary most; a mark is the mean of a clip's patches. Do the crosses leave the cloud?"}, "image": {"alt": "A scatter plot for each machine ID: training clips as grey dots, normal test clips as blue dots, abnormal ones as orange crosses"}}
figures.feature_map(run, extractor, seed)

# %% [markdown]
# Where the crosses leave the cloud of dots, even this flat map separates the abnormal clips. Where they sit inside it,
# that is no verdict yet: a detector sees all {glue:text}`dimension` dimensions and we see two.

# %% [markdown]
# ## Exercises
#
# **1.** Does the network compress? Compare how many numbers describe a second of sound before and after it.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
samples = run.settings.imaging.sample_rate
described = features[0].size / run.settings.imaging.seconds
f"{samples:,} samples, {described:,.0f} features a second"

# %% [markdown]
# **2.** Neighbouring patches overlap by half. Are they nearer to each other, in features, than patches of different clips? What does
# that say about how much a detector learns from the {glue:text}`n_patches` patches of one clip?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
import numpy as np

train = scaler.transform(patches["train"]).reshape(-1, *features.shape[1:])
neighbours = np.linalg.norm(np.diff(train, axis=1), axis=2).mean()
strangers = np.linalg.norm(np.diff(train, axis=0), axis=2).mean()
f"{neighbours:.1f} between neighbours, {strangers:.1f} between clips"

# %% [markdown]
# :::{dropdown} What it says
# The nearer neighbours are, compared with strangers, the less each of them adds. Patches are no independent examples, which is why
# [intervals](../table1.ipynb) are made by drawing whole clips.
# :::
#
# ## In short
#
# The pictures of the {machine} have become vectors. Next, [detectors learn what is normal](04_detectors.ipynb).
