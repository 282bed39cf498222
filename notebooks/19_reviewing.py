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
from mimii_lib.pages import project, report, run_box
from mimii_lib.run import provenance, runs_of

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
    "the issue tracker of the repository, once that has a public address; "
    "there is none yet, so no contact can be named"
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
own = {"miniature": "MIT"}.get(kind, "not known here")
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
# **Weights** are the trained numbers of a network. Each file is known by its sha256; a file with another sha256 is refused, or named in
# the box at the top of the page.

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
# the package index is trusted.

# %% tags=["remove-cell"]
from datetime import date

from myst_nb import glue

lock = project.lock()
other = lock[lock.installed.notna() & (lock.installed != lock.pinned)]
glue("checked", date.today().isoformat(), display=False)
glue("pinned", len(lock), display=False)
glue("installed", int(lock.installed.count()), display=False)
glue("differing", ", ".join(other.package) or "none", display=False)

# %% [markdown]
# On {glue:text}`checked`, when this page was made, {glue:text}`installed` of the {glue:text}`pinned` pinned packages were installed; in
# another version than the pinned one: {glue:text}`differing`. This compares versions and is no record of a fresh installation. To make one,
# run `make setup` on a fresh clone; the script in `.ci/` starts from one.
#
# ## Time and memory

# %% tags=["hide-input"]
from mimii_lib.data.formatting import duration, gigabytes
from mimii_lib.run import forecast

first = runs[0]
chosen = parameters | {"ids": first.ids[0], "seeds": first.profile.seeds[0]}
smoke = first.with_overrides(ids=chosen["ids"], seeds=chosen["seeds"])
aucs = smoke.auc()
expected = forecast.forecast(runs, measure=False)
memory = gigabytes(expected.memory * expected.workers)
rows = [
    (command, duration(sum(forecast.time_spent(of).values())))
    for command, of in {"smoke test": [smoke], "make book": runs}.items()
]
tables.word_table("Recorded time", ("command", "time of its results"), rows)

# %% tags=["remove-cell"]
glue("memory", memory, display=False)

# %% [markdown]
# This is the recorded time of the results behind this page with every core in use; the time of the pages themselves, some minutes, is not
# recorded, and results that are kept are not computed again. `make book` is forecast to need up to {glue:text}`memory` of memory for these results. The
# [report](report.ipynb) has the stages and the machine; `make setup`, and the size of its environment, are in `README.md`.
#
# ## Smoke test
#
# A **smoke test** is one command with a known answer. This one fits every system of the run on one machine ID with one seed:

# %% tags=["hide-input"]
import shlex

from IPython.display import Pretty

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
# It must print these AUCs, in percent:

# %% tags=["hide-input"]
named = aucs.fillna({"extractor": "–"}).set_index(["extractor", "detector"])
(100 * named.auc).round(1).rename("AUC").to_frame()

# %% tags=["remove-cell"]
import json

import pandas as pd

from mimii_lib.run.profiles import ROOT

engines = json.loads((ROOT / "benchmarks" / "engines.json").read_text())
between = pd.DataFrame(engines["rows"])
apart = (between.torch - between.openvino).abs().max()
glue("apart", f"{apart:.2f}", display=False)
glue("n_train", int(aucs.n_train.iloc[0]), display=False)
glue("n_normal", int(aucs.n_normal.iloc[0]), display=False)
glue("n_abnormal", int(aucs.n_abnormal.iloc[0]), display=False)
glue("engines", " and ".join(engines["engines"]), display=False)

# %% [markdown]
# {glue:text}`n_train` clips train, {glue:text}`n_normal` normal and {glue:text}`n_abnormal` abnormal clips test. The tolerance is 0: on one machine with the pinned
# versions, the numbers are the same to the last digit. With another engine, AUCs of a record differ by up to {glue:text}`apart` points
# ({glue:text}`engines`, on the [report](report.ipynb)). Another processor was not tried.
#
# ## What this run does otherwise than the paper

# %% tags=["hide-input"]
tables.bullets(
    tables.deviations(runs)
    or ["Numbers of clips, networks and auto-encoders are the paper's."]
)

# %% [markdown]
# What was not run stands under [omissions](report.ipynb), and what the paper leaves open on [a page of its own](open_points.ipynb).
#
# ## Claims
#
# The table lists the paper's statements on its results. Each is put as a **contrast**, positive where the statement is right. Most are differences
# of mean AUCs in points. 1a is a difference of shares of first places, 2d a slope in points per point of ImageNet accuracy, and 4a and 4b are spreads
# without an interval. The tolerance is the 95 % interval, with the corrected p-value: a statement survives if its p is at most 0.05 and it is
# true as printed, at least in part. [The page on the paper's statements](claims.ipynb) explains the tests.

# %% tags=["hide-input"]
from mimii_lib.pages import claims, contrasts

in_paper, in_ours = (
    claims.verdicts(contrasts.published()),
    claims.verdicts_of(runs),
)
claims.verdict_table(in_paper, in_ours, run_box.scope(runs), run_box.seeds_of(runs))

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

# %% tags=["hide-input"]
from rocrate.rocrate import ROCrate

saved = ROOT / "results"
described = {"saved": "no run yet"}
whose = ""
if (saved / "ro-crate-metadata.json").is_file():
    run = ROCrate(saved).get("#run")
    kept = json.loads((saved / "report.json").read_text())
    described = {
        "run": run["name"],
        "date": run["endTime"],
        "commit": provenance.short(kept["commit"]),
        "inputs and settings": len(run["object"]),
    }
    described |= {
        f"sha256 of {file.id}": file["sha256"][:12] for file in run["result"]
    }
    same = kept["auc_sha256"] == report.report(runs)["auc_sha256"]
    whose = (
        f"Its AUCs are {'those' if same else 'not those'} of this book, "
        f"whose commit is {provenance.short(provenance.commit())}."
    )
pd.Series(described, name="the last saved run").to_frame()

# %% tags=["remove-cell"]
glue("whose", whose, display=False)

# %% [markdown]
# {glue:text}`whose`
#
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
