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
# The paper's detectors are fitted on normal sound alone. They need recordings, and a rule that assigns each clip to training or to test.
# This page shows both for the {machine}. It follows §4 of the paper and the part of §5 that draws the test set.

# %% [markdown] tags=["once"]
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

# %% [markdown] tags=["once"]
# A **profile** is a file that says what a run consists of: recordings, networks, detectors and seeds. The box shows what this page was
# made from.

# %%
from mimii_lib.pages import run_box
from mimii_lib.run import Run

recordings = {"data": data, "snr": snr, "ids": ids, "seeds": seeds}
systems = {"extractors": extractors, "detectors": detectors, "weights": weights}
run = Run(machine, profile=profile, settings=settings, **recordings, **systems)
run_box.facts([run])

# %% [markdown] tags=["once"]
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

# %% [markdown]
# ## What is special about the {machine}

# %% tags=["remove-input"]
from mimii_lib.pages import machines

machines.character(machine)

# %% [markdown]
# ## The recordings
#
# A **machine ID** (`id_00`, …) stands for one product model of the {machine}. Every machine ID is an experiment of its own: a detector
# is fitted on normal clips of one machine ID and tested on other clips of the same one. The table counts the clips that are here, beside
# those that MIMII has.

# %%
import pandas as pd

from mimii_lib.paper import MIMII

n_clips = pd.crosstab(run.clips.id, run.clips.label)[["normal", "abnormal"]]
published = pd.DataFrame(MIMII[machine].values(), index=MIMII[machine].keys())
published = published.reindex(n_clips.index)
counts = pd.concat({"here": n_clips, "MIMII": published}, axis=1)
counts.rename_axis(index="machine ID", columns=[None, None])

# %% [markdown]
# Before anything is computed, every clip is read once. A clip that is truncated, or has another rate or length, stops the run, unless
# `split.unreadable=leave_out` tells it to go on without the clip. A machine ID without an abnormal clip, or with fewer than five clips to
# train on, is left out.

# %%
from mimii_lib.pages import tables

left_out = [*run.recordings.left_out.values()]
left_out += [f"{name}: {why}" for name, why in run.recordings.skipped.items()]
tables.bullets(left_out or ["Nothing is left out: every clip can be used."])

# %% [markdown]
# ## What it sounds like
#
# One of these two clips of the {machine} is normal, the other one is abnormal. Each player stands under the clip's *log-mel spectrogram*:
# time runs to the right, pitch runs upwards, and brighter means louder. The [next page](02_spectrogram_imaging.ipynb) computes it. The
# clips are quiet, so turn the volume up. Which one is abnormal? Decide by ear, then by eye, before you unfold the answer.

# %%
from mimii_lib.pages import figures

machine_id = run.ids[0]
pair = pd.Series(figures.examples(run, machine_id))
pair = pair.sample(frac=1, random_state=len(machine))
figures.clips(run, pair.set_axis(["sound A", "sound B"]).to_dict())

# %% mystnb={"code_prompt_hide": "Hide the answer", "code_prompt_show": "Show the answer"} tags=["hide-cell"]
dict(zip(["sound A", "sound B"], pair.index, strict=True))

# %% [markdown]
# The paper's idea rests on an observation about the images: many faults can be *seen* in them.

# %% [markdown] tags=["once"]
# ## Which clips train, which test
#
# The paper tests 150 normal and 150 abnormal clips of each machine ID. How many machine IDs of MIMII have so many abnormal ones?

# %% tags=["once"]
abnormal_clips = pd.DataFrame(
    {
        name: {machine_id: count.abnormal for machine_id, count in ids.items()}
        for name, ids in MIMII.items()
    }
)
abnormal_clips

# %% tags=["remove-cell", "once"]
from myst_nb import glue

glue("n_ids", abnormal_clips.size, display=False)
glue("n_few", int((abnormal_clips < 150).sum().sum()), display=False)

# %% [markdown] tags=["once"]
# :::{admonition} Left open
# :class: open
# {glue:text}`n_few` of MIMII's {glue:text}`n_ids` machine IDs have fewer than 150 abnormal clips. The paper does not say what happens to
# them.
# :::
#
# :::{admonition} We decided
# :class: decision
# At most 150 normal clips test, and never more than half of them; at most 150 abnormal clips test, or all there are.
# All other normal clips train. Abnormal clips never train. Each **seed**, a number that starts the random generator, draws anew.
# :::
#
# The rule takes a few lines of numpy. First, the clips of one machine ID are shuffled.

# %% tags=["once"]
import numpy as np

seed, rules = run.profile.seeds[0], run.settings.split
clips = run.clips[run.clips.id == machine_id]
random = np.random.default_rng(seed)


def shuffled(label):
    """Return the clips of a label in a random order."""
    paths = clips.path[clips.label == label]
    return random.permutation(np.sort(paths.to_numpy()))


normal, abnormal = shuffled("normal"), shuffled("abnormal")

# %% [markdown] tags=["once"]
# Then the first ones test and the others train. `rules` holds the numbers of the rule; exercise 1 explains `balanced`.

# %% tags=["once"]
n_normal = min(rules.test_clips, len(normal) // 2)
n_abnormal = min(rules.test_clips, len(abnormal))
most = min(n_normal, n_abnormal) if rules.balanced else rules.test_clips

train = normal[n_normal:]
test = [*normal[:n_normal][:most], *abnormal[:n_abnormal][:most]]
len(train), len(test)

# %% [markdown] tags=["once"]
# That is what `mimii_lib.dataset.split` does for every machine ID and seed:

# %% tags=["once"]
from mimii_lib import dataset

roles = dataset.split(clips, [seed], rules).groupby("role").path
assert set(train) == set(roles.get_group("train"))
assert set(test) == set(roles.get_group("test"))

# %% [markdown]
# ## The split of the {machine}
#
# Every seed has these numbers of clips:


# %%
def split_sizes(run):
    """Return the clips of the first seed by machine ID, role and label."""
    splits = run.recordings.splits.query(f"seed == {run.profile.seeds[0]}")
    clips = splits.merge(run.clips, on="path")
    sizes = pd.crosstab(clips.id, [clips.role, clips.label])
    return sizes[["train", "test"]].rename_axis(index="machine ID")


split_sizes(run)

# %% [markdown] tags=["once"]
# Every seed draws from the same clips. What share of its normal test clips does the next seed draw again? Guess from the sizes, then unfold
# the answer.

# %% mystnb={"code_prompt_hide": "Hide the answer", "code_prompt_show": "Show the answer"} tags=["hide-cell", "once"]
again = dataset.split(clips, [seed, seed + 1], rules).query("role == 'test'")
first, second = (
    set(drawn) & set(normal) for _, drawn in again.groupby("seed").path
)
shared, expected = len(first & second) / len(first), len(first) / len(normal)
f"{shared:.0%} again; expected {expected:.0%}"

# %% [markdown] tags=["once"]
# Seeds are not independent experiments: the spread between them understates how much the AUC would vary on new clips.

# %% mystnb={"figure": {"caption": "Which normal clips test (high, blue) and which train (low, grey), seed by seed. Follow one clip from top to bottom: it changes sides."}, "image": {"alt": "One line for each seed, one bar for each normal clip: high bars test, low bars train, and every seed draws others"}}
figures.split_map(run, machine_id)

# %% [markdown]
# No clip both trains and tests in the same seed:

# %%
both = run.recordings.splits.groupby(["seed", "path"]).role.nunique().max()
assert both == 1, "a clip both trains and tests"

# %% [markdown]
# ## A first detector: the loudness
#
# Is the abnormal {machine} merely louder? The **level** of a clip is its mean power in decibels, 0 dB being full scale.

# %%
import numpy as np


def level(path):
    """Return the mean power of a clip in dB."""
    return 10 * np.log10(max(np.mean(run.waveform(path) ** 2), 1e-10))


tested = run.recordings.split_clips(machine_id, run.profile.seeds[0], "test")
levels = tested.path.map(level)
by_label = levels.groupby(tested.label)
by_label.describe()[["count", "min", "mean", "max"]].round(1)

# %% [markdown] tags=["once"]
# A detector gives every clip an **anomaly score**, here the level. The paper's measure of success is the **AUC**, the area under the ROC
# curve. It is the share of pairs of an abnormal and a normal clip in which the abnormal one has the higher score, and a tie counts half.
# 50 % is guessing, 100 % is perfect.

# %% tags=["once"]
scores = {label: part.to_numpy() for label, part in by_label}
difference = scores["abnormal"][:, None] - scores["normal"]
area = (difference > 0).mean() + (difference == 0).mean() / 2
f"AUC of the level: {area:.1%}"

# %% [markdown] tags=["once"]
# `mimii_lib.evaluation.auc` takes the area under the curve and comes to the same number:

# %% tags=["once"]
from mimii_lib.evaluation import auc

assert np.isclose(area, auc(tested.label == "abnormal", levels))

# %% [markdown]
# An AUC far below 50 % would mean that abnormal clips are *quieter*. The baseline `level` of [Table 1](../table1.ipynb) takes both
# directions: its score grows with the distance to the mean level of the training clips, whichever side the clip is on.

# %%
from mimii_lib.evaluation import auc

trained = run.recordings.split_clips(machine_id, run.profile.seeds[0], "train")
distance = abs(levels - trained.path.map(level).mean())
is_abnormal = tested.label == "abnormal"
one_sided, two_sided = auc(is_abnormal, levels), auc(is_abnormal, distance)
f"AUC of the level {one_sided:.1%}, of the distance to its mean {two_sided:.1%}"

# %% tags=["once"]
kept = run.clip_scores(machine_id, None, "level", run.profile.seeds[0])
assert np.isclose(two_sided, auc(kept.anomalous, kept.scores), atol=0.005)

# %% [markdown]
# The AUC of a network on this machine ID has to be compared with these two numbers.

# %% [markdown] tags=["once"]
# ## Exercises
#
# **1.** {glue:text}`n_few` of MIMII's {glue:text}`n_ids` machine IDs have fewer abnormal clips than the paper tests. With
# `split.balanced` the test set keeps only as many normal clips as there are abnormal ones. Which numbers of the split change, and which do not?

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell", "once"]
balanced = run.with_overrides(settings={"split.balanced": True})
split_sizes(balanced)

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# The clips that are left out do not go back to training, so the detectors are the same, and only their test is smaller.
# :::
#
# **2.** A clip may be abnormal for one moment only. Score each clip by its loudest tenth of a second instead of its mean power. Does
# the AUC rise?


# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell", "once"]
def loudest_moment(path):
    """Return the power of the loudest tenth of a second."""
    power = run.waveform(path) ** 2
    tenth = run.settings.imaging.sample_rate // 10
    return power[: len(power) // tenth * tenth].reshape(-1, tenth).mean(1).max()


by_moment = auc(is_abnormal, tested.path.map(loudest_moment))
f"AUC of the loudest tenth of a second: {by_moment:.1%}"

# %% [markdown]
# ## Summary
#
# We know which recordings of the {machine} there are, what a normal and an abnormal one sound like, and which of them
# train and test in each seed. Next, [sound becomes an image](02_spectrogram_imaging.ipynb).
