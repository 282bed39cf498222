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
# (choices)=
# # What the choices change
#
# The paper leaves points open, and [we had to choose](open_points.ipynb). How much hangs on it? Here every alternative runs
# against the default, on the same clips and seeds, and the table shows how far the AUC moves.

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
# ## How it is measured
#
# Default and alternative are run on the first machine IDs of each type and the first seeds, with the first extractor and the
# detectors that the point can touch. The figure is the mean AUC of the alternative minus that of the default, in percentage points.
#
# Both sides hear the same clips, so their errors move together, and the difference is surer than either of them. To see how sure, we
# draw the clips of each machine ID a thousand times anew with replacement. A clip that is drawn counts for every detector,
# every seed and both sides. Where the 95 % interval includes 0, these clips cannot tell the two apart.

# %%
from mimii_lib.pages.open_points import effects, repeated

found = effects(runs)

# %% tags=["remove-cell"]
from myst_nb import glue

from mimii_lib.pages import figures, tables

part = runs[0].profile.sensitivity
used = sum(len(run.ids[: part.ids]) for run in repeated(runs))
done = [effect for effect in found if not effect.not_run]
clear = [effect for effect in done if effect.low > 0 or effect.high < 0]
largest = max(done, key=lambda effect: abs(effect.difference))
glue("n_ids", f"{used} machine ID{'s' * (used != 1)}", display=False)
n_seeds = len(runs[0].profile.seeds[: part.seeds])
glue("n_seeds", f"{n_seeds} seed{'s' * (n_seeds != 1)}", display=False)
glue("n_found", len(found), display=False)
glue("n_done", len(done), display=False)
glue("n_clear", len(clear), display=False)
glue(
    "largest",
    f"{largest.point.title}, {largest.alternative.name}",
    display=False,
)
glue("largest_points", tables.signed(largest.difference), display=False)
glue("verdict", tables.verdict(runs[0]), display=False)
glue("network", tables.extractor_name(runs[0].stages.extractors[0]), display=False)

# %% [markdown]
# ## All alternatives

# %% mystnb={"figure": {"caption": "How far each alternative moves the mean AUC, with its 95 % interval. Orange diamonds: the interval leaves out 0. Blue dots: these clips cannot tell the alternative from the default."}, "image": {"alt": "A line for each alternative: its difference to the default as a mark on its interval, and 0 as a line down the figure"}}
figures.effects(found)

# %% tags=["hide-input"]
tables.effects(found)

# %% [markdown]
# {glue:text}`n_done` of {glue:text}`n_found` alternatives were run, on {glue:text}`n_ids` and {glue:text}`n_seeds`, with
# {glue:text}`network`. {glue:text}`n_clear` have an interval without 0; with so many looked at, one in twenty would have that by
# chance alone. The largest change is {glue:text}`largest_points` points ({glue:text}`largest`).
#
# {glue:text}`verdict`
#
# ## Two remarks of the paper
#
# :::{admonition} The paper says
# :class: paper
# The choice of the colour map hardly matters (footnote in §5). And its findings also hold when all feature vectors are reduced to the same
# number of dimensions by PCA (§6) {cite:p}`mueller2021acoustic`.
# :::

# %%
tables.effects([effect for effect in found if effect.point.number in (11, 25)])

# %% [markdown]
# The second remark is about which network wins. To test it takes more than one network: the next table ranks the networks at hand by their mean AUC
# over detectors, machine IDs and seeds, with all their features and at equal dimension.

# %%
tables.at_equal_dimension(runs)

# %% [markdown]
# ## Our own rows at each SNR
#
# [Table 1's page](table1.ipynb) asks which SNR the paper used, and finds its answer in somebody else's numbers. With all of
# MIMII at hand, ours answer too: at the right SNR our cells should lie closest to the paper's.

# %%
tables.at_each_snr(runs)

# %% [markdown]
# ## Measure more
#
# How many machine types, machine IDs and seeds are repeated is a setting of the profile, such as
# `sensitivity: {machines: 2, ids: 1, seeds: 2}`. The profile `mimii` repeats everything. The same figures come without the book from
#
# ```bash
# mimii choices DATA --machine fan
# ```

# %% [markdown]
# ## Exercises
#
# **1.** Point 18 says that the paper's bandwidth of 0.1 makes the kernel density a nearest-neighbour distance. From which bandwidth
# on is it a density? Widen it, and see when the AUC changes.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
small = runs[0].with_overrides(
    ids=runs[0].ids[:1],
    extractors=runs[0].stages.extractors[:1],
    detectors="kde",
    seeds=runs[0].profile.seeds[:1],
)
{
    width: round(
        100
        * small.with_overrides(settings={"detectors.bandwidth": width})
        .auc()
        .auc.mean(),
        1,
    )
    for width in (0.1, 1.0, 5.0, 20.0, 100.0)
}

# %% [markdown]
# **2.** How many of the alternatives above would have an interval without 0 if none of them changed anything? Compare with how many have.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from scipy.stats import binom

f"{len(clear)} of {len(done)}; by chance {0.05 * len(done):.1f}, and more than {binom.ppf(0.95, len(done), 0.05):.0f} one time in twenty"

# %% [markdown]
# (They share their clips, so chance may be less even than that.)
