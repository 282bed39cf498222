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
# (new-extractor)=
# # Adding an extractor
#
# The paper ends by suggesting other networks. Here is all that it takes to try one: tell the library how the network is made, where it is cut,
# and how long a feature vector is. Weights, pictures, detectors, tables and error messages follow by themselves.

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
from mimii_lib.pages import run_box, tables
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
run_box.facts(runs)

# %% [markdown]
# ## One that runs everywhere
#
# Does the end of SqueezeNet, where it knows about dogs and cars, help to judge a machine? We cut the same network half way, behind its sixth
# fire module, and average that map to 2 × 2 as before.

# %%
from torch import nn

from mimii_lib import extractors
from mimii_lib.data.weights import BUNDLED


def half_way(net):
    return nn.Sequential(net.features[:10], nn.AdaptiveAvgPool2d(2), nn.Flatten())


BUNDLED["squeezenet1_1_half"] = BUNDLED["squeezenet1_1"]
extractors.register(
    extractors.Extractor(
        name="squeezenet1_1_half",
        title="SqueezeNet 1.1, half way",
        dimension=192 * 2 * 2 * 2,
        network=extractors.from_torchvision("squeezenet1_1"),
        cut=half_way,
    )
)

# %% [markdown]
# It can now be named like any other. On one machine ID and one seed:

# %%
run = runs[0].with_overrides(
    extractors=["squeezenet1_1", "squeezenet1_1_half"],
    detectors=["gmm", "kde", "oc-svm"],
    ids=runs[0].ids[:1],
    seeds=runs[0].profile.seeds[:1],
)
tables.auc_table(run.auc()).round(1)

# %% [markdown]
# AUCs in percent, of a few clips: this shows how it is done, not which is better.
#
# ## torchvision and timm
#
# For another network of torchvision, name the model and the layer to take out. Its weights are torchvision's own download.
#
# ```python
# from mimii_lib.extractors import Extractor, from_torchvision, register, without_layer
#
# register(
#     Extractor(
#         "densenet121",
#         "DenseNet-121",
#         1024,
#         from_torchvision("densenet121"),
#         without_layer("classifier"),
#         torchvision="densenet121",
#     )
# )
# ```
#
# For one of timm, the network comes without its last layer already, and its weights from a folder: save them once as `<name>.pt` and name
# the folder as `weights`.
#
# ```python
# import timm
#
# register(
#     Extractor(
#         "convnext_atto",
#         "ConvNeXt Atto",
#         320,
#         lambda: timm.create_model("convnext_atto", num_classes=0),
#         lambda net: net,
#     )
# )
# ```
#
# To keep an extractor, put these lines into `mimii_lib/extractors.py`, where the others are registered; then the command line, the
# profiles and every page know it. A network that was trained on pictures with another mean and deviation says so with `mean` and `std`.
#
# ## What happens where weights are missing
#
# A network without weights does not run. It is listed, with what was tried and what to do, and everything else goes on.

# %%
missing = runs[0].with_overrides(extractors=["squeezenet1_1", "resnet34"])
missing.stages.unavailable_extractors or "All weights are there."
