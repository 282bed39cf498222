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
# (dcae-{machine})=
# # Auto-encoder baselines: {machine}
#
# The usual way to detect anomalous sounds is an *auto-encoder*: a network that squeezes a picture through a bottleneck and
# draws it anew. Trained on normal sound only, it should draw normal pictures well and anomalous ones
# badly, so that the error can serve as a score. The paper measures its idea against two of them (§5.2).

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
# ## Two networks
#
# :::{admonition} The paper says
# :class: paper
# **LeNet-DCAE**: three convolutions with 32, 64 and 128 channels, kernel 5, ELU, batch normalisation, and a
# bottleneck of 128 numbers. **Small-DCAE**: 12, 24 and 48 channels, kernel 4, ReLU. The decoders mirror the encoders.
# Both learn by Adam with a learning rate of 10⁻⁴ in batches of 128 for 80 epochs; the mean squared error is both the
# loss and the score {cite:p}`mueller2021acoustic`.
# :::
#
# :::{admonition} Left open
# :class: open
# Strides, padding, pooling, how the decoder grows the picture again, and whether "the Mel-spectrogram images" are in
# colour.
# :::
#
# :::{admonition} We decided
# :class: decision
# The LeNet-DCAE is laid out as the auto-encoder of Deep SVDD {cite:p}`ruff2018deep`, whose parts the paper
# names, enlarged from 32 to 64 pixels. The Small-DCAE halves the picture three times with stride 2, mirrored by its decoder,
# and has neither bottleneck nor batch normalisation. Both see the 64 × 64 colour pictures before they are enlarged, and end in a
# sigmoid, since colours lie between 0 and 1.
# :::

# %%
names = run.results.autoencoders or ["small-dcae"]
machine_id, seed = run.ids[0], run.results.seeds(names[0])[0]
fits = {name: run.fit(machine_id, None, name, seed) for name in names}
{
    name: sum(weight.numel() for weight in fitted.net_.parameters())
    for name, fitted in fits.items()
}

# %% [markdown]
# These are the numbers of trainable parameters.
#
# ## Training

# %% tags=["remove-cell"]
from mimii_lib.settings import Autoencoders

glue("training", run.results.training, display=False)
glue("batch_size", run.settings.autoencoders.batch_size, display=False)
glue("paper_epochs", Autoencoders().epochs, display=False)
glue("paper_batch_size", Autoencoders().batch_size, display=False)
glue(
    "n_patches",
    len(
        run.stages.detector_inputs(
            machine_id, None, run.recordings.split_clips(machine_id, seed, "train")
        )
    ),
    display=False,
)

# %% [markdown]
# Here they train for **{glue:text}`training`**, in batches of {glue:text}`batch_size` on {glue:text}`n_patches` patches.
# The paper trains for {glue:text}`paper_epochs` epochs and five seeds in batches of {glue:text}`paper_batch_size`. Read what
# follows with that in mind.

# %% mystnb={"figure": {"caption": "The training loss, epoch by epoch. A curve that still falls at its end was stopped early."}, "image": {"alt": "The mean squared error of each auto-encoder against the epoch"}}
figures.loss_curves(fits)

# %% [markdown]
# ## What they draw
#
# We take a normal and an abnormal test clip,

# %%
table = run.recordings.split_clips(machine_id, seed, "test")
firsts = table.drop_duplicates("label")
figures.clips(
    run, {f"{clip.label}, {machine_id}": clip.path for clip in firsts.itertuples()}
)

# %% [markdown]
# and two patches of each. Below each patch stands what the networks make of it.

# %% mystnb={"figure": {"caption": "Above, what the networks were shown; below, what they draw. Explanation for lines of the abnormal patches that are missing below."}, "image": {"alt": "Two normal and two abnormal patches in the first row, and each auto-encoder's drawing of them in a row below"}}
shown = {
    f"{clip.label}, patch {patch}": run.patches(machine_id)[clip.Index, patch]
    for clip in firsts.itertuples()
    for patch in (0, run.patches(machine_id).shape[1] // 2)
}
figures.reconstructions(fits, shown, run.settings.imaging)

# %% [markdown]
# An auto-encoder first learns the brightness that all pictures share, then their large shapes, and the fine lines last.
# The drawings show how far these two have come. One that draws the same picture for every input does
# not yet know one clip from another: its error only tells how far a clip is from that one picture.
#
# ## How well they detect

# %%
tables.auc_table(run.auc([(None, name) for name in names], [seed])).round(1)

# %% [markdown]
# AUC in percent, for one seed.

# %% [markdown]
# ## Exercises
#
# **1.** A baseline for the baseline: score each patch by its squared distance to the *mean* training picture. Is a trained
# auto-encoder better than that?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
import numpy as np

from mimii_lib.evaluation import auc, pool

train, new = (
    run.stages.detector_inputs(
        machine_id, None, run.recordings.split_clips(machine_id, seed, role)
    )
    / 255
    for role in ("train", "test")
)
distance = ((new - train.mean(axis=0)) ** 2).mean(axis=1).reshape(len(table), -1)
f"AUC of the distance to the mean picture: {auc(table.label == 'abnormal', pool(distance)):.1%}"

# %% [markdown]
# **2.** What does the error of an auto-encoder measure? Correlate it with how busy a patch is, say the spread of its pixels.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
spread = new.std(axis=1)
errors = run.scores(machine_id, None, names[0], seed).ravel()
f"correlation with the spread of the pixels: {np.corrcoef(spread, errors)[0, 1]:.2f}"

# %% [markdown]
# :::{dropdown} What it says
# The nearer this is to 1, the more a score says “busy” where it should say “strange”: whatever is hard to draw is called
# anomalous, known or not.
# :::
#
# ## In short
#
# The baselines need no other training data than the detectors had, but they have to learn to see from nothing. The [next
# page](06_results.ipynb) puts all rows side by side.
