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
# (dataset-{machine})=
# # Dataset: {machine}
#
# A detector of anomalies is taught by normal sound alone. Before anything can be taught we need recordings,
# and a rule that says which of them teach and which of them examine. This page lays out both for the
# {machine}. It follows §4 of the paper and the part of §5 that draws the test set.
#
# :::{admonition} The paper says
# :class: paper
# The recordings are MIMII's {cite:p}`purohit2019mimii`: four types of machine, four product models of each,
# in clips of 10 s at 16 kHz. The anomalous clips come from machines with real faults, such as a leak, a loose
# belt or missing grease. Noise from real factories is mixed in at a fixed signal-to-noise ratio (SNR). For
# each seed, 150 normal clips are set aside to test, joined by as many anomalous ones {cite:p}`mueller2021acoustic`.
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

from mimii_lib.pages import figures, run_box, tables
from mimii_lib.run import Run
from mimii_lib.paper import MIMII
from mimii_lib.settings import Split

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
# The box above says what this page was made from, and every page of the experiment starts with one.
#
# :::{admonition} Left open
# :class: open
# **Which SNR?** The text we have reads "6dB", and it has lost its minus signs in other places. **Which channel?**
# The paper speaks of single-channel clips; the published files hold eight.
# :::
#
# :::{admonition} We decided
# :class: decision
# −6 dB, for which the page of [Table 1](../table1.ipynb) gives the evidence, and the first channel. Both are
# settings: `snr` and `imaging.channel`.
# :::
#
# ## What is there
#
# A machine ID (`id_00`, …) stands for one product model. Every ID is an experiment of its own: a detector
# is taught by the normal clips of one ID and examined on the clips of the same ID.

# %%
import pandas as pd

labels = ["normal", "abnormal"]
n_clips = run.clips.groupby(["id", "label"]).size().unstack(fill_value=0)
n_clips = n_clips.reindex(columns=labels, fill_value=0)
mimii = MIMII[run.machine]
published = pd.DataFrame(list(mimii.values()), index=list(mimii))
published = published.reindex(n_clips.index)
counts = pd.concat({"here": n_clips, "MIMII": published}, axis=1)
counts.rename_axis(index="machine ID")

# %% tags=["remove-cell"]
glue("normal", int(counts["here", "normal"].sum()), display=False)
glue("abnormal", int(counts["here", "abnormal"].sum()), display=False)
glue("normal_mimii", int(counts["MIMII", "normal"].sum()), display=False)
enough = [
    count.abnormal >= Split().test_clips
    for machine_ids in MIMII.values()
    for count in machine_ids.values()
]
glue("n_ids", len(enough), display=False)
glue("n_enough", sum(enough), display=False)
glue("n_few", len(enough) - sum(enough), display=False)

# %% [markdown]
# Here are {glue:text}`normal` normal and {glue:text}`abnormal` abnormal clips; MIMII holds
# {glue:text}`normal_mimii` normal ones for the same IDs. Before anything is computed, every clip is read once. One that is
# truncated, or has another rate or length, stops the run, unless `split.unreadable=leave_out` tells it to go on without.

# %%
tables.bullets(run.recordings.left_out.values() or ["Every clip can be used."])

# %% [markdown]
# Can every ID be evaluated? One without an abnormal
# clip cannot, nor can one that leaves fewer than five clips to train on.

# %%
run.recordings.skipped or "Every machine ID can be evaluated."

# %% [markdown]
# ## What it sounds like
#
# Listen to a normal and to an abnormal clip of the same {machine}. Each player stands under
# its *log-mel spectrogram*: time runs to the right, pitch runs upwards, and brighter means louder. How it is computed is the
# matter of the [next page](02_spectrogram_imaging.ipynb). The clips are quiet, so turn the volume up.

# %%
machine_id = run.ids[0]
figures.clips(run, figures.examples(run, machine_id))

# %% [markdown]
# Can you hear the difference? The paper's idea rests on an observation about the pictures: many faults can be *seen* in them.
#
# ## Who teaches, who examines
#
# :::{admonition} Left open
# :class: open
# That many anomalous clips are to be had for only {glue:text}`n_enough` of MIMII's {glue:text}`n_ids` machine IDs. The paper does not
# say what happens to the other {glue:text}`n_few`.
# :::
#
# :::{admonition} We decided
# :class: decision
# At most 150 normal clips test, and never more than half of them; at most 150 abnormal clips test, or all there are.
# Each seed draws anew. The abnormal clips never teach.
# :::


# %%
def split_sizes(run):
    """Return the number of clips by machine ID, side of the split and label, in the first seed."""
    splits = run.recordings.splits.query(f"seed == {run.profile.seeds[0]}")
    clips = splits.merge(run.clips, on="path")
    sizes = clips.pivot_table(
        index="id",
        columns=["role", "label"],
        values="path",
        aggfunc="count",
        fill_value=0,
    )
    return sizes[["train", "test"]].rename_axis(index="machine ID")


split_sizes(run)

# %% [markdown]
# The seeds redraw the same pool, so their test sets overlap.

# %% mystnb={"figure": {"caption": "Which normal clips test (high, blue) and which train (low, grey), seed by seed. Follow one clip from top to bottom: it changes sides."}, "image": {"alt": "One line for each seed, one bar for each normal clip: high bars test, low bars train, and every seed draws others"}}
figures.split_map(run, machine_id)

# %% tags=["remove-cell"]
tests = [
    set(
        run.recordings.split_clips(machine_id, seed, "test")
        .query("label == 'normal'")
        .path
    )
    for seed in run.profile.seeds
]
first, last = tests[0], tests[-1]
glue("overlap", len(first & last) / len(first), display=False)

# %% [markdown]
# The first and the last seed share {glue:text}`overlap:.0%` of their normal test clips. Seeds are therefore not independent
# experiments, and the spread between them understates how much the AUC would vary on new clips.
#
# No clip is on both sides of a split. That is easy to check, and worth checking:

# %%
both = run.recordings.splits.groupby(["seed", "path"]).role.nunique().max()
assert both == 1, "a clip both trains and tests"

# %% [markdown]
# `make book` saves the splits with the results (`results/splits.csv`), so that anyone can rerun them, with this code
# or with their own.

# %% [markdown]
# ## Exercises
#
# **1.** {glue:text}`n_few` of MIMII's {glue:text}`n_ids` machine IDs have fewer abnormal clips than the paper tests. With
# `split.balanced` the test set keeps only as many normal clips as there are abnormal ones. Which numbers of the split change, and which do not?

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell"]
balanced = run.with_overrides(settings={"split.balanced": True})
split_sizes(balanced)

# %% [markdown]
# :::{dropdown} What it says
# The clips that are left out do not go back to training, so the detectors are the same, and only their examination is smaller.
# :::
#
# **2.** Could you tell normal from abnormal without any picture, by how loud a clip is? Settle it by experiment.

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell"]
import numpy as np

from mimii_lib.evaluation import auc

test = run.recordings.split_clips(machine_id, run.profile.seeds[0], "test")
loudness = [np.sqrt(np.mean(run.waveform(path) ** 2)) for path in test.path]
f"AUC of the loudness alone: {auc(test.label == 'abnormal', loudness):.0%}"

# %% [markdown]
# :::{dropdown} What it says
# 50 % is guessing. Whatever the networks find has to be held against this number.
# :::
#
# ## In short
#
# We know which recordings of the {machine} there are, what a normal and an abnormal one sound like, and which of them
# teach for each seed. Next, [sound becomes a picture](02_spectrogram_imaging.ipynb).
