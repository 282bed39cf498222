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
# (decisions)=
# # Explaining a decision
#
# An AUC says how often a system ranks clips correctly, not why. A system may be right for a reason that does not last, such as a hum of
# the room or a click of the recorder. This page traces single decisions back: from a clip to its highest-scoring patches, to
# the training patches nearest to them, and to the region of the image that the score depends on.

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
from myst_nb import glue

from mimii_lib.pages import (
    explanation_figures,
    explanations,
    figures,
    run_box,
    tables,
)
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
# ## Which system?
#
# :::{admonition} The paper says
# :class: paper
# Anomalies of factory machines are often visible in the spectrogram, so a network trained on photographs should detect them
# too (§3, Figure 2). The paper does not show what the networks respond to.
# :::
#
# For each machine type we explain the system with the highest mean AUC among those with a pretrained network.

# %%
import pandas as pd

trained = explanations.trained_systems(runs)
aucs = {run: run.auc(systems) for run, systems in trained.items()}
best = {run: explanations.best_system(table) for run, table in aucs.items()}
means = {
    run: table.groupby(["extractor", "detector"]).auc.mean().max()
    for run, table in aucs.items()
}
names = {
    run.machine: {
        "system": tables.name_of(best[run]),
        "AUC (%)": round(100 * means[run], 1),
    }
    for run in best
}
pd.DataFrame(names).T

# %% [markdown]
# ## Caught, missed, and a false alarm
#
# The examples are test clips of the first seed: the abnormal clips that rank highest and lowest, and the highest-scoring false
# alarm. Listen before you look.

# %% tags=["full-width"]
examples = {
    run: explanations.example_clips(explanations.ranked_clips(run, system))
    for run, system in best.items()
}
explanation_figures.example_figures(examples)

# %% tags=["remove-cell"]
explained = [
    explanations.explain(run, best[run], clips.iloc[0])
    for run, clips in examples.items()
]
for name, sentence in explanation_figures.readings(examples, explained).items():
    glue(name, sentence, display=False)
glue("verdict", tables.verdict(runs), display=False)
glue("side", explanations.GRID, display=False)

# %% [markdown]
# {glue:text}`examples`
#
# The AUC depends only on how an abnormal clip ranks among the normal ones. Since each machine ID has its own detector and scale, clips are
# ordered by that rank first, and then by how far the score lies above the normal ones.
#
# ## When was it anomalous?
#
# By equation {eq}`eq-mean-pooling`, a clip's score is the mean over its patches. Here is the best caught clip of each machine type, with the
# scores of its patches over time. Scores are in standard deviations (sd) of the normal test patches of that machine ID, and the grey band
# holds the middle 90 % of these patches. Below the scores is a second measure: the distance to the nearest training patch, between the features as the
# detector takes them.

# %%
figures.side_by_side(map(explanation_figures.score_track, explained))

# %% [markdown]
# {glue:text}`tracks` A score that stays high indicates a fault that lasts; a peak indicates an event. The two patches with the highest scores
# are framed, and orange in the curves.
#
# ## Which training patches are nearest?
#
# A detector scores a patch by the patches it was trained on. Each of the two framed patches stands beside the two training patches
# nearest to it. Play them one after the other: what is in the first that is in neither of the others?

# %%
figures.side_by_side(
    explanation_figures.nearest_patches(explanation, rank)
    for explanation in explained
    for rank in range(len(explanation.worst))
)

# %% [markdown]
# {glue:text}`nearest` If few features make up the distance, the decision depends on few. Standardisation enlarges a feature that is nearly
# constant in training until a slight change outweighs all others. Exercise 2 tests whether that happens here.
#
# ## Which region of the image?
#
# **Occlusion** {cite:p}`zeiler2014visualizing` replaces one block of the image, extracts the features again, and measures how far the score
# decreases: where it does, the score depends on that block.
#
# :::{admonition} We decided
# :class: decision
# The image is divided into {glue:text}`side` × {glue:text}`side` blocks, which are occluded one at a time with a narrow margin. The
# mean training patch replaces what is occluded, so that it becomes as ordinary as possible.
# :::

# %% tags=["full-width"]
figures.side_by_side(map(explanation_figures.occlusion_maps, explained))

# %% [markdown]
# Dark blocks make the patch less anomalous when they are occluded: the maps show the decrease of its score in sd, and of its distance to the nearest
# training patch as a share of that distance. A plus marks blocks that make it more anomalous. In the patch, the blocks with more than half of
# the largest decrease of the distance are outlined. A blank score map means that the score hardly changes: far from all training patches, a
# detector such as the OC-SVM gives every image nearly the same score, and only the distance differs.
#
# :::{admonition} We found
# :class: finding
# {glue:text}`maps` An image with a smooth window was never recorded, so the network may respond to the window itself. A map
# shows what this network needed for this score of this patch. It does not show that the fault is there. {glue:text}`verdict`
# :::
#
# ## Exercises
#
# **1.** Explain another clip: the worst false alarm of the first machine type. Is there something to hear in it?

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell"]
alarms = [
    explanations.explain(run, best[run], clips.iloc[-1])
    for run, clips in list(examples.items())[:1]
]
figures.side_by_side(
    explanation_figures.nearest_patches(explanation, rank)
    for explanation in alarms
    for rank in range(len(explanation.worst))
)

# %% [markdown]
# :::{dropdown} Interpretation
# A normal clip with a high score is not always an error of the detector. Machines vary, and a recording labelled as normal may contain
# a sound that no training clip contains.
# :::
#
# **2.** Let no feature's variance count as less than a hundredth of the mean variance (`detectors.variance_floor`), and explain the same
# clip again. How far is its worst patch from training now, and how many features make up half of the squared distance?

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell"]
comparison = {}
for run in list(examples)[:1]:
    floor = run.with_overrides(settings={"detectors.variance_floor": 0.01})
    for name, variant in {"without a floor": run, "with a floor": floor}.items():
        clip = examples[run].iloc[0]
        explanation = explanations.explain(variant, best[run], clip)
        first = explanation.nearest.iloc[0]
        comparison[name] = {
            "distance": first.distance,
            "median of normal patches": explanation.bands[1, 1],
            "features that make up half": first.features,
        }
pd.DataFrame(comparison).round(1)

# %% [markdown]
# :::{dropdown} Interpretation
# The more features share a distance, the less it depends on one that hardly varied in training. Whether that makes a better
# detector is another question: [the choices](choices.ipynb) measure it.
# :::
#
# ## Summary
#
# A score can be traced back to a second of sound, to the nearest training patches, and with care to a region of the image. This
# shows whether a system is right for an acceptable reason.
