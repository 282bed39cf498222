"""The command line: ``mimii``, for what the notebooks and the workflow also call."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd

from mimii_lib import dataset, paper
from mimii_lib.data.files import atomic_write
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.extractors import EXTRACTORS
from mimii_lib.run.cache import exclusive_write
from mimii_lib.settings import DETECTORS, Miniature, Profile, as_tuple, load_profile

if TYPE_CHECKING:
    from mimii_lib.run import Run


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise MimiiError(f"{message}; see '{self.prog} --help'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 if something was found wrong, 2 for bad input."""
    try:
        said = _parser().parse_args(arguments)
        return said.run(said)
    except MimiiError as error:
        print(f"mimii: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mimii", description="Acoustic anomaly detection by image transfer learning on MIMII.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(run=run)
        return made

    size, default = Miniature(), Profile()
    make = command("miniature", _miniature, "make the miniature, a synthetic stand-in for MIMII")
    make.add_argument("dest", type=Path, metavar="DEST", help="folder to make it in")
    make.add_argument("--snr", type=int, default=default.snr, help="signal-to-noise ratio in dB (default %(default)s)")
    make.add_argument("--normal", type=int, default=size.normal, help="normal clips per ID (default %(default)s)")
    make.add_argument("--abnormal", type=int, default=size.abnormal, help="abnormal clips per ID (default %(default)s)")
    make.add_argument("--seed", type=int, default=size.seed, help="seed (default %(default)s)")
    make.add_argument("--channels", type=int, default=1, help="channels per file (default %(default)s)")
    make.add_argument("--machines", nargs="+", default=[*paper.MACHINES], metavar="MACHINE", help="machine types")
    make.add_argument(
        "--share",
        type=float,
        help="instead, this share of MIMII's own number of clips (1: 18,019), mixed from a few: to rehearse with",
    )

    get = command("download", _download, "fetch MIMII's archives and unpack them; repeat it to go on")
    get.add_argument("dest", nargs="?", metavar="DEST", help="folder to hold the <snr>_dB_<machine> folders")
    get.add_argument("--snr", type=int, default=default.snr, help="signal-to-noise ratio in dB (default %(default)s)")
    get.add_argument("--machines", nargs="+", default=[*paper.MACHINES], metavar="MACHINE", help="machine types")
    get.add_argument("--mirror", metavar="WHERE", help="address or folder of the archives (default: Zenodo)")
    get.add_argument("--registry", type=Path, metavar="FILE", help="CSV of name, bytes, md5 for other archives")
    get.add_argument("--all-channels", action="store_true", help="keep all eight, not the first, for 8 times the disk")
    get.add_argument("--keep-archives", action="store_true", help="do not remove an archive that is unpacked")

    check = command("check", _check, "tell what recordings are in a folder, what should be, and what to do about it")
    check.add_argument("data", type=Path, metavar="DATA", help="folder that holds <snr>_dB_<machine> folders")

    auc = command("auc", _auc, "run the pipeline for what is named and print the AUCs")
    auc.epilog = (
        f"Where nothing is said: extractors {' '.join(default.extractors)}, detectors "
        f"{' '.join(default.detectors)}, seeds {' '.join(map(str, default.seeds))}, the paper's settings."
    )
    _add_run(auc)
    auc.add_argument("--splits", type=Path, metavar="FILE", help="CSV of seed, path, role: use these splits")
    auc.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    auc.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write auc.parquet and auc.csv, with provenance, splits.csv and report.json",
    )

    warm = command("features", _features, "compute and keep the features that the detectors of a run will ask for")
    _add_run(warm)

    soon = command("forecast", _forecast, "say what a run will compute, how long that takes here and what it needs")
    _add_run(soon)
    soon.add_argument("--no-choices", action="store_true", help="without the page on the open choices")
    soon.add_argument("--count", action="store_true", help="say what is missing, and measure no time")
    soon.add_argument("--json", type=Path, metavar="FILE", help="write it as JSON, too")

    effects = command("choices", _choices, "measure what the paper's open choices change, and print it")
    effects.epilog = "The profile's 'sensitivity' says how much of the run is repeated."
    _add_run(effects)

    run = command("run", _run, "execute notebooks as the book does: checked parameters, no half-written page")
    run.add_argument(
        "notebooks", type=Path, nargs="+", metavar="NOTEBOOK", help="with a cell tagged 'parameters' where it takes any"
    )
    run.add_argument("output", type=Path, metavar="OUTPUT", help="the executed copy; of several, the folder for them")
    run.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    run.add_argument("--not-run", metavar="REASON", help="write a page that says so instead of executing")
    run.add_argument("--leave-out", metavar="NAME", help="the one of several that --not-run is meant for")
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to run."""
    several_of: dict[str, Any] = {"nargs": "+", "action": "extend"}
    parser.add_argument(
        "data", type=Path, nargs="?", metavar="DATA", help="folder of recordings; may be left to a profile"
    )
    parser.add_argument("--machine", **several_of, help=f"of {' '.join(paper.MACHINES)} (default: all there are)")
    parser.add_argument("--ids", **several_of, help="machine IDs such as id_00 (default: all there are)")
    parser.add_argument("--snr", type=int, help=f"signal-to-noise ratio in dB (default {Profile.snr})")
    parser.add_argument("--extractors", **several_of, help=f"of {' '.join(EXTRACTORS)}")
    parser.add_argument("--detectors", **several_of, help=f"of {' '.join(DETECTORS)}")
    parser.add_argument("--seeds", **several_of, help="whole numbers")
    parser.add_argument("--profile", help="a profile that says what is not said here")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder with weight files <extractor>.pt")
    parser.add_argument(
        "--settings", **several_of, metavar="NAME=VALUE", help="settings, such as imaging.hop=512 split.balanced=true"
    )


def _miniature(said: argparse.Namespace) -> int:
    from mimii_lib.data import miniature

    if said.share is not None:
        for name, default in {
            "normal": Miniature.normal,
            "abnormal": Miniature.abnormal,
            "channels": 1,
            "machines": [*paper.MACHINES],
        }.items():
            if (found := getattr(said, name)) != default:
                raise MimiiError(f"--share: found --{name} {found} beside it; name one of the two")
        miniature.make_full_size(said.dest, share=said.share, snr=said.snr, seed=said.seed)
        print(f"{said.dest}: {said.share:.0%} of MIMII's number of clips at {said.snr} dB")
        return 0
    miniature.make_miniature(
        said.dest,
        snr=said.snr,
        normal=said.normal,
        abnormal=said.abnormal,
        machines=as_tuple(said.machines, parameter="--machines") or (),
        seed=said.seed,
        channels=said.channels,
    )
    print(f"{said.dest}: miniature of {' '.join(said.machines)} at {said.snr} dB")
    return 0


def _download(said: argparse.Namespace) -> int:
    from mimii_lib.data import download

    machines, dest = list(as_tuple(_flat(said.machines), parameter="--machines") or ()), said.dest
    if dest is None and said.machines[-1] not in paper.MACHINES:  # --machines fan pump DEST
        machines, dest = list(as_tuple(_flat(said.machines[:-1]), parameter="--machines") or ()), said.machines[-1]
        if get_close_matches(dest, paper.MACHINES):
            raise unknown_value("--machines", dest, paper.MACHINES)
    if dest is None or not machines:
        raise MimiiError("DEST: found no folder; name the one to hold the recordings, after the machine types")
    download.fetch(
        Path(dest),
        snr=said.snr,
        machines=machines,
        mirror=said.mirror,
        registry=said.registry,
        channel=None if said.all_channels else 0,
        keep_archives=said.keep_archives,
        report=lambda line: print(line, flush=True),
    )
    return 0


def _check(said: argparse.Namespace) -> int:
    from mimii_lib.data import checks

    report = checks.check(said.data)
    print(report.table.to_string(index=False))
    total = report.table[[*dataset.LABELS]].to_numpy().sum()
    print(f"\n{total} clips; {len(report.problems)} cannot be used as they are.")
    for problem in report.problems:
        print(f"- {problem}")
    if report.differences:
        print("\nAgainst MIMII as it is published:")
    for difference in report.differences:
        print(f"- {difference}")
    return 1 if report.problems else 0


def _runs(said: argparse.Namespace) -> list["Run"]:
    """Return a run for each machine type that the command line asks for."""
    from mimii_lib.run import Run

    lists = ("ids", "extractors", "detectors", "seeds", "settings")
    asked: dict[str, Any] = {name: _flat(getattr(said, name)) for name in lists}
    asked |= {name: getattr(said, name, None) for name in ("profile", "data", "snr", "weights", "splits")}
    return [Run(machine, **asked) for machine in _machines(said)]


def _features(said: argparse.Namespace) -> int:
    for run in _runs(said):
        # Features are the same for every seed, but where pictures are scaled by the training clips.
        seeds: Sequence[int | None] = run.profile.seeds if run.settings.imaging.scaling == "training" else [None]
        networks = dict.fromkeys(name for name, _ in run.results.systems() if name)
        for machine_id, name, seed in product(run.ids, networks, seeds):
            clips, patches, dimension = run.features(machine_id, name, seed).shape
            of_seed = "" if seed is None else f" seed {seed}"
            print(
                f"{run.machine} {machine_id} {name}{of_seed}: {clips} clips, {patches} patches each, "
                f"{dimension} features",
                flush=True,
            )
    return 0


def _forecast(said: argparse.Namespace) -> int:
    from mimii_lib.run.forecast import forecast

    found = forecast(_runs(said), choices=not said.no_choices, measure=not said.count)
    print(found)
    if said.json:
        with atomic_write(said.json) as file:
            file.write_text(json.dumps(found.as_dict(), indent=1) + "\n")
    return 2 if found.problems else 0


def _choices(said: argparse.Namespace) -> int:
    from mimii_lib.pages import open_points

    runs = _runs(said)
    for effect in open_points.effects(runs):
        found = effect.not_run and f"not run: {effect.not_run}"
        found = found or f"{effect.difference:+.1f} points (95 %: {effect.low:+.1f} to {effect.high:+.1f})"
        print(f"{effect.point.number:2d} {effect.point.title}, {effect.alternative.name}: {found}", flush=True)
    print("\nMean AUC in percent by number of dimensions (0: all)")
    for each in open_points.at_equal_dimension(runs):
        numbers = f"{each.auc:.1f}, {each.difference:+.1f} against the first network"
        print(f"{each.extractor} {each.dimensions}: {f'not run: {each.not_run}' if each.not_run else numbers}")
    return 0


def _auc(said: argparse.Namespace) -> int:
    with exclusive_write(said.json) if said.json else nullcontext():
        return _areas(said)


def _areas(said: argparse.Namespace) -> int:
    runs = _runs(said)
    for run in runs:
        for reason in run.recordings.left_out.values():
            print(f"left out: {reason}", file=sys.stderr)
        for name, reason in (run.recordings.skipped | run.stages.unavailable_extractors).items():
            print(f"{run.machine} {name}: skipped, {reason}", file=sys.stderr)
    tables = [run.auc() for run in runs]
    table = pd.concat(tables, ignore_index=True)
    if said.json:
        rows = json.loads(table.to_json(orient="records", double_precision=15))
        with atomic_write(said.json) as file:
            file.write_text(json.dumps(rows, indent=1) + "\n")
    if said.save:
        _save(runs, tables, said.save)
    if table.empty:
        raise MimiiError("nothing could be run; the reasons stand above")
    print(_as_text(table))
    return 0


def _machines(said: argparse.Namespace) -> tuple[str, ...]:
    """Return the machine types that were named, else the profile's that the data folder holds."""
    if said.machine:
        return as_tuple(_flat(said.machine), parameter="--machine") or ()
    profile = load_profile(said.profile)
    if said.data is None:
        return profile.machines
    snr = profile.snr if said.snr is None else said.snr
    found = dataset.trees(dataset.data_folder(said.data))
    there = [name for name in profile.machines if (snr, name) in found or (None, name) in found]
    if not there:
        raise MimiiError(
            f"{said.data}: holds no machine at {snr} dB; expected folders like {snr}_dB_fan/fan/id_00/normal"
        )
    return tuple(there)


def _flat(values: list[str] | None) -> str | None:
    return None if values is None else " ".join(values)


def _as_text(table: pd.DataFrame) -> str:
    """Return AUCs in percent: a line per machine ID and row, the mean over the seeds and each seed."""
    keys = ["machine", "id", "extractor", "detector"]
    wide = table.fillna({"extractor": "–"}).pivot_table(index=keys, columns="seed", values="auc", sort=False) * 100
    wide.columns = pd.Index([f"seed {seed}" for seed in wide.columns])
    wide.insert(0, "mean", wide.mean(axis=1))
    lines = ["AUC in percent", wide.round(1).reset_index().to_string(index=False, na_rep="–"), ""]
    for (machine, machine_id), here in table.groupby(["machine", "id"], sort=False):
        first = here.iloc[0]
        lines.append(
            f"{machine} {machine_id}: {first.n_train} clips train; "
            f"{first.n_normal} normal and {first.n_abnormal} abnormal clips test"
        )
    return "\n".join(lines)


def _save(runs: list["Run"], tables: list[pd.DataFrame], folder: Path) -> None:
    """Write the AUCs with their provenance, the splits and the report, as files that others can use."""
    from mimii_lib.pages.report import report

    known = [run.results.with_provenance(table) for run, table in zip(runs, tables, strict=True)]
    table = pd.concat(known, ignore_index=True)
    with atomic_write(folder / "auc.parquet") as file:
        table.to_parquet(file, index=False)
    with atomic_write(folder / "auc.csv") as file:
        table.to_csv(file, index=False)
    with atomic_write(folder / "splits.csv") as file:
        pd.concat([run.recordings.splits for run in runs]).to_csv(file, index=False)
    with atomic_write(folder / "report.json") as file:
        file.write_text(json.dumps(report(runs), indent=1, ensure_ascii=False) + "\n")


def _run(said: argparse.Namespace) -> int:
    from mimii_lib.run import notebooks

    names = [notebook.stem for notebook in said.notebooks]
    if said.leave_out not in (None, *names):
        raise unknown_value("--leave-out", said.leave_out, names)
    with notebooks.one_kernel():
        for notebook in said.notebooks:
            output = said.output if len(said.notebooks) == 1 else said.output / notebook.name
            if said.not_run and said.leave_out in (None, notebook.stem):
                notebooks.not_run(notebook, output, dict(said.parameters), said.not_run)
            else:
                notebooks.execute(notebook, output, dict(said.parameters))
    return 0


if __name__ == "__main__":
    sys.exit(main())
