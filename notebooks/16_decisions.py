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
# # Looking into a decision
#
# An AUC says how often a system is right. It does not say what it heard. A system may be right for a reason that will not last: a
# hum of the room, a click of the recorder. So this page follows single decisions backwards: from a clip to the patches
# that made it anomalous, to what the detector knew that is nearest to them, and to the place on the picture.

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
from IPython.display import HTML
from myst_nb import glue

from mimii_lib.pages import explanations, explanation_figures, tables
from mimii_lib.pages.run_box import facts
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
HTML(facts(runs))

# %% [markdown]
# ## Whose decisions?
#
# :::{admonition} The paper says
# :class: paper
# Anomalies of factory machines can often be spotted in the spectrogram, and so a network that knows photographs should find
# them too (§3, Figure 2). It does not show what the networks look at.
# :::
#
# We ask the row with the highest mean AUC of those that rest on a trained network, for each machine type.

# %%
areas = {run: run.auc(explanations.networks(run)) for run in runs}
areas = {run: table for run, table in areas.items() if len(table)}
explanation_figures.rows(areas) if areas else explanation_figures.no_ids_reason(
    runs
)

# %% [markdown]
# ## Caught, missed, and a false alarm
#
# From the test clips of its first seed: the abnormal clips that stand out most, those that hide best, and the normal clip that the most
# abnormal ones stay below. Listen before you look.

# %% tags=["full-width"]
best = {run: explanations.best_row(table) for run, table in areas.items()}
shown = {
    run: explanations.gallery(explanations.judged(run, row))
    for run, row in best.items()
}
explanation_figures.gallery(shown)

# %% tags=["remove-cell"]
looks = [
    explanations.look(run, best[run], table.iloc[0]) for run, table in shown.items()
]
for name, sentence in explanation_figures.readings(shown, looks).items():
    glue(name, sentence, display=False)
glue("verdict", tables.verdict(runs[0]), display=False)
glue("side", explanations.GRID, display=False)

# %% [markdown]
# {glue:text}`gallery`
#
# A clip's place among the normal ones is all that counts for the AUC. Machine IDs have detectors and scales of their own, so
# places are compared first, and only then how far a score lies above the normal ones.
#
# ## When was it anomalous?
#
# By equation {eq}`eq-mean-pooling`, a clip's score is the mean over its patches. Here is the best caught clip of each machine type, with the scores of its
# patches on the same axis of time. The grey band holds the middle 90 % of the normal test patches of that machine ID. Scores are in standard
# deviations (sd) of those patches. Below is another measure: how far the patch is from the nearest training patch, in the
# features as the detector sees them.

# %%
explanation_figures.along(looks)

# %% [markdown]
# {glue:text}`along` A line that stays high says that something is wrong all the time; one that peaks, that something happened.
# The two patches with the highest scores are framed, and orange below.
#
# ## What did it know that is nearest?
#
# A detector judges a patch by the patches it was trained on. So each of the two stands here beside the two training patches that are
# nearest to it. Play them one after the other: what is in the first that is in neither of the others?

# %%
explanation_figures.nearest(looks)

# %% [markdown]
# {glue:text}`nearest` Where few features make the distance, the decision hangs on few. A feature that is nearly constant in training is
# blown up by the standardisation, until its slightest change outweighs all others. Exercise 2 looks whether that is so here.
#
# ## Where on the picture?
#
# Hide a part of the picture, describe it again, and see what becomes of the score. This is **occlusion** {cite:p}`zeiler2014visualizing`: where
# the score falls, the network had looked.
#
# :::{admonition} We decided
# :class: decision
# One block of {glue:text}`side` × {glue:text}`side` after the other is hidden, with a narrow border around it. In its place stands what
# the training patches show there on average, so that what is hidden becomes as ordinary as can be.
# :::

# %% tags=["full-width"]
explanation_figures.occlusions(looks)

# %% [markdown]
# Where a map is dark, hiding the block makes the patch less anomalous: by its score, and by its distance to the nearest training patch.
# A plus says that it makes it more so. The outlined blocks make up half of what the distance falls by. {glue:text}`flat`
#
# :::{admonition} We found
# :class: finding
# {glue:text}`maps` A picture with a smooth window in it was never recorded, so the network may answer to the window itself. A map
# shows what this network needed for this score on this patch. It does not show that the fault is there. {glue:text}`verdict`
# :::
#
# ## Exercises
#
# **1.** Explanation into another clip: the worst false alarm of the first machine type. Is there something to hear in it?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
alarms = [
    explanations.look(run, best[run], table.iloc[-1])
    for run, table in list(shown.items())[:1]
]
explanation_figures.nearest(alarms)

# %% [markdown]
# :::{dropdown} What it says
# A normal clip that scores high is not always an error of the detector. Machines vary, and a recording that was filed as normal may hold
# a noise that training never did.
# :::
#
# **2.** Let no feature's variance count as less than a hundredth of the mean variance (`detectors.variance_floor`), and look at the same clip
# again. How far away is its worst patch now, and by how many features?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
import pandas as pd

found = {}
for look in looks[:1]:
    clip = shown[look.run].iloc[0]
    floor = look.run.with_overrides(settings={"detectors.variance_floor": 0.01})
    ways = {
        "as the paper": look,
        "with a floor": explanations.look(floor, look.row, clip),
    }
    for name, each in ways.items():
        first = each.nearest.iloc[0]
        found[name] = {
            "distance": first.distance,
            "normal patches": each.bands[1, 1],
            "features that make half": first.features,
        }
pd.DataFrame(found).round(1)

# %% [markdown]
# :::{dropdown} What it says
# The more features share a distance, the less it hangs on one that hardly ever moved in training. Whether that makes a better
# detector is another question: [the choices](choices.ipynb) measure it.
# :::
#
# ## In short
#
# A score can be followed back to a second of sound, to what was known that is nearest to it, and with care to a place on the picture. It
# shows whether a system is right for a reason that one would accept.
