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
# (imaging-{machine})=
# # Spectrogram imaging: {machine}
#
# An image network wants an image. This page follows one clip of the {machine} from the waveform to the
# pictures that the network will see, as §5 of the paper describes, and looks at every step on the way.
#
# :::{admonition} The paper says
# :class: paper
# A mel spectrogram with 64 bands, a Hann window of 1024 samples and a hop of 256. Patches of 64 × 64, one every 32
# frames. The viridis colour map, up-scaling to 224 × 224, and the standardisation of ImageNet images
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
# ## From sound to a log-mel spectrogram
#
# We take one abnormal clip and compute its log-mel spectrogram: the power in each frequency band, spaced as the ear
# spaces pitch, in decibels below the loudest point of the clip.

# %%
from mimii_lib import imaging

settings = run.settings.imaging
machine_id = run.ids[0]
caption, path = list(figures.examples(run, machine_id).items())[-1]

waveform = run.waveform(path)
decibels = imaging.log_mel(waveform, settings)
waveform.shape, decibels.shape

# %% [markdown]
# The {glue:text}`samples` numbers of the waveform have become {glue:text}`bands` bands by {glue:text}`frames` frames.

# %% tags=["remove-cell"]
glue("samples", f"{len(waveform):,}", display=False)
glue("bands", decibels.shape[0], display=False)
glue("frames", decibels.shape[1], display=False)
glue("wide", settings.patch_frames, display=False)
glue("offset", settings.patch_offset, display=False)

# %%
figures.clips(run, {caption: path})

# %% [markdown]
# Which of these numbers are the paper's, and which are ours?

# %%
from mimii_lib.pages.open_points import settings_table

settings_table(settings)

# %% [markdown]
# :::{admonition} We decided
# :class: decision
# What the paper leaves open follows librosa {cite:p}`mcfee2015librosa`, a library that work in this field commonly
# starts from. Decibels are relative to the loudest point of each clip and cut off 80 dB below it.
# :::
#
# ## From a spectrogram to patches
#
# A window of {glue:text}`wide` frames slides over the spectrogram, {glue:text}`offset` frames at a time.

# %%
patches = imaging.patches(decibels, settings)
patches.shape

# %% mystnb={"figure": {"caption": "The clip's log-mel spectrogram with its first three patches framed: each overlaps half of the one before it."}, "image": {"alt": "Log-mel spectrogram of the clip; three frames of equal width, numbered 0 to 2, each starting in the middle of the one before"}}
figures.spectrogram(decibels, settings, patches=[0, 1, 2])

# %% tags=["remove-cell"]
glue("n_patches", len(patches), display=False)
glue(
    "patch_seconds", imaging.seconds(settings.patch_frames, settings), display=False
)
glue(
    "offset_seconds",
    imaging.seconds(settings.patch_offset, settings),
    display=False,
)

# %% [markdown]
# That gives {glue:text}`n_patches` patches.
#
# :::{admonition} Left open
# :class: open
# The paper gives a patch as "2s" long and the offset as "1s". With this hop and rate, {glue:text}`wide` frames last
# {glue:text}`patch_seconds:.2f` s and {glue:text}`offset` frames {glue:text}`offset_seconds:.2f` s. At the paper's values both cannot be right:
# either the numbers of frames hold or the seconds do.
# :::
#
# :::{admonition} We decided
# :class: decision
# The integers hold: 64 frames, 32 frames, hop 256.
# :::
#
# ## From a patch to a picture
#
# :::{admonition} Left open
# :class: open
# How decibels become colours (scaled by what, per clip or for all clips alike), which way up the picture stands, and how it is
# enlarged.
# :::
#
# :::{admonition} We decided
# :class: decision
# Per clip: its quietest point becomes 0 and its loudest 1. Low frequencies lie at the bottom. Enlarging is bilinear.
# [The open points](../open_points.ipynb) have the alternatives, and [the page after](../choices.ipynb) what they change.
# :::
#
# Each value picks one of the 256 colours of viridis, so that a patch is fully told by {glue:text}`bands` × {glue:text}`wide` numbers from 0 to 255. The picture
# is then stretched to the size that ImageNet networks are used to.

# %% mystnb={"figure": {"caption": "One patch on its way to the network: as values, in colour, and stretched to the size that the network expects. All three hold the same picture."}, "image": {"alt": "The same patch three times: in grey, in the colours of viridis, and enlarged, with smoother edges"}}
figures.patch_steps(patches[0], settings)

# %% [markdown]
# Time and frequency are stretched by the same factor, so shapes keep their proportions,
# a point that the paper makes too.
#
# Each colour is also shifted and scaled as was done with the images that the network was trained on. There are only 256
# colours, and a mean of pixels is shifted and scaled as its pixels are, so it is enough to do that to the colours once:

# %%
import torch

from mimii_lib.extractors import IMAGENET_MEAN, IMAGENET_STD

colours = imaging.standardised_colours(IMAGENET_MEAN, IMAGENET_STD, settings)
larger = imaging.upscaling(settings.n_mels, settings)
images = imaging.extractor_input(torch.tensor(patches), colours, larger, larger)
tuple(images.shape), f"from {images.min():.2f} to {images.max():.2f}"

# %% [markdown]
# One clip has become {glue:text}`n_patches` colour images, ready for a network that has only ever seen
# photographs.
#
# ## Normal and abnormal, side by side
#
# The paper's Figure 2 puts normal and abnormal clips above each other, to argue that faults can be seen. Here is the
# same figure from the data at hand, for every model of the {machine}.

# %% tags=["full-width"]
figures.clip_pairs(run)

# %% [markdown]
# Compare the rows column by column. Where a fault draws or wipes out a line, a texture or a rhythm, a network that knows edges and
# textures has something to hold on to. Where both rows look alike to you, the next pages will show whether they
# look alike to the network too.

# %% [markdown]
# ## Exercises
#
# **1.** With a hop of 512 samples a patch comes near the paper's two seconds. How many patches does a clip have then, and how
# long are they?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
longer = run.with_overrides(settings={"imaging.hop": 512}).settings.imaging
longer.patches, f"{imaging.seconds(longer.patch_frames, longer):.2f} s"

# %% [markdown]
# **2.** Play a clip ten times more quietly. By how many decibels does its log-mel spectrogram change, and what does that mean
# for a machine whose fault is that it has become louder?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
quiet = imaging.log_mel(waveform / 10, settings)
f"{abs(quiet - decibels).max():.3f} dB at most"

# %% [markdown]
# :::{dropdown} What it says
# Decibels are counted from the loudest point of the clip itself, so the picture hardly knows how loud it was. A fault that is only
# loud is lost, unless it drowns something else. A fixed reference (`imaging.db_reference`) together with a fixed scaling would
# keep it.
# :::
#
# ## In short
#
# Each clip of the {machine} is now a handful of pictures, by steps that are the paper's wherever it states them. Next,
# [a network describes them](03_feature_extraction.ipynb).
