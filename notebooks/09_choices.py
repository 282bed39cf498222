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
# The paper leaves points open, and [we had to choose](open_points.ipynb). How much do the results depend on these choices? We run
# alternatives against the default, on the same clips and seeds, and look at the change of the AUC.

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

# %% [markdown]
# ## On which machine IDs?
#
# An AUC near 100 % has no room to rise, and one near 50 % little to lose.
#
# :::{admonition} We decided
# :class: decision
# Of each machine type we take the machine ID whose AUC by default is closest to 75 %, halfway between chance and perfection: the mean over the
# detectors and the seeds. The rule looks at the default only. It says where a change can be seen, and prefers no alternative.
# :::

# %% tags=["hide-input"]
from mimii_lib.pages import evidence, open_points, run_box
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
measured_part = open_points.measured_part(runs)
run_box.facts(measured_part)

# %% [markdown]
# ## How an alternative is measured
#
# For each alternative, a second run differs from the default run in that choice alone. (Where a choice matters only beside another one, both
# runs have that other one; the table says *against* which run.) Both have the machine IDs, the seeds and the
# network in the box. Of the detectors that the choice can affect, {glue:text}`detectors` are run, or all of them if none of these is
# among them. The change is the mean AUC of the alternative minus that of the default, in percentage points.
#
# Both runs score the same clips, so their errors are correlated, and the difference is more certain than either AUC. Its 95 % interval is that of
# a percentile bootstrap: the test clips of each machine ID are drawn with replacement a thousand times, and so are the seeds if there are several,
# jointly for both runs. The training clips are not drawn again, so the interval does not hold the error due to the training set. Each drawn difference is one of two AUCs, so no interval leaves the range of −100 to +100 points. *No change*
# stands where the difference and its interval are 0.0 to one decimal.

# %%
from mimii_lib.pages import figures, tables

effects = open_points.effects(runs)

# %% tags=["remove-cell"]
from myst_nb import glue

from mimii_lib.extractors import EXTRACTORS
from mimii_lib.settings import Settings


def count(number, noun):
    return f"{number} {noun}{'s' * (number != 1)}"


n_ids = sum(len(part.ids) for part in measured_part)
measured = open_points.measured(effects)
changed = measured[(measured.low != 0) | (measured.high != 0)]
significant = changed[(changed.low > 0) | (changed.high < 0)]
largest = measured.loc[measured.difference.abs().idxmax()]
names = [
    tables.NAMES[name]
    for name in measured_part[0].profile.sensitivity.detectors
    if name in measured_part[0].profile.detectors
]
glue("detectors", ", ".join(names), display=False)
glue("n_ids", count(n_ids, "machine ID"), display=False)
n_seeds = len(measured_part[0].profile.seeds)
glue("n_seeds", count(n_seeds, "seed"), display=False)
glue("n_alternatives", len(effects), display=False)
glue("n_measured", len(measured), display=False)
glue("n_unchanged", len(measured) - len(changed), display=False)
glue("n_changed", len(changed), display=False)
glue("n_significant", len(significant), display=False)
glue("largest", f"{largest.title}, {largest.alternative}", display=False)
glue("largest_points", tables.signed(largest.difference), display=False)
glue("verdict", tables.verdict(runs), display=False)
network = EXTRACTORS[measured_part[0].stages.extractors[0]].title
glue("network", network, display=False)

# %% [markdown]
# ## All alternatives

# %% mystnb={"figure": {"caption": "Change of the mean AUC by each alternative, with its 95 % interval. Orange diamonds: the interval excludes 0. Blue dots: it includes 0. An arrow stands for a change beyond the axis, with its number. Alternatives without any change are left out."}, "image": {"alt": "A line for each alternative: its change of the AUC as a mark on its interval, and 0 as a vertical line through the figure"}}
figures.effects(effects)

# %%
open_points.effects_table(effects)

# %% [markdown]
# {glue:text}`n_measured` of {glue:text}`n_alternatives` alternatives were run, on {glue:text}`n_ids` and {glue:text}`n_seeds`, with
# {glue:text}`network`. Without any change: {glue:text}`n_unchanged`. Of the other {glue:text}`n_changed` intervals, {glue:text}`n_significant`
# exclude 0; exercise 2 asks how many would by chance. The largest change is {glue:text}`largest_points` points
# ({glue:text}`largest`).
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
# Point 11 above is the first claim. The second is about the ranking of the networks: the next table compares their mean AUC over the
# detectors, machine IDs and seeds, with all features and at equal dimension.

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
    by_snr = tables.bullets(["Not shown: the recordings are not MIMII's."])
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
# `benchmarks/precision.py` fits each detector in both, from random starts on one split, in three places: a miniature of
# {glue:text}`n_miniature` training clips, real recordings of a slider, and synthesised recordings of whole machine IDs of MIMII's size. This
# page shows its record.

# %% tags=["hide-input"]
import json
from pathlib import Path

import pandas as pd

project = Path("..") if Path("../benchmarks").is_dir() else Path()
record = pd.DataFrame(
    json.loads((project / "benchmarks" / "precision.json").read_text())
)
arithmetic = evidence.by_arithmetic(record)
by_start = arithmetic[arithmetic.detector.isin(["gmm", "b-gmm", "if"])]
spread = {
    f"float{bits}": by_start.apply(
        f"{{0.float{bits}:.1f}} ± {{0.sd{bits}:.1f}}".format, axis=1
    )
    for bits in (64, 32)
}
signed = by_start[["difference", "low", "high"]].map(tables.signed)
equal = (signed == "0.0").all(axis=1)
text = pd.DataFrame(
    {
        "recordings": by_start["where"],
        "ID": by_start.machine + " " + by_start.id,
        "patches": by_start.n_train.map("{:,}".format),
        "detector": by_start.detector.map(tables.NAMES),
        "starts": by_start.starts,
        **spread,
        "difference": signed.difference.mask(equal, "no change"),
        "95 % interval": (signed.low + " to " + signed.high).mask(equal, ""),
    }
).reset_index(drop=True)
networks = ", ".join(EXTRACTORS[name].title for name in record.extractor.unique())
caption = f"AUC by arithmetic, {networks}; the rows “full size” are from sounds with the former severities of the miniature"
tables.html_table(text, caption, "table1")

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
        f"There {mixtures.failed.sum()} of the float32 fits of this size failed, so a "
        "paper that reports these rows cannot have computed in float32 with this "
        "version of scikit-learn"
    )
elif len(shown):
    reading = (
        f"There {len(shown)} of {len(mixtures)} differences between the arithmetics are "
        "larger than the starts explain, so the paper's rows of GMM and B-GMM may "
        "rest on its arithmetic by that much"
    )
else:
    reading = (
        f"With {tables.number_range(mixtures.starts)} starts on "
        f"{count(mixtures.id.nunique(), 'synthesised machine ID')} no difference was "
        "found, but differences of up to "
        f"{mixtures[['low', 'high']].abs().max(axis=None):.1f} points are not excluded"
    )
miniature = arithmetic[arithmetic["where"] == "miniature"].n_train
per_clip = Settings().imaging.patches
glue("n_miniature", tables.number_range(miniature // per_clip), display=False)
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
by_at_most = f"{others.difference.abs().max():.1f}"
differ = f"differ by at most {by_at_most} points"
glue("others", differ if float(by_at_most) else "do not differ", display=False)

# %% [markdown]
# AUC in percent, mean and standard deviation (`sd`) over the starts; the difference is float32 minus float64, with its 95 % interval over starts
# alone. On {glue:text}`few_patches` patches of real recordings a GMM of 80 components has an AUC of {glue:text}`few_64` in
# float64 and of {glue:text}`few_32` in float32, over {glue:text}`few_starts` starts. These are few patches for 80 components, and two
# abnormal clips: the figures show that the arithmetic matters there, not which one is better.
#
# Of the synthesised machine IDs of MIMII's size, the largest trains on {glue:text}`full_patches` patches. {glue:text}`full_reading`. The largest difference of a
# mixture is {glue:text}`full_largest` points ({glue:text}`full_low` to {glue:text}`full_high`). The prior of the B-GMM keeps its
# variances away from 0: it gives the same AUC in {glue:text}`same` starts of all places; rounding can still lead its
# iterations to another optimum. The AUCs of the detectors without components {glue:text}`others`.

# %% [markdown]
# ## Measure more
#
# The profile says how many machine types, machine IDs and seeds are used, which detectors, and how many alternatives of a setting if they need new
# features, for example `sensitivity: {machines: 2, ids: 1, seeds: 2, detectors: [gmm, kde], alternatives: 1}`. The profile `mimii` uses all of
# them. The same numbers are printed by
#
# ```bash
# mimii choices DATA --machine fan
# ```

# %% [markdown]
# ## Exercises
#
# **1.** Point 18 says that the paper's bandwidth of 0.1 makes the kernel density a nearest-neighbour distance. Compare wider kernels with it:
# how does the order of the test clips change (Spearman's rank correlation of their scores with those at 0.1), and at which bandwidth does an
# AUC first differ?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from itertools import product

from scipy.stats import spearmanr

from mimii_lib.evaluation import auc


def clips_at(width):
    change = {"detectors.bandwidth": width}
    for part in measured_part:
        run = part.with_overrides(detectors="kde", settings=change)
        run.auc()  # computes what is missing
        for machine_id, seed in product(run.ids, run.profile.seeds):
            yield run.clip_scores(machine_id, run.stages.extractors[0], "kde", seed)


nearest = list(clips_at(0.1))
rows = []
for width in (0.1, 1.0, 3.0, 10.0, 30.0, 100.0):
    for before, clips in zip(nearest, clips_at(width), strict=True):
        order = spearmanr(before.scores, clips.scores).statistic
        areas = [100 * auc(c.anomalous, c.scores) for c in (before, clips)]
        rows.append((width, order, areas[1], areas[1] - areas[0]))
kernels = pd.DataFrame(rows, columns=["bandwidth", "order", "auc", "change"])
by_width = kernels.groupby("bandwidth").agg(
    **{"lowest rank correlation": ("order", "min"), "mean AUC": ("auc", "mean")},
    **{"smallest change": ("change", "min"), "largest change": ("change", "max")},
)
by_width.round(dict.fromkeys(by_width, 1) | {"lowest rank correlation": 3})

# %% tags=["remove-cell"]
other_order = kernels[kernels.order < 1 - 1e-9]
other_auc = kernels[kernels.change.abs() > 1e-6]
if other_order.empty:
    orders = "At none of these bandwidths does the order of the clips change."
else:
    first, lowest = other_order.bandwidth.min(), other_order.order.min()
    orders = (
        f"The order of the clips first differs from that of the nearest neighbours at a "
        f"bandwidth of {first:g}; the lowest rank correlation of all is {lowest:.3f}."
    )
if other_auc.empty:
    areas = "No AUC differs at any of them."
else:
    first = other_auc.bandwidth.min()
    n_other = len(other_auc[other_auc.bandwidth == first])
    areas = (
        f"An AUC first differs at {first:g}, in {n_other} of {len(nearest)} cases (machine ID and seed); "
        f"all changes lie between {tables.signed(kernels.change.min())} and "
        f"{tables.signed(kernels.change.max())} points."
    )
glue("orders", orders, display=False)
glue("areas", areas, display=False)

# %% [markdown]
# :::{dropdown} Interpretation
# {glue:text}`orders` {glue:text}`areas` With a wider kernel more neighbours count. The AUC changes only where a normal and an abnormal clip
# change places, so the order can change without it.
# :::
#
# **2.** Suppose that none of the alternatives changed anything, so that each interval excludes 0 with a probability of 5 %. How probable is
# it that at least as many exclude it as above?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from scipy.stats import binom

n, k = len(changed), len(significant)
f"{k} of {n} exclude 0; {0.05 * n:.1f} would by chance, and {k} or more with a probability of {100 * binom.sf(k - 1, n, 0.05):.1f} %"

# %% [markdown]
# (The alternatives share their clips, so their errors are correlated and this count varies more than the binomial distribution says.)
