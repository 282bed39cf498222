"""The command line ``mimii``: what readers, the workflow and clusters can type.

:mod:`mimii_lib.pages.commands` carries the commands out, :mod:`mimii_lib.run.notebooks` the one that executes pages and
:mod:`mimii_lib.monitor.commands` those for one's own machine. They are imported after the options are read, so that
``--help`` and a misspelt option are answered at once.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from mimii_lib import paper
from mimii_lib.errors import MimiiError

MACHINES = " ".join(paper.MACHINES)
DETECTORS = " ".join([*paper.DETECTORS, *paper.AUTOENCODERS])

OWN = ("fit", "score")  # commands of the monitor


class _Parser(argparse.ArgumentParser):
    """A parser that raises its errors as one sentence, and passes on only the options that were given."""

    def __init__(self, **options: Any):
        super().__init__(argument_default=argparse.SUPPRESS, **options)

    def error(self, message: str) -> NoReturn:
        raise MimiiError(f"{message}; see '{self.prog} --help'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 if a check found problems, 2 for bad input."""
    _open_streams()
    try:
        for word in sys.argv[1:] if arguments is None else arguments:
            os.fsencode(word).decode("utf-8")
        options = vars(_parser().parse_args(arguments))
        command = options.pop("command")
        own = command in OWN or (command == "check" and (options["data"].is_file() or len(options) > 1))
        modules = {"run": "run.notebooks", "watch": "monitor.watch"}
        if "html" in options:
            options["page"] = import_module("mimii_lib.pages.scored_recordings").page
        module = modules.get(command, "monitor.commands" if own else "pages.commands")
        code = getattr(import_module(f"mimii_lib.{module}"), f"{command}_command")(**options) or 0
        sys.stdout.flush()  # not after the end, where nobody would see that the reader has closed it
        return code
    except MimiiError as error:
        print(f"mimii: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        print("mimii: more memory is needed than there is; name fewer clips or smaller settings", file=sys.stderr)
        return 2
    except UnicodeError as error:
        text = error.object if isinstance(error, UnicodeEncodeError | UnicodeDecodeError) else error
        print(f"mimii: {ascii(text)[:200]}: found what is no text in UTF-8; name it otherwise", file=sys.stderr)
        return 2
    except OSError as error:  # no rights, a full disk, …
        remedy = "see to its rights and the room on the disk, or name another"
        print(f"mimii: {error.filename or 'a file'}: {error.strerror or error}; {remedy}", file=sys.stderr)
        return 2


def _open_streams() -> None:
    """Open standard streams that the caller has closed, and let the others write what the locale lacks as escapes."""
    while (spare := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(spare)
    sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):  # where the locale has no "–"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mimii", description="Acoustic anomaly detection by image transfer learning on MIMII.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, *parents: _Parser) -> Any:
        """Add a command; return the function that adds an option to it."""
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=list(parents))
        added.set_defaults(command=name)
        return added.add_argument

    _add_data_commands(command)
    _add_run_commands(command)
    _add_monitor_commands(command)
    add = command("run", "execute notebooks as the book does: with checked parameters, and no half-written page")
    add("sources", type=Path, nargs="+", metavar="NOTEBOOK", help="with a cell tagged 'parameters' if it takes any")
    add("output", type=Path, metavar="OUTPUT", help="the executed copy; of several notebooks, the folder for them")
    add("-p", dest="parameters", nargs=2, action="append", metavar=("NAME", "VALUE"))
    add("--not-run", metavar="REASON", help="write a page that gives this reason instead of executing")
    add("--leave-out", metavar="NAME", help="the only one of several notebooks that --not-run is meant for")
    add("--without", metavar="TAG", help="leave out the cells with this tag")
    return parser


def _add_data_commands(command: Callable[..., Any]) -> None:
    snr = "signal-to-noise ratio in dB (default -6)"
    add = command("miniature", "make the miniature, a synthetic stand-in for MIMII")
    add("dest", type=Path, metavar="DEST", help="folder to make it in")
    add("--snr", type=int, help=snr)
    add("--normal", type=int, help="normal clips per ID (default 24)")
    add("--abnormal", type=int, help="abnormal clips per ID (default 8)")
    add("--seed", type=int, help="seed (default 0)")
    add("--channels", type=int, help="channels per file (default 1)")
    add("--machines", nargs="+", metavar="MACHINE", help=f"of {MACHINES} (default: all)")
    add = command("download", "download MIMII's recordings, whole or single clips of them; the same command resumes")
    add("dest", nargs="?", default=None, metavar="DEST", help="folder to hold the recordings")
    add("--snr", type=int, help=snr)
    add("--machines", nargs="+", metavar="MACHINE", help=f"of {MACHINES} (default: all)")
    add("--source", help="mimii, dcase2020 (an eighth of the bytes), or auto, the smaller that holds it (default auto)")
    add("--ids", nargs="+", metavar="ID", help="only the clips of these machine IDs, such as id_00")
    add("--clips", type=int, metavar="N", help="only N normal and --abnormal abnormal clips of each machine ID")
    add("--abnormal", type=int, metavar="M", help="abnormal clips of each ID, or all if there are fewer (default N)")
    add("--seed", type=int, help="seed by which the clips are drawn (default 0)")
    add("--mirror", metavar="WHERE", help="address or folder of the archives (default: Zenodo)")
    add("--registry", type=Path, metavar="FILE", help="CSV of name, bytes, md5 for other archives")
    add("--all-channels", dest="channel", action="store_const", const=None, help="keep all eight, not only the first")
    add("--keep-archives", action="store_true", help="do not remove an archive that is unpacked")


def _add_run_commands(command: Callable[..., Any]) -> None:
    several: dict[str, Any] = {"nargs": "+", "action": "extend"}
    run, choices = _Parser(add_help=False), _Parser(add_help=False)
    run.add_argument(
        "data", type=Path, nargs="?", default=None, metavar="DATA", help="folder of recordings (default: the profile's)"
    )
    run.add_argument("--machine", **several, help=f"of {MACHINES} (default: all there are)")
    run.add_argument("--ids", **several, help="machine IDs such as id_00 (default: all there are)")
    run.add_argument("--snr", type=int, help="signal-to-noise ratio in dB (default: the profile's, or -6)")
    run.add_argument("--extractors", **several, help=f"such as {' '.join(paper.EXTRACTORS)} (default: the profile's)")
    run.add_argument("--detectors", **several, help=f"such as {DETECTORS} (default: the profile's)")
    run.add_argument("--seeds", **several, help="whole numbers (default: the profile's, or 0 1 2 3 4)")
    run.add_argument("--profile", help="name or YAML file of a profile, for all that is not given here")
    run.add_argument("--weights", type=Path, metavar="DIR", help="folder with weight files <extractor>.pt")
    run.add_argument("--settings", **several, metavar="NAME=VALUE", help="such as imaging.hop=512 split.balanced=true")
    choices.add_argument("--no-choices", action="store_true", help="without the page on the open choices")
    add = command("auc", "run the pipeline for what is named and print the AUCs", run)
    add("--splits", type=Path, metavar="FILE", help="CSV of seed, path, role: use these splits")
    add("--json", dest="json_file", type=Path, metavar="FILE", help="write the rows as JSON")
    add("--save", type=Path, metavar="DIR", help="write AUCs, splits, report and their metadata as files")
    command("features", "compute and keep the features that the detectors of a run will need", run)
    add = command("forecast", "say what a run will compute, how long that takes here and what it needs", run, choices)
    add("--count", action="store_true", help="count what is missing, and measure no time")
    add("--json", dest="json_file", type=Path, metavar="FILE", help="write the forecast as JSON, too")
    command(
        "choices",
        "measure what the paper's open choices change, on the part of the run that the profile's 'sensitivity' names",
        run,
    )
    add = command("plan", "prepare a book and write down what the workflow has to make", run, choices)
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the plan, as JSON")
    add("--pieces", action="store_true", help="a job for each network and auto-encoder, as on a cluster")
    add("--dry-run", action="store_true", help="make no miniature")
    add("--lock", type=int, metavar="FD", help="wait for the lock of this open file, and take it")


def _add_monitor_commands(command: Callable[..., Any]) -> None:
    json_help = "write it as JSON, to standard output where FILE is -"
    alpha, unreadable = _Parser(add_help=False), _Parser(add_help=False)
    alpha.add_argument("--alpha", type=float, help="false-alarm rate (default 0.05, or the lowest that can be decided)")
    unreadable.add_argument(
        "--unreadable", choices=("stop", "skip"), help="what to do about a recording that cannot be used (default stop)"
    )
    add = command("fit", "learn how a machine sounds when it runs well, from recordings of it", unreadable)
    add("normal", type=Path, nargs="+", metavar="NORMAL", help="recordings (WAV, FLAC, OGG, MP3) and folders of them")
    add("-o", "--output", type=Path, required=True, metavar="MODEL", help="the model file to write, such as pump.mimii")
    add("--system", metavar="NAME", help="row of the results table (default ensemble)")
    add("--rate", type=int, help="sample rate in Hz to listen at (default: the recordings' lowest, at most 16000)")
    add("--channel", help="channel to listen to, from 0, or mean (default 0)")
    add("--window", type=float, metavar="SECONDS", help="listen to so much at a time (default: the shortest recording)")
    add("--settings", nargs="+", metavar="NAME=VALUE", help="of the system, such as detectors.n_components=8")
    add("--weights", type=Path, metavar="DIR", help="folder with weight files <extractor>.pt")
    add = command(
        "check",
        "say of a model whether it works on recordings that it has not seen, or of a folder what is wrong with its "
        "recordings and what to do about it",
        alpha,
        unreadable,
    )
    add("data", type=Path, metavar="MODEL|DATA", help="a model file, or a folder that holds <snr>_dB_<machine> folders")
    add("--normal", type=Path, nargs="+", metavar="DIR", help="of a model: recordings of the machine running well")
    add("--abnormal", type=Path, nargs="+", metavar="DIR", help="of a model: recordings of faults")
    add("--json", dest="json_file", metavar="FILE", help=f"of a model: {json_help}")
    add = command("score", "say how unusual recordings are; exit with 1 if one is anomalous", alpha, unreadable)
    add("model", type=Path, metavar="MODEL", help="what mimii fit wrote")
    add("recordings", type=Path, nargs="+", metavar="RECORDING", help="files and folders")
    add("--json", dest="json_file", metavar="FILE", help=json_help)
    add("--csv", dest="csv_file", metavar="FILE", help="write it as CSV, to standard output where FILE is -")
    add("--html", type=Path, metavar="FILE", help="write a page with players, spectrograms and timelines")
    add("--normal", type=Path, nargs="+", metavar="DIR", help="the normal recordings, to play the nearest on that page")
    add = command(
        "watch", "score sound as it happens, raise alarms and keep their sound; a JSON line for all that happens"
    )
    add("model", type=Path, metavar="MODEL", help="file that mimii fit has written")
    source = "- for raw samples on standard input, a folder that recordings arrive in, or the name of a device"
    add("source", nargs="?", metavar="SOURCE", help=f"{source} (default: what is piped in, or else the default device)")
    add("--rate", type=int, metavar="HZ", help="of the samples or the device (default: the model's; the device's own)")
    add("--format", dest="encoding", choices=["s16le", "f32le"], help="of the samples (default s16le)")
    add("--channels", type=int, help="interleaved, of the samples or the device (default 1)")
    add("--hop", type=float, metavar="SECONDS", help="from one window to the next (default 1)")
    add("--alarm", metavar="N/M", help="an alarm when N of the last M windows are anomalous (default 3/5)")
    share = "p-value from which down a window is anomalous: the share of normal windows that will be"
    add("--alpha", type=float, help=f"{share} (default 0.05, or the lowest that can be decided)")
    add("--events", type=Path, metavar="DIR", help="keep the sound of events here")
    add("--before", type=float, metavar="SECONDS", help="sound that is kept before an event (default 10)")
    add("--after", type=float, metavar="SECONDS", help="sound that is kept after an event (default 10)")
    add("--quiet", action="store_true", help="no line for each window")


if __name__ == "__main__":
    sys.exit(main())
