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
# (scale)=
# # At full size
#
# The miniature of this book is made to be waited for. MIMII is not: how long does the paper's experiment take, what does it
# need, and what do you leave out if you have less? This page counts the work, reports a rehearsal of it at full size, and
# says how to spread it over several machines.

# %% [markdown]
# ## How large it is
#
# MIMII's numbers of clips are published, the paper's settings cut each clip into patches, and a network's operations can be
# counted. So the size of the experiment is known before a single clip is there.

# %% tags=["remove-cell"]
import pandas as pd
from myst_nb import glue

from mimii_lib.pages import scale, tables
from mimii_lib.settings import load_profile
from mimii_lib.data.formatting import duration, gigabytes

paper = load_profile("mimii")
sizes = scale.sizes()
work = scale.operations(paper) / 1e15
glue("clips", f"{sizes.clips.sum():,}", display=False)
glue("patches", f"{sizes.patches.sum():,}", display=False)
glue("smallest", f"{sizes.train.min():,}", display=False)
glue("largest", f"{sizes.train.max():,}", display=False)
glue("total", float(work.sum()), display=False)
glue("lenet", float(work["LeNet-DCAE"]), display=False)
glue("epochs", paper.settings.autoencoders.epochs, display=False)
glue("lenet_share", f"{work['LeNet-DCAE'] / work.sum():.0%}", display=False)

# %% tags=["hide-input"]
scale.operations(paper).div(1e15).round(2).rename("PFLOP").to_frame()

# %% [markdown]
# At one signal-to-noise ratio that is {glue:text}`clips` clips and {glue:text}`patches` patches; a detector trains on
# {glue:text}`smallest` to {glue:text}`largest` of them. A PFLOP is 10¹⁵ operations, a multiplication and an addition counted as
# two; the mixtures are counted with all the iterations that the paper allows. Of {glue:text}`total:.0f` PFLOP, the
# LeNet-DCAE takes {glue:text}`lenet:.0f`: **{glue:text}`lenet_share` of the work is one of the two baselines**, trained for
# {glue:text}`epochs` epochs on each machine ID and each seed. And that is the cheaper way: its decoder enlarges a picture by repeating pixels before it
# convolves, and we add up the repeated products beforehand (`autoencoders.upsample_and_deconvolve`).
#
# ## A rehearsal
#
# Counting is not doing. So we made a tree with {glue:text}`share` of MIMII's clips in each folder, mixed from the
# miniature's sounds (`mimii miniature DEST --share 1`), and ran the workflow on it, from the check of the
# files to the rendered book. The AUCs mean nothing. The times do. It ran

# %% tags=["hide-input"]
records = scale.rehearsals()
record = records[-1]
tables.bullets(record["facts"])

# %% tags=["hide-input"]
tables.rehearsal_facts(record)

# %% tags=["hide-input"]
tables.rehearsal_stages(records)

# %% tags=["remove-cell"]
took = [stage for stage in record["stages"] if stage["took"]]
near = [
    stage for stage in took if 0.75 <= stage["forecast"] / stage["took"] <= 1.25
]
glue("share", f"{record['share']:.0%}", display=False)
glue("n_near", len(near), display=False)
glue("n_stages", len(took), display=False)
glue(
    "others",
    ", ".join(stage["what"] for stage in took if stage not in near) or "none",
    display=False,
)
glue("said", duration(sum(stage["forecast"] for stage in took)), display=False)
glue("in_all", duration(sum(stage["took"] for stage in took)), display=False)
glue("clock", duration(record["seconds"]["until the last AUC"]), display=False)
glue(
    "first",
    f"{records[0]['clips']:,} clips"
    if scale.growth(records) is not None
    else "fewer clips; there is none on record",
    display=False,
)
glue("peak", gigabytes(record["memory"]["book"]), display=False)
glue(
    "foretold",
    gigabytes(record["forecast"]["memory"] * record["workers"]),
    display=False,
)
glue("workers", record["workers"], display=False)
glue("disk_said", gigabytes(record["forecast"]["bytes"]), display=False)
glue("disk_kept", gigabytes(record["disk"]["kept"]), display=False)

# %% [markdown]
# The forecast (`mimii forecast`) was made before, from a measurement of a minute or two on some of the clips. {glue:text}`n_near` of
# {glue:text}`n_stages` stages were forecast within a quarter (the others: {glue:text}`others`); together they were forecast
# at {glue:text}`said` and took {glue:text}`in_all`, with every core at work. What a mixture takes depends on how soon it settles, so
# it is the hardest to foretell.
#
# The last column compares with a rehearsal on {glue:text}`first`: a stage that grows by 1 takes twice as long for twice
# the clips, one that grows by 2 four times as long.

# %% tags=["hide-input"]
tables.rehearsal_steps(record)

# %% [markdown]
# From start to end the last AUC was there after {glue:text}`clock`: processes start, the workflow makes the forecast once more for
# itself, and cores idle while the last machine type is finished alone. Memory peaked at {glue:text}`peak` with {glue:text}`workers` machine
# types at once; the forecast allowed for {glue:text}`foretold`. It is bounded by the largest machine ID, not by the set: spectrograms,
# features and detectors hold one ID at a time.

# %% tags=["hide-input"]
tables.rehearsal_disk(record)

# %% [markdown]
# {glue:text}`disk_said` of kept results were forecast, {glue:text}`disk_kept` were there. Disk grows in proportion to the clips, and with
# each network's dimension.
#
# ## All of Table 1
#
# For the same tree we also asked what everything would take: four networks, five detectors, two auto-encoders, five seeds, without
# the page on the open choices (`CHOICES=no`). The networks had random weights, which take as long as trained ones. This is a
# forecast; it was not run.

# %% tags=["hide-input"]
tables.whole_table(record)

# %% tags=["remove-cell"]
whole = record["whole"]
lenet = sum(s["seconds"] for s in whole["stages"] if s["what"].startswith("LeNet"))
rest = whole["seconds"] - lenet
n_jobs = len(paper.seeds) * len(sizes)
longest = lenet / n_jobs * sizes.train.max() / sizes.train.mean()
glue("whole_time", duration(whole["seconds"]), display=False)
glue("lenet_time", duration(lenet), display=False)
glue("rest_time", duration(rest), display=False)
glue("whole_disk", gigabytes(whole["bytes"]), display=False)
glue("whole_memory", gigabytes(whole["memory"] * record["workers"]), display=False)
glue("cores", record["machine"]["cores"], display=False)
rate = work["LeNet-DCAE"] * record["share"] * 1e3 / lenet
glue("rate", float(rate), display=False)
glue("longest", duration(longest), display=False)
glue("n_jobs", n_jobs, display=False)

# %% [markdown]
# **One machine** like this one, with {glue:text}`cores` cores, needs {glue:text}`whole_time`: {glue:text}`lenet_time` for the LeNet-DCAE and
# {glue:text}`rest_time` for all the rest of the table; {glue:text}`whole_disk` of disk beside the recordings, and up to
# {glue:text}`whole_memory` of memory. Two further SNRs are that much each.
#
# **One GPU** trains the auto-encoders where there is one (`autoencoders.device`, `auto` by default), and networks too. None was at
# hand when this was written, so what follows is arithmetic: the operations above over a rate that a GPU keeps up. Explanation up the rate of
# yours in float32 and expect a third to a half of what its maker states. The machine of the rehearsal keeps up
# {glue:text}`rate:.2f` TFLOP/s.

# %% tags=["hide-input"]
rates = [1, 3, 10, 30]
pd.DataFrame(
    {
        name: [duration(work[name] * 1e3 / rate) for rate in rates]
        for name in ("LeNet-DCAE", "Small-DCAE", "ResNet34")
    },
    index=pd.Index([f"{rate} TFLOP/s" for rate in rates], name="kept up"),
)

# %% [markdown]
# **A cluster** divides the time by its machines, until the longest job is all that is left to wait for. The LeNet-DCAE is
# {glue:text}`n_jobs` jobs, one for each machine ID and seed, and the longest of them takes {glue:text}`longest` on a machine
# like that one.

# %% tags=["hide-input"]
machines = [1, 4, 16, 80]
pd.Series(
    [
        duration(scale.makespan(longest, whole["seconds"], number))
        for number in machines
    ],
    index=pd.Index(machines, name="machines"),
    name="all of Table 1",
).to_frame()

# %% [markdown]
# ### What to leave out
#
# With less, leave out what costs most and says least. `mimii forecast` ranks it; for all of Table 1 it says:

# %% tags=["hide-input"]
tables.bullets(whole["suggestions"])

# %% [markdown]
# The paper's claim is about the twenty rows that rest on networks; the LeNet-DCAE is what they are compared with. One seed of it
# still makes that comparison, with a wider interval. Reducing precision (`autoencoders.precision=bfloat16`,
# `features.precision=bfloat16`) is faster on a processor that has it, but moves numbers
# ([what the choices change](choices.ipynb)).
#
# ## Nothing twice
#
# Each result is kept under a digest of exactly what it depends on. Features depend on the clips, the picture's settings and the
# network: all seeds and all detectors share them. Another detector or another seed finds them there, another SNR is another
# set of clips and finds nothing but the weights. Ask before you start:
#
# ```bash
# make plan PROFILE=mimii DATA=/data/mimii DETECTORS="gmm b-gmm if kde oc-svm" CHOICES=no
# ```
#
# reads the clips, measures for a minute or two, and prints how many pieces of each stage are there, how long they took, and how many
# are left, with time, memory and disk for those. It computes no result.
#
# ## On a cluster
#
# `make book` hands the order of work to [Snakemake](https://snakemake.readthedocs.io), and Snakemake can hand the jobs to a cluster
# instead of running them itself. For Slurm there is a profile, `profiles/slurm/config.yaml`: fill in the account, the partition and,
# for the auto-encoders, the GPU that your cluster asks for. Then, on a node that may submit,
#
# ```bash
# export MIMII_CACHE=/shared/cache               # where results are kept; by default .cache in the project
# make plan CLUSTER=slurm PROFILE=mimii DATA=/shared/mimii CHOICES=no
# make book CLUSTER=slurm PROFILE=mimii DATA=/shared/mimii CHOICES=no
# ```
#
# submits one job for the features and one for the detectors of each machine ID and network, one for each machine ID,
# baseline and seed, and then those that gather the scores and execute the pages. (The page on the open choices is one job for each machine
# type, and its auto-encoders make it a long one.) It stays until the book is made; leave it in `tmux`. If it is
# interrupted, the same command goes on. A job that a node loses is tried again. `SNAKEMAKE_ARGS=…` hands on options
# of Snakemake, such as `--slurm-status-command squeue` where no accounting keeps the ends of jobs.
#
# **What the nodes share**, at the same paths: the project's folder with its environment (`.venv`), the recordings, the kept
# results, and torchvision's downloads (`TORCH_HOME`, by default in the home folder), on a file system that locks between nodes (NFSv4, or Lustre with `flock`). Features and detectors belong on
# nodes of one kind, since a feature is known by the engine that computed it. Equal numbers of threads (`set-threads` in the
# profile) give equal numbers to the last bit.
#
# **How we know.** `tests/cluster/slurm.py` installs a Slurm of one node, runs the miniature on it, kills two jobs while they compute,
# and compares every table, every kept result and the pages with those of a local run. Several nodes, a GPU and a network
# file system were not at hand.
#
# **Kubernetes and clouds** are other executors of Snakemake (`kubernetes`, `googlebatch`, `aws-batch`), each a package and a few options in a
# profile like that one. They start containers instead of jobs, so the environment goes into an image. They share no
# folders of their own: mount a volume (a persistent volume claim, EFS, Filestore) with the recordings and `MIMII_CACHE` into every
# container, since results are folders with locks, which a bucket does not have; inputs and outputs of the workflow itself can lie in
# a bucket (`--default-storage-provider`). None of these was tried here.
#
# ## In short
#
# One machine with {glue:text}`cores` cores and {glue:text}`whole_memory` of memory carries the experiment. What it does not carry in
# reasonable time is one baseline, and that is the first thing to spread over machines, to give to a GPU, or to leave for fewer seeds.
