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
# (claims)=
# # The paper's statements, tested
#
# The paper draws its conclusions in §6 by counting: how often each network and each detector is first, and how often an auto-encoder
# is. Some row of any table is first, and another row may be first on other clips of the same machines. This page tests each
# statement on the paper's own Table 1 and on our results.

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
from dataclasses import replace

from myst_nb import glue

from mimii_lib.pages import claims, contrasts, open_points, run_box, tables
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
# ## First and second places
#
# :::{admonition} The paper says
# :class: paper
# §6 ranks networks and detectors by how often they are best and second best of a column, and gives the numbers.
# :::
#
# The two tables show these numbers beside those that we count in the published Table 1.

# %%
claims.place_table("features")

# %%
claims.place_table("detector")

# %% tags=["remove-cell"]
from mimii_lib.paper import RANKINGS

published = contrasts.published()
places = claims.place_counts(published, "features")
in_text = sum(second for _, second in RANKINGS["features"].values())
glue("n_second_in_text", in_text, display=False)
glue("n_second", int(places.second.sum()), display=False)
glue("n_shared", int(places.shared.sum()), display=False)
glue("n_columns", published.table.shape[1], display=False)

# %% [markdown]
# The first places agree with the text. The second places do not: the text has {glue:text}`n_second_in_text` of them for
# {glue:text}`n_columns` columns, and the table has {glue:text}`n_second`. {glue:text}`n_shared` places are shared with another row.
#
# ## Every statement
#
# :::{admonition} We decided
# :class: decision
# We test each statement by a **contrast**: a weighted sum of the table's cells that is 0 if there is no effect and positive if the
# statement is right. The standard error of a published cell is that of {cite:t}`hanley1982meaning`. The paper gives no error correlations;
# we use the worst of four assumptions. The errors of our cells and their correlations come from a bootstrap of clips, jointly for all seeds and
# rows. The p-values are corrected for the number of statements {cite:p}`benjamini2001control`. A statement **holds** or **does not hold** if
# its p-value is at most 0.05; otherwise the test is **inconclusive**.
# :::

# %% tags=["hide-input"]
in_paper, in_ours = claims.verdicts(published), None
if run_box.comparable(runs):
    estimates = {
        (run.machine, machine_id): run.results.estimates(machine_id)
        for run in runs
        for machine_id in run.recordings.evaluable
    }
    reduced = map(contrasts.reproduced, open_points.reduced(runs))
    reproduced = contrasts.reproduced(estimates)
    in_ours = claims.verdicts(replace(reproduced, reduced=tuple(reduced)))
claims.verdict_table(
    in_paper,
    in_ours,
    why_not="the recordings are not MIMII's",
    scope=run_box.scope(runs),
)

# %% tags=["remove-cell"]
glue("n_claims", len(in_paper), display=False)
for name, verdict in (
    ("n_hold", claims.HOLDS),
    ("n_do_not", claims.DOES_NOT),
    ("n_inconclusive", claims.INCONCLUSIVE),
):
    glue(name, int((in_paper.verdict == verdict).sum()), display=False)
firmest = in_paper[in_paper.low.notna()].p.idxmin()
glue("firmest", claims.CLAIMS.says[firmest].rstrip("."), display=False)
for name in ("value", "low", "high"):
    glue(f"firmest_{name}", float(in_paper[name][firmest]), display=False)
glue("autoencoders", in_paper.counted["1a"], display=False)
contrary = in_paper[
    (in_paper.verdict == claims.HOLDS) & in_paper.as_worded.eq(False)
]
glue("contrary", ", ".join(contrary.index) or "none", display=False)
glue("verdict", tables.verdict(runs), display=False)

# %% [markdown]
# Of {glue:text}`n_claims` statements, {glue:text}`n_hold` hold in the paper's own table, {glue:text}`n_do_not` do not, and for
# {glue:text}`n_inconclusive` the test is inconclusive. The contrast with the smallest p-value belongs to the statement
# “{glue:text}`firmest`”: {glue:text}`firmest_value:.1f` points ({glue:text}`firmest_low:.1f` to {glue:text}`firmest_high:.1f`). The first places
# of the auto-encoders are weak evidence (1a): {glue:text}`autoencoders`. Statements that hold on average although the count does not agree:
# {glue:text}`contrary`.
#
# {glue:text}`verdict`
#
# ## Exercises
#
# **1.** Some of {glue:text}`n_claims` tests may be significant by chance. Which inconclusive statements would be significant without
# the correction for their number?

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell"]
uncorrected = claims.statement_contrasts(published)
inconclusive = in_paper.verdict[uncorrected.index] == claims.INCONCLUSIVE
uncorrected[inconclusive & (uncorrected.p < 0.05)]

# %% [markdown]
# **2.** How firmly do the ResNets lead (2a)? Subtract points from all of their cells until the verdict changes.

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell"]
is_resnet = published.table.index.isin(claims.RESNETS, level="features")
verdicts = {}
for points in (0, 1, 2, 3, 5):
    lowered = published.table.sub(points * is_resnet, axis=0)
    outcomes = claims.verdicts(replace(published, table=lowered))
    verdicts[points] = outcomes.verdict["2a"]
verdicts

# %% [markdown]
# **3.** Test the statements on one machine type at a time. Which of them need all four?

# %% mystnb={"code_prompt_hide": "Hide the solution", "code_prompt_show": "Show a solution"} tags=["hide-cell"]
fans = published.select(published.table.index, published.table.columns[:4])
claims.verdicts(fans)[["counted", "p", "verdict"]]

# %% [markdown]
# :::{dropdown} What it says
# Statements that compare machine types (2c, 4a, 4d) cannot be tested on one of them. Most of the others become inconclusive: with a
# quarter of the cells the standard error is about twice as large.
# :::
#
# ## In short
#
# Counting first places identifies the paper's leaders, and most of its statements hold within the sampling error of its table.
# Which of two neighbours in the ranking is better remains inconclusive.
