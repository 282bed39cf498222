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
# (reviewing)=
# # For reviewers
#
# A reproducibility reviewer asks the same things of every project: who made it, under which licence, in which version, on which data and
# weights, with which software, and how to check it in a few minutes. This page answers them one after another. What it shows is read from the
# files of the project and from the run.

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
from mimii_lib.pages import project, run_box
from mimii_lib.run import runs_of

parameters = {
    "profile": profile,
    "data": data,
    "snr": snr,
    "ids": ids,
    "extractors": extractors,
    "detectors": detectors,
    "seeds": seeds,
    "weights": weights,
    "settings": settings,
}
runs = runs_of(machine, **parameters)
run_box.facts(runs)

# %% [markdown]
# ## Authors, version and citation

# %% tags=["hide-input"]
from mimii_lib.pages import tables

cited, address = project.citation(), project.repository()
no_address = (
    "no public copy yet: its address goes into _config.yml (repository_url)"
)
facts = {
    "title": cited["title"],
    "authors": ", ".join(author["name"] for author in cited["authors"]),
    "contact": f"{address}/issues" if address else no_address,
    "version": project.project()["version"],
    "DOI of the release": cited.get(
        "doi", "none yet: it goes into CITATION.cff (doi)"
    ),
    "paper reproduced": "doi:" + cited["references"][0]["doi"],
}
tables.word_table("The project", ("fact", "value"), list(facts.items()))

# %% [markdown]
# `CITATION.cff` says how to cite the project and the paper, in a form that GitHub and Zotero read; `codemeta.json` says the same to
# archives and search engines. `CHANGELOG.md` lists what changed from version to version. Cite both works:

# %% tags=["hide-input"]
paper = cited["references"][0]
names = ", ".join(
    f"{one['given-names']} {one['family-names']}" for one in paper["authors"]
)
identifier = f", doi:{cited['doi']}" if "doi" in cited else ""
tables.bullets(
    [
        f"{facts['authors']}: {facts['title']}, version {facts['version']}{identifier}.",
        f"{names}: {paper['title']}. {paper['collection-title']}, {paper['year']}, doi:{paper['doi']}.",
    ]
)

# %% [markdown]
# ## Licences

# %% tags=["hide-input"]
from mimii_lib.data import sources

kind = runs[0].recordings.kind
own = {"miniature": "that of the miniature"}.get(kind, "not known here")
used = {run.machine: run.recordings.licence or own for run in runs}
licences = {
    "code and text of this project": "MIT (LICENSE)",
    "the miniature": "MIT: this project synthesises it",
    "recordings of this run": run_box.by_machine(used),
}
for name in sources.SOURCES:
    archive = sources.published(name)
    licences[f"recordings, source {name}"] = (
        f"{archive.licence}. {archive.citation}"
    )
tables.word_table("Licences", ("what", "licence"), list(licences.items()))

# %% [markdown]
# A book that plays recordings of MIMII carries their licence. The weights are not part of the project: they are loaded from packages, from
# torchvision, or from a folder.
#
# ## Weights
#
# **Weights** are the trained numbers of a network. Each file is known by its sha256; a file with another one is refused, or named in the
# box at the top of the page.

# %% tags=["hide-input"]
from html import escape

from mimii_lib.data.weights import TORCHVISION, Weights
from mimii_lib.extractors import get
from mimii_lib.paper import EXTRACTORS

known = {
    name: project.weights_facts(
        Weights(name, "torchvision", f"{TORCHVISION[name]}…")
    )
    | {"source": "not in this run; torchvision's would be"}
    for name in EXTRACTORS
}
known |= {
    name: project.weights_facts(one)
    for name, one in runs[0].stages.weights_used.items()
}
rows = [
    (
        get(name).title,
        escape(f"{one['source']}: {one['origin']}"),
        escape(one["licence"]),
        f"<code>{one['sha256'] or '–'}</code>",
        escape(one["limits"]),
    )
    for name, one in known.items()
]
heads = ("network", "source", "licence", "sha256", "known limits")
tables.word_table("Weights", heads, rows)

# %% [markdown]
# All weights but the random ones were trained on ImageNet's photographs. ImageNet's terms allow research without commercial use; whether they
# bind weights that were trained on it is not settled. The reasons why a network was not run stand under [omissions](report.ipynb).
#
# ## Installing
#
# `make setup` installs exactly the versions of `constraints.txt`. That file pins every package that is installed on Linux with Python 3.11,
# not only those that `pyproject.toml` names; a test follows the dependencies and fails where one is not pinned. It has no checksums of the packages:
# the package index is trusted. The environment that made this page, against the lock:

# %%
lock = project.lock()
other = lock[lock.installed.notna() & (lock.installed != lock.pinned)]
{
    "pinned": len(lock),
    "installed": int(lock.installed.count()),
    "differ": len(other),
}

# %% tags=["remove-cell"]
from myst_nb import glue

glue("differing", ", ".join(other.package) or "none", display=False)

# %% [markdown]
# Packages installed in another version than the pinned one: {glue:text}`differing`.
#
# ## Smoke test
#
# A **smoke test** is one command with a known answer. This one fits every system of the run on one machine ID with one seed:

# %% tags=["hide-input"]
import shlex

from IPython.display import Pretty

first = runs[0]
chosen = parameters | {"ids": first.ids[0], "seeds": first.profile.seeds[0]}
placeholders = {"data": "DATA", "weights": "WEIGHTS"}
words = [
    ".venv/bin/mimii",
    "auc",
    *(["DATA"] if data else []),
    "--machine",
    first.machine,
]
for name, value in chosen.items():
    if value is not None and name != "data":
        value = placeholders.get(name, value)
        items = (
            [f"{key}={one}" for key, one in value.items()]
            if isinstance(value, dict)
            else value
        )
        words += [
            f"--{name}",
            *map(str, items if isinstance(items, (list, tuple)) else [items]),
        ]
Pretty(shlex.join(words))

# %% [markdown]
# It must print:

# %% tags=["hide-input"]
from mimii_lib.pages.commands import auc_text

smoke = first.with_overrides(ids=chosen["ids"], seeds=chosen["seeds"])
Pretty(auc_text(smoke.auc()))

# %% [markdown]
# Repeated on one machine with the pinned versions, the numbers are the same to the last digit. The [report](report.ipynb) shows by how much
# another engine changes AUCs; another processor was not tried.
#
# ## Claims
#
# The table lists the statements of the paper's §6. Each is put as a **contrast**: a difference of mean AUCs in points, positive where the
# statement is right. The interval in parentheses is the tolerance, which allows for the sampling error of the table that the contrast is taken from
# (4a and 4b are spreads, tested without an interval). A statement can be true of the table as printed and still not survive this error.
# [The page on the paper's statements](claims.ipynb) explains the tests.

# %% tags=["hide-input"]
import pandas as pd

from mimii_lib.pages import claims, contrasts


def in_words(outcome):
    """Return a contrast with its interval, where it has one."""
    value, low, high = (
        tables.signed(one) if pd.notna(one) else ""
        for one in (outcome.value, outcome.low, outcome.high)
    )
    return f"{value} ({low} to {high})" if low else value or "not tested"


in_paper = claims.verdicts(contrasts.published())
tested = in_paper.value.notna()
columns = {
    "true as printed?": in_paper.as_printed.fillna("–"),
    "contrast in the paper’s table": in_paper.apply(in_words, axis=1),
    "survives?": in_paper.survives.map({True: "yes", False: "no"}).where(
        tested, "–"
    ),
}
if run_box.comparable(runs):
    estimates = {
        (run.machine, name): run.results.estimates(name)
        for run in runs
        for name in run.ids
    }
    in_ours = claims.verdicts(contrasts.reproduced(estimates))
    columns["ours"] = in_ours.apply(in_words, axis=1)
    columns["verdict on ours"] = in_ours.verdict
table = pd.DataFrame(columns)
rows = [
    (f"{number} {claims.CLAIMS.says[number]}", *row)
    for number, *row in table.itertuples(name=None)
]
tables.word_table("Claims", ("the paper says", *table.columns), rows)

# %% tags=["remove-cell"]
glue("verdict", tables.verdict(runs), display=False)
glue("seeds", run_box.seeds_of(runs), display=False)
glue("training", run_box.training_of(runs), display=False)

# %% [markdown]
# {glue:text}`verdict` The seeds of this run are {glue:text}`seeds`; auto-encoders: {glue:text}`training`. The paper averages five seeds.
#
# ## What a run leaves behind
#
# `make book` writes into `results/`:
#
# | file | what it holds |
# |---|---|
# | `auc.csv`, `auc.parquet` | every AUC with its data, weights, settings, versions and commit |
# | `splits.csv` | which clips train and which test, for every seed |
# | `report.json` | [the report](report.ipynb) |
# | `croissant.json` | the recordings and the splits as Croissant, the metadata that data set search engines read |
# | `ro-crate-metadata.json` | the run as an RO-Crate: inputs, settings, software, and the files above with their sha256 |
#
# The last saved run, read back with `rocrate`:

# %%
from rocrate.rocrate import ROCrate

from mimii_lib.run.profiles import ROOT

saved = ROOT / "results"
described = {"saved": "no run yet"}
if (saved / "ro-crate-metadata.json").is_file():
    run = ROCrate(saved).get("#run")
    described = {
        "run": run["name"],
        "date": run["endTime"],
        "inputs and settings": len(run["object"]),
    }
    described |= {
        f"sha256 of {file.id}": file["sha256"][:12] for file in run["result"]
    }
pd.Series(described, name="the last saved run").to_frame()

# %% [markdown]
# ## What was tested
#
# `make test` runs the tests, `make proof` compares every stage with a second implementation. [Conformance](conformance.ipynb) lists the
# paper's statements on its method with the test of each, and [the page on faults](faults.ipynb) what was broken on purpose.
#
# ## Releasing a version
#
# 1. Set the version in `pyproject.toml` and in `CITATION.cff`, and date its section of `CHANGELOG.md`; a test compares them.
# 2. Run `make check`, `make test`, `make proof` and `make book` on a fresh clone.
# 3. Tag the commit with the version, and let an archive such as Zenodo take the tag.
# 4. Write the archive's DOI into `CITATION.cff` (`doi`), the address of the public copy into `_config.yml` (`repository_url`), and run
#    `.venv/bin/python -m mimii_lib.pages.project`, which writes `codemeta.json`. This page takes both from there.
