"""Break things on purpose: ``python tests/faults.py [--long] [--json FILE]``; ``make faults`` runs the long form.

A trial starts ``mimii`` in processes of its own, breaks one thing, and repeats the same command. It passes if the
command ends with the result of an undisturbed one, or with one sentence that names the file and the remedy, and if
nothing half-written stays behind. Faults that one function shows alone (unreadable clips, hostile archives, bad
servers) are in ``tests/method`` and ``tests/data``; these trials are the ones that need a whole process.

The long form kills more often, also while a whole book is made, and writes the record that the book shows.
``tests/run/test_faults.py`` runs the trials that take seconds.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import soundfile
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests" / "data")]

from bad_server import BadServer, Fault
from copied import Copy

from mimii_lib.data import miniature
from mimii_lib.data.files import atomic_write, file_digest
from mimii_lib.dataset import DOWNLOADED
from mimii_lib.run import provenance

RECORD = ROOT / "benchmarks" / "faults.json"
KILLS, KILLS_LONG = 3, 12
"""How often each kind of process is killed, in the short and in the long form."""
PROFILE = """\
ids: [id_00]
extractors: [squeezenet1_1]
weight_sources: [package]
detectors: [gmm, kde, small-dcae]
seeds: [0, 1]
settings:
  detectors: {n_components: 2}
  autoencoders: {epochs: 2, batch_size: 4}
"""
FOLDER = "-6_dB_fan"
CLIP = f"{FOLDER}/fan/id_00/normal/00000003.wav"

Process = subprocess.Popen[Any]


class NotTried(Exception):
    """A trial needs rights or a system that this machine does not have."""


class Trial(NamedTuple):
    """A fault, and the function that returns what came of it or raises AssertionError; `long`: it takes minutes."""

    kind: str
    fault: str
    run: Callable[["Bench"], str]
    long: bool


TRIALS: list[Trial] = []


def trial(kind: str, *, long: bool = False) -> Callable[..., None]:
    """Register a function as a trial; its docstring names the fault."""
    return lambda run: TRIALS.append(Trial(kind, run.__doc__.rstrip("."), run, long))


class Bench:
    """A small miniature, a profile of seconds and an archive, to run on and to break."""

    def __init__(self, folder: Path, kills: int = KILLS, data: Path | None = None):
        self.folder, self.kills = folder, kills
        self.data, self.profile = data or folder / "data", folder / "quick.yaml"
        if data is None:
            miniature.make_miniature(self.data, snr=-6, normal=10, abnormal=3, machines=("fan",))
        self.profile.write_text(PROFILE)

    def empty(self, name: str) -> Path:
        """Return a new empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def start_auc(self, cache: Path, data: Path | None = None) -> Process:
        """Start ``mimii auc``, which keeps its results in a cache and writes the AUCs to ``<cache>.json``."""
        words = ("--machine", "fan", "--profile", self.profile, "--settings", "imaging.patch_offset=281")
        return mimii(cache, "auc", data or self.data, *words, "--json", f"{cache}.json")

    def auc(self, cache: Path, data: Path | None = None) -> bytes:
        """Run ``mimii auc`` to its end; return the AUCs."""
        succeed(self.start_auc(cache, data))
        return Path(f"{cache}.json").read_bytes()

    @cached_property
    def undisturbed(self) -> tuple[bytes, dict[str, str]]:
        """The AUCs and the kept results of an undisturbed run."""
        cache = self.empty("undisturbed")
        return self.auc(cache), results(cache)

    def check(self, cache: Path) -> None:
        """Assert that AUCs and kept results are those of an undisturbed run, and nothing is half-written."""
        assert Path(f"{cache}.json").read_bytes() == self.undisturbed[0], "other AUCs"
        assert results(cache) == self.undisturbed[1], "other results on the way to the AUCs"
        left = [path.name for path in cache.rglob(".*") if path.is_file()]
        assert not left, f"half-written files are left: {left}"

    @cached_property
    def archive(self) -> bytes:
        """A zip of the clips, as MIMII is published."""
        name = shutil.make_archive(str(self.empty("archive") / FOLDER), "zip", self.data / FOLDER, "fan/id_00")
        return Path(name).read_bytes()

    def start_download(self, dest: Path, mirror: str) -> Process:
        """Start ``mimii download`` of the archive from a mirror."""
        registry, md5 = self.folder / "registry.csv", hashlib.md5(self.archive, usedforsecurity=False).hexdigest()
        registry.write_text(f"name,bytes,md5\n{FOLDER}.zip,{len(self.archive)},{md5}\n")
        words = ("--snr", "-6", "--machines", "fan", "--registry", registry, "--mirror", mirror)
        return mimii(self.folder, "download", *words, dest)

    def check_download(self, dest: Path) -> None:
        """Assert that every clip of the archive is there, bit for bit, and no other file."""
        expected = {path.relative_to(self.data): path for path in self.data.glob(f"{FOLDER}/fan/id_00/*/*.wav")}
        files = {path.relative_to(dest): path for path in dest.rglob("*") if path.is_file()}
        files = {name: path for name, path in files.items() if path.name not in (".download.lock", DOWNLOADED)}
        assert files.keys() == expected.keys(), f"other files: {files.keys() ^ expected.keys()}"
        for name, path in expected.items():
            assert soundfile.read(files[name])[0].tobytes() == soundfile.read(path)[0].tobytes(), f"{name} differs"


def mimii(cache: Path, *words: object) -> Process:
    """Start ``mimii`` in a process group of its own, with results kept in a cache."""
    env = os.environ | {"MIMII_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command, pipe = [sys.executable, "-m", "mimii_lib.cli", *map(str, words)], subprocess.PIPE
    return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def succeed(process: Process, log: Path | None = None) -> None:
    """Wait for a process, which must end with exit code 0; it may write its errors to a log."""
    _, errors = process.communicate()
    text = log.read_text() if log is not None and log.is_file() else errors or ""
    assert process.returncode == 0, f"exit code {process.returncode}: {text[-1000:]}"


def refuse(process: Process, *parts: str) -> str:
    """Wait for a process, which must end with one sentence that has all of these parts; return the sentence."""
    _, errors = process.communicate()
    sentences = [line.removeprefix("mimii: ") for line in errors.splitlines() if line.startswith("mimii: ")]
    assert process.returncode == 2 and sentences, f"exit code {process.returncode}: {errors[-500:]}"
    assert all(part in sentences[-1] for part in parts), sentences[-1]
    return f"refused: “{sentences[-1]}”"


def results(cache: Path) -> dict[str, str]:
    """Return a digest of every kept result, by stage and key, but for the inspection of the clips' files."""
    files = [path for path in sorted(cache.rglob("result.*")) if path.parts[-3] != "clips"]
    return {path.relative_to(cache).as_posix(): digest(path) for path in files}


def digest(path: Path) -> str:
    """Return the sha256 of a result; that of a network's state without the file's name, which torch puts into it."""
    if path.suffix != ".pt":
        return file_digest(path)
    torch.save(torch.load(path, weights_only=True), content := io.BytesIO())
    return hashlib.sha256(content.getvalue()).hexdigest()


@trial("kept results")
def changed_clip(bench: Bench) -> str:
    """A clip that is replaced by another one after a run."""
    data, cache = bench.empty("data"), bench.empty("cache")
    shutil.copytree(bench.data, data, dirs_exist_ok=True)
    assert bench.auc(cache, data) == bench.undisturbed[0]
    original = shutil.move(data / CLIP, bench.empty("original"))
    samples, rate = soundfile.read(original, dtype="int16")
    soundfile.write(data / CLIP, samples[::-1], rate, subtype="PCM_16")
    assert bench.auc(cache, data) == bench.auc(bench.empty("cache"), data), "a stale result was used"
    assert len(results(cache)) > len(bench.undisturbed[1]), "nothing was computed for the new clip"
    kept = results(cache)
    shutil.move(original, data / CLIP)
    assert bench.auc(cache, data) == bench.undisturbed[0]
    assert results(cache) == kept, "results that were kept were computed again"
    return "the results were computed from the new clip; with the old clip back, its kept results were used"


@trial("kept results")
def half_files(bench: Bench) -> str:
    """Kept results that are empty or cut off in the middle, as a power cut can leave them."""
    cache = bench.empty("cache")
    bench.auc(cache)
    for number, path in enumerate(sorted(path for path in cache.glob("*/*/*") if path.name != "lock")):
        path.write_bytes(path.read_bytes()[: 0 if number % 2 else path.stat().st_size // 2])
    bench.auc(cache)
    bench.check(cache)
    return "noticed when they were read, and computed again: the same results"


@contextmanager
def disk(bench: Bench, size: str) -> Iterator[Path]:
    """Mount a small disk in memory for as long as the block lasts."""
    folder = bench.empty("disk")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise NotTried("not tried: mounting a small disk needs Linux and its administrator's rights") from None
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


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
        bench.auc(cache, small / "data")
        bench.check(cache)
    return f"{sentence.replace(f'{small}/', '')}; recordings on it give the same results"


def survive_kills(
    bench: Bench, start: Callable[[Path], Process], outcome: Callable[[Path], Any], share: tuple[float, float]
) -> str:
    """Kill a command at random moments and repeat it until it ends; begin anew until there were enough kills.

    `start` starts the command on a folder that is empty or in which it was killed, and `outcome` returns what it has
    made there, which must equal what an undisturbed command makes. `share` are the shortest and the longest time before
    a kill (SIGKILL), as shares of the time of an undisturbed command. Every third kill spares the command's children.
    """
    folder, began = bench.empty("undisturbed"), time.monotonic()
    succeed(start(folder), folder / "log.txt")
    seconds, expected, moments = time.monotonic() - began, outcome(folder), random.Random(0)
    kills = completed = 0
    while kills < bench.kills:
        folder, patience, process = bench.empty("killed"), seconds, None
        while process is None:
            process = start(folder)
            try:
                process.wait(patience * moments.uniform(*share))
            except subprocess.TimeoutExpired:
                (os.kill if kills % 3 == 2 else os.killpg)(process.pid, signal.SIGKILL)
                process.wait()
                process, kills, patience = None, kills + 1, 1.1 * patience  # or it may never get beyond its start
        succeed(process, folder / "log.txt")
        while any(str(folder) in (other.info["cwd"] or "") for other in psutil.process_iter(["cwd"])):
            time.sleep(0.2)  # a process that was spared is still at work
        result = outcome(folder)
        names = [name for name in expected if result.get(name) != expected[name]] if isinstance(expected, dict) else ""
        assert result == expected, f"another result than that of an undisturbed command: {names}"
        completed += 1
    return (
        f"{completed} runs were killed {kills} times in all, at random moments (SIGKILL); "
        "each was completed by repeating the same command"
    )


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
def killed_books(bench: Bench) -> str:
    """Books that are killed while they are made, with or without the jobs that were at work."""
    variables = (f"PROFILE={bench.profile}", f"DATA={bench.data}", "MACHINE=fan", "CHOICES=no")
    command = ["make", "-o", ".venv/ready", "book", *variables]  # the environment is used as it is

    def start(folder: Path) -> Process:
        return Copy(folder).start(command, folder / "log.txt")

    text = survive_kills(bench, start, pages, (0.1, 0.3))
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the record (default of the long form: the committed one)")
    parser.add_argument("--long", action="store_true", help="kill more often, and while books are made")
    options = parser.parse_args()
    file, kills = options.json or (RECORD if options.long else None), KILLS_LONG if options.long else KILLS
    machine = {"processor": provenance.processor(), "cores": os.cpu_count(), "system": platform.platform()}
    record = {"date": date.today().isoformat(), "commit": provenance.commit(), "machine": machine}
    began, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="mimii-faults-") as folder:
        for row in outcomes(Bench(Path(folder), kills), [one for one in TRIALS if options.long or not one.long]):
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
