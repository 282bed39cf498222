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
# The paper leaves points open, and [we had to choose](open_points.ipynb). How much do the results depend on these choices? Here every
# alternative is run against the default, on the same clips and seeds, and the table shows by how much the AUC changes.

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
from mimii_lib.pages import run_box
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
# ## How an alternative is measured
#
# For each alternative, a second run differs from the default run in that choice alone. Both cover the first machine IDs of each
# machine type, the first seeds, the first extractor, and the detectors that the choice can affect. The effect is the mean AUC of
# the alternative minus that of the default, in percentage points.
#
# Both runs score the same clips, so their errors are correlated, and the difference is more certain than either AUC. Its 95 % interval comes from
# a bootstrap: the clips of each machine ID are drawn with replacement a thousand times, jointly for all detectors, all seeds and both runs. Where
# the interval includes 0, these clips do not show an effect.

# %%
from mimii_lib.extractors import EXTRACTORS
from mimii_lib.pages import figures, open_points, tables

effects = open_points.effects(runs)

# %% tags=["remove-cell"]
from myst_nb import glue

part = runs[0].profile.sensitivity
n_ids = sum(len(run.ids[: part.ids]) for run in open_points.repeated(runs))
n_seeds = len(runs[0].profile.seeds[: part.seeds])
measured = effects[effects.not_run == ""]
significant = measured[(measured.low > 0) | (measured.high < 0)]
largest = measured.loc[measured.difference.abs().idxmax()]
glue("n_ids", f"{n_ids} machine ID{'s' * (n_ids != 1)}", display=False)
glue("n_seeds", f"{n_seeds} seed{'s' * (n_seeds != 1)}", display=False)
glue("n_alternatives", len(effects), display=False)
glue("n_measured", len(measured), display=False)
glue("n_significant", len(significant), display=False)
glue("largest", f"{largest.title}, {largest.alternative}", display=False)
glue("largest_points", tables.signed(largest.difference), display=False)
glue("verdict", tables.verdict(runs), display=False)
network = EXTRACTORS[runs[0].stages.extractors[0]].title
glue("network", network, display=False)

# %% [markdown]
# ## All alternatives

# %% mystnb={"figure": {"caption": "Effect of each alternative on the mean AUC, with its 95 % interval. Orange diamonds: the interval excludes 0. Blue dots: it includes 0."}, "image": {"alt": "A line for each alternative: its effect as a mark on its interval, and 0 as a vertical line through the figure"}}
figures.effects(effects)

# %%
open_points.effects_table(effects)

# %% [markdown]
# {glue:text}`n_measured` of {glue:text}`n_alternatives` alternatives were run, on {glue:text}`n_ids` and {glue:text}`n_seeds`, with
# {glue:text}`network`. The interval of {glue:text}`n_significant` excludes 0; with so many comparisons, about one in twenty would do so by
# chance. The largest effect is {glue:text}`largest_points` points ({glue:text}`largest`).
#
# {glue:text}`verdict`
#
# ## Two claims of the paper
#
# :::{admonition} The paper says
# :class: paper
# The choice of the colour map hardly matters (footnote in §5). And its findings also hold when all feature vectors are reduced to the same
# number of dimensions by PCA (§6) {cite:p}`mueller2021acoustic`.
# :::
#
# Points 11 and 25 are the effects of these two choices on one network:

# %%
open_points.effects_table(effects[effects.point.isin([11, 25])])

# %% [markdown]
# The second claim is about the ranking of the networks. The next table compares their mean AUC over detectors, machine IDs and seeds, with all
# features and at equal dimension.

# %%
open_points.dimensions_table(open_points.at_equal_dimension(runs))

# %% [markdown]
# ## Our results at each SNR
#
# [The page on Table 1](table1.ipynb) infers the paper's SNR from published numbers of another auto-encoder. With all of MIMII, our own
# results are a second piece of evidence: at the paper's SNR our cells should be closest to the paper's.

# %%
if run_box.comparable(runs):
    by_snr = open_points.at_each_snr(runs).round(2)
else:
    by_snr = tables.bullets([tables.verdict(runs)])
by_snr

# %% [markdown]
# ## In which arithmetic?
#
# A network gives its features in float32. scikit-learn's standardisation, PCA and mixtures keep the type that they are given; its
# one-class SVM and its kernel density always compute in float64, and its isolation forest in float32. So features that come straight from a
# network are modelled in float32, and features that were converted on the way in float64. The paper says nothing about it (point 26).
#
# The arithmetic matters most where a mixture component holds few patches. In float64 its variances shrink to the regularisation of
# 10⁻⁶. In float32, rounding is of that size: scikit-learn adds ten rounding errors to a component's number of patches, which widens it
# in each dimension in proportion to the square of its mean. Where many equal patches lie far from the mean, the same subtraction can come out
# negative, and the fit fails.
#
# `benchmarks/precision.py` fits each detector in both, from random starts on one split, in three places: this miniature,
# real recordings of a slider, and synthesised recordings of whole machine IDs of MIMII's size. This page shows its record.

# %% tags=["hide-input"]
import json
from pathlib import Path

import pandas as pd

project = Path("..") if Path("../benchmarks").is_dir() else Path()
record = pd.DataFrame(
    json.loads((project / "benchmarks" / "precision.json").read_text())
)
arithmetic = open_points.by_arithmetic(record)
by_start = arithmetic[arithmetic.detector.isin(["gmm", "b-gmm", "if"])]
spread = {
    f"float{bits}": by_start.apply(
        f"{{0.float{bits}:.1f}} ± {{0.sd{bits}:.1f}}".format, axis=1
    )
    for bits in (64, 32)
}
signed = by_start[["difference", "low", "high"]].map(tables.signed)
text = pd.DataFrame(
    {
        "recordings": by_start["where"],
        "ID": by_start.machine + " " + by_start.id,
        "patches": by_start.n_train.map("{:,}".format),
        "detector": by_start.detector.map(tables.NAMES),
        "starts": by_start.starts,
        **spread,
        "difference": signed.difference,
        "95 % interval": signed.low + " to " + signed.high,
    }
).reset_index(drop=True)
networks = ", ".join(EXTRACTORS[name].title for name in record.extractor.unique())
tables.html_table(text, f"AUC by arithmetic, {networks}", "table1")

# %% tags=["remove-cell"]
few = arithmetic[arithmetic["where"] == "real recordings"]
few = few[few.detector == "gmm"].nlargest(1, "n_train").iloc[0]
full = arithmetic[arithmetic["where"] == "full size"]
mixtures = full[full.detector.isin(["gmm", "b-gmm"])]
others = arithmetic[~arithmetic.detector.isin(["gmm", "b-gmm"])]
shown = mixtures[(mixtures.low > 0) | (mixtures.high < 0)]
widest = mixtures.loc[mixtures.difference.abs().idxmax()]
pairs = record[record.detector == "b-gmm"].pivot(
    index=["where", "id", "n_train", "extractor", "start"],
    columns="precision",
    values="auc",
)
same = (pairs.float32 - pairs.float64).abs() < 0.0005


def percent(row, name):
    return f"{row[name]:.1f} ± {row['sd' + name[-2:]]:.1f}"


if mixtures.failed.any():
    reading = (
        f"{mixtures.failed.sum()} of the float32 fits of this size failed, so a "
        "paper that reports these rows cannot have computed in float32 with this "
        "version of scikit-learn"
    )
elif len(shown):
    reading = (
        f"{len(shown)} of {len(mixtures)} differences between the arithmetics are "
        "larger than the starts explain, so the paper's rows of GMM and B-GMM may "
        "rest on its arithmetic by that much"
    )
else:
    reading = (
        "no difference between the arithmetics is larger than the starts explain, "
        "so the paper's rows are compared with ours whichever it used, within the "
        "intervals of the table"
    )
glue("few_patches", f"{few.n_train:,}", display=False)
glue("few_starts", int(few.starts), display=False)
glue("few_64", percent(few, "float64"), display=False)
glue("few_32", percent(few, "float32"), display=False)
glue("full_patches", f"{mixtures.n_train.max():,}", display=False)
glue("full_largest", tables.signed(widest.difference), display=False)
glue("full_low", tables.signed(widest.low), display=False)
glue("full_high", tables.signed(widest.high), display=False)
glue("same", f"{same.sum()} of {len(same)}", display=False)
glue("full_reading", reading, display=False)
glue("others", f"{others.difference.abs().max():.1f}", display=False)

# %% [markdown]
# AUC in percent, mean and standard deviation (`sd`) over the starts; the difference is float32 minus float64, with its 95 % interval over starts
# alone. On {glue:text}`few_patches` patches of real recordings a GMM of 80 components has an AUC of {glue:text}`few_64` in
# float64 and of {glue:text}`few_32` in float32, over {glue:text}`few_starts` starts. These are few patches for 80 components, and two
# abnormal clips: the figures show that the arithmetic matters there, not which one is better.
#
# A whole machine ID trains on some {glue:text}`full_patches` patches. There {glue:text}`full_reading`. The largest difference of a
# mixture is {glue:text}`full_largest` points ({glue:text}`full_low` to {glue:text}`full_high`). The prior of the B-GMM keeps its
# variances away from 0: it gives the same AUC in {glue:text}`same` starts of all places; rounding can still lead its
# iterations to another optimum. The detectors without components differ by at most {glue:text}`others` points.

# %% [markdown]
# ## Measure more
#
# The profile says how many machine types, machine IDs and seeds are used, for example
# `sensitivity: {machines: 2, ids: 1, seeds: 2}`. The profile `mimii` uses all of them. The same numbers are printed by
#
# ```bash
# mimii choices DATA --machine fan
# ```

# %% [markdown]
# ## Exercises
#
# **1.** Point 18 says that the paper's bandwidth of 0.1 makes the kernel density a nearest-neighbour distance. From which bandwidth
# on does the AUC change?

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
# **2.** How many of the alternatives above would have an interval that excludes 0 if none of them changed anything? Compare with the number that do.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from scipy.stats import binom

n = len(measured)
f"{len(significant)} of {n}; by chance {0.05 * n:.1f}, and more than {binom.ppf(0.95, n, 0.05):.0f} one time in twenty"

# %% [markdown]
# (The alternatives share their clips, so their errors are correlated and this count varies more than the binomial distribution says.)
