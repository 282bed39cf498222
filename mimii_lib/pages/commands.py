"""The commands of ``mimii``: each takes its options by name, prints its result, and may return an exit code."""

import json
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from mimii_lib import dataset, paper
from mimii_lib.data import checks, download
from mimii_lib.data.files import atomic_write
from mimii_lib.data.miniature import make_miniature
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.pages import metadata, open_points
from mimii_lib.pages.report import report
from mimii_lib.run import Run, runs_of
from mimii_lib.run.cache import exclusive_write
from mimii_lib.run.forecast import forecast
from mimii_lib.run.profiles import as_tuple, load_profile


def miniature_command(dest: Path, **size: Any) -> None:
    """Make the miniature, of the default size where `size` says nothing else."""
    make_miniature(dest, **size)
    print(f"{dest}: the miniature is complete")


def download_command(
    dest: str | None = None,
    machines: Sequence[str] = paper.MACHINES,
    ids: Sequence[str] = (),
    snr: int = -6,
    **options: Any,
) -> None:
    """Download recordings; the folder may stand after the machine types, or the IDs, as their last one."""
    if dest is None and machines[-1] not in paper.MACHINES:
        *machines, dest = machines
        if get_close_matches(dest, paper.MACHINES):
            raise unknown_value("--machines", dest, paper.MACHINES)
    if dest is None and len(ids) > 1 and not re.fullmatch(r"id_\d\d", ids[-1]):
        *ids, dest = ids
    if dest is None and (unknown := [name for name in machines if name not in paper.MACHINES]):
        raise unknown_value("--machines", unknown[0], paper.MACHINES)
    if dest is None or not machines:
        raise MimiiError("DEST: found no folder; name the one to hold the recordings, after the machine types")
    options["machines"] = as_tuple(" ".join(machines), "--machines")
    options["ids"] = as_tuple(" ".join(ids)) if ids else None
    download.fetch(Path(dest), snr=snr, report=partial(print, flush=True), **options)


def check_command(data: Path) -> int:
    """Print the recordings in a folder and their problems; return 1 if there are any."""
    recordings = checks.check(data)
    n_clips = recordings.table[["normal", "abnormal"]].to_numpy().sum()
    lines = [recordings.table.to_string(index=False), ""]
    lines += [f"{n_clips} clips; {len(recordings.problems)} cannot be used as they are."]
    lines += [f"- {problem}" for problem in recordings.problems]
    if recordings.differences:
        lines += ["", "Against MIMII as it is published:", *(f"- {text}" for text in recordings.differences)]
    print("\n".join(lines))
    return 1 if recordings.problems else 0


def auc_command(*, json_file: Path | None = None, save: Path | None = None, **options: Any) -> None:
    """Compute and print the AUCs, and write them where that is asked for."""
    if json_file and save and json_file.resolve() in {(save / name).resolve() for name in SAVED}:
        raise MimiiError(f"--json: {json_file} is a file of --save, too; name another one")
    with exclusive_write(json_file) if json_file else nullcontext():
        runs = runs_of(**_parameters(**options))
        for run in runs:
            for reason in run.recordings.left_out.values():
                print(f"left out: {reason}", file=sys.stderr)
            for name, reason in (run.recordings.skipped | run.stages.unavailable_extractors).items():
                print(f"{run.machine} {name}: skipped, {reason}", file=sys.stderr)
        tables = [run.auc() for run in runs]
        table = pd.concat(tables, ignore_index=True)
        if json_file:
            _write_json(json_file, json.loads(table.to_json(orient="records", double_precision=15)))
        if save:
            known = [run.results.with_provenance(of_run) for run, of_run in zip(runs, tables, strict=True)]
            _save(pd.concat(known, ignore_index=True), runs, save)
    if table.empty:
        raise MimiiError("nothing could be run; the reasons stand above")
    print(auc_text(table))


def auc_text(table: pd.DataFrame) -> str:
    """Return AUCs in percent, a line per machine ID and system, and the clips that they rest on."""
    keys = ["machine", "id", "extractor", "detector"]
    wide = table.fillna({"extractor": "–"}).pivot_table(index=keys, columns="seed", values="auc", sort=False) * 100
    wide = wide.rename(columns="seed {}".format).rename_axis(columns=None)
    wide.insert(0, "mean", wide.mean(axis=1))
    lines = ["AUC in percent", wide.round(1).reset_index().to_string(index=False, na_rep="–"), ""]
    for row in table.drop_duplicates(["machine", "id"]).itertuples():
        tested = f"{row.n_normal} normal and {row.n_abnormal} abnormal clips test"
        lines.append(f"{row.machine} {row.id}: {row.n_train} clips train; {tested}")
    return "\n".join(lines)


SAVED = (*metadata.OUTPUTS, metadata.CRATE)


def _save(table: pd.DataFrame, runs: Sequence[Run], folder: Path) -> None:
    """Write the AUCs with their provenance, the splits, the report, and what describes them to other programs."""
    with atomic_write(folder / "auc.parquet") as file:
        table.to_parquet(file, index=False)
    with atomic_write(folder / "auc.csv") as file:
        table.to_csv(file, index=False)
    with atomic_write(folder / "splits.csv") as file:
        pd.concat([run.recordings.splits for run in runs]).to_csv(file, index=False)
    summary = report(runs)
    _write_json(folder / "report.json", summary)
    _write_json(folder / metadata.CROISSANT, metadata.croissant(runs, folder))
    _write_json(folder / metadata.CRATE, metadata.ro_crate(summary, folder))


def _write_json(file: Path, content: Any) -> None:
    with atomic_write(file) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def features_command(**options: Any) -> None:
    """Compute and keep features; print a line for each machine ID and network."""
    for run in runs_of(**_parameters(**options)):
        for reason in run.stages.unavailable_extractors.values():
            print(f"not run: {reason}", file=sys.stderr)
        # Features are the same for every seed, unless the range of the training clips scales the patches.
        seeds: Sequence[int | None] = run.profile.seeds if run.settings.imaging.scaling == "training" else [None]
        extractors = dict.fromkeys(name for name, _ in run.results.systems() if name)
        for extractor, machine_id, seed in product(extractors, run.ids, seeds):  # a network is compiled once
            n_clips, n_patches, dimension = run.features(machine_id, extractor, seed).shape
            of_seed = "" if seed is None else f" seed {seed}"
            size = f"{n_clips} clips, {n_patches} patches each, {dimension} features"
            print(f"{run.machine} {machine_id} {extractor}{of_seed}: {size}", flush=True)


def forecast_command(
    *, no_choices: bool = False, count: bool = False, json_file: Path | None = None, **options: Any
) -> int:
    """Print the forecast; return 2 if the run cannot end well."""
    runs = runs_of(**_parameters(**options))
    alternatives = () if no_choices else open_points.alternative_runs(runs)
    expected = forecast(runs, alternatives=alternatives, measure=not count)
    print(expected)
    if json_file:
        _write_json(json_file, asdict(expected))
    return 2 if expected.problems else 0


def choices_command(**options: Any) -> None:
    """Print what every alternative of an open point changes, and the networks at equal numbers of dimensions."""
    runs = runs_of(**_parameters(**options))
    print("Change of the mean AUC in percentage points, with its 95 % interval")
    print(open_points.effects(runs).round(1).to_string(index=False, na_rep="–"), flush=True)
    print("\nMean AUC in percent by number of dimensions (0: all), and its difference to the first network")
    print(open_points.at_equal_dimension(runs).round(1).to_string(index=False, na_rep="–"))


def plan_command(*, output: Path, no_choices: bool = False, **options: Any) -> None:
    """Prepare a book and write its plan."""
    from mimii_lib.run.plan import write_plan  # locks files as Unix does

    switches = {name: options.pop(name) for name in ("pieces", "dry_run", "lock") if name in options}
    parameters = _parameters(**options)
    alternatives = None if no_choices else open_points.alternative_runs
    write_plan(output, parameters.pop("machines"), parameters, alternatives=alternatives, **switches)


def _parameters(machine: list[str] | None = None, **options: Any) -> dict[str, Any]:
    """Return options as parameters of :func:`runs_of`: of the profile's machine types those in the data folder."""
    options = {name: " ".join(value) if isinstance(value, list) else value for name, value in options.items()}
    profile, data = load_profile(options.get("profile")), options.get("data")
    machines = profile.machines if machine is None else as_tuple(" ".join(machine), "--machine") or ()
    if machine is None and data is not None:
        snr, trees = options.get("snr", profile.snr), dataset.trees(dataset.data_folder(data))
        machines = tuple(name for name in machines if (snr, name) in trees or (None, name) in trees)
        if not machines:
            example = f"expected folders like {snr}_dB_fan/fan/id_00/normal"
            raise MimiiError(f"{data}: holds no machine at {snr} dB; {example}")
    return {"machines": machines, **options}
