"""Break things on purpose: ``python tests/faults.py [TRIAL …] [--long] [--json FILE]``; ``make faults`` runs all.

A trial starts ``mimii`` in processes of its own, breaks one thing, and repeats the same command. It passes if the
command ends with the result of an undisturbed one, or with one sentence that names the file and the remedy, and if
nothing half-written stays behind. Faults that one function shows alone (unreadable clips, hostile archives, bad
servers) are in ``tests/method`` and ``tests/data``; these trials are the ones that need a whole process.

The long form kills more often, also while a whole book is made, and writes the record that the book shows.
``tests/run/test_faults.py`` runs a trial that takes seconds.
"""

import argparse
import io
import json
import math
import os
import pickle
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile
import torch
from fault_bench import (
    CLIP,
    FOLDER,
    KILLS,
    KILLS_LONG,
    ROOT,
    TRIALS,
    Bench,
    NotTried,
    Process,
    Trial,
    disk,
    mimii,
    refuse,
    results,
    succeed,
    survive_kills,
    trial,
)

# isort: split
from bad_server import BadServer, Fault

from mimii_lib.data.files import atomic_write
from mimii_lib.data.weights import find_weights
from mimii_lib.run import provenance

RECORD = ROOT / "benchmarks" / "faults.json"
ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Environment variables of a terminal that has no other characters."""
MINUTES = 10
"""How long two processes work on one cache."""


@trial("kept results")
def changed_clip(bench: Bench) -> str:
    """A clip that is replaced by another one after a run."""
    data, cache = bench.copy(bench.data), bench.empty("cache")
    assert bench.auc(cache, data=data) == bench.undisturbed[0]
    original = reverse(data / CLIP)
    assert bench.auc(cache, data=data) == bench.auc(bench.empty("cache"), data=data), "a stale result was used"
    assert len(results(cache)) > len(bench.undisturbed[1]), "nothing was computed for the new clip"
    kept = results(cache)
    (data / CLIP).write_bytes(original)
    assert bench.auc(cache, data=data) == bench.undisturbed[0]
    assert results(cache) == kept, "results that were kept were computed again"
    return "the results were computed from the new clip; with the old clip back, its kept results were used"


def reverse(clip: Path) -> bytes:
    """Replace a clip by the same sound played backwards; return what the file held."""
    original, (samples, rate) = clip.read_bytes(), soundfile.read(clip, dtype="int16")
    soundfile.write(clip, samples[::-1], rate, subtype="PCM_16")
    return original


def restored(bench: Bench, cache: Path) -> str:
    """Assert that a run on a cache whose files were changed gives the results of an undisturbed one."""
    bench.auc(cache)
    bench.check(cache)
    return "noticed when they were read, and computed again: the same results"


@trial("kept results")
def half_files(bench: Bench) -> str:
    """Kept results that are empty or cut off in the middle, as a power cut can leave them."""
    cache = bench.copy(bench.kept)
    for number, path in enumerate(sorted(path for path in cache.glob("*/*/*") if path.name != "lock")):
        path.write_bytes(path.read_bytes()[: 0 if number % 2 else path.stat().st_size // 2])
    return restored(bench, cache)


@trial("kept results")
def swapped_results(bench: Bench) -> str:
    """Kept results of a stage that take each other's places, and those of one stage in the place of another's."""
    for patterns in (["auto-encoders/*", "scores/*"], ["*/*"]):
        cache = bench.copy(bench.kept)
        for pattern in patterns:
            files = sorted(cache.glob(f"{pattern}/result.*"))
            contents = [file.read_bytes() for file in files]
            for file, content in zip(files, contents[1:] + contents[:1], strict=True):
                file.write_bytes(content)
        outcome = restored(bench, cache)
    return outcome


class Trap:
    """Makes a file when it is read from a pickle."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that a pickle makes."""
        return Path.touch, (self.file,)


@trial("kept results")
def pickles(bench: Bench) -> str:
    """Kept results that are replaced by pickles, which do something when they are read."""
    cache, trap = bench.copy(bench.kept), bench.empty("trap") / "made"
    for number, file in enumerate(sorted(cache.glob("*/*/result.*"))):
        if number % 2:
            file.write_bytes(pickle.dumps(Trap(trap)))
        else:
            torch.save(Trap(trap), file)
    outcome = restored(bench, cache)
    assert not trap.exists(), "a pickle was run"
    return f"none was run; {outcome}"


@trial("recordings")
def clip_changed_during_a_run(bench: Bench) -> str:
    """A clip that is replaced by another one while a run computes, and put back afterwards."""
    data, cache = bench.copy(bench.data), bench.empty("cache")
    process = bench.start_auc(cache, data=data)
    while not any(cache.glob("clips/*/result.*")):  # the look at every clip is done
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGSTOP)
    original = reverse(data / CLIP)
    os.killpg(process.pid, signal.SIGCONT)
    sentence = refuse(process, CLIP, "changed since", "same command")
    (data / CLIP).write_bytes(original)
    bench.auc(cache, data=data)
    bench.check(cache)
    return f"{sentence.replace(f'{data}/', '')}; with the old clip back the same command gave the same results"


@trial("recordings")
def split_spelled_otherwise(bench: Bench) -> str:
    """A file of splits whose paths begin with a blank or with ./, have backslashes, or are absolute."""
    cache, folder = bench.copy(bench.kept), bench.empty("splits")
    bench.auc(cache, "--save", folder)
    table, file = pd.read_csv(folder / "splits.csv"), folder / "other.csv"
    spellings = [lambda path: f" {path}", lambda path: f"./{path}", lambda path: path.replace("/", "\\")]
    spelled = [spellings[number % 3](path) for number, path in enumerate(table.path)]
    table.assign(path=spelled).to_csv(file, index=False)
    assert bench.auc(cache, "--splits", file) == bench.undisturbed[0], "rows were left out"
    table.assign(path=f"{bench.data}/" + table.path).to_csv(file, index=False)
    sentence = refuse(bench.start_auc(cache, "--splits", file), "is no path of a clip", "expected paths like")
    return f"blanks, ./ and backslashes: the same results; absolute paths {sentence.replace(f'{folder}/', '')}"


@trial("weights")
def weights_that_are_none(bench: Bench) -> str:
    """Weights that are all zero, not a number, or infinite."""
    folder, cache, sentences = bench.empty("weights"), bench.copy(bench.kept), []
    state = find_weights("squeezenet1_1", sources=["package"]).state()
    for value, part in (
        (0.0, "the same features for every picture"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
    ):
        broken = {name: torch.full_like(tensor, value) for name, tensor in state.items()}
        torch.save(broken, folder / "squeezenet1_1.pt")
        sentences.append(refuse(bench.start_auc(cache, "--weights", folder), part, "replace the file"))
    return f"zeros {sentences[0]}; NaN and infinity {sentences[1]}"


@trial("surroundings")
def ascii_terminal(bench: Bench) -> str:
    """A terminal and a locale that have no other characters than ASCII."""
    cache, folder = bench.empty("cache"), bench.empty("saved")
    bench.auc(cache, "--save", folder, **ASCII)
    bench.check(cache)
    assert "“" in (folder / "report.json").read_text(encoding="utf-8"), "the report has other characters"
    return "the same results; files are written in UTF-8, and the terminal shows other characters as escapes"


@trial("commands")
def no_cores(bench: Bench) -> str:
    """A number of cores that is none."""
    project = bench.empty("project")
    for number in ("0", "-1", "1.5", "two"):
        sentence = refuse(bench.start_make(project, "book", f"CORES={number}"), "CORES", log=project / "log.txt")
    return f"0, -1, 1.5 and a word are {sentence}"


@trial("commands")
def quotes(bench: Bench) -> str:
    """Parameters of ``make`` with quotes that end a word of the shell, and a command after them."""
    project = bench.empty("project")
    for name in ("SETTINGS", "IDS", "DATA", "WEIGHTS"):
        value = "".join(f"imaging.hop=512{quote}; touch made; {quote}" for quote in ("'", '"', "'\"'", "`"))
        refuse(bench.start_make(project, "plan", f"{name}={value}"), log=project / "log.txt")
        assert not (project / "made").exists(), f"{name}={value} ran a command"
    return "no command was run: the whole text is the parameter's value, and refused as such"


@trial("disks")
def full_cache(bench: Bench) -> str:
    """A disk that fills while results are kept."""
    with disk(bench, "600k") as small:
        cache = small / "cache"
        sentence = refuse(bench.start_auc(cache), str(cache), "free some space", "same command")
        kept = {path: path.stat().st_mtime_ns for path in cache.rglob("result.*")}
        assert kept, "nothing was kept"
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        bench.auc(cache)
        bench.check(cache)
        assert all(path.stat().st_mtime_ns == since for path, since in kept.items()), "a kept result was written again"
    return f"{sentence.replace(f'{small}/', '')}; with more room the same command went on to the same results"


@trial("disks")
def full_download(bench: Bench) -> str:
    """A disk that something else fills while an archive is fetched."""
    with disk(bench, "32m") as small, BadServer({f"{FOLDER}.zip": bench.archive}, [Fault(pause=0.02)]) as server:
        process, filler = bench.start_download(small / "dest", server.url), small / "filler"
        while not sum(path.stat().st_size for path in small.rglob("*.part")):
            time.sleep(0.01)
        with suppress(OSError):  # the disk is full
            filler.write_bytes(bytes(2**25))
        sentence = refuse(process, "No space left on device", "same command")
        filler.unlink()
        succeed(bench.start_download(small / "dest", server.url))
        bench.check_download(small / "dest")
        start = server.requests[-1][1]
    assert start, "fetched from the start"
    return f"{sentence.replace(f'{small}/', '')}; with more room it went on from byte {start:,}"


@trial("disks")
def read_only(bench: Bench) -> str:
    """A disk that is read-only."""
    with disk(bench, "64m") as small:
        shutil.copytree(bench.data, small / "data")
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        sentence = refuse(bench.start_auc(small / "cache"), str(small / "cache"), "Read-only", "MIMII_CACHE")
        refuse(bench.start_download(small / "dest", str(bench.folder)), "Read-only")
        cache = bench.empty("cache")
        bench.auc(cache, data=small / "data")
        bench.check(cache)
    return f"{sentence.replace(f'{small}/', '')}; recordings on it give the same results"


@trial("disks")
def archive_that_expands(bench: Bench) -> str:
    """A small archive whose clips, once they are unpacked, do not fit on the disk, or one of which is huge."""
    sentences = []
    for n_clips, size, part in ((100, 10_000_000, "needed for the clips"), (1, 200_000_000, "more than a clip")):
        with zipfile.ZipFile(content := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(n_clips):
                archive.writestr(f"fan/id_00/normal/{number:08d}.wav", bytes(size))
        (folder := bench.empty("mirror") / f"{FOLDER}.zip").write_bytes(content.getvalue())
        with disk(bench, "64m") as small:
            process = bench.start_download(small / "dest", folder.parent, content.getvalue())
            sentences.append(refuse(process, part).replace(f"{small}/", ""))
            assert not [*small.rglob("*.wav")], "something was unpacked"
    return "; ".join(sentences)


@trial("servers")
def redirect_to_nowhere(bench: Bench) -> str:
    """A server that redirects to what is no address."""
    with BadServer({}, otherwise=Fault(status=302, headers={"Location": "http://[::1"})) as server:
        sentence = refuse(bench.start_download(bench.empty("dest"), server.url), "mirror: ", "not an address")
    return sentence.replace(server.url, "http://…")


@trial("servers", long=True)
def slow_server(bench: Bench) -> str:
    """A server that sends a byte a second."""
    dest, began = bench.empty("dest"), time.monotonic()
    with BadServer({f"{FOLDER}.zip": bench.archive}, [Fault(drip=1.0)]) as server:
        succeed(bench.start_download(dest, server.url))
        bench.check_download(dest)
        seconds, start = time.monotonic() - began, server.requests[-1][1]
    assert start, "fetched from the start"
    return f"after {seconds:.0f} s it was closed; the next connection, which was fast, went on from byte {start}"


@trial("kills")
def killed_runs(bench: Bench) -> str:
    """Runs that are killed while they compute features, train and score."""

    def start(folder: Path) -> Process:
        return bench.start_auc(folder / "cache")

    text = survive_kills(bench, start, lambda folder: bench.check(folder / "cache"), (0.4, 1))
    return f"{text}: the same AUCs and kept results, bit for bit"


@trial("kills")
def killed_downloads(bench: Bench) -> str:
    """Downloads that are killed while they fetch and unpack."""
    with BadServer({f"{FOLDER}.zip": bench.archive}, otherwise=Fault(pause=0.005)) as server:
        text = survive_kills(
            bench, lambda folder: bench.start_download(folder, server.url), bench.check_download, (0.4, 1)
        )
    return f"{text}: every clip, bit for bit, and no other file"


@trial("kills")
def killed_notebooks(bench: Bench) -> str:
    """Notebooks that are killed while they are executed."""
    words = [word for name in ("data", "profile") for word in ("-p", name, getattr(bench, name))]

    def start(folder: Path) -> Process:
        files = ROOT / "notebooks" / "04_detectors.ipynb", folder / "page.ipynb"
        return mimii(folder / "cache", "run", *files, "-p", "machine", "fan", *words)

    text = survive_kills(bench, start, lambda folder: (folder / "page.ipynb").read_bytes(), (0.3, 1))
    return f"{text}: the same page, byte for byte"


@trial("kills")
def two_runs(bench: Bench) -> str:
    """Two runs at once on the same recordings and results."""
    cache = bench.empty("cache")
    for process in (bench.start_auc(cache), bench.start_auc(cache)):
        succeed(process)
    bench.check(cache)
    return "both ended with the results of a single run"


@trial("kills", long=True)
def two_runs_for_minutes(bench: Bench) -> str:
    """Two runs at once on one cache, again and again for ten minutes, while a part of what is kept is removed."""
    cache, lots, end, rounds = bench.copy(bench.kept), random.Random(0), time.monotonic() + 60 * MINUTES, 0
    while time.monotonic() < end:
        for file in sorted(cache.glob("*/*/result.*")):
            if lots.random() < 0.5:
                shutil.rmtree(file.parent)
        for process in (bench.start_auc(cache), bench.start_auc(cache)):
            succeed(process)
        bench.check(cache, whole=False)  # of what was removed only what was needed is computed again
        rounds += 1
    return f"{rounds} times both ended with the results of a single run"


@trial("kills", long=True)
def killed_books(bench: Bench) -> str:
    """Books that are killed while they are made, with or without the jobs that were at work."""
    text = survive_kills(bench, lambda project: bench.start_make(project, "book"), pages, (0.1, 0.3))
    return f"{text}: the same tables and pages, but for the dates and times in the report"


def pages(project: Path) -> dict[str, object]:
    """Return the tables and pages of a book, and its report, without the dates and times that the report states."""
    patterns = ("results/*.csv", "executed/**/*.ipynb", "_build/html/**/*.html")
    files = [path for pattern in patterns for path in project.glob(pattern)]
    texts = {path.relative_to(project).as_posix(): path.read_text() for path in files}
    times = re.compile(r"\d{4}-\d\d-\d\d|\b[\d,]+ (h \d+ min|min|s)\b")
    reports = {name: times.sub("…", text) for name, text in texts.items() if Path(name).stem == "report"}
    texts |= {name: re.sub(" +", " ", text) for name, text in reports.items()}  # a table is as wide as its times
    report = json.loads((project / "results" / "report.json").read_text())
    return texts | {"report": {name: value for name, value in report.items() if name not in ("date", "seconds")}}


def outcomes(bench: Bench, trials: Sequence[Trial]) -> Iterator[dict[str, Any]]:
    """Run trials; yield kind, fault, result in words, and whether the trial passed (None: it was not tried)."""
    for one in trials:
        try:
            result, passed = one.run(bench), True
        except NotTried as reason:
            result, passed = str(reason), None
        except AssertionError as error:
            result, passed = str(error) or "another result", False
        yield {"kind": one.kind, "fault": one.fault, "result": result.replace(f"{bench.folder}/", ""), "passed": passed}


def main() -> int:
    """Print what came of each trial and write the record; return 1 if a trial failed."""
    names = {one.run.__name__: one for one in TRIALS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"only these of {', '.join(names)}")
    parser.add_argument("--json", type=Path, help="file for the record (default of the long form: the committed one)")
    parser.add_argument("--long", action="store_true", help="kill more often, and while books are made")
    options = parser.parse_args()
    if unknown := {*options.trials} - {*names}:
        parser.error(f"no trial is called {', '.join(unknown)}")
    trials = [names[name] for name in options.trials] or [one for one in TRIALS if options.long or not one.long]
    whole = options.long and not options.trials
    file, kills = options.json or (RECORD if whole else None), KILLS_LONG if options.long else KILLS
    machine = {"processor": provenance.processor(), "cores": os.cpu_count(), "system": platform.platform()}
    record = {"date": date.today().isoformat(), "commit": provenance.commit(), "machine": machine}
    began, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="mimii-faults-") as folder:
        for row in outcomes(Bench(Path(folder), kills), trials):
            rows.append(row)
            mark = {True: "passed", False: "FAILED", None: "–"}[row["passed"]]
            print(f"{mark}: {row['kind']}: {row['fault']}\n    {row['result']}", flush=True)
    record |= {"form": "long" if options.long else "short", "seconds": round(time.monotonic() - began)}
    if file is not None:
        with atomic_write(file) as part:
            part.write_text(json.dumps(record | {"outcomes": rows}, indent=1, ensure_ascii=False) + "\n")
    return int(any(row["passed"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
