"""The order of work: per machine ID what is heavy, then each notebook of each machine type, then the book.

Called by `make book`. Configuration (`--config name=value`): profile, data, snr, machines, weights.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path

from joblib import hash as digest

from mimii_lib import dataset, miniature, paper
from mimii_lib.errors import MimiiError, one_of
from mimii_lib.settings import as_json, load_profile, several

NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("0[1-6]_*.ipynb"))
LIBRARY = sorted(map(str, Path("mimii_lib").glob("*.py")))
KNOWN = ("profile", "data", "snr", "machines", "weights")


def prepared():
    """Return the profile's name, the profile, the asked machine types and what the jobs are told, or raise."""
    for name in config:
        if name not in KNOWN:
            raise one_of("--config", name, KNOWN)
    name = str(config.get("profile", "miniature"))
    said = {key: config[key] for key in ("data", "snr", "weights") if key in config}
    said = {key: str(Path(value).resolve()) if key != "snr" else value for key, value in said.items()}
    if not isinstance(said.get("snr", 0), int):
        raise MimiiError(f"snr: found {said['snr']!r}, expected a whole number of dB such as -6")
    profile = load_profile(name)
    profile = replace(profile, snr=said.get("snr", profile.snr))
    if profile.miniature is not None and "data" not in said:
        # The plan depends on the files, so they come before it.
        if not (profile.recordings / dataset.MARKER).is_file():
            print("Making the miniature (less than a minute)", file=sys.stderr)
        miniature.make(profile.recordings, snr=profile.snr, **asdict(profile.miniature))
    machines = several(config.get("machines"), parameter="machines") or profile.machines
    for machine in machines:
        if machine not in paper.MACHINES:
            raise one_of("machines", machine, paper.MACHINES)
    return name, profile, machines, said


def evaluable(machine):
    """Return the machine IDs to run and a fingerprint of their files (names, sizes, times)."""
    chosen = load_profile(NAME, machine)
    data = dataset.data_folder(SAID.get("data", PROFILE.recordings))
    clips = dataset.clips(data, machine, PROFILE.snr, chosen.ids)
    splits = dataset.split(clips, chosen.seeds[:1], chosen.settings.split)
    skipped = dataset.not_evaluable(clips, splits, chosen.settings.split)
    ids = [name for name in clips.id.unique() if name not in skipped]
    if not ids:
        raise MimiiError(f"{machine}: no machine ID can be evaluated ({skipped}); name others with MACHINES")
    states = [(data / path).stat() for path in clips.path]
    return ids, digest([(path, s.st_size, s.st_mtime_ns) for path, s in zip(clips.path, states)])


try:
    NAME, PROFILE, MACHINES, SAID = prepared()
    IDS = {machine: evaluable(machine) for machine in MACHINES}
except MimiiError as error:
    sys.exit(f"mimii: {error}")

PARAMETERS = {"profile": NAME, **SAID}
AS_OPTIONS = " ".join(f"--{name} {value!r}" for name, value in PARAMETERS.items() if name != "data")
AS_PARAMETERS = " ".join(f"-p {name} {value!r}" for name, value in PARAMETERS.items())
DATA = repr(SAID["data"]) if "data" in SAID else ""


def settings_of(machine):
    """Return a digest of the profile and the options: a machine type's jobs run again if it changes."""
    return digest([as_json(replace(load_profile(NAME, machine), machines=())), PARAMETERS])


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
        data=lambda wildcards: IDS[wildcards.machine][1],
        settings=lambda wildcards: settings_of(wildcards.machine),
    message:
        "Features, detectors and auto-encoders of {wildcards.machine} {wildcards.id}"
    shell:
        "mimii auc {DATA} --machine {wildcards.machine} --ids {wildcards.id} {AS_OPTIONS} --json {output} > {output}.txt"


def scores_of(machine):
    return expand("results/auc/{machine}_{id}.json", machine=machine, id=IDS[machine][0])


rule notebook:
    input:
        LIBRARY,
        lambda wildcards: scores_of(wildcards.machine),
        notebook="notebooks/{notebook}.ipynb",
    output:
        "executed/{machine}/{notebook}.ipynb",
    params:
        settings=lambda wildcards: settings_of(wildcards.machine),
    wildcard_constraints:
        machine="|".join(MACHINES),
    message:
        "Notebook {wildcards.notebook} for the {wildcards.machine}"
    shell:
        "mimii run {input.notebook} {output} -p machine {wildcards.machine} {AS_PARAMETERS}"


rule not_run:
    input:
        notebook="notebooks/{notebook}.ipynb",
    output:
        "executed/{machine}/{notebook}.ipynb",
    wildcard_constraints:
        machine="|".join([machine for machine in paper.MACHINES if machine not in MACHINES] or ["none"]),
    message:
        "Notebook {wildcards.notebook} for the {wildcards.machine}: not run"
    shell:
        "mimii run {input.notebook} {output} -p machine {wildcards.machine} "
        "--not-run 'The {wildcards.machine} was left out of this run.'"


rule results:
    input:
        LIBRARY,
        [scores_of(machine) for machine in MACHINES],
    output:
        "results/auc.parquet",
        "results/auc.csv",
        "results/splits.csv",
    params:
        settings=[settings_of(machine) for machine in MACHINES],
    message:
        "Gathering the results"
    shell:
        "mimii auc {DATA} --machine {MACHINES} {AS_OPTIONS} --save results > results/auc.txt"


rule table1:
    input:
        LIBRARY,
        "results/auc.parquet",
        notebook="notebooks/07_table1.ipynb",
    output:
        "executed/table1.ipynb",
    params:
        settings=[settings_of(machine) for machine in MACHINES],
    message:
        "Notebook 07_table1"
    shell:
        "mimii run {input.notebook} {output} -p machine '{MACHINES}' {AS_PARAMETERS}"


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
