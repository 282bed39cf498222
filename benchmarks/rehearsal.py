"""Rehearse the experiment at full size: ``python benchmarks/rehearsal.py [--share 0.1]``, or ``make rehearsal``.

A tree of as many clips as MIMII has of every machine ID (18,019 in all, one channel) is made, checked, forecast,
and run to a rendered book in a copy of the project, two machine types at a time. Then it is removed. What is
reported: what each stage took beside what was forecast, the peak of memory, the disk, and the book. Full size takes
about an hour on two cores and 14 GB of disk; `--share` rehearses with a part of every machine ID.

The clips are synthetic and mixed from a few, so the AUCs mean nothing; how long things take does.
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
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from time import perf_counter, sleep, time
from typing import Any

import psutil
import torch
from copied import Copy

from mimii_lib import extractors
from mimii_lib.data.files import atomic_write
from mimii_lib.run import provenance
from mimii_lib.run.profiles import ROOT, load_profile

NEEDED = 14e9
"""Bytes of disk at full size: the tree, the kept results, random weights, the book."""
PROFILE = "benchmarks/rehearsal.yaml"


class Failed(Exception):
    """A step did not end as it should."""


class Memory(threading.Thread):
    """The largest amount of memory that a process and all that it started held together.

    A page that processes share counts once, in parts. Where the system does not tell parts, it counts for each of them.
    """

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process, self.peak = psutil.Process(pid), 0

    def run(self) -> None:
        """Explanation twice a second until the process has ended."""
        with suppress(psutil.NoSuchProcess):
            while self.process.status() != psutil.STATUS_ZOMBIE:
                self.peak = max(self.peak, self.held())
                sleep(0.5)

    def held(self) -> int:
        """Return the bytes that are held now."""
        total = 0
        with suppress(psutil.NoSuchProcess):
            for each in [self.process, *self.process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    try:
                        found = each.memory_full_info()
                    except psutil.AccessDenied:
                        found = each.memory_info()
                    total += getattr(found, "pss", found.rss)
        return total


class Rehearsal:
    """A folder with a copy of the project, a tree and a cache of its own."""

    def __init__(self, folder: Path):
        self.folder, self.data, self.cache = folder, folder / "tree", folder / "cache"
        self.project = Copy(folder / "project")
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, int] = {}

    def mimii(self, name: str, *words: str, cache: str = "cache", good: tuple[int, ...] = (0,)) -> str:
        """Run the command line; see :meth:`ended`."""
        log = self.folder / f"{name}.txt"
        self.project.env["MIMII_CACHE"] = str(self.folder / cache)
        command = [sys.executable, "-m", "mimii_lib.cli", *words]
        return self.ended(name, log, lambda: self.project.start(command, log), good)

    def ended(
        self, name: str, log: Path, start: Callable[[], subprocess.Popen[bytes]], good: tuple[int, ...] = (0,)
    ) -> str:
        """Run to the end and return what was printed; remember how long it took and what memory it held."""
        print(f"{name} …", flush=True)
        began = perf_counter()
        process = start()
        memory = Memory(process.pid)
        memory.start()
        try:
            code = process.wait()
        finally:  # also where this script is interrupted
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
        self.seconds[name] = perf_counter() - began
        memory.join()
        self.memory[name] = memory.peak
        print(f"{name}: {self.seconds[name]:,.0f} s, {memory.peak / 1e9:.1f} GB of memory", flush=True)
        if code not in good:
            raise Failed(f"{name} failed:\n{log.read_text()[-3000:]}")
        return log.read_text()

    def forecast(self, name: str, *words: str, cache: str = "cache") -> dict[str, Any]:
        """Return the forecast at this moment: of what is missing, and what took how long."""
        file = self.folder / f"{name}.json"
        # Where the disk is too small it says so, and ends with 2.
        asked = ("forecast", str(self.data), "--no-choices", "--json", str(file), *words)
        self.mimii(name, *asked, cache=cache, good=(0, 2))
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def weights(self) -> Path:
        """Return a folder with weights of all networks of the paper: random ones, which take as long as others."""
        folder = self.folder / "weights"
        folder.mkdir()
        for name in load_profile("mimii").extractors:
            torch.save(extractors.get(name).network().state_dict(), folder / f"{name}.pt")
        return folder

    def book(self) -> None:
        """Make the book, and tell the time until the last AUC was there from the time of the pages."""
        log, began = self.folder / "book.txt", time()
        config = (f"data={json.dumps([str(self.data)])}", f"profile={PROFILE}", "choices=no")
        self.project.env["MIMII_CACHE"] = str(self.cache)
        self.ended("book", log, lambda: self.project.book(log, *config))
        last = max(path.stat().st_mtime for path in (self.project.folder / "results" / "auc").glob("*.json"))
        self.seconds["until the last AUC"] = last - began
        self.seconds["pages and rendering"] = self.seconds["book"] - (last - began)


def used(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def rehearse(folder: Path, share: float) -> dict[str, Any]:
    """Rehearse in an empty folder; return what was measured."""
    it = Rehearsal(folder)
    it.mimii("tree", "miniature", str(it.data), "--share", str(share))
    checked = it.mimii("check", "check", str(it.data))
    before = it.forecast("forecast", "--profile", PROFILE)
    everything = ("--profile", "mimii", "--weights", str(it.weights()))
    whole = it.forecast("forecast of every row", *everything, cache="empty")
    it.book()
    after = it.forecast("what took how long", "--profile", PROFILE)
    assert all(each["there"] == each["pieces"] for each in after["stages"]), "a result is missing after the run"
    took = {each["what"]: each["took"] for each in after["stages"]}
    stages = [
        {"what": each["what"], "pieces": each["pieces"], "forecast": each["seconds"], "took": took[each["what"]]}
        for each in before["stages"]
    ]
    return {
        "share": share,
        "clips": sum(path.suffix == ".wav" for path in it.data.rglob("*")),
        "checked": checked.strip().splitlines()[-1],
        "date": date.today().isoformat(),
        "machine": {
            "processor": provenance.processor(),
            "cores": os.cpu_count(),
            "memory": psutil.virtual_memory().total,
            "system": platform.platform(),
        },
        "facts": before["facts"],
        "workers": before["workers"],
        "seconds": it.seconds,
        "stages": stages,
        "forecast": {name: before[name] for name in ("seconds", "elapsed", "bytes", "memory")},
        "whole": {name: whole[name] for name in ("seconds", "bytes", "memory", "stages", "suggestions")},
        "memory": it.memory,
        "disk": {
            "tree": used(it.data),
            "kept": used(it.cache),
            **{path.name: used(path) for path in sorted(it.cache.iterdir()) if path.is_dir()},
            "book": used(it.project.folder / "_build" / "html"),
        },
        **provenance.describe(),
    }


def main() -> None:
    """Rehearse in a temporary folder that is removed, and write what was measured."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--share", type=float, default=1.0, help="share of MIMII's number of clips (default 1)")
    asked.add_argument("--folder", type=Path, help="where the tree and the results lie meanwhile (default: temporary)")
    asked.add_argument("--json", type=Path, help="file to write (default results/rehearsal_<percent>.json)")
    said = asked.parse_args()
    if said.folder is not None:
        said.folder = said.folder.resolve()
        said.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the tree goes, too
    room = shutil.disk_usage(said.folder or tempfile.gettempdir()).free
    if room < NEEDED * said.share:
        raise SystemExit(
            f"{said.folder or tempfile.gettempdir()}: {room / 1e9:.1f} GB free, {NEEDED * said.share / 1e9:.1f} GB "
            "needed; name another folder with --folder, or a smaller --share"
        )
    folder = Path(tempfile.mkdtemp(prefix="mimii-rehearsal-", dir=said.folder))
    try:
        found = rehearse(folder, said.share)
    except Failed as error:  # what took an hour stays to be looked at
        raise SystemExit(f"{error}\n{folder}: kept; remove it when you have seen why") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    for each in found["stages"]:
        ratio = each["forecast"] / each["took"] if each["took"] else float("nan")
        print(f"{each['what']:32} {each['forecast']:8.1f} s forecast {each['took']:8.1f} s took {ratio:6.2f}")
    file = said.json or ROOT / "results" / f"rehearsal_{100 * said.share:g}.json"
    with atomic_write(file) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{file}: written")


if __name__ == "__main__":
    main()
