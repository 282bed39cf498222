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
# their power, and somebody stops the run to start another. What comes of it should be one of two things: a correct
# result, or a sentence that says what is wrong and what to do. And nothing that was there should be lost.
#
# A promise of that kind is worth what was done to break it. `tests/faults.py` starts whole runs, breaks one thing after another, and compares
# what comes of it with an undisturbed run. ✓ marks a fault that ended as it should, ✗ one that did not, – one that was not tried.

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
        "what was broken": outcomes.fault,
        "what came of it": marks + outcomes.result,
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
# {glue:text}`n_passed` faults ended as they should, {glue:text}`n_wrong` did not, and {glue:text}`n_not_tried` could not be tried. This is the
# record of a run of the {glue:text}`form` form on {glue:text}`date`, of commit {glue:text}`commit`, on {glue:text}`where`; it took
# {glue:text}`minutes` minutes. Try them on your own machine:
#
# ```bash
# make faults
# ```
#
# That runs the long form, which also kills the making of whole books, and writes the record anew. `make test` runs the trials that take
# seconds, and tests every reader of files, every archive and every server error on its own.
#
# ## Why it holds
#
# **Checked first.** Every clip is read once before anything is computed. A broken one is named before the first result, not on the
# third day. You repair it, or set `split.unreadable=leave_out`, and then every page that rests on it says what was left out.
#
# **Whole or not there.** A result is written under a temporary name, flushed to the disk, and then moved into
# place in one step. A reader finds the old file or the new one, never half of one.
#
# **Keyed by its inputs.** A result is kept under a digest of the settings, the contents of the clips, the weights, the source code and the
# versions that it depends on, with all of them in plain text beside it (`.cache/*/*/key.json`). A change needs no clearing of the
# cache: another setting means another digest, and every result that does not depend on it is used again.
#
# **One at a time.** The process that computes a result holds its lock. A second process that needs the same result waits and reads it.
# The operating system releases the lock when the process is killed. Two runs of `make book` in one folder follow each other, and
# a page or a table waits for a job that outlived a run that was killed.
#
# **Nothing trusted unseen.** An archive is opened after its md5 was verified, and only clips are extracted from it.
# Weights have a known sha256 and are loaded as numbers alone, without anything that could be executed.
#
# :::{admonition} Not covered
# :class: open
# A disk that returns other bytes than were written, without an error, is not noticed. No power was cut: processes were killed, and kept
# files were cut off as a power cut can leave them. That files reach the disk before they are moved into place rests on the operating
# system. Locks need a file system that supports them, which a network share may not.
# :::
