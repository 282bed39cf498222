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
# The paper suggests other image networks for future work (§7). To try one, register it with a name, a title, and three facts: how the network is made,
# where it is cut, and how many features it gives for a patch. Images, detectors and tables need no change.

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
# ## An extractor that needs no download
#
# The last layers of an ImageNet network respond to whole objects, the middle layers to textures and parts {cite:p}`olah2020overview`. The
# texture of a spectrogram may matter more than its likeness to an object. We therefore cut SqueezeNet 1.1 after its fifth fire module,
# named fire6, instead of its last, and average that map to 2 × 2 as before.

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
        dimension=384 * 2 * 2,  # maps × averages
        network=extractors.from_torchvision("squeezenet1_1"),
        cut=half_way,
    )
)

# %% [markdown]
# The line with `BUNDLED` lets it use the weights of SqueezeNet 1.1. A run can now name it like any other extractor. On one machine ID and one seed:

# %%
run = runs[0].with_overrides(
    extractors=["squeezenet1_1", "squeezenet1_1_half"],
    detectors=["gmm", "kde", "oc-svm"],
    ids=runs[0].ids[:1],
    seeds=runs[0].profile.seeds[:1],
)
tables.auc_table(run.auc()).round(1)

# %% [markdown]
# These are AUCs in percent on few clips of one machine ID. They show that the new extractor runs, not which of the two is better.
#
# ## A network of sound
#
# The paper also suggests networks that were trained on sound (§7). Such a network takes no picture. It has a **front end** of its own, a
# function from a clip's waveform to the windows that the network describes, and this is the one line more that it is registered with.
# `mimii_lib.systems.audio_networks` has two: YAMNet, trained to name everyday sounds, and Google's speech embedding, trained to
# recognise spoken words. What does a front end make of a clip?

# %%
from mimii_lib.systems import audio_networks

waveform = runs[0].waveform(runs[0].clips.path[0])
windows = audio_networks.speech_windows(waveform)
waveform.shape, windows.shape

# %% [markdown]
# A clip becomes {glue:text}`n_windows` spectrograms of {glue:text}`n_frames` frames and {glue:text}`n_bands` mel bands, which overlap by
# half, as the paper's patches do. We cut the speech embedding half way, after its third pooling layer, and average over time alone, so
# that the map's four rows of frequencies stay apart.

# %% tags=["remove-cell"]
from myst_nb import glue

for name, size in zip(
    ("n_windows", "n_frames", "n_bands"), windows.shape, strict=True
):
    glue(name, size, display=False)


# %%
def speech_half_way(net):
    """Return the network up to its third pooling layer, averaged over time."""
    return nn.Sequential(net[:37], nn.AdaptiveAvgPool2d((1, 4)), nn.Flatten())


BUNDLED["speech_embedding_half"] = BUNDLED["speech_embedding"]
extractors.register(
    extractors.Extractor(
        name="speech_embedding_half",
        title="Speech embedding, half way",
        dimension=72 * 4,  # maps × rows
        network=audio_networks.speech_embedding,
        cut=speech_half_way,
        front_end=audio_networks.speech_windows,
    )
)

# %%
run = run.with_overrides(
    extractors=["squeezenet1_1", "speech_embedding", "speech_embedding_half"]
)
tables.auc_table(run.auc()).round(1)

# %% [markdown]
# Detectors, pooling and tables are the same. A front end takes 16 kHz unless the extractor names another `sample_rate`; recordings of
# another rate are resampled. Its features are kept under the content of the recordings and the code of the front end, so that no setting
# of the pictures computes them anew. Pages that show or occlude pictures leave audio networks out.
#
# ## torchvision and timm
#
# For another network of torchvision, name the model and the layer to remove. torchvision's weights are downloaded from its own address.
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
# timm can make a network without its last layer. Its weights are read from a folder: save the state dict once as `<name>.pt`, and give
# the folder as the parameter `weights`.
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
# To keep an extractor, add these lines to `mimii_lib/extractors.py`, where the others are registered. Then the command line, the
# profiles and every page know it. If a network was trained on images with another mean and standard deviation than ImageNet's, give them
# as `mean` and `std`.
#
# ## Missing weights
#
# A network without weights does not run: random weights never replace them. The reason is listed with what was tried and what to do, and
# the rest of the run goes on.

# %%
missing = runs[0].with_overrides(extractors=["squeezenet1_1", "resnet34"])
missing.stages.unavailable_extractors or "All weights are there."
