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
from mimii_lib.settings import as_json, load_profile, several, with_parameters

NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("0[1-6]_*.ipynb"))
LIBRARY = sorted(map(str, Path("mimii_lib").glob("*.py")))
KNOWN = ("machine", "profile", "data", "snr", "ids", "extractors", "detectors", "seeds", "weights")


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


def evaluable(machine):
    """Return the machine IDs to run, why others are skipped, and a fingerprint of the files (names, sizes, times)."""
    profile = of(SAID, machine)
    data = dataset.data_folder(profile.recordings)
    clips = dataset.clips(data, machine, profile.snr, profile.ids)
    splits = dataset.split(clips, profile.seeds[:1], profile.settings.split)
    skipped = dataset.not_evaluable(clips, splits, profile.settings.split)
    ids = [name for name in clips.id.unique() if name not in skipped]
    states = [dataset.state(data / path)[1:3] for path in clips.path]
    return ids, skipped, digest([*zip(clips.path, states)])


try:
    ASKED, PROFILE, SAID = prepared()
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
OPTIONS_OF_AN_ID = quoted("--{} {}", without=("data", "ids"))
PARAMETERS = quoted("-p {} {}")


def identity_of(machine):
    """Return a digest of the data, the profile and the options: a machine type's jobs run again if it changes.

    Every job carries it: if a run stops after scores that came out the same on other clips, those scores alone
    would not tell the pages, which show the clips, to run.
    """
    return digest([as_json(replace(of(SAID, machine), machines=())), FOUND[machine][2]])


wildcard_constraints:
    machine="|".join(paper.MACHINES),
    id=r"id_\d\d",


rule book:
    input:
        "_build/html/index.html",


rule scores:
    input:
        LIBRARY,
    output:
        "results/auc/{machine}_{id}.json",
    params:
        identity=lambda wildcards: identity_of(wildcards.machine),
    message:
        "Features, detectors and auto-encoders of {wildcards.machine} {wildcards.id}"
    shell:
        "mimii auc {DATA} --machine {wildcards.machine} --ids {wildcards.id} {OPTIONS_OF_AN_ID} --json {output} > {output}.txt"


def scores_of(machine):
    return expand("results/auc/{machine}_{id}.json", machine=machine, id=FOUND[machine][0])


rule notebook:
    input:
        LIBRARY,
        lambda wildcards: scores_of(wildcards.machine),
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
        [scores_of(machine) for machine in MACHINES],
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


rule table1:
    input:
        LIBRARY,
        "results/auc.parquet",
        notebook="notebooks/07_table1.ipynb",
    output:
        "executed/table1.ipynb",
    params:
        identity=[identity_of(machine) for machine in MACHINES],
    message:
        "Notebook 07_table1"
    shell:
        "mimii run {input.notebook} {output} -p machine '{MACHINES}' {PARAMETERS}"


rule html:
    input:
        expand("executed/{machine}/{notebook}.ipynb", machine=paper.MACHINES, notebook=NOTEBOOKS),
        "executed/table1.ipynb",
        "_config.yml",
        "_toc.yml",
        [str(path) for path in sorted(Path("book").rglob("*")) if path.is_file() and path.suffix != ".pyc"],
    output:
        "_build/html/index.html",
    message:
        "Rendering the book"
    shell:
        "PYTHONPATH=book jupyter-book build . --all -q -W -n --keep-going"
