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
# An image network takes images. This page follows one clip of the {machine} from the waveform to the
# images for the network, as §5 of the paper describes, one step at a time.

# %% [markdown] tags=["once"]
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

# %%
from mimii_lib.pages import run_box
from mimii_lib.run import Run

recordings = {"data": data, "snr": snr, "ids": ids, "seeds": seeds}
systems = {"extractors": extractors, "detectors": detectors, "weights": weights}
run = Run(machine, profile=profile, settings=settings, **recordings, **systems)
run_box.facts([run])

# %% [markdown]
# ## One abnormal clip

# %%
from mimii_lib.pages import figures

settings = run.settings.imaging
caption, path = list(figures.examples(run, run.ids[0]).items())[-1]
waveform = run.waveform(path)
figures.clips(run, {caption: path})

# %%
waveform.shape

# %% [markdown] tags=["once"]
# These are the samples of {glue:text}`seconds` s. The cells below make images of them by hand, with the paper's numbers and, where the paper
# is silent, our defaults. After each step the result is compared with the library's.
#
# ## From sound to a log-mel spectrogram
#
# **Frames.** A window of 1024 samples slides over the waveform, 256 samples at a time. Half a window of zeros before and after lets the
# first frame be centred on the first sample.

# %% tags=["once"]
import numpy as np

padded = np.pad(waveform, 1024 // 2)
frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::256]
frames.shape

# %% [markdown] tags=["once"]
# **Spectrum.** A frame $x$ is faded in and out by the Hann window $w$. The squared magnitude of its Fourier transform is the power at each
# of 513 frequencies $k$ from 0 to 8 kHz:
#
# $$P_k = \Bigl| \sum_{n=0}^{1023} w_n \, x_n \, e^{-2 \pi i k n / 1024} \Bigr|^2$$

# %% tags=["once"]
from scipy.signal import get_window

power = abs(np.fft.rfft(get_window("hann", 1024) * frames)) ** 2
power.shape

# %% [markdown] tags=["once"]
# **Mel bands.** The ear tells low frequencies apart better than high ones, and the *mel scale* spaces them accordingly. 64 triangular
# filters from 0 to 8 kHz, narrow at low frequencies and wide at high ones, take weighted sums of neighbouring powers. We use librosa's
# defaults: Slaney's mel scale, and each filter divided by its width.

# %% tags=["once"]
import librosa

filters = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64)
mel_power = filters @ power.T
filters.shape, mel_power.shape

# %% [markdown] tags=["once"]
# librosa {cite:p}`mcfee2015librosa` does these three steps in one call:

# %% tags=["once"]
librosa_power = librosa.feature.melspectrogram(
    y=waveform, sr=16_000, n_fft=1024, hop_length=256, window="hann", n_mels=64
)
assert np.allclose(mel_power, librosa_power, rtol=1e-4, atol=1e-6 * mel_power.max())

# %% [markdown] tags=["once"]
# The two differ by rounding alone: librosa computes in single precision, the cells above in double precision.
#
# **Decibels.** Power is heard by its ratios, so its logarithm is taken: ten times the power is 10 dB more. We count from the loudest
# point $P_{\max}$ of the clip, and raise all that is more than 80 dB below it to −80 dB:
#
# $$L = \max\bigl(10 \log_{10}(P / P_{\max}),\ -80\bigr)$$

# %% tags=["once"]
level = 10 * np.log10(np.maximum(mel_power, 1e-10))
by_hand = np.maximum(level - level.max(), -80)
by_hand.shape, f"{by_hand.min():.1f} dB to {by_hand.max():.1f} dB"

# %% [markdown] tags=["once"]
# That is what `mimii_lib.imaging.log_mel` returns, to a hundredth of a decibel, with its default settings:

# %% tags=["once"]
from mimii_lib import imaging
from mimii_lib.settings import Imaging

default = Imaging()
assert np.allclose(by_hand, imaging.log_mel(waveform, default), atol=0.01)

# %% [markdown]
# ## The spectrogram

# %%
from mimii_lib import imaging

decibels = imaging.log_mel(waveform, settings)
decibels.shape

# %% [markdown]
# The {glue:text}`samples` samples have become {glue:text}`bands` bands by {glue:text}`frames` frames.

# %% tags=["remove-cell"]
from myst_nb import glue

glue("samples", f"{len(waveform):,}", display=False)
glue("seconds", settings.seconds, display=False)
glue("bands", decibels.shape[0], display=False)
glue("frames", decibels.shape[1], display=False)
glue("patches", settings.patches, display=False)

# %% [markdown] tags=["once"]
# Which of the numbers are the paper's, and which are ours?

# %% tags=["once"]
from mimii_lib.pages.open_points import settings_table

settings_table(settings)

# %% [markdown] tags=["once"]
# :::{admonition} We decided
# :class: decision
# What the paper leaves open follows librosa, a library that work in this field commonly starts from. Decibels are relative to the
# loudest point of each clip and cut off 80 dB below it.
# :::
#
# What does this choice cost? Play the clip ten times more quietly. By how many decibels does its spectrogram change, and what becomes
# of a machine whose only fault is that it is louder? Guess, then unfold the answer.

# %% mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"} tags=["hide-cell", "once"]
quiet = imaging.log_mel(waveform / 10, settings)
f"{abs(quiet - decibels).max():.3f} dB at most"

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# Decibels are counted from the loudest point of the clip itself, so the image hardly depends on how loud the clip was. A fault that is only
# loud is lost, unless it drowns something else. A fixed reference (`imaging.db_reference=fixed`) together with a scaling that all clips share
# (`imaging.scaling=training`) keeps it.
# :::
#
# ## From a spectrogram to patches
#
# A **patch** is a piece of 64 frames of the spectrogram, and it is what a network will take for an image. One starts every 32 frames, so
# that each overlaps half of the one before.

# %% tags=["once"]
starts = range(0, by_hand.shape[1] - 64 + 1, 32)
pieces = np.stack([by_hand[:, start : start + 64] for start in starts])
pieces.shape

# %% [markdown] tags=["once"]
# The paper calls 64 frames "2s" and 32 frames "1s". How long are they? Two frames are 256 samples apart, and a second has 16,000.

# %% mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"} tags=["hide-cell", "once"]
f"{64 * 256 / 16_000:.2f} s and {32 * 256 / 16_000:.2f} s"

# %% [markdown] tags=["once"]
# :::{admonition} Left open
# :class: open
# At the paper's values both cannot be right: either the numbers of frames hold or the seconds do. With a hop of 512 the seconds would.
# :::
#
# :::{admonition} We decided
# :class: decision
# The integers hold: 64 frames, 32 frames, hop 256.
# :::

# %% [markdown] tags=["once"]
# ## From a patch to an image
#
# :::{admonition} Left open
# :class: open
# How decibels become colours (scaled by what, per clip or for all clips alike), which way up the image stands, and how it is
# enlarged.
# :::
#
# :::{admonition} We decided
# :class: decision
# Per clip: its quietest point becomes 0 and its loudest 1. Low frequencies lie at the bottom. Enlarging is bilinear.
# [The open points](../open_points.ipynb) have the alternatives, and [the choices](../choices.ipynb) what they change.
# :::
#
# **Values.** Decibels are scaled to [0, 1] by the limits of the whole clip. The first row of an image is its top, so the
# bands are turned over.

# %% tags=["once"]
low, high = by_hand.min(), by_hand.max()
values = (pieces - low) / (high - low)
values = values[:, ::-1]
values.shape, f"{values.min():.2f} to {values.max():.2f}"

# %% [markdown] tags=["once"]
# The largest value is below 1 if the loudest point of the clip lies in its last frames, which no patch covers.
#
# **Colours.** The colour map gives every value a red, a green and a blue, and a transparency that we drop.

# %% tags=["once"]
import matplotlib

coloured = matplotlib.colormaps["viridis"](values)[..., :3]
coloured.shape

# %% [markdown] tags=["once"]
# viridis has 256 colours, so the number of its colour describes a pixel fully. The library keeps these numbers, one byte for each pixel, in
# the place of three colour values:

# %% tags=["once"]
indices = imaging.patches(imaging.log_mel(waveform, default), default)
differences = abs(np.minimum((values * 256).astype(int), 255) - indices)
assert differences.max() <= 1 and differences.mean() < 0.001
f"{(differences > 0).sum()} of {differences.size:,} pixels differ, by one colour"

# %% [markdown] tags=["once"]
# A value on the border of two colours can fall on either side by rounding, hence the tolerance.
#
# **Size.** ImageNet networks are used to 224 × 224 pixels. PyTorch expects the colours first, and enlarges by a weighted mean of the four
# nearest pixels. Time and frequency are stretched by the same factor, so shapes keep their proportions, as the paper points out.

# %% tags=["once"]
import torch
from torch.nn.functional import interpolate

small = torch.tensor(coloured).permute(0, 3, 1, 2).float()
large = interpolate(small, size=224, mode="bilinear", align_corners=False)
tuple(small.shape), tuple(large.shape)

# %% [markdown] tags=["once"]
# **Standardisation.** From each colour $c$ the mean $\mu_c$ of ImageNet's images is subtracted, and the result divided by their standard
# deviation $\sigma_c$, as was done with the images that the network was trained on:
#
# $$x'_c = (x_c - \mu_c) / \sigma_c$$

# %% tags=["once"]
mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
images_by_hand = (large - mean) / std

# %% [markdown] tags=["once"]
# The library standardises the 256 colours once instead of every pixel, which gives the same, since enlarging takes weighted means and
# each pixel's weights add up to 1. Up to the few pixels that rounding has moved by one colour, the images are equal:

# %% tags=["once"]
from mimii_lib.extractors import IMAGENET_MEAN, IMAGENET_STD

colours = imaging.standardised_colours(IMAGENET_MEAN, IMAGENET_STD, default)
larger = imaging.upscaling(64, default.image_size)
images = imaging.extractor_input(torch.tensor(indices), colours, larger, larger)
distance = abs(images - images_by_hand)
assert distance.max() < 0.05 and distance.mean() < 1e-4

# %% [markdown]
# ## The patches of the clip

# %%
patches = imaging.patches(decibels, settings)
patches.shape

# %% mystnb={"figure": {"caption": "The clip's log-mel spectrogram with its first three patches framed: each overlaps half of the one before it."}, "image": {"alt": "Log-mel spectrogram of the clip; three frames of equal width, numbered 0 to 2, each starting in the middle of the one before"}}
framed = range(min(3, len(patches)))
figures.spectrogram(decibels, settings, patches=framed)

# %% [markdown]
# The network takes each patch as three arrays, one for each colour. This is the first patch:

# %% mystnb={"figure": {"caption": "The first patch as the network takes it: its red, green and blue, standardised. In viridis a quiet point is dark blue, a middle one green and a loud one yellow, so each colour depends on the level in its own way."}, "image": {"alt": "The same patch as three grey images: green is brighter where the clip is louder, red is bright in the loudest places only, blue is dark there"}}
figures.colour_channels(patches[0], settings)

# %% [markdown]
# One clip of the {machine} has become {glue:text}`patches` colour images, ready for a network that was trained on photographs.
#
# ## Normal and abnormal, side by side
#
# The paper's Figure 2 puts normal and abnormal clips above each other, to argue that faults can be seen. Here is the
# same figure from the recordings at hand, for every machine ID of the {machine}.

# %% tags=["full-width"]
figures.clip_pairs(run)

# %% [markdown]
# Compare the rows column by column. Where a fault draws or wipes out a line, a texture or a rhythm, a network that was trained
# to respond to edges and textures can respond to the fault, too. Where both rows look alike to you, the next pages show whether a network
# separates them.

# %% [markdown] tags=["once"]
# ## Exercises
#
# **1.** With a hop of 512 samples a patch comes near the paper's two seconds. How many patches does a clip have then, and how
# long are they?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
longer = run.with_overrides(settings={"imaging.hop": 512}).settings.imaging
longer.patches, f"{imaging.seconds(longer.patch_frames, longer):.2f} s"

# %% [markdown] tags=["once"]
# **2.** The last frames of a clip are in no patch. How many are they, and how many seconds do they last?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
unused = by_hand.shape[1] - (starts[-1] + 64)
unused, f"{unused * 256 / 16_000:.2f} s"

# %% [markdown]
# ## Summary
#
# Each clip of the {machine} is now a handful of images, by steps that are the paper's wherever it states them. Next,
# [a network describes them](03_feature_extraction.ipynb).
