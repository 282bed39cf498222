"""Rehearse the experiment at full size: ``python benchmarks/rehearsal.py [--share 0.1]``, or ``make rehearsal``.

A tree of as many clips as MIMII has of every machine ID (18,019 in all, one channel) is made, checked, forecast, and
run to a rendered book in a copy of the project, and then removed. The record holds what each stage took beside its
forecast, the peak of memory, and the disk. Full size takes about an hour on two cores and 14 GB of disk; `--share`
rehearses with a part of every machine ID. The clips are mixed from a few: their AUCs mean nothing, the times do.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path
from time import perf_counter, sleep, time
from typing import Any

import psutil
import torch
from copied import Copy
from full_size import make_full_size

from mimii_lib import extractors
from mimii_lib.data.files import atomic_write
from mimii_lib.run import provenance
from mimii_lib.run.profiles import ROOT, load_profile

NEEDED = 14e9
"""Bytes of disk at full size: the tree, the kept results, random weights, the book."""
PROFILE = "benchmarks/rehearsal.yaml"


class StepFailed(Exception):
    """A step ended with an error."""


def memory_held(process: psutil.Process) -> int:
    """Return the bytes that a process and its descendants hold; a shared page counts once, if the system tells."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory = member.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
    return total


class Rehearsal:
    """A folder with a copy of the project, a tree and a cache, and what each step took there."""

    def __init__(self, folder: Path):
        self.folder, self.data, self.cache = folder, folder / "tree", folder / "cache"
        self.project = Copy(folder / "project")
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, int] = {}

    def mimii(self, step: str, *words: str, cache: str = "cache", good: tuple[int, ...] = (0,)) -> None:
        """Run ``mimii`` with these words as a step."""
        self.project.env["MIMII_CACHE"] = str(self.folder / cache)
        log = self.folder / f"{step}.txt"
        self.wait(step, self.project.start([sys.executable, "-m", "mimii_lib.cli", *words], log), log, good)

    def wait(self, step: str, process: subprocess.Popen[bytes], log: Path, good: tuple[int, ...] = (0,)) -> None:
        """Wait for the end of a step, and note its time and its peak of memory."""
        print(f"{step} …", flush=True)
        start, peak, root = perf_counter(), 0, psutil.Process(process.pid)
        try:
            while process.poll() is None:
                peak = max(peak, memory_held(root))
                sleep(0.5)
        finally:  # also where this script is interrupted
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        self.seconds[step], self.memory[step] = perf_counter() - start, peak
        print(f"{step}: {self.seconds[step]:,.0f} s, {peak / 1e9:.1f} GB of memory", flush=True)
        if process.returncode not in good:
            raise StepFailed(f"{step} failed:\n{log.read_text()[-3000:]}")

    def forecast(self, step: str, *words: str, cache: str = "cache") -> dict[str, Any]:
        """Return the forecast of what is missing now."""
        file = self.folder / f"{step}.json"
        options = ("--no-choices", "--json", str(file), *words)
        self.mimii(step, "forecast", str(self.data), *options, cache=cache, good=(0, 2))  # 2: the disk is too small
        return dict(json.loads(file.read_text()))

    def random_weights(self) -> Path:
        """Return a folder of random weights for the paper's networks: they take as long as trained ones."""
        folder = self.folder / "weights"
        folder.mkdir()
        for name in load_profile("mimii").extractors:
            torch.save(extractors.get(name).network().state_dict(), folder / f"{name}.pt")
        return folder

    def book(self) -> dict[str, float]:
        """Make the book; return the seconds that each stage took."""
        self.mimii("plan", "plan", str(self.data), "--profile", PROFILE, "--no-choices", "-o", ".snakemake/plan.json")
        log, start = self.folder / "book.txt", time()
        self.wait("book", self.project.book(log), log)
        results = self.project.folder / "results"
        last = max(path.stat().st_mtime for path in (results / "auc").glob("*.json"))
        self.seconds["until the last AUC"] = last - start
        self.seconds["pages and rendering"] = self.seconds["book"] - (last - start)
        return dict(json.loads((results / "report.json").read_text())["seconds"])


def used(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def rehearse(folder: Path, share: float) -> dict[str, Any]:
    """Rehearse in an empty folder; return the record."""
    rehearsal, start = Rehearsal(folder), perf_counter()
    make_full_size(rehearsal.data, share=share)
    rehearsal.seconds["tree"] = perf_counter() - start
    rehearsal.mimii("check", "check", str(rehearsal.data))
    expected = rehearsal.forecast("forecast", "--profile", PROFILE)
    everything = ("--profile", "mimii", "--weights", str(rehearsal.random_weights()))
    whole = rehearsal.forecast("forecast of every row", *everything, cache="empty")
    took = rehearsal.book()
    machine = {"processor": provenance.processor(), "cores": os.cpu_count(), "memory": psutil.virtual_memory().total}
    return {
        "share": share,
        "clips": sum(path.suffix == ".wav" for path in rehearsal.data.rglob("*")),
        "date": date.today().isoformat(),
        "machine": machine | {"system": platform.platform()},
        "facts": expected["facts"],
        "workers": expected["workers"],
        "seconds": rehearsal.seconds,
        "stages": [
            {
                "what": stage["what"],
                "pieces": stage["pieces"],
                "forecast": stage["seconds"],
                "took": took.get(stage["what"], 0),
            }
            for stage in expected["stages"]
        ],
        "forecast": {name: expected[name] for name in ("seconds", "bytes", "memory")},
        "whole": {name: whole[name] for name in ("seconds", "bytes", "memory", "stages", "suggestions")},
        "memory": rehearsal.memory,
        "disk": {
            "tree": used(rehearsal.data),
            "kept": used(rehearsal.cache),
            **{path.name: used(path) for path in sorted(rehearsal.cache.iterdir()) if path.is_dir()},
            "book": used(rehearsal.project.folder / "_build" / "html"),
        },
        **provenance.describe(),
    }


def main() -> None:
    """Rehearse in a temporary folder that is removed, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="share of MIMII's number of clips (default 1)")
    parser.add_argument("--folder", type=Path, help="where the tree and the results lie meanwhile (default: temporary)")
    parser.add_argument("--json", type=Path, help="file to write (default results/rehearsal_<percent>.json)")
    options = parser.parse_args()
    parent = (options.folder or Path(tempfile.gettempdir())).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the tree is removed, too
    if (free := shutil.disk_usage(parent).free) < NEEDED * options.share:
        raise SystemExit(
            f"{parent}: {free / 1e9:.1f} GB free, {NEEDED * options.share / 1e9:.1f} GB needed; name another folder "
            "with --folder, or a smaller --share"
        )
    folder = Path(tempfile.mkdtemp(prefix="mimii-rehearsal-", dir=parent))
    try:
        record = rehearse(folder, options.share)
    except StepFailed as error:
        raise SystemExit(f"{error}\n{folder}: kept to look for the cause; remove it afterwards") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    for stage in record["stages"]:
        print(f"{stage['what']:32} {stage['forecast']:8.1f} s forecast {stage['took']:8.1f} s took")
    file = options.json or ROOT / "results" / f"rehearsal_{100 * options.share:g}.json"
    with atomic_write(file) as part:
        part.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{file}: written")


if __name__ == "__main__":
    main()
