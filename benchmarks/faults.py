"""Break things on purpose and see what comes of it: ``python benchmarks/faults.py``, or ``make faults`` for all of it.

Every trial does one thing that goes wrong in a run of days: a broken file, a bad server, a full disk, a process that
is killed. It holds if what comes of it is a correct result or one clear sentence, and nothing is lost. The page of the
book shows the table that this script writes; ``tests/test_faults.py`` runs the trials that take seconds.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import RLock

import joblib
import numpy as np
import soundfile
from bad_server import BadServer, Fault
from copied import Copy
from tqdm import tqdm

from mimii_lib import cli
from mimii_lib.autoencoders import DCAE
from mimii_lib.data import download, miniature
from mimii_lib.data.files import atomic_write

ROOT = Path(__file__).resolve().parent.parent
FEW, MANY = 5, 20
"""How often each kind of process is killed while a book is made, and by ``make faults``."""
CLIP = "-6_dB_fan/fan/id_00/normal/00000003.wav"
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
"""A run of seconds: three patches a clip, two mixture components, two epochs."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes
    ----------
    kind, fault
        What was broken.
    result
        What came of it, in words.
    held
        Whether that was right; None where it was not tried.
    """

    kind: str
    fault: str
    result: str
    held: bool | None


class Bench:
    """A folder with a small miniature, to break.

    Parameters
    ----------
    folder
        Where to work.
    kills
        How often each kind of process is killed.
    """

    def __init__(self, folder: Path, kills: int = FEW):
        self.kills = kills
        self.folder, self.data, self.profile = folder, folder / "data", folder / "quick.yaml"
        miniature.make_miniature(self.data, snr=-6, normal=10, abnormal=3, machines=("fan",))
        self.profile.write_text(PROFILE)

    def fresh(self, name: str) -> Path:
        """Return an empty folder."""
        made = self.folder / f"{name}-{sum(1 for _ in self.folder.glob(f'{name}-*'))}"
        made.mkdir()
        return made

    def auc(self, data: Path, cache: Path, *words: str) -> list[str]:
        """Return the words of a run whose numbers go to `cache`.json."""
        rest = ["--profile", str(self.profile), "--json", f"{cache}.json", *words]
        return ["auc", str(data), "--machine", "fan", *rest]

    def copy(self) -> Path:
        """Return a copy of the recordings, to break."""
        data = self.fresh("data")
        shutil.copytree(self.data / "-6_dB_fan", data / "-6_dB_fan")
        return data

    def undisturbed(self) -> bytes:
        """Return the numbers of an undisturbed run."""
        cache = self.folder / "undisturbed"
        if not Path(f"{cache}.json").is_file():
            code, said = call(self.auc(self.data, cache), cache)
            assert code == 0, said
        return Path(f"{cache}.json").read_bytes()


def call(words: Sequence[str], cache: Path | None = None) -> tuple[int, str]:
    """Call ``mimii`` in this process, with results kept in `cache`; return its exit code and its last words."""
    said = io.StringIO()
    before = os.environ.get("MIMII_CACHE")
    os.environ["MIMII_CACHE"] = str(cache or tempfile.gettempdir())
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            code = cli.main(list(words))
    finally:
        os.environ.pop("MIMII_CACHE")
        if before is not None:
            os.environ["MIMII_CACHE"] = before
    lines = [line for line in said.getvalue().splitlines() if line.startswith("mimii: ")]
    return code, lines[-1].removeprefix("mimii: ") if lines else ""


def sentence(words: Sequence[str], cache: Path | None, *parts: str) -> str:
    """Call ``mimii``, which has to refuse in one sentence that has all of these parts; return the sentence."""
    code, said = call(words, cache)
    assert code == 2, f"exit code {code}: {said}"
    assert all(part in said for part in parts), said
    return f"refused: “{said}”"


def hidden(folder: Path) -> list[Path]:
    """Return the files below a folder that something half-written would leave."""
    return [path for path in folder.rglob(".*") if path.is_file() and path.name != ".download.lock"]


TRIALS: list[tuple[str, str, Callable[[Bench], str]]] = []
"""Kind, fault, and what tries it: it returns what came of it in words, and raises where that was wrong."""


def trial(kind: str, fault: str) -> Callable[[Callable[[Bench], str]], Callable[[Bench], str]]:
    """Register a trial."""

    def register(run: Callable[[Bench], str]) -> Callable[[Bench], str]:
        TRIALS.append((kind, fault, run))
        return run

    return register


class NotTried(Exception):
    """A machine does not allow the trial."""


# Recordings


def _is_readable(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


BROKEN: dict[str, Callable[[Path], object]] = {
    "that is truncated in the middle": lambda path: path.write_bytes(path.read_bytes()[:100_000]),
    "that is cut off in its header": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "that is empty": lambda path: path.write_bytes(b""),
    "that is a text and no sound": lambda path: path.write_text("404: not found\n"),
    "that has 44.1 kHz": lambda path: soundfile.write(path, _is_readable(path), 44_100),
    "that has NaN among its samples": lambda path: soundfile.write(
        path, np.where(np.arange(160_000) == 7, np.nan, _is_readable(path)), 16_000, subtype="FLOAT"
    ),
    "that is a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
}


def _broken(fault: str) -> Callable[[Bench], str]:
    def run(bench: Bench) -> str:
        data, cache = bench.copy(), bench.fresh("cache")
        BROKEN[fault](data / CLIP)
        said = sentence(bench.auc(data, cache), cache, CLIP, "split.unreadable=leave_out")
        code, _ = call(["check", str(data)])
        assert code == 1
        left = [*bench.auc(data, cache), "--settings", "split.unreadable=leave_out"]
        assert call(left, cache)[0] == 0
        without = Path(f"{cache}.json").read_bytes()
        (data / CLIP).unlink()
        assert call(bench.auc(data, cache), cache)[0] == 0
        assert Path(f"{cache}.json").read_bytes() == without
        return f"{said.replace(f'{data}/', '')}; left out on request: the numbers of a run without it"

    return run


for each in BROKEN:
    trial("recordings", f"a clip {each}")(_broken(each))


@trial("recordings", "a stereo clip")
def stereo(bench: Bench) -> str:
    data, cache = bench.copy(), bench.fresh("cache")
    sound = soundfile.read(data / CLIP, dtype="int16")[0]
    soundfile.write(data / CLIP, np.stack([sound, sound[::-1]], axis=1), 16_000, subtype="PCM_16")
    assert call(bench.auc(data, cache), cache)[0] == 0
    assert Path(f"{cache}.json").read_bytes() == bench.undisturbed()
    return "its first channel is read: the numbers of the mono clip"


@trial("recordings", "a silent clip, and the same clip twice")
def silent(bench: Bench) -> str:
    data, cache = bench.copy(), bench.fresh("cache")
    soundfile.write(data / CLIP, np.zeros(160_000), 16_000, subtype="PCM_16")
    twin = (data / CLIP).with_name("00000004.wav")
    shutil.copy((data / CLIP).with_name("00000005.wav"), twin)
    said = io.StringIO()
    with redirect_stdout(said):
        assert cli.main(["check", str(data)]) == 1
    assert f"{CLIP}: silent" in said.getvalue()
    assert "the same recording as" in said.getvalue()
    assert call(bench.auc(data, cache), cache)[0] == 0
    areas = [row["auc"] for row in json.loads(Path(f"{cache}.json").read_text())]
    assert np.isfinite(areas).all()
    return "named by mimii check; a run computes with them"


# Archives


def _wav(seed: int, channels: int = 8) -> bytes:
    sound = np.random.default_rng(seed).integers(-9000, 9000, (16_000, channels), dtype=np.int16)
    made = io.BytesIO()
    soundfile.write(made, sound, 16_000, format="WAV", subtype="PCM_16")
    return made.getvalue()


def pack(entries: dict[str, bytes]) -> bytes:
    """Return a zip."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


NAME = "-6_dB_fan.zip"
GOOD = {f"fan/id_00/normal/{k:08d}.wav": _wav(k) for k in range(6)}
WHOLE = pack(GOOD)


class Shop:
    """A folder to download to, a registry, and the words of ``mimii download``."""

    def __init__(self, bench: Bench, archive: bytes = WHOLE, md5: str | None = None):
        self.folder = bench.fresh("download")
        self.mirror, self.dest, self.registry = (self.folder / name for name in ("mirror", "dest", "registry.csv"))
        self.mirror.mkdir()
        (self.mirror / NAME).write_bytes(archive)
        digest = md5 or hashlib.md5(archive, usedforsecurity=False).hexdigest()
        self.registry.write_text(f"name,bytes,md5\n{NAME},{len(archive)},{digest}\n")

    def words(self, mirror: str | None = None, dest: Path | None = None) -> list[str]:
        """Return the words of ``mimii download``."""
        said = ["download", "--snr", "-6", "--machines", "fan", "--registry", str(self.registry)]
        return [*said, "--mirror", mirror or str(self.mirror), str(dest or self.dest)]

    def refused(self, *parts: str, mirror: str | None = None) -> str:
        """Return the sentence of a refusal that leaves no recording behind."""
        said = sentence(self.words(mirror), None, *parts)
        assert not list(self.folder.rglob("*.wav")), "something was unpacked"
        return said

    def right(self, mirror: str | None = None, dest: Path | None = None) -> None:
        """Download, and see that every clip is there, and its first channel is bit-identical."""
        code, said = call(self.words(mirror, dest))
        assert code == 0, said
        self.whole(dest or self.dest)

    def whole(self, dest: Path) -> None:
        """See that every clip is there, that its first channel is bit-identical, and that nothing else is there."""
        for name, content in GOOD.items():
            here, _ = soundfile.read(dest / "-6_dB_fan" / name, dtype="int16")
            there, _ = soundfile.read(io.BytesIO(content), dtype="int16")
            assert np.array_equal(here, there[:, 0]), name
        rest = {path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file()} - {".download.lock"}
        assert rest == {f"-6_dB_fan/{name}" for name in GOOD}, rest


@trial("archives", "a name with ../ in a zip")
def climbing(bench: Bench) -> str:
    return Shop(bench, pack(GOOD | {"../../fan/id_00/normal/1.wav": _wav(9)})).refused("../../fan")


@trial("archives", "an absolute name in a zip")
def absolute(bench: Bench) -> str:
    return Shop(bench, pack(GOOD | {"/fan/id_00/normal/1.wav": _wav(9)})).refused("/fan/id_00/normal/1.wav")


@trial("archives", "a zip bomb: a clip that would unpack to 100 MB")
def bomb(bench: Bench) -> str:
    return Shop(bench, pack(GOOD | {"fan/id_00/normal/9.wav": bytes(100_000_000)})).refused("fan/id_00/normal/9.wav")


@trial("archives", "an archive with another md5")
def other_md5(bench: Bench) -> str:
    return Shop(bench, md5="0" * 32).refused("md5", NAME)


@trial("archives", "an archive cut off in the middle, by an md5 that says so")
def cut_archive(bench: Bench) -> str:
    return Shop(bench, WHOLE[: len(WHOLE) // 2]).refused(NAME)


# Servers


def _served(
    *faults: Fault, otherwise: Fault | None = None, parts: Sequence[str] = (), says: str = ""
) -> Callable[[Bench], str]:
    """Return a trial of a server with these faults: it has to end well or, where `parts` are named, in a sentence."""

    def run(bench: Bench) -> str:
        shop = Shop(bench)
        with impatient(), BadServer({NAME: WHOLE}, faults, otherwise) as server:
            if parts:
                return shop.refused(*parts, mirror=server.url).replace(server.url, "http://…")
            shop.right(server.url)
            return says

    return run


@contextmanager
def impatient() -> Iterator[None]:
    """Shorten the waits of a download from minutes to nothing."""
    kept = download.TIMEOUT, download.WAITS
    download.TIMEOUT, download.WAITS = 0.5, (0.0,) * 3
    try:
        yield
    finally:
        download.TIMEOUT, download.WAITS = kept


THIRD = len(WHOLE) // 3
SERVERS: dict[str, Callable[[Bench], str]] = {
    "that cuts the connection twice": _served(
        Fault(cut=THIRD), Fault(cut=THIRD), says="fetched on from where it broke off, byte for byte the same"
    ),
    "that stalls in the middle": _served(
        Fault(cut=THIRD, stall=5), says="given up after the time-out, fetched on from there"
    ),
    "that cuts the connection and ignores ranges": _served(
        Fault(cut=THIRD), otherwise=Fault(ignore_range=True), says="fetched again from the start"
    ),
    "that answers 500 twice, then the file": _served(
        Fault(status=500), Fault(status=500), says="asked again after a wait"
    ),
    "that answers 500 for ever": _served(otherwise=Fault(status=500), parts=("500", "same command")),
    "that answers 404": _served(otherwise=Fault(status=404), parts=("404", NAME)),
    "that serves wrong bytes": _served(otherwise=Fault(wrong=True), parts=("md5", NAME)),
    "that serves wrong bytes for the rest of a broken transfer": _served(
        Fault(cut=THIRD), Fault(wrong=True), says="seen by its md5, fetched once more from the start"
    ),
    "that says another size": _served(otherwise=Fault(size=len(WHOLE) + 1), parts=("bytes, expected", NAME)),
    "that sends more than it said": _served(otherwise=Fault(more=b"more"), parts=("bytes", NAME)),
}
for each, tries in SERVERS.items():
    trial("servers", f"a server {each}")(tries)


# Disks


@contextmanager
def disk(bench: Bench, size: str, *options: str) -> Iterator[Path]:
    """Mount a small disk in memory, for as long as the block lasts."""
    folder = bench.fresh("disk")
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        raise NotTried("not tried: to mount a small disk needs Linux and the rights of its administrator")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@trial("disks", "a disk that fills while results are kept")
def full_cache(bench: Bench) -> str:
    with disk(bench, "600k") as small:
        said = sentence(bench.auc(bench.data, bench.folder / "full"), small, "No space left on device", "same command")
        kept = {path: path.read_bytes() for path in small.rglob("result.joblib")}
        assert kept, "nothing was kept"
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert call(bench.auc(bench.data, bench.folder / "full"), small)[0] == 0
        assert (bench.folder / "full.json").read_bytes() == bench.undisturbed()
        assert all(path.read_bytes() == content for path, content in kept.items()), "what was kept was made anew"
        assert not hidden(small)
        return f"{said.replace(f'{small}/', '')}; with more room the same command went on to the same numbers"


@trial("disks", "a disk that fills while an archive is fetched")
def full_download(bench: Bench) -> str:
    shop = Shop(bench)
    with disk(bench, f"{len(WHOLE) // 2048}k") as small, BadServer({NAME: WHOLE}) as server:
        before, download.shutil.disk_usage = (
            download.shutil.disk_usage,
            lambda _: shutil._ntuple_diskusage(0, 0, 10**12),
        )
        try:
            said = sentence(shop.words(server.url, small / "dest"), None, "No space left on device", "same command")
        finally:
            download.shutil.disk_usage = before
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        shop.right(server.url, small / "dest")
        rest = server.requests[-1].start
        assert rest, "fetched from the start"
        return f"{said.replace(f'{small}/', '')}; with more room it went on from byte {rest:,}"


@trial("disks", "too little room for an archive and its clips")
def too_small(bench: Bench) -> str:
    shop = Shop(bench)
    with disk(bench, "64k") as small, BadServer({NAME: WHOLE}) as server:
        said = sentence(shop.words(server.url, small), None, "MB needed", "free")
        assert not server.requests, "something was asked for"
        return said.replace(f"{small}", "…")


@trial("disks", "a folder that is read-only")
def read_only(bench: Bench) -> str:
    with disk(bench, "64m") as small:
        shutil.copytree(bench.data, small / "data")
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        said = sentence(bench.auc(bench.data, bench.folder / "kept"), small / "cache", "Read-only", "MIMII_CACHE")
        sentence(Shop(bench).words(dest=small / "dest"), None, "Read-only")
        sentence(bench.auc(bench.data, small / "numbers"), bench.folder / "undisturbed", "Read-only")
        cache = bench.fresh("cache")
        assert call(bench.auc(small / "data", cache), cache)[0] == 0
        assert Path(f"{cache}.json").read_bytes() == bench.undisturbed()
        return f"{said.replace(f'{small}/', '')}; recordings that lie in one give the same numbers"


# Kills


def _exit(words: Sequence[str], cache: Path) -> None:
    tqdm.set_lock(RLock())  # its own is one of processes, which a killed one leaves behind
    sys.exit(call(words, cache)[0])


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["faults", "mimii_lib.run"])  # seconds that each process would need


def start(words: Sequence[str], cache: Path) -> multiprocessing.process.BaseProcess:
    """Start ``mimii`` in a process of its own."""
    process = PROCESSES.Process(target=_exit, args=(words, cache))
    process.start()
    return process


def _results(cache: Path) -> dict[str, str]:
    """Return the kept results by stage and key, each with a digest of its numbers."""
    return {path.parent.relative_to(cache).as_posix(): _digest(path) for path in cache.rglob("result.joblib")}


def _digest(path: Path) -> str:
    result = joblib.load(path)
    if isinstance(result, DCAE):  # the pickles of equal networks differ
        result = [weights.numpy() for weights in result.net_.state_dict().values()]
    return str(joblib.hash(result))


@trial("kills", "a run that is killed at random moments")
def killed_runs(bench: Bench) -> str:
    """Kill a run at random moments, then let it go on: its numbers are those of an undisturbed run."""
    whole, cache = bench.undisturbed(), bench.fresh("cache")
    process, began = start(bench.auc(bench.data, cache), cache), time.monotonic()
    process.join()
    length, same = time.monotonic() - began, _results(cache)
    moments = random.Random(0)
    hit = tried = 0
    while hit < bench.kills:
        tried += 1
        assert tried <= 3 * bench.kills, f"{hit} of {tried} runs were still at work when they should be killed"
        cache = bench.fresh("cache")
        process = start(bench.auc(bench.data, cache), cache)
        began = time.monotonic()
        process.join(moments.uniform(0, length))
        if process.is_alive():
            hit += 1
        else:  # the machine has become faster
            length = min(length, time.monotonic() - began)
        process.kill()
        process.join()
        assert call(bench.auc(bench.data, cache), cache)[0] == 0
        assert Path(f"{cache}.json").read_bytes() == whole, "other numbers"
        assert _results(cache) == same, "other results on the way"
        assert not hidden(cache), "something half-written was left"
        shutil.rmtree(cache)
    return (
        f"{bench.kills} runs killed (SIGKILL) before they had ended: each time the same command went on to the same "
        "numbers, bit for bit, from the first spectrogram to the last AUC"
    )


@trial("kills", "downloads that are killed at random moments, each until it is done")
def killed_downloads(bench: Bench) -> str:
    moments, times, done = random.Random(0), 0, 0
    while times < bench.kills:
        shop = Shop(bench)
        with BadServer({NAME: WHOLE}, otherwise=Fault(pause=0.005)) as server:
            process = start(shop.words(server.url), shop.folder)
            while process.is_alive():
                process.join(moments.uniform(0.02, 0.6))
                if process.is_alive():
                    process.kill()
                    process.join()
                    times += 1
                    process = start(shop.words(server.url), shop.folder)
            assert process.exitcode == 0, "the same command failed"
            shop.whole(shop.dest)
            done += 1
    return f"{done} downloads, killed {times} times: each ended with every clip, bit for bit, and nothing beside them"


@trial("kills", "two runs at once on the same recordings and results")
def two_runs(bench: Bench) -> str:
    cache = bench.fresh("cache")
    runs = [bench.auc(bench.data, cache), [*bench.auc(bench.data, cache)[:-1], f"{cache}-other.json"]]
    processes = [start(words, cache) for words in runs]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for made in (f"{cache}.json", f"{cache}-other.json"):
        assert Path(made).read_bytes() == bench.undisturbed()
    assert not hidden(cache)
    return "both end with the numbers of a single one"


@trial("kills", "a kept result that is damaged on the disk")
def damaged(bench: Bench) -> str:
    cache = bench.fresh("cache")
    assert call(bench.auc(bench.data, cache), cache)[0] == 0
    same = _results(cache)
    for number, path in enumerate(sorted(cache.rglob("result.joblib"))):
        if path.parts[-3] != "clips":
            path.write_bytes(path.read_bytes()[: 0 if number % 2 else path.stat().st_size // 2])
    Path(f"{cache}.json").unlink()
    assert call(bench.auc(bench.data, cache), cache)[0] == 0
    assert Path(f"{cache}.json").read_bytes() == bench.undisturbed()
    assert {name for name in same if "clips" in name or "scores" in name} <= set(_results(cache))
    return "noticed when it is read, and made anew: the same numbers"


LONG = ("kills", "whole books whose making is killed at random moments, each until it is done")


def killed_books(bench: Bench) -> str:
    """Kill the workflow, with or without the jobs that it has started, and compare every result and page."""
    whole = Book(bench)
    began = time.monotonic()
    assert whole.make().wait() == 0, "the undisturbed run failed"
    length, same = time.monotonic() - began, whole.pages()
    moments, times, done = random.Random(0), 0, 0
    while times < bench.kills:
        book = Book(bench)
        while True:
            process = book.make()
            try:
                code = process.wait(10 + moments.uniform(0, length / 5))
                break
            except subprocess.TimeoutExpired:
                alone = times % 3 == 0  # its jobs then go on without it
                (os.kill if alone else os.killpg)(process.pid, 9)
                process.wait()
                times += 1
        assert code == 0, "the same command failed"
        made = book.pages()
        differ = sorted(name for name in same | made if same.get(name) != made.get(name))
        assert not differ, f"differ: {', '.join(differ)}"
        done += 1
    return (
        f"{done} books, killed {times} times (SIGKILL, every third time without the jobs that were at work): the "
        f"{len(same)} results and pages of each are byte for byte those of an undisturbed run"
    )


class Book(Copy):
    """A copy of the project that makes a small book."""

    def __init__(self, bench: Bench):
        super().__init__(bench.fresh("book"))
        self.data = bench.data
        whole = [line for line in PROFILE.splitlines() if "patch_offset" not in line]  # pages show later patches, too
        (self.folder / "quick.yaml").write_text("\n".join(whole))

    def make(self) -> subprocess.Popen[bytes]:
        """Start the workflow in a process group of its own."""
        config = ("profile=quick.yaml", f"data={self.data}", "machine=fan", "choices=no")
        return self.book(self.folder / "log.txt", *config)

    def pages(self) -> dict[str, str]:
        """Return the digests of the results and of the executed and the rendered pages."""
        found = [*self.folder.glob("results/*.csv"), *self.folder.rglob("executed/**/*.ipynb")]
        found += self.folder.glob("_build/html/**/*.html")
        return {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found
        }


def outcomes(folder: Path, *, long: bool = False) -> Iterator[Outcome]:
    """Try everything, and yield what came of it."""
    bench = Bench(folder, MANY if long else FEW)
    for kind, fault, tries in [*TRIALS, (*LONG, killed_books)]:
        try:
            if (kind, fault) == LONG and not long:
                raise NotTried("not run here, since it takes half an hour: make faults")
            outcome = Outcome(kind, fault, tries(bench).replace(f"{folder}/", ""), True)
        except NotTried as error:
            outcome = Outcome(kind, fault, str(error), None)
        except AssertionError as error:
            outcome = Outcome(kind, fault, str(error) or "another result", False)
        yield outcome


def main() -> int:
    """Print what came of each trial; return 1 if one did not hold."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--json", type=Path, default=ROOT / "results" / "faults.json", help="file to write")
    asked.add_argument(
        "--long", action="store_true", help="kill more often, and the making of a whole book, too (half an hour)"
    )
    said = asked.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="mimii-faults-") as folder:
        for outcome in outcomes(Path(folder), long=said.long):
            found.append(outcome)
            mark = {True: "holds", False: "DOES NOT HOLD", None: "–"}[outcome.held]
            print(f"{mark}: {outcome.kind}: {outcome.fault}\n    {outcome.result}", flush=True)
    with atomic_write(said.json) as file:
        file.write_text(json.dumps([asdict(outcome) for outcome in found], indent=1, ensure_ascii=False) + "\n")
    return int(any(outcome.held is False for outcome in found))


if __name__ == "__main__":
    sys.exit(main())
