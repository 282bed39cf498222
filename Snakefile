"""The order of work: the scores of each machine type, its notebooks, the pages on all machine types, and the book.

`make book` calls Snakemake after `mimii plan` has written what there is to do (`mimii_lib/run/plan.py`). This file
reads that plan: `.snakemake/plan.json`, or the file that `--config plan=FILE` names. A run that was killed goes on by
the same command: `mimii_lib.run.cache` keeps results, and files are moved into place when they are whole.
"""

import json
import shlex
import sys
from pathlib import Path

PLAN_FILE = Path(config.get("plan", ".snakemake/plan.json"))
if not PLAN_FILE.is_file():
    sys.exit(f"{PLAN_FILE}: found no plan; call 'make book', or write one by 'mimii plan -o {PLAN_FILE}'")
PLAN = json.loads(PLAN_FILE.read_text())
IDENTITIES, NOT_RUN, PIECES = PLAN["identities"], PLAN["not_run"], PLAN["pieces"]
MACHINES = list(IDENTITIES)
CHANGED = [f"results/choices/{machine}.txt" for machine in PLAN["choices"] or []]  # three pages ask for them

NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("0[1-6]_*.ipynb"))  # one page per machine type
BASELINES = next(name for name in NOTEBOOKS if name.endswith("_baselines"))
PAGES = {path.stem[3:]: path.stem for path in Path("notebooks").glob("*.ipynb") if path.stem not in NOTEBOOKS}
LIBRARY = sorted(str(file) for kind in ("py", "csv", "yaml") for file in Path("mimii_lib").rglob(f"*.{kind}"))
METHOD = [file for file in LIBRARY if not file.startswith("mimii_lib/pages/")]  # what an AUC can depend on
# The pages on the project itself, with the files that they show. The book makes no record anew.
ON_PROJECT = {"open_points": [], "conformance": ["results/conformance.json"]}
ON_PROJECT["faults"] = sorted(map(str, Path("benchmarks").glob("faults.json")))
ON_PROJECT["scale"] = sorted(str(file) for file in Path().glob("*/rehearsal_*.json"))  # in benchmarks and results
ON_PROJECT["miniature"] = sorted(map(str, Path("benchmarks").glob("miniature_*.json")))
ON_PROJECT["report"] = sorted(map(str, Path("benchmarks").glob("engines.json")))
SHOWN = ("CITATION.cff", "constraints.txt", "benchmarks/engines.json")
ON_PROJECT["reviewing"] = CHANGED + [file for file in SHOWN if Path(file).is_file()]
ON_PROJECT["after_paper"] = sorted(map(str, Path("benchmarks").glob("after_paper.json")))
OF_RUN = ("conformance", "report", "reviewing", "after_paper")  # these show what the run used, too
ON_PROJECT["real_mimii"] = sorted(str(file) for file in Path("benchmarks").glob("*real*.json"))
RECORDED_BY = {"faults": "make faults", "scale": "make rehearsal"}


def options(*without):
    """Return the parameters of the run, quoted for the shell; a job leaves out those that it names itself."""
    items = [(name, value) for name, value in PLAN["parameters"].items() if name not in without]
    return shlex.join(value if name == "data" else f"--{name}={value}" for name, value in items)


# These are no `params` of rules: a job runs again when its digest changes, not when only another seed is added.
OPTIONS = options()
OF_NETWORK = options("ids", "extractors", "detectors")
OF_SEED = options("ids", "extractors", "detectors", "seeds")
# Papermill reads values as YAML, of which JSON is a part.
OF_NOTEBOOK = shlex.join(word for item in PLAN["parameters"].items() for word in ("-p", item[0], json.dumps(item[1])))
# Machine types are computed at the same time and share the cores. For a cluster `set-threads` says how many a job has.
THREADS = 1 if any(PIECES.values()) else max(1, workflow.cores // len(MACHINES))
shell.prefix("export MIMII_OFFLINE=1; ")  # `mimii plan` has downloaded the weights


wildcard_constraints:
    machine="|".join([*MACHINES, *NOT_RUN]),
    page="|".join(PAGES),
    id="[^/]+",
    network="[^/]+",
    autoencoder="[^/]+-dcae",
    seed=r"\d+",


# On a cluster these run where Snakemake is called: they take seconds, or need what its nodes may lack.
localrules: book, not_run, results, conformance, html


rule book:
    input: "_build/html/.buildinfo"


# Pieces of the scores, on a cluster. The digest of a piece covers all that it depends on.
rule features:
    output: "results/pieces/{machine}/{id}/features/{network}.txt"
    params: digest=lambda w: PIECES[w.machine][f"{w.id}/features/{w.network}"]
    threads: THREADS
    priority: 2
    message: "Features of the {wildcards.machine} {wildcards.id} by {wildcards.network}"
    shell:
        "mimii features {OF_NETWORK} --machine {wildcards.machine} --ids {wildcards.id:q} "
        "--extractors {wildcards.network} > {output}"


rule detectors:
    input: "results/pieces/{machine}/{id}/features/{network}.txt"
    output: "results/pieces/{machine}/{id}/detectors/{network}.txt"
    params:
        digest=lambda w: PIECES[w.machine][f"{w.id}/detectors/{w.network}"],
        names=lambda w: " ".join(PLAN["detectors"][w.machine]),
    threads: THREADS
    priority: 2
    message: "Detectors of the {wildcards.machine} {wildcards.id} on {wildcards.network}"
    shell:
        "mimii auc {OF_NETWORK} --machine {wildcards.machine} --ids {wildcards.id:q} "
        "--extractors {wildcards.network} --detectors {params.names:q} > {output}"


rule autoencoder:
    output: "results/pieces/{machine}/{id}/{autoencoder}/seed_{seed}.txt"
    params: digest=lambda w: PIECES[w.machine][f"{w.id}/{w.autoencoder}/seed_{w.seed}"]
    threads: THREADS
    priority: 2
    message: "{wildcards.autoencoder} of the {wildcards.machine} {wildcards.id}, seed {wildcards.seed}"
    shell:
        "mimii auc {OF_SEED} --machine {wildcards.machine} --ids {wildcards.id:q} "
        "--detectors {wildcards.autoencoder} --seeds {wildcards.seed} > {output}"


rule scores:
    input:
        METHOD,
        lambda w: [f"results/pieces/{w.machine}/{piece}.txt" for piece in PIECES[w.machine]],
    output: "results/auc/{machine}.json"
    params: identity=lambda w: IDENTITIES[w.machine]
    threads: THREADS
    priority: 2  # the longest jobs first: no core waits at the end
    message: "Features, detectors and auto-encoders of the {wildcards.machine}"
    shell: "mimii auc {OPTIONS} --machine {wildcards.machine} --json {output} > {output}.txt"


rule notebook:
    input:
        LIBRARY,
        "results/auc/{machine}.json",
        notebooks=expand("notebooks/{notebook}.ipynb", notebook=NOTEBOOKS),
    output: expand("executed/{{machine}}/{notebook}.ipynb", notebook=NOTEBOOKS)
    params:
        identity=lambda w: IDENTITIES[w.machine],  # other clips can give the same scores, and the pages show the clips
        left_out=lambda w: [] if PLAN["autoencoders"][w.machine] else
            ["--leave-out", BASELINES, "--not-run", "No auto-encoder was asked for."],
        repeated=lambda w: [] if w.machine == MACHINES[0] else ["--without", "once"],  # the first type's pages have it
    wildcard_constraints:
        machine="|".join(MACHINES),
    message: "Notebooks of the {wildcards.machine}"
    shell:
        "mimii run {input.notebooks} executed/{wildcards.machine} -p machine {wildcards.machine} "
        "{OF_NOTEBOOK} {params.left_out:q} {params.repeated:q}"


rule not_run:
    input: notebook="notebooks/{notebook}.ipynb"
    output: "executed/{machine}/{notebook}.ipynb"
    params: reason=lambda w: f"The {w.machine}: {NOT_RUN[w.machine].removeprefix(w.machine + ': ')}."
    wildcard_constraints:
        machine="|".join(NOT_RUN) or "none",
    message: "Notebook {wildcards.notebook} for the {wildcards.machine}: not run"
    shell: "mimii run {input.notebook} {output} -p machine {wildcards.machine} --not-run {params.reason:q}"


rule results:
    input:
        LIBRARY,
        expand("results/auc/{machine}.json", machine=MACHINES),
    output: multiext("results/", "auc.parquet", "auc.csv", "splits.csv")
    params: identity=list(IDENTITIES.values())
    message: "Gathering the results"
    shell: "mimii auc {OPTIONS} --machine {MACHINES} --save results > results/auc.txt"


rule choices:
    input:
        LIBRARY,
        "results/auc/{machine}.json",
    output: "results/choices/{machine}.txt"
    params: identity=lambda w: IDENTITIES[w.machine]
    threads: THREADS
    priority: 1
    message: "What the open choices change for the {wildcards.machine}"
    shell: "mimii choices {OPTIONS} --machine {wildcards.machine} > {output}"


rule conformance:
    input: LIBRARY, sorted(map(str, Path("tests").rglob("*.py")))
    output: "results/conformance.json"
    message: "Collecting what the tests say of the paper's statements"
    shell: "pytest --collect-only -q --paper-statements {output} > {output}.txt"


def options_of_page(wildcards):
    """Return the options of `mimii run` for a page that is not on one machine type."""
    page = wildcards.page
    if page in RECORDED_BY and not ON_PROJECT[page]:
        return f"--not-run 'There is no record yet: {RECORDED_BY[page]}.'"
    if page in ON_PROJECT and page not in OF_RUN:
        return ""
    left_out = " --not-run 'Left out of this run: CHOICES=no.'" if page == "choices" and PLAN["choices"] is None else ""
    return f"-p machine '{' '.join(MACHINES)}' {OF_NOTEBOOK}{left_out}"


rule page:
    input:
        LIBRARY,
        "results/auc.parquet",
        lambda w: ON_PROJECT.get(w.page, CHANGED if w.page in ("choices", "claims") else []),
        notebook=lambda w: f"notebooks/{PAGES[w.page]}.ipynb",
    output: "executed/{page}.ipynb"
    params:
        options=options_of_page,
        identity=list(IDENTITIES.values()),
    message: "Notebook {wildcards.page}"
    shell: "mimii run {input.notebook} {output} {params.options}"


rule html:
    input:
        expand("executed/{machine}/{notebook}.ipynb", machine=[*MACHINES, *NOT_RUN], notebook=NOTEBOOKS),
        expand("executed/{page}.ipynb", page=PAGES),
        "_config.yml",
        "_toc.yml",
        [str(file) for file in sorted(Path("book").rglob("*")) if file.is_file() and file.suffix != ".pyc"],
    output: "_build/html/.buildinfo"  # not the first page: Snakemake removes what it is about to make anew
    params: first=MACHINES[0]  # the contents list its pages, and a switch leads to the other types'
    message: "Rendering the book"
    shell: "python book/render.py {params.first}"
