"""The order of work: per machine ID what is heavy, then each notebook of each machine type, then the book.

Called by `make book`. Configuration (`--config name=value`): the parameters of the notebooks.
"""

import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path

from joblib import hash as digest

from mimii_lib import dataset, miniature, paper
from mimii_lib.errors import MimiiError, one_of
from mimii_lib.settings import Miniature, as_json, load_profile, several, with_parameters
from mimii_lib.weights import OFFLINE, WeightsNotFound, find_weights

NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("0[1-6]_*.ipynb"))  # one page per machine type
PAGES = {path.stem[3:]: path.stem for path in Path("notebooks").glob("*.ipynb") if path.stem not in NOTEBOOKS}
WITHOUT_DATA = ("open_points", "conformance")  # pages about the library alone
LIBRARY = sorted(map(str, Path("mimii_lib").glob("*.py")))
KNOWN = ("machine", "profile", "data", "snr", "ids", "extractors", "detectors", "seeds", "weights", "settings")


def of(said, machine=None):
    """Return the profile of a machine type with the parameters in place."""
    rest = {name: value for name, value in said.items() if name != "profile"}
    return with_parameters(load_profile(str(said["profile"]), machine), **rest)


def prepared():
    """Return the asked machine types and profile, and the parameters for the jobs, or raise."""
    for name in config:
        if name not in KNOWN:
            raise one_of("--config", name, KNOWN)
    said = {"profile": "miniature"} | config
    machines = several(said.pop("machine", None), parameter="machine")
    for machine in machines or ():
        if machine not in paper.MACHINES:
            raise one_of("machine", machine, paper.MACHINES)
    for folder in ("data", "weights"):
        if folder in said:
            said[folder] = str(Path(said[folder]).resolve())
    profile = of(said)
    if profile.miniature is not None:
        # The plan depends on the files, so they come before it.
        if not (profile.recordings / dataset.MARKER).is_file():
            print("Making the miniature (less than a minute)", file=sys.stderr)
        miniature.make(profile.recordings, snr=profile.snr, **asdict(profile.miniature))
    return machines or profile.machines, profile, said


def weights_of(profile):
    """Return what weights there are, downloaded if need be: once, before any job, which then downloads nothing."""
    found = {}
    for name in profile.extractors:
        try:
            found[name] = find_weights(name, profile.weights, profile.weight_sources).sha256
        except WeightsNotFound as error:
            found[name] = None
            print(f"not run: {error}", file=sys.stderr)
    return found


def evaluable(machine):
    """Return the machine IDs to run, why others are skipped, and a fingerprint of the files (names, sizes, times)."""
    profile = of(SAID, machine)
    data = dataset.data_folder(profile.recordings)
    clips = dataset.clips(data, machine, profile.snr, profile.ids)
    splits = dataset.split(clips, profile.seeds[:1], profile.settings.split)
    skipped = dataset.not_evaluable(clips, splits, profile.settings)
    ids = [name for name in clips.id.unique() if name not in skipped]
    states = [dataset.state(data / path)[1:3] for path in clips.path]
    return ids, skipped, digest([*zip(clips.path, states)])


try:
    ASKED, PROFILE, SAID = prepared()
    WEIGHTS = weights_of(PROFILE)
    FOUND = {machine: evaluable(machine) for machine in ASKED}
    MACHINES = [machine for machine in ASKED if FOUND[machine][0]]
    NOT_RUN = {machine: "not part of this run" for machine in paper.MACHINES if machine not in ASKED}
    for machine in ASKED:
        if machine not in MACHINES:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in FOUND[machine][1].items())
            NOT_RUN[machine] = f"no machine ID can be evaluated ({reasons})"
            print(f"{machine}: {NOT_RUN[machine]}", file=sys.stderr)
    if not MACHINES:
        raise MimiiError("nothing can be run; the reasons stand above")
except MimiiError as error:
    sys.exit(f"mimii: {error}")


def quoted(pattern, without=()):
    """Return the parameters as words of a command."""
    words = [pattern.format(name, shlex.quote(str(value))) for name, value in SAID.items() if name not in without]
    return " ".join(words)


DATA = shlex.quote(SAID["data"]) if "data" in SAID else ""
OPTIONS = quoted("--{} {}", without=("data",))
PARAMETERS = quoted("-p {} {}")


def identity_of(machine):
    """Return a digest of the data, the profile and the options: a machine type's jobs run again if it changes.

    Every job carries it: if a run stops after scores that came out the same on other clips, those scores alone
    would not tell the pages, which show the clips, to run.
    """
    return digest([as_json(replace(of(SAID, machine), machines=())), FOUND[machine][2], WEIGHTS])


# A machine type's recordings share a process, which makes its networks ready once, and a share of the cores:
# Snakemake tells OpenMP and BLAS how many threads a job has.
THREADS = max(1, workflow.cores // len(MACHINES))
shell.prefix(f"export {OFFLINE}=1; ")

# A miniature of another SNR is made before the jobs that compare with it, which would each begin to make it.
made_here = PROFILE.miniature is not None and "{snr}" in str(PROFILE.data)
OTHER_SNRS = [snr for snr in paper.SNRS if snr != PROFILE.snr] if made_here else []


wildcard_constraints:
    machine="|".join(paper.MACHINES),
    page="|".join(PAGES),
    snr=r"-?\d+",


rule book:
    input:
        "_build/html/index.html",


rule scores:
    input:
        LIBRARY,
    output:
        "results/auc/{machine}.json",
    params:
        identity=lambda wildcards: identity_of(wildcards.machine),
    threads: THREADS
    priority: 2  # the longest jobs first: no core waits at the end
    message:
        "Features, detectors and auto-encoders of the {wildcards.machine}"
    shell:
        "mimii auc {DATA} --machine {wildcards.machine} {OPTIONS} --json {output} > {output}.txt"


rule notebook:
    input:
        LIBRARY,
        "results/auc/{machine}.json",
        notebook="notebooks/{notebook}.ipynb",
    output:
        "executed/{machine}/{notebook}.ipynb",
    params:
        identity=lambda wildcards: identity_of(wildcards.machine),
    wildcard_constraints:
        machine="|".join(MACHINES),
    message:
        "Notebook {wildcards.notebook} for the {wildcards.machine}"
    shell:
        "mimii run {input.notebook} {output} -p machine {wildcards.machine} {PARAMETERS}"


rule not_run:
    input:
        notebook="notebooks/{notebook}.ipynb",
    output:
        "executed/{machine}/{notebook}.ipynb",
    wildcard_constraints:
        machine="|".join(NOT_RUN or ["none"]),
    params:
        reason=lambda wildcards: f"The {wildcards.machine}: {NOT_RUN[wildcards.machine]}.",
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
        identity=[identity_of(machine) for machine in MACHINES],
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


rule choices:
    input:
        LIBRARY,
        "results/auc/{machine}.json",
        [f"results/choices/miniature_{snr}_dB.txt" for snr in OTHER_SNRS],
    output:
        "results/choices/{machine}.txt",
    params:
        identity=lambda wildcards: identity_of(wildcards.machine),
    threads: THREADS
    priority: 1
    message:
        "What the open choices change for the {wildcards.machine}"
    shell:
        "mimii choices {DATA} --machine {wildcards.machine} {OPTIONS} > {output}"


rule page:
    input:
        LIBRARY,
        "results/auc.parquet",
        lambda wildcards: expand("results/choices/{machine}.txt", machine=MACHINES if wildcards.page == "choices" else []),
        lambda wildcards: sorted(map(str, Path("tests").glob("*.py"))) if wildcards.page == "conformance" else [],
        notebook=lambda wildcards: f"notebooks/{PAGES[wildcards.page]}.ipynb",
    output:
        "executed/{page}.ipynb",
    params:
        asked=lambda wildcards: "" if wildcards.page in WITHOUT_DATA else f"-p machine '{' '.join(MACHINES)}' {PARAMETERS}",
        identity=[identity_of(machine) for machine in MACHINES],
    message:
        "Notebook {wildcards.page}"
    shell:
        "mimii run {input.notebook} {output} {params.asked}"


rule html:
    input:
        expand("executed/{machine}/{notebook}.ipynb", machine=paper.MACHINES, notebook=NOTEBOOKS),
        expand("executed/{page}.ipynb", page=PAGES),
        "_config.yml",
        "_toc.yml",
        [str(path) for path in sorted(Path("book").rglob("*")) if path.is_file() and path.suffix != ".pyc"],
    output:
        "_build/html/index.html",
    message:
        "Rendering the book"
    shell:
        "PYTHONPATH=book jupyter-book build . --all -q -W -n --keep-going"
