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
# names the object, and keep the description: a **feature vector** for each image of the {machine}. This page follows
# §5.1 of the paper.

# %% [markdown] tags=["once"]
# :::{admonition} The paper says
# :class: paper
# Four networks that were trained on ImageNet {cite:p}`deng2009imagenet` are used as they are. AlexNet
# {cite:p}`krizhevsky2012imagenet` gives 4096 numbers (its last layer but one), ResNet18 and ResNet34 {cite:p}`he2016deep` give 512 (after
# the average pooling), and SqueezeNet {cite:p}`iandola2016squeezenet` gives 2048 (its last map, averaged down to 2 × 2). The vectors are
# then standardised {cite:p}`mueller2021acoustic`.
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

# %%
from mimii_lib.pages import run_box
from mimii_lib.run import Run

recordings = {"data": data, "snr": snr, "ids": ids, "seeds": seeds}
systems = {"extractors": extractors, "detectors": detectors, "weights": weights}
run = Run(machine, profile=profile, settings=settings, **recordings, **systems)
run_box.facts([run])

# %% [markdown] tags=["once"]
# ## The networks and their weights
#
# A network is of use with trained weights only. They are looked for in a folder that you name, at torchvision's address, and in
# packages of the package index, as far as the profile allows. A network whose weights cannot be had does not run; random weights never
# stand in for others. A network called `…_random` is random on purpose: it shows what the training is worth.

# %% tags=["once"]
from mimii_lib.extractors import EXTRACTORS
from mimii_lib.pages import report, tables

rows = []
for name, network in EXTRACTORS.items():
    used = run.stages.weights_used.get(name)
    source = used.source if used else f"not run: {report.reason_not_run(run, name)}"
    digest = used.sha256[:12] if used else ""
    rows.append((network.title, str(network.dimension), source, digest))
heads = ("network", "features", "weights", "sha256")
tables.word_table("Networks and their weights", heads, rows)

# %% [markdown] tags=["once"]
# The package `ndf` carries SqueezeNet 1.1 as its authors published it, trained in Caffe. The library converts these weights to torchvision's
# layout and input (`mimii_lib.data.weights.squeezenet_from_caffe`). torchvision's own file has other values, since it was trained again, so
# the two give different features.
#
# :::{admonition} Left open
# :class: open
# SqueezeNet exists in versions 1.0 and 1.1, and the paper does not say which it used. It calls AlexNet "v3" and "two-stream"; the
# network that torchvision offers under this name has one stream. Nor does it say whether AlexNet's numbers are read before or
# after the last ReLU, the function that sets negative values to zero.
# :::
#
# :::{admonition} We decided
# :class: decision
# Either SqueezeNet can be named; the table says which one ran. AlexNet is torchvision's, read after the ReLU, or before it if
# `features.alexnet_relu` is false. [Another network](../new_extractor.ipynb) takes a few lines.
# :::
#
# ## A network is loaded
#
# We take the first network of pictures that this run has. Its architecture comes from torchvision, for SqueezeNet 1.1 by
# `torchvision.models.squeezenet1_1()`, and is empty until the weights are loaded.

# %% tags=["once"]
extractor = run.results.image_extractors[0]
definition = EXTRACTORS[extractor]

net = definition.network().eval()
net.load_state_dict(run.stages.weights(extractor).state())
type(net), f"{sum(weights.numel() for weights in net.parameters()):,} weights"

# %% [markdown] tags=["once"]
# Its parts, and the last layer that has weights:

# %% tags=["once"]
{name: type(part).__name__ for name, part in net.named_children()}

# %% tags=["once"]
layers = [part for part in net.modules() if [*part.parameters(recurse=False)]]
layers[-1]

# %% [markdown] tags=["once"]
# The last layer turns the description of the image into scores of a thousand objects. All layers before it make the description.
#
# ## Images for the network
#
# We take the patches of the first clip and make images of them, as on the [page before](02_spectrogram_imaging.ipynb): colours, up-scaling,
# standardisation.

# %% tags=["once"]
import torch
from torch.nn.functional import interpolate

from mimii_lib import imaging

machine_id, clip = run.ids[0], 0
size = run.settings.imaging.image_size
patches = run.patches(machine_id)[clip]
small = imaging.rgb_patches(patches, run.settings.imaging)
large = interpolate(small, size=size, mode="bilinear", align_corners=False)
mean, std = (
    torch.tensor(c).view(3, 1, 1) for c in (definition.mean, definition.std)
)
images = (large - mean) / std
tuple(images.shape)

# %% [markdown] tags=["once"]
# The whole network, not cut yet, was trained to name the object of an image. Which object will it name on a spectrogram, and how sure will
# it be? Guess, then unfold the answer.

# %% mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"} tags=["hide-cell", "once"]
from torchvision.models import SqueezeNet1_1_Weights

names = SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"]
with torch.inference_mode():
    shares = net(images[:1]).softmax(dim=1)[0]
{names[at]: f"{shares[at]:.1%}" for at in shares.argsort(descending=True)[:3]}

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# The network has only the names of its thousand objects to choose from, and a spectrogram is none of them. The name is of no use here. What
# matters is whether normal images of a machine have similar descriptions, and images of a fault have others.
# :::
#
# ## The network is cut
#
# The paper cuts each of its networks at another place:

# %% tags=["once"]
from torch import nn


def cut(net):
    """Return a network without the part that names the object."""
    if extractor.startswith("squeezenet"):
        return nn.Sequential(net.features, nn.AdaptiveAvgPool2d(2), nn.Flatten())
    if extractor.startswith("resnet"):
        return nn.Sequential(*list(net.children())[:-1], nn.Flatten())
    if extractor.startswith("alexnet"):
        n_layers = 6 if run.settings.features.alexnet_relu else 5
        described = net.classifier[:n_layers]
        return nn.Sequential(net.features, net.avgpool, nn.Flatten(), described)
    return definition.cut(net)  # networks that the paper does not have


# %% [markdown] tags=["once"]
# SqueezeNet's `features` end in a map of 512 patterns at 13 × 13 places of the image. Four windows of 7 × 7 places, which overlap by
# one, are averaged (`AdaptiveAvgPool2d(2)`). How long is the feature vector?

# %% tags=["once"]
with torch.inference_mode():
    by_hand = cut(net)(images).numpy()
by_hand.shape

# %% [markdown]
# ## From images to features
#
# Every patch of every clip goes through the network once. The features are kept, so that each detector and
# each seed can read them.

# %%
from mimii_lib.extractors import EXTRACTORS

machine_id, extractor = run.ids[0], run.results.image_extractors[0]
features = run.features(machine_id, extractor)
features.shape

# %% [markdown] tags=["once"]
# The features of the first clip are those made by hand, up to the arithmetic of the engine that the box above names:

# %% tags=["once"]
error = abs(features[clip] - by_hand).max() / abs(by_hand).max()
tolerance = 0.05 if run.stages.engine.precision == "bfloat16" else 1e-3
assert error < tolerance
f"largest difference: {error:.1e} of the largest feature"

# %% [markdown] tags=["once"]
# An engine such as OpenVINO adds the same products in another order, so the last digits differ. A graphics processor rounds more coarsely,
# and bfloat16 keeps fewer than three digits: hence the tolerances of a thousandth and of five hundredths.

# %% tags=["remove-cell"]
from myst_nb import glue

glue("extractor", EXTRACTORS[extractor].title, display=False)
glue("n_clips", features.shape[0], display=False)
glue("n_patches", features.shape[1], display=False)
glue("dimension", features.shape[2], display=False)

# %% [markdown]
# These are {glue:text}`n_clips` clips of {glue:text}`n_patches` patches each, and {glue:text}`dimension` numbers a patch from
# {glue:text}`extractor`. Each number tells how strongly some learnt pattern shows in some part of the image. How many patterns never
# show?

# %%
is_zero = features == 0
never = is_zero.all(axis=(0, 1)).sum()
f"{is_zero.mean():.0%} of all values are zero, {never} features always"

# %% [markdown] tags=["once"]
# ## Standardisation
#
# Features live on different scales. Each feature $x_j$ is shifted and scaled by the mean $\mu_j$ and the standard deviation $\sigma_j$
# that it has over the training patches, so that none of them dominates by its size alone:
#
# $$z_j = (x_j - \mu_j) / \sigma_j$$
#
# :::{admonition} We decided
# :class: decision
# Mean and variance come from the training patches of the same machine ID and seed, and from nothing else. A feature
# that never varies in training keeps its scale of 1.
# :::

# %% [markdown]
# ## The spread of new patches

# %%
import numpy as np

seed = run.profile.seeds[0]
test = run.recordings.split_clips(machine_id, seed, "test")
clips = {
    "train": run.recordings.split_clips(machine_id, seed, "train"),
    "test, normal": test[test.label == "normal"],
    "test, abnormal": test[test.label == "abnormal"],
}
groups = {
    name: run.stages.detector_inputs(machine_id, extractor, of_group)
    for name, of_group in clips.items()
}
train = groups["train"].astype(np.float64)
train.shape

# %% [markdown] tags=["once"]
# scikit-learn's `StandardScaler` estimates mean and variance, and the library's `Standardiser` gives the same:

# %% tags=["once"]
from sklearn.preprocessing import StandardScaler

from mimii_lib.detectors import Standardiser

standardised = StandardScaler().fit(train).transform(train)
assert np.allclose(standardised, Standardiser().fit(train).transform(train))

# %% [markdown]
# Over the training patches, each feature now has a standard deviation of 1, or of 0 if it never varies. Which standard deviation will
# the same features have over the patches of new clips, normal and abnormal? Guess, then unfold the answer.

# %% mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"} tags=["hide-cell"]
from mimii_lib.detectors import Standardiser

plain = Standardiser().fit(train)
{name: f"{plain.transform(x).std():.2f}" for name, x in groups.items()}

# %% [markdown]
# New patches lie partly outside of the range that training has seen, even where nothing is wrong. If their spread is many times that of
# training, some features may be the cause.
#
# ## Features that hardly vary
#
# Standardisation divides by the standard deviation of training. If a feature hardly varies there, a slight change on a new clip becomes
# a huge number. Here are the features with under a hundredth of the mean variance, and their part of the squared distance between abnormal
# patches and the training mean:

# %%
variance = train.var(axis=0)
hardly = variance < 0.01 * variance.mean()
squares = plain.transform(groups["test, abnormal"]) ** 2
part = squares[:, hardly].sum() / squares.sum()
f"{hardly.sum()} of {len(hardly)} features, {part:.1%} of the squared distance"

# %% [markdown]
# The setting `detectors.variance_floor` lets no variance count as less than a share of the mean variance. What does it change for
# a simple detector, the distance of a patch to the nearest training patch?

# %%
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from mimii_lib.evaluation import auc


def with_floor(floor):
    """Return the spread of each group, and the AUC of the mean distance."""
    scaler = Standardiser(variance_floor=floor).fit(train)
    nearest = NearestNeighbors(n_neighbors=1).fit(scaler.transform(train))
    distances = nearest.kneighbors(scaler.transform(new))[0].reshape(len(test), -1)
    area = auc(test.label == "abnormal", distances.mean(axis=1))
    spreads = {name: scaler.transform(x).std() for name, x in groups.items()}
    return spreads | {"AUC (%)": 100 * area}


new = run.stages.detector_inputs(machine_id, extractor, test)
floors = pd.DataFrame({"no floor": with_floor(0), "floor 0.01": with_floor(0.01)})
floors.round(1)

# %% tags=["remove-cell"]
glue("hardly", int(hardly.sum()), display=False)
glue("part", float(part), display=False)
for name, column in {"plain": "no floor", "floor": "floor 0.01"}.items():
    spread, area = floors.loc[["test, abnormal", "AUC (%)"], column]
    glue(f"{name}_abnormal", float(spread), display=False)
    glue(f"{name}_auc", float(area), display=False)

# %% [markdown]
# :::{admonition} We found
# :class: finding
# {glue:text}`hardly` of {glue:text}`dimension` features hardly vary in training, and they make up {glue:text}`part:.1%` of the squared
# distance of abnormal patches. With a floor of a hundredth of the mean variance the spread of abnormal patches goes from
# {glue:text}`plain_abnormal:.1f` to {glue:text}`floor_abnormal:.1f`, and the AUC of the distance to the nearest training patch from
# {glue:text}`plain_auc:.1f` to {glue:text}`floor_auc:.1f`, on one machine ID of the {machine} and one seed. Normal test patches spread, too, as
# the table shows: where they spread as much, their clips score as high. [The choices](../choices.ipynb) measure
# what the floor changes for the paper's detectors.
# :::

# %% [markdown] tags=["once"]
# :::{admonition} We decided
# :class: decision
# No floor: the paper says "standardisation", and the plain one has none. An AUC counts the order of scores, not their size, so a blown-up
# feature helps wherever a fault moves it more than normal clips do, and harms where it moves on normal clips, too.
# :::

# %% [markdown]
# ## A look at the feature space
#
# {glue:text}`dimension` dimensions cannot be drawn. The next figure shows the clips in the two directions in which the training features vary
# most (*principal components*), with the share of the variance of the training features that lies along each.

# %% mystnb={"figure": {"caption": "The clips in the plane in which the training features vary most; a mark is the mean of a clip's patches. Do the crosses leave the cloud?"}, "image": {"alt": "A scatter plot for each machine ID: training clips as grey dots, normal test clips as blue dots, abnormal ones as orange crosses"}}
from mimii_lib.pages import figures

figures.feature_map(run, extractor, seed)

# %% [markdown]
# Where the crosses leave the cloud of dots, even this flat map separates the abnormal clips. Where they lie inside it,
# they may still be separable: a detector has all {glue:text}`dimension` dimensions and the map has two.

# %% [markdown] tags=["once"]
# ## Exercises
#
# **1.** Does the network compress? Compare how many numbers describe a second of sound before and after it.

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
samples = run.settings.imaging.sample_rate
described = features[0].size / run.settings.imaging.seconds
f"{samples:,} samples, {described:,.0f} features a second"

# %% [markdown] tags=["once"]
# **2.** Neighbouring patches overlap by half. Are they nearer to each other, in features, than patches of different clips? What does
# that say about how much a detector learns from the {glue:text}`n_patches` patches of one clip?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
by_clip = plain.transform(train).reshape(-1, *features.shape[1:])
steps = {"neighbours": np.diff(by_clip, axis=1), "clips": np.diff(by_clip, axis=0)}
{
    between: round(pd.Series(np.linalg.norm(step, axis=2).ravel()).mean(), 1)
    for between, step in steps.items()
}

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# A small difference means that overlapping patches differ nearly as much as patches of different clips do. The patches of one clip still
# share its noise and the state of its machine, which is why [intervals](../table1.ipynb) are made by drawing whole clips.
# :::

# %% [markdown]
# ## Summary
#
# The images of the {machine} have become vectors. Next, [detectors learn what is normal](04_detectors.ipynb).
