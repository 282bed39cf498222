"""What the trials of ``tests/faults.py`` share: a bench to run on and to break, and how a command may end."""

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import soundfile
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests" / "data")]

from copied import Copy

from mimii_lib.data import miniature
from mimii_lib.data.files import file_digest
from mimii_lib.dataset import DOWNLOADED

KILLS, KILLS_LONG = 3, 12
"""How often each kind of process is killed, in the short and in the long form."""
PROFILE = """\
ids: [id_00]
extractors: [squeezenet1_1]
weight_sources: [folder, package]
detectors: [gmm, kde, small-dcae]
seeds: [0, 1]
settings:
  imaging: {patch_offset: 281}
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

    def copy(self, folder: Path) -> Path:
        """Return a new copy of a folder."""
        return Path(shutil.copytree(folder, self.empty("copy"), dirs_exist_ok=True))

    def start_auc(self, cache: Path, *words: object, data: Path | None = None, **env: str) -> Process:
        """Start ``mimii auc``, which keeps its results in a cache and writes the AUCs to ``<cache>.json``."""
        words = ("--machine", "fan", "--profile", self.profile, "--json", f"{cache}.json", *words)
        return mimii(cache, "auc", data or self.data, *words, **env)

    def auc(self, cache: Path, *words: object, data: Path | None = None, **env: str) -> bytes:
        """Run ``mimii auc`` to its end; return the AUCs."""
        succeed(self.start_auc(cache, *words, data=data, **env))
        return Path(f"{cache}.json").read_bytes()

    @cached_property
    def kept(self) -> Path:
        """The cache of an undisturbed run."""
        self.auc(cache := self.empty("undisturbed"))
        return cache

    @cached_property
    def undisturbed(self) -> tuple[bytes, dict[str, str]]:
        """The AUCs and the kept results of an undisturbed run."""
        return Path(f"{self.kept}.json").read_bytes(), results(self.kept)

    def check(self, cache: Path, *, whole: bool = True) -> None:
        """Assert that AUCs and kept results, all or some, are those of an undisturbed run, and none is half-written."""
        aucs, expected = self.undisturbed
        assert Path(f"{cache}.json").read_bytes() == aucs, "other AUCs"
        kept = results(cache)
        assert kept == expected if whole else kept.items() <= expected.items(), "other results on the way to the AUCs"
        left = [path.name for path in cache.rglob(".*") if path.is_file()]
        assert not left, f"half-written files are left: {left}"

    @cached_property
    def archive(self) -> bytes:
        """A zip of the clips, as MIMII is published."""
        name = shutil.make_archive(str(self.empty("archive") / FOLDER), "zip", self.data / FOLDER, "fan/id_00")
        return Path(name).read_bytes()

    def start_download(self, dest: Path, mirror: object, archive: bytes | None = None) -> Process:
        """Start ``mimii download`` of the archive, or of another one, from a mirror."""
        archive = self.archive if archive is None else archive
        registry, md5 = self.folder / "registry.csv", hashlib.md5(archive, usedforsecurity=False).hexdigest()
        registry.write_text(f"name,bytes,md5\n{FOLDER}.zip,{len(archive)},{md5}\n")
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

    def start_make(self, project: Path, *words: str) -> Process:
        """Start ``make`` in a copy of the project, on the fan of the miniature; it logs to ``<project>/log.txt``."""
        variables = (f"PROFILE={self.profile}", f"DATA={self.data}", "MACHINE=fan", "CHOICES=no")
        command = ["make", "-o", ".venv/ready", *variables, *words]  # the environment is used as it is
        (project / "log.txt").unlink(missing_ok=True)
        return Copy(project).start(command, project / "log.txt")


def mimii(cache: Path, *words: object, **env: str) -> Process:
    """Start ``mimii`` in a process group of its own, with results kept in a cache."""
    env = os.environ | {"MIMII_CACHE": str(cache), "PYTHONPATH": str(ROOT)} | env
    command, pipe = [sys.executable, "-m", "mimii_lib.cli", *map(str, words)], subprocess.PIPE
    return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def succeed(process: Process, log: Path | None = None) -> None:
    """Wait for a process, which must end with exit code 0; it may write its errors to a log."""
    _, errors = process.communicate()
    text = log.read_text() if log is not None and log.is_file() else errors or ""
    assert process.returncode == 0, f"exit code {process.returncode}: {text[-1000:]}"


def refuse(process: Process, *parts: str, log: Path | None = None) -> str:
    """Wait for a process, which must end with one sentence that has all of these parts; return the sentence."""
    _, errors = process.communicate()
    errors = log.read_text() if log is not None else errors
    marks = ("mimii: ", "*** ")  # of our sentences, and of make's
    sentences = [line.partition(mark)[2] for line in errors.splitlines() for mark in marks if mark in line]
    assert process.returncode == 2 and sentences, f"exit code {process.returncode}: {errors[-500:]}"
    assert "Traceback" not in errors, errors[-500:]
    assert all(part in sentences[0] for part in parts), sentences[0]
    return f"refused: “{sentences[0].removesuffix('.  Stop.')}”"


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
