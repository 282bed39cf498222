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
# (faults)=
# # What was broken on purpose
#
# MIMII is a hundred gigabytes, and the paper's experiment on it takes days. In that time connections break, disks fill, machines lose
# their power, and somebody stops the run to start another. A run should end in one of two ways: with a correct result, or with a message that
# says what is wrong and what to do. Earlier results must not be lost.
#
# This page lists the faults that were tried: on kept results, recordings, weights, parameters, disks, servers and running processes.
# `tests/faults.py` starts whole runs, causes one fault in each, and compares the outcome with that
# of an undisturbed run. ✓ marks a fault that ended as it should, ✗ one that did not, – one that was not tried.

# %% tags=["parameters", "remove-cell"]
record = "benchmarks/faults.json"  # record of the last full run, a path below the project's folder

# %% tags=["hide-input"]
import json

import pandas as pd
from IPython.display import HTML

from mimii_lib.run.profiles import ROOT

trials = json.loads((ROOT / record).read_text())
outcomes = pd.DataFrame(trials["outcomes"])
marks = outcomes.passed.map({True: "✓ ", False: "✗ wrong: "}).fillna("– ")
table = pd.DataFrame(
    {
        "kind": outcomes.kind,
        "fault": outcomes.fault,
        "outcome": marks + outcomes.result,
    }
)
with pd.option_context("display.max_colwidth", None):
    page = table.to_html(classes="words", index=False, border=0)
HTML(page)

# %% tags=["remove-cell"]
from myst_nb import glue

machine, commit = trials["machine"], trials["commit"]
glue("date", trials["date"], display=False)
glue(
    "where",
    f"{machine['processor']}, {machine['cores']} cores, {machine['system']}",
    display=False,
)
glue("commit", commit[:10] + commit[40:], display=False)
glue("form", trials["form"], display=False)
glue("minutes", round(trials["seconds"] / 60), display=False)
glue("n_passed", int(outcomes.passed.eq(True).sum()), display=False)
glue("n_wrong", int(outcomes.passed.eq(False).sum()), display=False)
glue("n_not_tried", int(outcomes.passed.isna().sum()), display=False)

# %% [markdown]
# {glue:text}`n_passed` faults ended as they should, {glue:text}`n_wrong` did not, and {glue:text}`n_not_tried` could not be tried. The table is the
# record of the {glue:text}`form` form, run on {glue:text}`date` at commit {glue:text}`commit` on {glue:text}`where`; it took
# {glue:text}`minutes` minutes. To try the faults on your own machine:
#
# ```bash
# make faults
# ```
#
# This command runs the long form, which also kills `make book`, and replaces the record. `make test` runs the trials that take
# seconds, and tests the readers of files, the archives and the server errors one by one.
#
# ## How the faults are handled
#
# **Recordings are checked first.** Every clip is read once before anything is computed, so a broken clip is named before the first
# result. A clip that changes afterwards stops the run: every kept result is of the bytes that were read. You repair it, or you set `split.unreadable=leave_out`; then every page that rests on it says what was left out.
#
# **Results are written in one step.** A result is written under a temporary name, flushed to the disk, and then moved into
# place. A reader finds the old file or the new one, never half of one.
#
# **Results are keyed by their inputs.** A result is kept under a digest of the settings, the contents of the clips, the weights, the source code and
# the versions that it depends on. All of them stand in plain text beside it (`.cache/*/*/key.json`). After a change the
# cache need not be cleared: another setting gives another digest, and results that do not depend on the setting are used again.
#
# **Results are sealed.** Beside a result lies a digest of its key and of its content. A kept file that was edited, damaged or exchanged for
# another is noticed when it is read, and computed again. Reading one executes nothing.
#
# **Results are locked.** The process that computes a result holds its lock. A second process that needs the same result waits and reads it.
# The operating system releases the lock when the process is killed. Two runs of `make book` in one folder run one after the other.
#
# **Downloads are verified.** An archive is opened after its md5 was verified, and only clips are extracted from it.
# Weights have a known sha256, and are loaded as numbers only, so that loading executes nothing. Weights that describe every patch by the
# same numbers, or by none, end the run.
#
# :::{admonition} Not covered
# :class: open
# Power was not cut: processes were killed, and kept files were truncated, as a power cut can leave them.
# We rely on the operating system to write files to the disk before they are moved into place. Locks need a file system that supports them; some shared ones do not.
# :::
