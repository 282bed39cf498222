"""Measure how fast the library is, beside the plain implementation on the same clips and in the same run.

Both sides take turns, as often as `--repeats` says, and each gives the median of its times; both may use all cores.
Only the ratio is a result: the numbers it is made of belong to one machine. The aims are what the library was
written for, and nothing fails where one is missed.

    python benchmarks/speed.py [--clips 16] [--repeats 3] [--quick | --full] [--only features kde detectors autoencoder]
        [--memory] [--growth] [--weights FOLDER]

`--quick` shows that everything runs; `--full` compares kernel densities at the size of the largest machine ID;
`--memory` and `--growth` add a table each, the first of which takes minutes.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np
import proof
import reference
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KernelDensity
from torch import nn

from mimii_lib import dataset, detectors, extractors, imaging, paper
from mimii_lib.autoencoders import DCAE
from mimii_lib.data import miniature
from mimii_lib.data.files import file_digest
from mimii_lib.data.weights import Weights, find_weights
from mimii_lib.errors import MimiiError
from mimii_lib.pages import scale
from mimii_lib.run import Run, engines, provenance
from mimii_lib.run.cache import ResultCache
from mimii_lib.run.profiles import ROOT
from mimii_lib.settings import Detectors, Features, Imaging

PATCHES = Imaging().patches
AIMS = {
    ("squeezenet1_1", "openvino", "float32"): "4 ×",
    ("squeezenet1_1", "openvino", "bfloat16"): "7 ×",
    ("squeezenet1_1", "torch", "float32"): "2 ×",
    ("squeezenet1_1", "torch", "bfloat16"): "3.5 ×",
    ("resnet18", "openvino", "float32"): "2 ×",
    ("resnet18", "openvino", "bfloat16"): "4 ×",
}
TRAINING_AIMS = {"float32": "1.5 ×", "bfloat16": "2 ×"}
LARGE = ((256, 28, 8), (64, 56, 8), (512, 14, 8))
"""Channels, pixels a side and pictures of the 3 x 3 convolutions that show what the processor can do at most."""
DEPTH = 4
"""Convolutions in a row, so that bringing pictures in and out takes no part in it."""
LARGEST = (1068, 356)
"""Normal and abnormal clips of the largest machine ID, slider id_00."""
WIDEST = 4096
"""Dimension of AlexNet's features, the longest."""
LIMIT = 4096
"""MiB that a stage may take."""

Call = Callable[[], Any]


# Measuring


def timed(call: Call) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    start = perf_counter()
    found = call()
    return perf_counter() - start, found


def in_turn(
    calls: Mapping[str, Call], repeats: int, first: Mapping[str, Call] | None = None
) -> dict[str, tuple[float, list[Any]]]:
    """Make several calls in turn, `repeats` times over.

    Parameters
    ----------
    first
        What comes before a call each time and is not measured.

    Returns
    -------
    dict
        The median of the seconds, and everything that was returned, of each call.
    """
    seen: dict[str, list[tuple[float, Any]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            (first or {}).get(name, bool)()
            seen[name].append(timed(call))
    return {name: (median(s for s, _ in each), [found for _, found in each]) for name, each in seen.items()}


def line(*cells: str) -> None:
    """Print a row of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def head(*cells: str) -> None:
    """Print the first rows of a table."""
    print()
    line(*cells)
    print(f"|{'---|' * len(cells)}")


def compared(what: str, plain: float, ours: float, aim: str, note: str = "", patches: int = 0) -> None:
    """Print two times side by side: in seconds, or as patches a second if there are any."""
    shown = [f"{patches / each:,.0f} patches/s" if patches else f"{each:.3g} s" for each in (plain, ours)]
    line(what, *shown, f"{plain / ours:.1f} ×", aim, note)


# Features


def peak(engine: str, precision: str) -> float:
    """Return the operations a second of the best of a few large convolutions, the most that an engine reaches here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return max((_openvino_peak if engine == "openvino" else _torch_peak)(*size, precision) for size in LARGE)


def _convolutions(channels: int) -> nn.Module:
    layers = [nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(DEPTH)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def _work(channels: int, side: int, batch: int) -> float:
    return 2.0 * DEPTH * batch * (channels * side * 3) ** 2


def _torch_peak(channels: int, side: int, batch: int, precision: str) -> float:
    kind = getattr(torch, precision)
    net = _convolutions(channels).to(kind).to(memory_format=torch.channels_last)
    pictures = torch.randn(batch, channels, side, side).to(kind).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return _work(channels, side, batch) / min(timed(lambda: net(pictures))[0] for _ in range(5))


def _openvino_peak(channels: int, side: int, batch: int, precision: str) -> float:
    import openvino

    threads, best = torch.get_num_threads(), 0.0
    pictures = torch.randn(batch, channels, side, side)
    model = openvino.convert_model(
        _convolutions(channels), example_input=pictures[:1], input=[tuple(pictures.shape)], verbose=False
    )
    for streams in {1, threads}:
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", options), streams + 1)

        def passes(queue: Any = queue, requests: int = streams) -> None:
            for _ in range(requests):
                queue.start_async([pictures.numpy()])
            queue.wait_all()

        seconds = min(timed(passes)[0] for _ in range(5))
        best = max(best, streams * _work(channels, side, batch) / seconds)
    return best


def our_features(paths: Sequence[Path], weights: Weights, features: Features) -> float:
    """Go from recordings to features, and return the seconds of the network alone."""
    settings = Imaging()
    cut = [imaging.patches(imaging.log_mel(dataset.read(path, settings), settings), settings) for path in paths]
    return timed(lambda: engines.extract(np.concatenate(cut), weights, settings, features))[0]


def reachable(names: Sequence[str], folder: Path) -> dict[str, Weights]:
    """Return the weights that are there, from the packages and else from a folder, and say which are not."""
    found = {}
    for name in names:
        for sources in (("package",), ("folder",)):
            try:
                found[name] = (
                    find_weights(name, folder, sources) if folder.is_dir() else find_weights(name, None, sources)
                )
                break
            except MimiiError:
                continue
        else:
            print(f"Not measured, its weights are not reachable: {name}.")
    return found


def feature_rows(paths: Sequence[Path], found: Mapping[str, Weights], repeats: int) -> None:
    """Print wav → features: both engines in both precisions, with the share of the processor's peak."""
    combinations = [(engine, precision) for engine in proof.ENGINES for precision in proof.PRECISIONS]
    peaks = {each: [peak(*each)] for each in combinations}
    rows = []
    for name, weights in found.items():
        net = reference.network(name, weights.state())
        calls: dict[str, Call] = {}
        first: dict[str, Call] = {}
        for at, (engine, precision) in enumerate(combinations):
            features = Features(engine=engine, precision=precision)
            # The network is made ready before, as it is once for all clips; the plain one comes before each of ours.
            calls[f"plain {at}"] = partial(reference.features, paths, net)
            calls[f"ours {at}"] = partial(our_features, paths, weights, features)
            first[f"ours {at}"] = partial(our_features, paths[:1], weights, features)
        reference.features(paths[:1], net)
        seen, work = in_turn(calls, repeats, first), scale.forward(weights.extractor)
        for at, each in enumerate(combinations):
            seconds, alone = seen[f"ours {at}"]
            rows.append((name, each, seen[f"plain {at}"][0], seconds, median(alone), work))
    for each in combinations:
        peaks[each].append(peak(*each))
    for name, (engine, precision), plain, ours, alone, work in rows:
        patches, most = PATCHES * len(paths), max(peaks[engine, precision])
        note = (
            f"{patches * work / ours / most:.0%} of the peak of {most / 1e9:,.0f} GFLOP/s; "
            f"the network alone {patches * work / alone / most:.0%}, {work / 1e9:.2f} GFLOP a patch"
        )
        chosen = engines.choose(Features(engine=engine, precision=precision))
        if chosen.precision != precision:
            note = f"{precision} is not there: {chosen.precision}; {note}"
        aim = AIMS.get((name, engine, precision), "–")
        compared(f"wav → features, {name}, {engine} {precision}", plain, ours, aim, note, patches)


# Detectors


def kde_rows(n_train: int, n_test: int, repeats: int) -> None:
    """Print fitting a kernel density and scoring, on standard normal features."""
    random = np.random.default_rng(0)
    for d in (512, 2048):
        train, test = (random.standard_normal((n, d)) for n in (n_train, n_test))
        seen = in_turn(
            {
                "plain": lambda train=train, test=test: KernelDensity(bandwidth=0.1).fit(train).score_samples(test),
                "ours": lambda train=train, test=test: detectors.KDE(bandwidth=0.1).fit(train).score_samples(test),
            },
            repeats,
        )
        (plain, (expected, *_)), (ours, (found, *_)) = seen["plain"], seen["ours"]
        off = proof.largest_difference(found, expected)
        note = f"{n_train:,} + {n_test:,} patches; scores differ by {off:.0e} from the tree's, which rounds"
        compared(f"KDE, {d} dimensions", plain, ours, "20 ×", note)


class Holding(ResultCache):
    """A store that has features already, so that only what comes after them is computed."""

    def __init__(self, folder: Path, features: NDArray[np.float32]):
        super().__init__(folder)
        self.features = features

    def get(self, stage: str, key: dict[str, Any], compute: Call, *code: ModuleType) -> Any:
        """Return the features, or any other result as ever."""
        return self.features if stage == "features" else super().get(stage, key, compute, *code)


def clusters(path: Path, clips: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    """Write features that lie in clusters to a file, and return them mapped from it: (clips, 18, d)."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((40, d), np.float32)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (clips, PATCHES, d))
    for clip in range(clips):
        noise = 0.5 * random.standard_normal((PATCHES, d), np.float32)
        made[clip] = centres[random.integers(len(centres), size=PATCHES)] + noise
    made.flush()
    return np.load(path, mmap_mode="r")


def listed(folder: Path, normal: int, abnormal: int, source: Sequence[Path] = ()) -> Path:
    """Make a tree of so many clips of a slider: empty files, or other names of the `source` recordings."""
    for label, count in zip(dataset.LABELS, (normal, abnormal), strict=True):
        where = folder / "-6_dB_slider" / "slider" / "id_00" / label
        where.mkdir(parents=True)
        for at in range(count):
            if source:
                (where / f"{at:08d}.wav").hardlink_to(source[at % len(source)])
            else:
                (where / f"{at:08d}.wav").touch()
    return folder


def slider(
    folder: Path, data: Path, seeds: Sequence[int], features: NDArray[np.float32] | None = None, **more: Any
) -> Run:
    """Return a run on slider id_00 that keeps nothing from before, on features that are there where they are given."""
    profile = folder / "speed.yaml"
    profile.write_text("weight_sources: [package]\n")
    cache = Path(tempfile.mkdtemp(dir=folder))
    run = Run("slider", profile=profile, data=data, ids="id_00", seeds=seeds, cache=cache, settings=more)
    if features is not None:
        run.store = Holding(cache, features)
    return run


def cells(run: Run, names: Sequence[str] = tuple(paper.DETECTORS)) -> list[tuple[str, str | None, str, int]]:
    """Return what a run is to compute: every detector for every seed."""
    return [("id_00", "squeezenet1_1", name, seed) for seed in run.profile.seeds for name in names]


def detector_rows(folder: Path, n_train: int, repeats: int, seeds: Sequence[int] = range(5), d: int = 512) -> None:
    """Print the five detectors over several seeds: one after the other, and by the library's own run."""
    train = -(-n_train // PATCHES)
    test = min(150, train)
    data = listed(folder / "detectors", train + test, test)
    features = clusters(folder / "detectors.npy", train + 2 * test, d)
    how = {"split.test_clips": test}
    # The clips of every seed are looked up once, before: the plain side has no files to look for.
    split = slider(folder, data, seeds, features, **how)
    sides = {seed: proof.divided(split, "id_00", features, seed) for seed in seeds}

    def plain() -> dict[tuple[int, str], NDArray[np.float64]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return {
                (seed, name): reference.anomaly_scores(*sides[seed], name, seed)
                for seed in seeds
                for name in paper.DETECTORS
            }

    def ours() -> Run:
        run = slider(folder, data, seeds, features, **how)
        run.results.compute(cells(run))
        return run

    seen = in_turn({"plain": plain, "ours": ours}, repeats)
    (seconds, (expected, *_)), (fast, (run, *_)) = seen["plain"], seen["ours"]
    off = {
        name: max(
            proof.largest_difference(run.scores("id_00", "squeezenet1_1", name, seed).ravel(), expected[seed, name])
            for seed in seeds
        )
        for name in paper.DETECTORS
    }
    said = ", ".join(f"{paper.DETECTORS[name]} {each:.0e}" for name, each in off.items())
    note = f"{train * PATCHES:,} + {2 * test * PATCHES:,} patches of {d} dimensions; scores differ by {said}"
    compared(f"five detectors, {len(seeds)} seeds", seconds, fast, "3 ×", note)


# Training


def training_rows(paths: Sequence[Path], patches: int, epochs: int, repeats: int) -> None:
    """Print the training of LeNet-DCAE, from the same weights in the same order."""
    pictures = np.concatenate([reference.pictures_of_clip(path) for path in paths])[:patches]
    tensors = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    entries = np.concatenate([proof.entries_of(path) for path in paths])[:patches].reshape(len(tensors), -1)

    def plain(epochs: int = epochs, some: int = patches) -> list[float]:
        return reference.train(proof.plain_autoencoder(0), tensors[:some], epochs, 0)

    def ours(precision: str, epochs: int = epochs, some: int = patches) -> list[float]:
        return DCAE(epochs=epochs, precision=precision).fit(entries[:some]).losses_

    plain(1, reference.BATCH)
    for precision in proof.PRECISIONS:
        ours(precision, 1, reference.BATCH)
    calls: dict[str, Call] = {"plain": plain}
    seen = in_turn(calls | {each: partial(ours, each) for each in proof.PRECISIONS}, repeats)
    seconds, (expected, *_) = seen["plain"]
    for precision in proof.PRECISIONS:
        fast, (losses, *_) = seen[precision]
        off = proof.largest_difference(losses, expected)
        note = f"{epochs} epochs of {len(tensors)} patches; losses differ by {off:.2%}"
        compared(f"LeNet-DCAE, {precision}", seconds, fast, TRAINING_AIMS[precision], note, epochs * len(tensors))


# Memory: each stage in a process of its own


def _with_features(folder: Path, shrink: int, names: Sequence[str], seeds: Sequence[int]) -> None:
    clips = np.array(LARGEST) // shrink
    data = listed(folder / "data", *clips)
    features = clusters(folder / "features.npy", int(clips.sum()), WIDEST)
    # How often a mixture iterates changes nothing in its memory.
    run = slider(folder, data, seeds, features, **{"detectors.max_iter": 3, "split.test_clips": 150 // shrink})
    run.results.compute(cells(run, names))


def _nothing(folder: Path, shrink: int) -> None:
    pass


def _imaging(folder: Path, shrink: int) -> None:
    miniature.make_miniature(folder / "few", normal=2, abnormal=0, machines=("slider",))
    data = listed(folder / "data", *(np.array(LARGEST) // shrink), sorted((folder / "few").rglob("*.wav")))
    slider(folder, data, [0]).patches("id_00")


def _extract(folder: Path, shrink: int, engine: str) -> None:
    # AlexNet has the largest network and the longest features; what its weights are does not matter here.
    path, n = folder / "alexnet.pt", PATCHES * sum(LARGEST) // shrink
    torch.save(extractors.get("alexnet").network().state_dict(), path)
    entries, found = np.ones((n, 64, 64), np.uint8), np.ones((n, WIDEST), np.float32)
    weights = Weights("alexnet", "random", file_digest(path), path)
    found[:64] = engines.extract(entries[:64], weights, Imaging(), Features(engine=engine))


STAGES: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "nothing": ("nothing, everything imported", _nothing),
    "imaging": ("wav → patches", _imaging),
    "openvino": ("patches → AlexNet's features, openvino", partial(_extract, engine="openvino")),
    "torch": ("patches → AlexNet's features, torch", partial(_extract, engine="torch")),
    "kde": ("KDE, one seed", partial(_with_features, names=("kde",), seeds=(0,))),
    "detectors": ("five detectors, two seeds", partial(_with_features, names=tuple(paper.DETECTORS), seeds=(0, 1))),
}


def stage(name: str, shrink: int = 1) -> float:
    """Run a stage on the largest machine ID, or a part of it, and return this process's peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        STAGES[name][1](Path(folder), shrink)
    status = Path("/proc/self/status")
    if status.is_file():  # resource would tell the parent's peak where that is higher
        peaks = [each.split()[1] for each in status.read_text().splitlines() if each.startswith("VmHWM")]
        return float(peaks[0]) / 2**10
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def memory_table(quick: bool) -> None:
    """Print the peak memory of every stage at the size of the largest machine ID."""
    print(
        f"\nPeak memory at the size of the largest machine ID: {sum(LARGEST):,} clips of {PATCHES} patches, "
        f"{WIDEST:,} dimensions{', a twentieth of the clips' if quick else ''}."
    )
    head("stage", "MiB", "limit", "seconds")
    for name, (title, _) in STAGES.items():
        command = [sys.executable, __file__, "--stage", name, *(["--quick"] if quick else [])]
        seconds, done = timed(partial(subprocess.run, command, capture_output=True, text=True))
        found = f"{float(done.stdout):,.0f}" if done.returncode == 0 else f"failed: {done.stderr.strip()[-200:]}"
        line(title, found, f"{LIMIT:,}", f"{seconds:.0f}")


# Growth


def growth_table(paths: Sequence[Path], weights: Weights, n_train: int, repeats: int) -> None:
    """Print how the times grow with the number of clips, and the exponent: 1 is in proportion.

    Test patches stay as many: §5 limits them, while the training clips are as many as there are.
    """
    factors = (1, 2, 4, 8)
    print("\nGrowth, as seconds. The exponent is the slope of the logarithms; 1 is in proportion to the clips.")
    head("what", *(f"{factor} ×" for factor in factors), "exponent")
    random, settings = np.random.default_rng(0), Detectors(max_iter=10, tol=0.0)
    train, test = random.standard_normal((8 * n_train, 512)), random.standard_normal((n_train, 512))
    base = max(1, len(paths) // 8)
    our_features(paths[:1], weights, Features())

    def scored(name: str, factor: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            detectors.build_detector(name, settings, 0).fit(train[: factor * n_train]).score_samples(test)

    def described(factor: int) -> None:
        our_features(paths[: factor * base], weights, Features())

    tried: dict[str, Callable[[int], None]] = {
        f"wav → features, {base} clips and more": described,
        f"KDE, {n_train:,} training patches and more, {n_train:,} to score": partial(scored, "kde"),
        "GMM, the same, 10 iterations": partial(scored, "gmm"),
    }
    for what, call in tried.items():
        seen = in_turn({str(factor): partial(call, factor) for factor in factors}, repeats)
        seconds = [seen[str(factor)][0] for factor in factors]
        exponent = np.polyfit(np.log(factors), np.log(seconds), 1)[0]
        line(what, *(f"{each:.3g}" for each in seconds), f"{exponent:.2f}")


def main() -> None:
    """Print what it runs on and the tables that were asked for."""
    parts = ("features", "kde", "detectors", "autoencoder")
    parser = argparse.ArgumentParser(description="the library's speed beside the plain implementation's")
    parser.add_argument("--clips", type=int, default=16, help="clips of the miniature that features are made of")
    parser.add_argument("--repeats", type=int, default=3, help="how often each side takes its turn")
    parser.add_argument("--quick", action="store_true", help="small sizes, once: only to see that it runs")
    parser.add_argument("--full", action="store_true", help="kernel densities at the size of the largest machine ID")
    parser.add_argument("--only", nargs="*", choices=parts, default=parts, help="these rows; none: no row")
    parser.add_argument("--memory", action="store_true", help="add peak memory")
    parser.add_argument("--growth", action="store_true", help="add growth with the number of clips")
    parser.add_argument("--weights", type=Path, default=ROOT.parent / "shared" / "weights", help="folder of weights")
    parser.add_argument("--stage", choices=STAGES, help="run one stage and print its peak memory in MiB")
    given = parser.parse_args()
    if given.quick:
        given.clips, given.repeats = min(given.clips, 4), 1
    if given.stage:
        print(stage(given.stage, 20 if given.quick else 1))
        return
    packages = ("torch", "openvino", "numpy", "scikit-learn", "librosa")
    chosen = {str(engines.choose(Features(engine=e, precision=p))) for e in proof.ENGINES for p in proof.PRECISIONS}
    print(f"- Processor: {provenance.processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    print(f"- Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in packages)}")
    print(f"- Engines: {'; '.join(sorted(chosen))}")
    print(f"- Median of {given.repeats}, {given.clips} clips of {PATCHES} patches{', quick' if given.quick else ''}")
    found = reachable(("squeezenet1_1", "resnet18"), given.weights)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        per_id = max(-(-given.clips // 4), 6)
        miniature.make_miniature(folder / "miniature", normal=per_id, abnormal=0, machines=("fan",))
        paths = sorted((folder / "miniature").rglob("*.wav"))
        if given.only:
            head("what", "plain", "ours", "ratio", "aim", "note")
        if "features" in given.only:
            feature_rows(paths[: given.clips], found, given.repeats)
        if "kde" in given.only:
            kde_rows(*((600, 300) if given.quick else (15_300, 5_400) if given.full else (4000, 1500)), given.repeats)
        if "detectors" in given.only:
            detector_rows(folder, 200 if given.quick else 3000, given.repeats, range(2 if given.quick else 5))
        if "autoencoder" in given.only:
            training_rows(paths[:22], 128 if given.quick else 384, 1 if given.quick else 2, given.repeats)
        if given.growth:
            growth_table(paths[: given.clips], found["squeezenet1_1"], 100 if given.quick else 1000, given.repeats)
    if given.memory:
        memory_table(given.quick)


if __name__ == "__main__":
    main()
