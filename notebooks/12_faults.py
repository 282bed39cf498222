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
# A promise of that kind is worth what was done to break it. When this book is made, a script breaks things one after
# another and looks at what comes of it. ✓ stands where that is right, ✗ where it is not, – where it was not tried.

# %% tags=["hide-input"]
from mimii_lib.pages import tables

tried = tables.faults_tried()
tables.faults(tried)

# %% tags=["remove-cell"]
from myst_nb import glue

glue("n_held", sum(each["held"] is True for each in tried), display=False)
glue("n_wrong", sum(each["held"] is False for each in tried), display=False)
glue("n_not_tried", sum(each["held"] is None for each in tried), display=False)

# %% [markdown]
# {glue:text}`n_held` faults ended as they should, {glue:text}`n_wrong` did not, and {glue:text}`n_not_tried` could not be
# tried here. Try them on your own machine:
#
# ```bash
# make faults
# ```
#
# That takes half an hour, since it kills more often, and breaks off the making of whole books, too. `make test` has those that take seconds.
#
# ## Why it holds
#
# **Looked at first.** Every clip is read once before anything is computed. A broken one is named before the first result, not on the
# third day. You mend it, or say `split.unreadable=leave_out`, and then every page that rests on it says what was left out.
#
# **Whole or not there.** Whatever is kept is written under a temporary name, brought to the disk, and then moved into
# place in one step. A reader finds the old file or the new one, never half of one.
#
# **Known by what made it.** A result lies under a digest of the settings, the contents of the clips, the weights, the source code and the
# versions that it depends on, with all of them in plain text beside it (`.cache/*/*/key.json`). Nothing has to be told that
# something changed: another setting means another digest, and everything that does not depend on it is found again.
#
# **One at a time.** Who computes a result locks its place. A second process that needs the same result waits and reads it.
# The operating system opens the lock when its holder is killed. Two runs of `make book` in one folder follow each other, and
# a page or a table waits for a job that outlived a run that was killed.
#
# **Nothing trusted unseen.** An archive is opened after its md5 was found right, and only clips are taken out of it.
# Weights have a known sha256 and are loaded as numbers alone, without anything that could be executed.
#
# :::{admonition} Not covered
# :class: open
# A disk that returns other bytes than were written, without an error, is not noticed. A power cut was not tried, only killed
# processes: that files reach the disk before they are moved into place rests on the operating system's word. Locks need a file system that has
# them, which a network share may lack.
# :::
