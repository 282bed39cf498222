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
# (report)=
# # The report
#
# This page lists what the results rest on: recordings, weights, versions, computing times and omissions. The file
# `results/report.json` holds the same facts, so that a script can compare two runs; `results/ro-crate-metadata.json` and
# `results/croissant.json` describe the run and its recordings to archives and search engines ([for reviewers](reviewing.ipynb)).

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
from html import escape

from mimii_lib.data.formatting import duration, gigabytes
from mimii_lib.pages import report, run_box, tables
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

# %% tags=["hide-input"]
summary = report.report(runs)
names = ("date", "commit", "profile", "engine")
facts = {name: summary[name] for name in names} | summary["machine"]
facts["memory"] = gigabytes(facts["memory"]) if facts["memory"] else "not known"
for network, origin in summary["weights"].items():
    facts[f"weights of {network}"] = f"{origin['source']} {origin['sha256']}"
facts["versions"] = ", ".join(map(" ".join, summary["versions"].items()))
facts["sha256 of all AUCs"] = summary["auc_sha256"]
rows = [(name, escape(str(fact))) for name, fact in facts.items()]
tables.word_table("How the results were computed", ("fact", "value"), rows)

# %% [markdown]
# ## Recordings
#
# The table lists the number of clips per machine ID, the sizes of the split, and a checksum of the contents. Runs with the same checksums used
# the same recordings.

# %%
import pandas as pd

recordings = pd.DataFrame(summary["data"]["ids"]).set_index(["machine", "id"])
recordings.assign(sha256=recordings.sha256.str[:12])

# %% [markdown]
# ## Results
#
# The mean AUC of every system over machine IDs and seeds, in percent. Two runs of a profile on one machine, with the same versions, give identical AUCs,
# whatever the number of threads. Another processor was not tried.

# %%
pd.Series(summary["auc"], name="AUC").to_frame()

# %% [markdown]
# ## Another engine
#
# An **engine** is the software that runs a network: OpenVINO or torch. Both compute in float32, but sum in another order, so that features
# differ by rounding. How far do AUCs move? We computed the AUCs of the five detectors on the features of SqueezeNet 1.1 with both engines, on the
# same recordings, weights, split and seed:

# %% tags=["hide-input"]
import json

from mimii_lib.run.profiles import ROOT

record = json.loads((ROOT / "benchmarks" / "engines.json").read_text())
compared = pd.DataFrame(record["rows"])
compared["difference"] = (compared.torch - compared.openvino).abs()
of_recordings = compared.groupby("recordings", sort=False)
pd.DataFrame(
    {
        "AUCs compared": of_recordings.size(),
        "AUCs that differ": of_recordings.difference.agg(
            lambda d: int((d > 0).sum())
        ),
        "largest difference (points)": of_recordings.difference.max().round(1),
    }
)

# %% tags=["remove-cell"]
from myst_nb import glue

glue("feature_difference", f"{compared.features.max():.0e}", display=False)
glue("engines", " and ".join(record["engines"]), display=False)
glue("engine_date", record["date"], display=False)
where = record["machine"]
glue("where", f"{where['processor']}, {where['cores']} cores", display=False)
glue("engine_commit", record["commit"][:10], display=False)

# %% [markdown]
# The largest relative difference of a patch's features is {glue:text}`feature_difference`. The record was made on {glue:text}`engine_date` at commit
# {glue:text}`engine_commit` on {glue:text}`where`, with {glue:text}`engines`, by `benchmarks/engines.py`.
#
# ## Computing time
#
# The time of each stage with all cores in use, where it was recorded:

# %%
pd.Series(summary["seconds"], name="time").map(duration).to_frame()

# %% [markdown]
# ## Omissions

# %% tags=["hide-input"]
tables.bullets(summary["left_out"] or ["All of Table 1 was run, on every clip."])
