"""The order of work: per machine ID what is heavy, then each notebook of each machine type, then the book.

Called by `make book`. Configuration (`--config name=value`): the parameters of the notebooks; `choices=no`, which
leaves the page on the open choices out; and `jobs=piece`, which makes a job of every machine ID and network, and of
every auto-encoder, where one process would compute them all: for a cluster (`profiles/slurm`). Whatever is killed, the
same command goes on: results are kept by `mimii_lib.run.cache`, files are moved into place when they are whole.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock

from mimii_lib import dataset, paper
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.extractors import EXTRACTORS
from mimii_lib.settings import Miniature, as_json, load_profile, as_tuple, with_parameters
from mimii_lib.data.files import atomic_write, wait_for
from mimii_lib.data.weights import OFFLINE

NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("0[1-6]_*.ipynb"))  # one page per machine type
BASELINES = next(name for name in NOTEBOOKS if name.endswith("_baselines"))
PAGES = {path.stem[3:]: path.stem for path in Path("notebooks").glob("*.ipynb") if path.stem not in NOTEBOOKS}
WITHOUT_DATA = ("open_points", "conformance", "faults", "scale")  # pages about the library alone
LIBRARY = sorted(map(str, Path("mimii_lib").rglob("*.py")))
KNOWN = ("machine", "profile", "data", "snr", "ids", "extractors", "detectors", "seeds", "weights", "settings")
KNOWN += ("choices", "jobs")  # of the workflow alone
RECORDS = [str(file) for folder in ("benchmarks", "results") for file in sorted(Path(folder).glob("rehearsal_*.json"))]
PLAN_FILE = Path(".snakemake/plan.json")
# What the jobs of the pieces leave, with jobs=piece.
FEATURES = "results/pieces/{machine}/{id}/features/{network}.txt"
DETECTORS = "results/pieces/{machine}/{id}/detectors/{network}.json"
TRAINED = "results/pieces/{machine}/{id}/{baseline}/seed_{seed}.json"

DRY_RUN = workflow.output_settings.dryrun  # `workflow.dryrun` does not know it yet
if workflow.is_main_process and not DRY_RUN:
    LOCK = FileLock(".snakemake/book.lock")
    wait_for(LOCK, "Another run is at work in this folder; this one waits for its end")
    for folder in ("executed", "results"):  # what killed jobs left half-written
        for left in Path(folder).rglob(".*"):
            if left.is_file():
                left.unlink()


def prepared():
    """Return the asked machine types and profile, and the parameters for the jobs, or raise."""
    for name in config:
        if name not in KNOWN:
            raise unknown_value("--config", name, KNOWN)
    said = {"profile": "miniature"} | config
    # YAML reads a bare no as False.
    if (choices := {False: "no", True: "yes"}.get(said.get("choices"), said.pop("choices", "yes"))) not in ("yes", "no"):
        raise unknown_value("choices", choices, ("yes", "no"))
    if (jobs := said.pop("jobs", "machine")) not in ("machine", "piece"):
        raise unknown_value("jobs", jobs, ("machine", "piece"))
    machines = as_tuple(said.pop("machine", None), parameter="machine")
    for machine in machines or ():
        if machine not in paper.MACHINES:
            raise unknown_value("machine", machine, paper.MACHINES)
    for folder in ("data", "weights"):
        if folder in said:
            named = said[folder][0] if isinstance(said[folder], list) else said[folder]
            said[folder] = str(Path(str(named)).resolve())
    rest = {name: value for name, value in said.items() if name != "profile"}
    profile = with_parameters(load_profile(str(said["profile"])), **rest)
    return machines or profile.machines, profile, said, choices == "yes", jobs == "piece"


def planned():
    """Return what there is to do, having looked at every clip: nothing is computed if one cannot be used.

    Weights are downloaded now if need be, once; the jobs download nothing.
    """
    from mimii_lib.data import miniature
    from mimii_lib.run import Run

    if PROFILE.miniature is not None:
        # The plan depends on the files, so they come before it.
        if not (PROFILE.recordings / dataset.MARKER).is_file():
            print("Making the miniature (less than a minute)", file=sys.stderr)
        miniature.make_miniature(PROFILE.recordings, snr=PROFILE.snr, **asdict(PROFILE.miniature))
    runs, not_run = [], {machine: "not part of this run" for machine in paper.MACHINES if machine not in ASKED}
    for machine in ASKED:
        run = Run(machine, **SAID)
        for reason in run.recordings.left_out.values():
            print(f"left out: {reason}", file=sys.stderr)
        runs.append(run)
    for reason in dict.fromkeys(reason for run in runs for reason in run.stages.unavailable_extractors.values()):
        print(f"not run: {reason}", file=sys.stderr)
    for run in runs:
        if not run.recordings.evaluable:
            not_run[run.machine] = run.recordings.no_ids_reason
            print(run.recordings.no_ids_reason, file=sys.stderr)
    runs = [run for run in runs if run.recordings.evaluable]
    if not runs:
        raise MimiiError("nothing can be run; the reasons stand above")
    return {
        # A digest of the clips, the profile, the options and the weights: a job runs again if it changes. Every job
        # carries it: if a run stops after scores that came out the same on other clips, those scores alone would not
        # tell the pages, which show the clips, to run.
        "identities": {run.machine: run.results.identity for run in runs},
        "not_run": not_run,
        "detectors": {run.machine: classical_of(run) for run in runs},
        "baselines": {run.machine: run.results.autoencoders for run in runs},
        "pieces": {run.machine: pieces_of(run) if PIECES else {} for run in runs},
    }


def classical_of(run):
    """Return the detectors that a run fits on features."""
    return [name for name in run.profile.detectors if name in paper.DETECTORS]


def pieces_of(run):
    """Return the files of the jobs that a run's scores are made of, each with a digest of what it depends on.

    That is the keys of its results, which hold the digests of their code. So what will not be computed anew is not
    asked for anew: another detector or seed needs no features.
    """
    # Pictures scaled by training clips have keys that are known when there are spectrograms; these clips say the same.
    scaled = run.settings.imaging.scaling == "training"
    keys = run.with_overrides(settings={"imaging.scaling": "clip"}) if scaled else run

    def identity(machine_id, network, asked, kept=-1):
        said = [as_json(run.settings.imaging)]
        for name, seed in asked:
            said.append(keys.places(machine_id, network, name, seed)[kept].text)
            said += run.recordings.split_clips(machine_id, seed, "train").path if scaled else []
        return hashlib.sha256(" ".join(said).encode()).hexdigest()

    made, classical, seeds = {}, classical_of(run), run.profile.seeds
    for machine_id in run.recordings.evaluable:
        here = {"machine": run.machine, "id": machine_id}
        for network in dict.fromkeys(network for network, _ in run.results.systems() if network):
            described = [(classical[0], seed) for seed in (seeds if scaled else seeds[:1])]
            fitted = [(name, seed) for name in classical for seed in seeds]
            made[FEATURES.format(**here, network=network)] = identity(machine_id, network, described, kept=1)
            made[DETECTORS.format(**here, network=network)] = identity(machine_id, network, fitted)
        for name in run.results.autoencoders:
            for seed in run.results.seeds(name):
                trained = TRAINED.format(**here, baseline=name, seed=seed)
                made[trained] = identity(machine_id, None, [(name, seed)])
    return made


try:
    ASKED, PROFILE, SAID, CHOICES, PIECES = prepared()
    # A job on a cluster reads this file again, and does as it was planned. It plans anew where it is not told: a cluster
    # may share no folder.
    if workflow.is_main_process or not PLAN_FILE.is_file():
        PLAN = planned()
        if not DRY_RUN:
            with atomic_write(PLAN_FILE) as file:
                file.write_text(json.dumps(PLAN))
    else:
        PLAN = json.loads(PLAN_FILE.read_text())
except MimiiError as error:
    sys.exit(f"mimii: {error}")
MACHINES, NOT_RUN = list(PLAN["identities"]), PLAN["not_run"]


def quoted(pattern, without=()):
    """Return the parameters as words of a command."""
    words = [pattern.format(name, shlex.quote(str(value))) for name, value in SAID.items() if name not in without]
    return " ".join(words)


DATA = shlex.quote(SAID["data"]) if "data" in SAID else ""
OPTIONS = quoted("--{} {}", without=("data",))
# A piece names its own; no `params` hold these words, which would run it again where another seed is all that is new.
OF_PIECE = quoted("--{} {}", without=("data", "ids", "extractors", "detectors"))
OF_SEED = quoted("--{} {}", without=("data", "ids", "extractors", "detectors", "seeds"))
# A notebook's parameter is read as YAML: in quotes, a path is a path, whatever it is called.
PARAMETERS = quoted("-p {} {}", without=("data", "weights"))
PARAMETERS += "".join(f" -p {name} {shlex.quote(json.dumps(SAID[name]))}" for name in ("data", "weights") if name in SAID)


def identity_of(wildcards):
    """Return the digest of what a machine type's results depend on."""
    return PLAN["identities"][wildcards.machine]


def identity_of_piece(file):
    """Return the function that gives the digest of what a piece depends on.

    It takes the wildcards alone: what Snakemake derives from the output too is not compared with the last run's.
    """
    return lambda wildcards: PLAN["pieces"][wildcards.machine][file.format(**dict(wildcards.items()))]


if workflow.is_main_process and (PROFILE.miniature is None or DRY_RUN):
    # What is asked for may take days: say how long, before it starts. Of the miniature, a plan says what is there already.
    # In a process of its own, whose memory ends with it.
    forecast = shlex.split(f"mimii forecast {DATA} --machine {' '.join(MACHINES)} {OPTIONS}")
    forecast += [] if CHOICES else ["--no-choices"]
    forecast += [] if PROFILE.miniature is None and not PIECES else ["--count"]  # nor the cluster by the node that asks
    if subprocess.run(forecast).returncode:
        sys.exit(1)


# A machine type's recordings share a process, which makes its networks ready once, and a share of the cores:
# Snakemake tells OpenMP and BLAS how many threads a job has.
# On a cluster the profile says how many (`set-threads`), whatever the cores of the node that reads this.
THREADS = 1 if PIECES else max(1, workflow.cores // len(MACHINES))
shell.prefix(f"export {OFFLINE}=1; ")

# A miniature of another SNR is made before the jobs that compare with it, which would each begin to make it.
made_here = PROFILE.miniature is not None and "{snr}" in str(PROFILE.data)
OTHER_SNRS = [snr for snr in paper.SNRS if snr != PROFILE.snr] if made_here else []


wildcard_constraints:
    machine="|".join(paper.MACHINES),
    page="|".join(PAGES),
    snr=r"-?\d+",
    id="[^/]+",
    network="|".join(EXTRACTORS),
    baseline="|".join(paper.AUTOENCODERS),
    seed=r"\d+",


# On a cluster these stay where it is called from: they take seconds, or need what its jobs may lack.
localrules:
    book,
    not_run,
    results,
    other_snr,
    faults,
    html,


rule book:
    input:
        "_build/html/.buildinfo",


# The pieces of the scores, with jobs=piece. Their identities say all that they depend on, the library's code included.
rule features:
    output:
        FEATURES,
    params:
        identity=identity_of_piece(FEATURES),
    threads: THREADS
    priority: 2
    message:
        "Features of the {wildcards.machine} {wildcards.id} by {wildcards.network}"
    shell:
        "mimii features {DATA} --machine {wildcards.machine} --ids {wildcards.id:q} "
        "--extractors {wildcards.network} {OF_PIECE} > {output}"


rule detectors:
    input:
        FEATURES,
    output:
        DETECTORS,
    params:
        identity=identity_of_piece(DETECTORS),
        names=lambda wildcards: PLAN["detectors"][wildcards.machine],
    threads: THREADS
    priority: 2
    message:
        "Detectors of the {wildcards.machine} {wildcards.id} on {wildcards.network}"
    shell:
        "mimii auc {DATA} --machine {wildcards.machine} --ids {wildcards.id:q} "
        "--extractors {wildcards.network} --detectors {params.names} {OF_PIECE} --json {output} > {output}.txt"


rule autoencoder:
    output:
        TRAINED,
    params:
        identity=identity_of_piece(TRAINED),
    threads: THREADS
    priority: 2
    message:
        "Auto-encoder {wildcards.baseline} of the {wildcards.machine} {wildcards.id}, seed {wildcards.seed}"
    shell:
        "mimii auc {DATA} --machine {wildcards.machine} --ids {wildcards.id:q} "
        "--detectors {wildcards.baseline} --seeds {wildcards.seed} {OF_SEED} --json {output} > {output}.txt"


rule scores:
    input:
        LIBRARY,
        lambda wildcards: list(PLAN["pieces"][wildcards.machine]),
    output:
        "results/auc/{machine}.json",
    params:
        identity=identity_of,
    threads: THREADS
    priority: 2  # the longest jobs first: no core waits at the end
    message:
        "Features, detectors and auto-encoders of the {wildcards.machine}"
    shell:
        "mimii auc {DATA} --machine {wildcards.machine} {OPTIONS} --json {output} > {output}.txt"


def left_out_of(wildcards):
    """Return the words that leave a page out: where no auto-encoder was asked for, none is trained to be shown."""
    if PLAN["baselines"][wildcards.machine]:
        return ""
    return f" --leave-out {BASELINES} --not-run 'No auto-encoder was asked for.'"


rule notebook:
    input:
        LIBRARY,
        "results/auc/{machine}.json",
        notebooks=expand("notebooks/{notebook}.ipynb", notebook=NOTEBOOKS),
    output:
        expand("executed/{{machine}}/{notebook}.ipynb", notebook=NOTEBOOKS),
    params:
        identity=identity_of,
        left_out=left_out_of,
    wildcard_constraints:
        machine="|".join(MACHINES),
    message:
        "Notebooks of the {wildcards.machine}"
    shell:
        "mimii run {input.notebooks} executed/{wildcards.machine} -p machine {wildcards.machine} {PARAMETERS}{params.left_out}"


rule not_run:
    input:
        notebook="notebooks/{notebook}.ipynb",
    output:
        "executed/{machine}/{notebook}.ipynb",
    wildcard_constraints:
        machine="|".join(NOT_RUN or ["none"]),
    params:
        reason=lambda wildcards: f"The {wildcards.machine}: {NOT_RUN[wildcards.machine].removeprefix(wildcards.machine + ': ')}.",
    message:
        "Notebook {wildcards.notebook} for the {wildcards.machine}: not run"
    shell:
        "mimii run {input.notebook} {output} -p machine {wildcards.machine} "
        "--not-run {params.reason:q}"


rule results:
    input:
        LIBRARY,
        expand("results/auc/{machine}.json", machine=MACHINES),
    output:
        "results/auc.parquet",
        "results/auc.csv",
        "results/splits.csv",
    params:
        identity=list(PLAN["identities"].values()),
    message:
        "Gathering the results"
    shell:
        "mimii auc {DATA} --machine {MACHINES} {OPTIONS} --save results > results/auc.txt"


rule other_snr:
    output:
        "results/choices/miniature_{snr}_dB.txt",
    params:
        size=" ".join(f"--{name} {value}" for name, value in asdict(PROFILE.miniature or Miniature()).items()),
        folder=lambda wildcards: replace(PROFILE, snr=int(wildcards.snr)).recordings,
    priority: 2
    message:
        "The miniature at {wildcards.snr} dB, for the choice of the SNR"
    shell:
        "mimii miniature {params.folder:q} --snr {wildcards.snr} {params.size} > {output}"


# What the page on the choices repeats, and that on the statements reads.
CHANGED = [f"results/choices/{machine}.txt" for machine in MACHINES[: PROFILE.sensitivity.machines] if CHOICES]


rule choices:
    input:
        LIBRARY,
        "results/auc/{machine}.json",
        [f"results/choices/miniature_{snr}_dB.txt" for snr in OTHER_SNRS],
    output:
        "results/choices/{machine}.txt",
    params:
        identity=identity_of,
    threads: THREADS
    priority: 1
    message:
        "What the open choices change for the {wildcards.machine}"
    shell:
        "mimii choices {DATA} --machine {wildcards.machine} {OPTIONS} > {output}"


def asked_of(page):
    """Return the parameters of a page that is not of one machine type."""
    if page in WITHOUT_DATA:
        return "--not-run 'No rehearsal is on record: make rehearsal.'" if page == "scale" and not RECORDS else ""
    left_out = " --not-run 'Left out of this run: CHOICES=no.'" if page == "choices" and not CHOICES else ""
    return f"-p machine '{' '.join(MACHINES)}' {PARAMETERS}{left_out}"


rule page:
    input:
        LIBRARY,
        "results/auc.parquet",
        lambda wildcards: CHANGED if wildcards.page in ("choices", "claims") else [],
        lambda wildcards: sorted(map(str, Path("tests").glob("*.py"))) if wildcards.page == "conformance" else [],
        lambda wildcards: "results/faults.json" if wildcards.page == "faults" else [],
        lambda wildcards: RECORDS if wildcards.page == "scale" else [],
        notebook=lambda wildcards: f"notebooks/{PAGES[wildcards.page]}.ipynb",
    output:
        "executed/{page}.ipynb",
    params:
        asked=lambda wildcards: asked_of(wildcards.page),
        identity=list(PLAN["identities"].values()),
    message:
        "Notebook {wildcards.page}"
    shell:
        "mimii run {input.notebook} {output} {params.asked}"


rule faults:
    input:
        LIBRARY,
        "benchmarks/faults.py",
    output:
        "results/faults.json",
    priority: 1
    message:
        "Breaking things on purpose"
    shell:
        # One that does not end as it should is shown on the page, and is a failure of the tests, not of the book.
        "python benchmarks/faults.py --json {output} > {output}.txt || test -f {output}"


rule html:
    input:
        expand("executed/{machine}/{notebook}.ipynb", machine=paper.MACHINES, notebook=NOTEBOOKS),
        expand("executed/{page}.ipynb", page=PAGES),
        "_config.yml",
        "_toc.yml",
        [str(path) for path in sorted(Path("book").rglob("*")) if path.is_file() and path.suffix != ".pyc"],
    output:
        "_build/html/.buildinfo",  # not the first page: Snakemake removes what it is about to make anew
    message:
        "Rendering the book"
    shell:
        "python book/render.py"
