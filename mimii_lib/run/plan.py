"""The plan of a book: what the workflow will make, decided before Snakemake starts.

`mimii plan` writes the plan as JSON and the Snakefile reads it. Whatever the order of work depends on happens here:
making the miniature, looking at every clip, finding the weights, and the forecast of a long run.
"""

import fcntl
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mimii_lib import dataset, paper
from mimii_lib.data.files import atomic_write
from mimii_lib.errors import MimiiError, NotRun
from mimii_lib.run import Run, runs_of
from mimii_lib.run.forecast import forecast
from mimii_lib.run.profiles import load_profile, with_parameters
from mimii_lib.run.provenance import digest


def write_plan(
    output: Path,
    machines: Sequence[str],
    parameters: Mapping[str, Any],
    *,
    alternatives: Callable[[Sequence[Run]], Iterable[tuple[Run, Sequence[str] | None]]] | None = None,
    pieces: bool = False,
    dry_run: bool = False,
    lock: int | None = None,
) -> None:
    """Prepare a book and write its plan to `output`. What is left out is printed to the standard error stream.

    `machines` and `parameters` are those of :func:`runs_of`, `pieces` is that of :func:`plan`. `alternatives` returns
    what the page on the open choices computes beyond these runs; None: without that page. A `dry_run` makes no
    miniature and downloads no sample: where there is none yet there is no plan either, and `output` is removed. `lock`
    is the descriptor of an open file, whose lock is waited for.
    """
    if lock is not None:
        _take_lock(lock)
    profile = with_parameters(load_profile(parameters.get("profile")), **{**parameters, "profile": None})
    if profile.miniature is not None and (folder := profile.recordings) and not (folder / dataset.MARKER).is_file():
        if dry_run:
            output.unlink(missing_ok=True)
            print(f"{folder}: there is no miniature yet; 'make book' makes it first, then everything else")
            return
        print(f"{folder}: making the miniature (less than a minute)", file=sys.stderr)
    if dry_run and profile.sample is not None and (folder := profile.recordings):
        if not folder.is_dir():
            output.unlink(missing_ok=True)
            print(f"{folder}: there is no sample of MIMII yet; 'make book' downloads it first, then everything else")
            return
        parameters = {**parameters, "data": folder}  # as it is: nothing more is downloaded
    runs = runs_of(machines, **parameters)
    reasons = {run.machine: reason for run in runs if (reason := _reason_not_run(run))}
    evaluable = [run for run in runs if run.machine not in reasons]
    lines = [f"left out: {reason}" for run in runs for reason in run.recordings.left_out.values()]
    lines += [f"not run: {reason}" for run in runs for reason in run.stages.unavailable_extractors.values()]
    lines += [f"not run: {reason}" for reason in reasons.values()]
    print("".join(f"{line}\n" for line in dict.fromkeys(lines)), end="", file=sys.stderr)
    content = plan(runs, profile_options=parameters, choices=alternatives is not None, pieces=pieces)
    if profile.miniature is None:
        # The node that submits a cluster's jobs says nothing about the speed of the others.
        expected = forecast(evaluable, alternatives=alternatives(evaluable) if alternatives else (), measure=not pieces)
        print(expected, flush=True)
        if expected.problems:
            raise MimiiError("the run cannot end well, as the forecast says above")
    with atomic_write(output) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")


def _take_lock(descriptor: int) -> None:
    """Take the lock of an open file."""
    try:  # it lasts until all who inherit the descriptor have closed it: a killed caller leaves nothing to unlock
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another 'make book' is at work in this folder; this one waits for its end", file=sys.stderr)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def plan(
    runs: Sequence[Run], *, profile_options: Mapping[str, Any], choices: bool = True, pieces: bool = False
) -> dict[str, Any]:
    """Return what the workflow has to do, as plain data under the names that the Snakefile reads.

    There is a run for each machine type; jobs are given the `profile_options` that these runs have. With `choices` the
    page on the open choices is made, too; without, the plan's are None. With `pieces` each network of a machine
    ID and each auto-encoder is a job of its own, as on a cluster. Raises :class:`MimiiError` if nothing can be run.
    """
    not_run = {name: "not part of this run" for name in paper.MACHINES if name not in [run.machine for run in runs]}
    reasons = {run.machine: reason for run in runs if (reason := _reason_not_run(run))}
    profile, runs = runs[0].profile, [run for run in runs if run.machine not in reasons]
    if not runs:
        raise MimiiError(f"nothing can be run: {'; '.join(reasons.values())}")
    measured = [run.machine for run in runs if run.results.measurable]
    parameters = {name: value for name, value in profile_options.items() if value is not None}
    paths = {name: str(Path(parameters[name]).resolve()) for name in ("data", "weights") if name in parameters}
    return {
        "parameters": parameters | paths,
        "identities": {run.machine: run.results.identity for run in runs},
        "not_run": not_run | reasons,
        "detectors": {run.machine: [name for name in run.profile.detectors if name in paper.DETECTORS] for run in runs},
        "autoencoders": {run.machine: run.results.autoencoders for run in runs},
        "pieces": {run.machine: _pieces(run) if pieces else {} for run in runs},
        "choices": measured[: profile.sensitivity.machines] if choices else None,
    }


def _reason_not_run(run: Run) -> str:
    """Return why nothing of a machine type can be run; an empty text if something can."""
    try:
        run.results.systems()
    except NotRun as error:
        return f"{run.machine}: {error}"
    return "" if run.recordings.evaluable else run.recordings.no_ids_reason


def _pieces(run: Run) -> dict[str, str]:
    """Return a digest of what each job of a cluster depends on, by the job's name."""
    digests: dict[str, set[str]] = defaultdict(set)
    for machine_id, extractor, detector, seed in run.results.trials():
        *_, inputs, scores = (key.digest for key in run.stages.keys(machine_id, extractor, detector, seed))
        if extractor is not None:
            digests[f"{machine_id}/features/{extractor}"].add(inputs)
            digests[f"{machine_id}/detectors/{extractor}"].add(scores)
        elif detector in paper.AUTOENCODERS:
            digests[f"{machine_id}/{detector}/seed_{seed}"].add(scores)
    return {name: digest(sorted(of_job)) for name, of_job in digests.items()}
