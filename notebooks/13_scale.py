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
# The miniature of this book takes minutes; MIMII takes days. This page reports a rehearsal of the paper's experiment at full size: how long
# it took, and how much memory and disk. It then says what can be left out on a smaller machine, and how to divide the work over several.
#
# ## Size of the experiment
#
# The numbers of clips in MIMII are published, and the paper's settings cut each clip into the same number of patches.

# %%
import pandas as pd

from mimii_lib import paper
from mimii_lib.settings import Settings

per_clip = Settings().imaging.patches
counts = pd.DataFrame(
    [
        (machine, count.normal, count.abnormal)
        for machine, ids in paper.MIMII.items()
        for count in ids.values()
    ],
    columns=["machine", "normal", "abnormal"],
)
sizes = counts.groupby("machine").sum()
sizes["patches"] = per_clip * (sizes.normal + sizes.abnormal)
sizes

# %% tags=["remove-cell"]
import json
from pathlib import Path

import numpy as np
from myst_nb import glue

from mimii_lib.data.formatting import duration, gigabytes

pd.set_option("display.max_colwidth", None)
project = Path("..") if Path("../benchmarks").is_dir() else Path()
records = {}
for folder in ("benchmarks", "results"):  # the reader's own records come last
    for file in sorted((project / folder).glob("rehearsal_*.json")):
        content = json.loads(file.read_text())
        records[content["share"]] = content | {"file": f"{folder}/{file.name}"}
record = records[max(records)]
glue("clips", f"{len(counts)} machine IDs", display=False)
glue("patches", f"{sizes.patches.sum():,}", display=False)
glue("share", f"{record['share']:.0%}", display=False)
glue("file", record["file"], display=False)

# %% [markdown]
# At one signal-to-noise ratio these are {glue:text}`clips` with {glue:text}`patches` patches. Each network describes every
# patch once; every detector and auto-encoder is fitted for each machine ID and each of five seeds.
#
# ## A rehearsal
#
# `make rehearsal` makes a tree with {glue:text}`share` of MIMII's clips in each folder, mixed from the miniature's sounds, and
# runs the workflow on it, from the check of the files to the rendered book. Only its times matter: the sounds are synthetic, so its AUCs say
# nothing about MIMII. This page shows the record {glue:text}`file`, of this run:

# %% tags=["hide-input"]
machine = record["machine"]
pd.Series(
    {
        "clips": f"{record['clips']:,}",
        "date": record["date"],
        "processor": f"{machine['processor']}, {machine['cores']} cores",
        "memory": gigabytes(machine["memory"]),
        "machine types at once": record["workers"],
        "commit": record["commit"][:7],
        **dict(fact.split(": ", 1) for fact in record["facts"] if ": " in fact),
    },
    name="the rehearsal",
).to_frame()

# %% [markdown]
# The last line names the rows that were run, and the seeds of each machine type: one seed, but all five for the type with the fewest clips
# (`benchmarks/rehearsal.yaml`).
#
# The time of each stage, with every core at work, stands beside its forecast. The last column compares with a rehearsal on fewer
# clips on the same machine, if there is a record of one: a stage that grows by 1 takes twice as long for twice the clips, one that
# grows by 2 four times as long.

# %% tags=["hide-input"]
stages = pd.DataFrame(record["stages"]).set_index("what").rename_axis(None)
table = stages[["took", "forecast"]].map(duration)
smaller = [
    records[share]
    for share in sorted(records)
    if share < record["share"] and records[share]["machine"] == record["machine"]
]
if smaller:
    before = pd.DataFrame(smaller[0]["stages"]).set_index("what").took
    more = np.log(record["clips"] / smaller[0]["clips"])
    table["grows by"] = (np.log(stages.took / before[stages.index]) / more).round(2)
table

# %% tags=["remove-cell"]
glue("expected", duration(stages.forecast.sum()), display=False)
glue("took", duration(stages.took.sum()), display=False)
glue("clock", duration(record["seconds"]["until the last AUC"]), display=False)
glue("peak", gigabytes(record["memory"]["book"]), display=False)
memory = record["forecast"]["memory"] * record["workers"]
glue("expected_memory", gigabytes(memory), display=False)
more = record["memory"]["book"] / memory - 1
compared = f"{abs(more):.0%} {'more' if more > 0 else 'less'}"
glue("memory_compared", compared, display=False)
glue("expected_disk", gigabytes(record["forecast"]["bytes"]), display=False)
glue("disk", gigabytes(record["disk"]["kept"]), display=False)
glue("tree", gigabytes(record["disk"]["tree"]), display=False)

# %% [markdown]
# Together the stages were forecast at {glue:text}`expected` and took {glue:text}`took`. The time of a mixture depends on how soon
# it converges, so its forecast is the least certain. All AUCs were there {glue:text}`clock` after the start: this includes the start of
# processes, and cores that idle while the last machine type is finished.

# %% tags=["hide-input"]
steps = pd.DataFrame(
    {"time": record["seconds"], "memory at its peak": record["memory"]}
)
steps["time"] = [duration(seconds) for seconds in steps.time]
steps["memory at its peak"] = [
    gigabytes(size) if size > 0 else "–" for size in steps["memory at its peak"]
]
steps.loc[list(record["seconds"])]

# %% [markdown]
# Memory peaked at {glue:text}`peak`; {glue:text}`expected_memory` were forecast, so the run used {glue:text}`memory_compared`. The largest machine ID decides it, not the whole
# set: spectrograms, features and detectors hold one ID at a time. The recordings took {glue:text}`tree` of disk, one channel of
# eight, and the kept results {glue:text}`disk`; {glue:text}`expected_disk` were forecast. Disk grows in proportion to the clips
# and to the dimension of each network's features.
#
# ## All of Table 1
#
# For the same tree we also forecast every row: four networks, five detectors, two auto-encoders, five seeds, without the page on the
# open choices (`CHOICES=no`). The networks had random weights, which take as long as trained ones. All of Table 1 was not
# run; this is a forecast.

# %% tags=["hide-input"]
whole = record["whole"]
parts = pd.DataFrame(whole["stages"])
parts.index = parts.what.str.split(":").str[0].rename(None)
parts = parts.groupby(level=0)[["seconds", "bytes"]].sum()
parts = parts.sort_values("seconds", ascending=False)
pd.DataFrame(
    {
        "time": parts.seconds.map(duration),
        "share of the time": (parts.seconds / whole["seconds"]).map(
            "{:.1%}".format
        ),
        "disk": parts.bytes.map(gigabytes),
    }
)

# %% tags=["remove-cell"]
lenet = parts.seconds["LeNet-DCAE"]
n_jobs = 5 * len(counts)
longest = lenet / n_jobs * counts.normal.max() / counts.normal.mean()
glue("whole_time", duration(whole["seconds"]), display=False)
glue("lenet_time", duration(lenet), display=False)
glue("lenet_share", f"{lenet / whole['seconds']:.0%}", display=False)
small = parts.seconds["Small-DCAE"]
glue("rest_time", duration(whole["seconds"] - lenet), display=False)
glue("small_time", duration(small), display=False)
glue("network_time", duration(whole["seconds"] - lenet - small), display=False)
glue("whole_disk", gigabytes(whole["bytes"]), display=False)
glue("whole_memory", gigabytes(whole["memory"] * record["workers"]), display=False)
glue("cores", machine["cores"], display=False)
glue("longest", duration(longest), display=False)
glue("n_jobs", n_jobs, display=False)

# %% [markdown]
# **One machine** like this one, with {glue:text}`cores` cores, needs {glue:text}`whole_time` by this forecast. **The LeNet-DCAE, one of the two
# baselines, takes {glue:text}`lenet_share` of this time** ({glue:text}`lenet_time`): it is trained for 80 epochs on each machine ID and
# each seed. The other rows take {glue:text}`rest_time` together, of which the Small-DCAE, the other baseline, takes {glue:text}`small_time`;
# without both auto-encoders {glue:text}`network_time` remain. The run needs {glue:text}`whole_disk` of disk beside the
# recordings, and by forecast up to {glue:text}`whole_memory` of memory. Each further SNR needs as much again.
#
# **One GPU**, where there is one, trains the auto-encoders (`autoencoders.device`, `auto` by default) and runs the networks. The rehearsal
# had none, so no time is given here: `make plan` on the machine with the GPU measures it.
#
# **A cluster** divides the time by the number of its machines, but the longest job sets a limit. The LeNet-DCAE is
# {glue:text}`n_jobs` jobs, one for each machine ID and seed, and the longest of them takes {glue:text}`longest` on a machine
# like this one.

# %%
n_machines = pd.Index([1, 4, 16, 80], name="machines")
times = np.maximum(longest, whole["seconds"] / n_machines)
pd.Series(times, n_machines, name="all of Table 1").map(duration).to_frame()

# %% [markdown]
# ### What to leave out
#
# On a smaller machine, leave out what takes longest and tells least. `mimii forecast` ranks the options; for all of Table 1:

# %% tags=["hide-input"]
pd.DataFrame(
    [text.rsplit(": ", 1) for text in whole["suggestions"]],
    columns=["option of make book", "saves"],
).set_index("option of make book")

# %% [markdown]
# The paper's claim is about the twenty rows that rest on networks, which are compared with the LeNet-DCAE. One seed of the LeNet-DCAE
# still allows this comparison, with a wider interval. Reduced precision (`autoencoders.precision=bfloat16`,
# `features.precision=bfloat16`) is faster on a processor that supports it, but changes the AUCs
# ([what the choices change](choices.ipynb)).
#
# ## What is computed again
#
# Each result is kept under a key of exactly what it depends on. Features depend on the clips, the picture's settings and the
# network: all seeds and all detectors share them. Another detector or another seed finds them kept; another SNR is another
# set of clips, for which only the weights are there. Ask before you start:
#
# ```bash
# make plan PROFILE=mimii DATA=/data/mimii DETECTORS="gmm b-gmm if kde oc-svm" CHOICES=no
# ```
#
# This command reads the clips, runs a sample of one machine ID for a minute or two, and prints how many results of each stage are there, how
# many are missing, and the time, memory and disk that the missing ones take. It keeps no result.
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
# baseline and seed, and then the jobs that gather the scores and execute the pages. (The page on the open choices is one job for each machine
# type, and its auto-encoders make this job long.) The command runs until the book is made; run it in `tmux`. If it is
# interrupted, the same command continues. A job that a node loses is tried again. `SNAKEMAKE_ARGS=…` hands options
# to Snakemake, such as `--slurm-status-command squeue` where Slurm keeps no accounting.
#
# **What the nodes share**, at the same paths: the project's folder with its environment (`.venv`), the recordings, the kept
# results, and torchvision's downloads (`TORCH_HOME`, by default in the home folder), on a file system that locks between nodes (NFSv4, or Lustre with `flock`). Features and detectors belong on
# nodes of one kind, since a feature is known by the engine that computed it. The number of threads
# (`set-threads` in the profile) changes no result.
#
# **What was tested.** `tests/cluster/slurm.py` installs Slurm on one node, runs the miniature on it, kills two jobs while they compute,
# and compares every table, every kept result and the pages with those of a local run. Several nodes, a GPU and a shared
# file system were not tested.
#
# **Kubernetes and clouds** are other executors of Snakemake (`kubernetes`, `googlebatch`, `aws-batch`), each a package and a few options in a
# profile like that one. They start containers instead of jobs, so the environment goes into an image. They share no
# folders of their own: mount a volume (a persistent volume claim, EFS, Filestore) with the recordings and `MIMII_CACHE` into every
# container, since results are folders with locks, which a bucket does not have; inputs and outputs of the workflow itself can lie in
# a bucket (`--default-storage-provider`). None of these was tried here.
#
# ## Summary
#
# By forecast, one machine with {glue:text}`cores` cores runs the experiment without the LeNet-DCAE in {glue:text}`rest_time`, and
# without both auto-encoders in {glue:text}`network_time`, with up to {glue:text}`whole_memory` of memory. The rehearsal used
# {glue:text}`memory_compared` memory than its forecast, so allow for that. Train the LeNet-DCAE on several machines, on a GPU, or for fewer seeds.
