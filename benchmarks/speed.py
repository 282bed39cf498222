"""Measure the library's speed and memory, with the plain implementation as the yardstick: ``make bench``.

Both sides take turns in one run, as often as `--repeats` says, and each gives the median of its times; both may use
all cores. Only the ratio is a result: the times belong to one machine. The targets are what the library was written
for; nothing fails where one is missed.

    python benchmarks/speed.py [--clips 16] [--repeats 3] [--memory] [--growth] [--weights FOLDER] [--quick]

`--memory` and `--growth` add a table each. `--quick` prints every row from small sizes, measured once: it shows that
everything runs, and its numbers say nothing.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import openvino
import proof
import psutil
import reference
import soundfile
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KernelDensity
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mimii_lib import dataset, detectors, extractors, imaging, paper
from mimii_lib.autoencoders import DCAE
from mimii_lib.data import miniature
from mimii_lib.data.files import file_digest
from mimii_lib.data.weights import Weights, find_weights
from mimii_lib.errors import MimiiError
from mimii_lib.run import Run, engines, provenance
from mimii_lib.run.scorer import Scorer
from mimii_lib.settings import Detectors, Features, Imaging

PATCHES = Imaging().patches
EXTRACTOR = "squeezenet1_1"
TARGETS = {
    (EXTRACTOR, "openvino", "float32"): "4 ×",
    (EXTRACTOR, "openvino", "bfloat16"): "7 ×",
    (EXTRACTOR, "torch", "float32"): "2 ×",
    (EXTRACTOR, "torch", "bfloat16"): "3.5 ×",
    ("resnet18", "openvino", "float32"): "2 ×",
    ("resnet18", "openvino", "bfloat16"): "4 ×",
}
TRAINING_TARGETS = {"float32": "1.5 ×", "bfloat16": "2 ×"}
LARGE = ((256, 28, 8), (64, 56, 8), (512, 14, 8))
"""Channels, pixels a side and pictures of the 3 x 3 convolutions that show the processor's peak."""
DEPTH = 4
"""Convolutions in a row, so that reading and writing pictures hardly counts."""
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
    result = call()
    return perf_counter() - start, result


def in_turn(
    calls: Mapping[str, Call], repeats: int, prepare: Mapping[str, Call] | None = None
) -> dict[str, tuple[float, list[Any]]]:
    """Make several calls in turn, `repeats` times over; `prepare` comes before a call of its name, unmeasured.

    Returns
    -------
    dict
        By name, the median of a call's seconds and everything that it returned.
    """
    measured: dict[str, list[tuple[float, Any]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            (prepare or {}).get(name, bool)()
            measured[name].append(timed(call))
    return {
        name: (median(seconds for seconds, _ in pairs), [result for _, result in pairs])
        for name, pairs in measured.items()
    }


def print_row(*cells: str) -> None:
    """Print a row of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def print_head(*cells: str) -> None:
    """Print the first rows of a table."""
    print()
    print_row(*cells)
    print(f"|{'---|' * len(cells)}")


def print_ratio(what: str, plain: float, ours: float, target: str, note: str, patches: int = 0) -> None:
    """Print two times side by side: in seconds, or as patches a second if patches are given."""
    shown = [f"{patches / time:,.0f} patches/s" if patches else f"{time:.3g} s" for time in (plain, ours)]
    print_row(what, *shown, f"{plain / ours:.1f} ×", target, note)


# Features


def peak(engine: str, precision: str, sizes: Sequence[tuple[int, int, int]]) -> float:
    """Return the operations a second of the best of a few large convolutions: an engine's peak on this machine."""
    rate = openvino_rate if engine == "openvino" else torch_rate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return max(rate(*size, precision) for size in sizes)


def convolutions(channels: int) -> nn.Module:
    """Return convolutions in a row."""
    layers = [nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(DEPTH)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def operations(net: nn.Module, pictures: torch.Tensor) -> int:
    """Return the operations of a network on pictures, a multiplication and an addition counted as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(pictures)
    return counter.get_total_flops()


def torch_rate(channels: int, side: int, batch: int, precision: str) -> float:
    """Return the operations a second of convolutions by torch."""
    kind = getattr(torch, precision)
    net = convolutions(channels).to(kind).to(memory_format=torch.channels_last)
    pictures = torch.randn(batch, channels, side, side).to(kind).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        return operations(net, pictures) / min(timed(lambda: net(pictures))[0] for _ in range(5))


def openvino_rate(channels: int, side: int, batch: int, precision: str) -> float:
    """Return the operations a second of convolutions by OpenVINO, with one stream or one for each thread."""
    net, pictures, threads = convolutions(channels), torch.randn(batch, channels, side, side), torch.get_num_threads()
    model = openvino.convert_model(net, example_input=pictures[:1], input=[tuple(pictures.shape)], verbose=False)
    rates = []
    for streams in {1, threads}:
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", options), streams + 1)

        def infer(queue: Any = queue, requests: int = streams) -> None:
            for _ in range(requests):
                queue.start_async([pictures.numpy()])
            queue.wait_all()

        rates.append(streams * operations(net, pictures) / min(timed(infer)[0] for _ in range(5)))
    return max(rates)


def our_features(paths: Sequence[Path], weights: Weights, features: Features) -> float:
    """Go from recordings to features; return the seconds of the network alone."""
    settings = Imaging()
    patches = [imaging.patches(imaging.log_mel(dataset.read(path, settings), settings), settings) for path in paths]
    return timed(lambda: engines.extract(np.concatenate(patches), weights, settings, features))[0]


def reachable_weights(names: Sequence[str], folder: Path) -> dict[str, Weights]:
    """Return the weights of packages or of a folder; say which are in neither."""
    weights = {}
    for name in names:
        try:
            weights[name] = find_weights(name, folder if folder.is_dir() else None, ("package", "folder"))
        except MimiiError as error:
            print(f"Not measured: {error}")
    return weights


def feature_rows(paths: Sequence[Path], networks: Mapping[str, Weights], repeats: int, quick: bool) -> None:
    """Print wav → features: both engines in both precisions, with the share of the processor's peak."""
    combinations = [(engine, precision) for engine in proof.ENGINES for precision in proof.PRECISIONS]
    peaks = {pair: peak(*pair, ((64, 14, 2),) if quick else LARGE) for pair in combinations}
    for name, weights in networks.items():
        net = reference.network(name, weights.state())
        work = operations(net, torch.zeros(1, 3, 224, 224))
        reference.features(paths[:1], net)
        for engine, precision in combinations:
            features = Features(engine=engine, precision=precision)
            # The first call compiles the network, which is done once for all clips.
            prepare = {"ours": partial(our_features, paths[:1], weights, features)}
            calls = {
                "plain": partial(reference.features, paths, net),
                "ours": partial(our_features, paths, weights, features),
            }
            times = in_turn(calls, repeats, prepare)
            (plain, _), (ours, alone) = times["plain"], times["ours"]
            patches, most = PATCHES * len(paths), peaks[engine, precision]
            note = (
                f"{patches * work / ours / most:.0%} of the peak of {most / 1e9:,.0f} GFLOP/s; "
                f"the network alone {patches * work / median(alone) / most:.0%}, {work / 1e9:.2f} GFLOP a patch"
            )
            used = engines.choose(features).precision
            note = note if used == precision else f"{precision} is not available, {used} was used; {note}"
            target = TARGETS.get((name, engine, precision), "–")
            print_ratio(f"wav → features, {name}, {engine} {precision}", plain, ours, target, note, patches)


# Detectors


def kde_rows(n_train: int, n_test: int, repeats: int) -> None:
    """Print fitting a kernel density and scoring, on standard normal features."""
    random = np.random.default_rng(0)
    for d in (512, 2048):
        train, test = (random.standard_normal((n, d)) for n in (n_train, n_test))
        calls = {
            "plain": lambda train=train, test=test: KernelDensity(bandwidth=0.1).fit(train).score_samples(test),
            "ours": lambda train=train, test=test: detectors.KDE(bandwidth=0.1).fit(train).score_samples(test),
        }
        times = in_turn(calls, repeats)
        (plain, (expected, *_)), (ours, (scores, *_)) = times["plain"], times["ours"]
        error = proof.largest_difference(scores, expected)
        note = f"{n_train:,} + {n_test:,} patches; scores differ by {error:.0e} from the tree's, which rounds"
        print_ratio(f"KDE, {d} dimensions", plain, ours, "20 ×", note)


def clustered_features(path: Path, clips: int, d: int) -> NDArray[np.float32]:
    """Write features that lie in clusters to a file; return them mapped from it: (clips, 18, d)."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((40, d), np.float32)
    features = np.lib.format.open_memmap(path, "w+", np.float32, (clips, PATCHES, d))
    for clip in range(clips):
        noise = 0.5 * random.standard_normal((PATCHES, d), np.float32)
        features[clip] = centres[random.integers(len(centres), size=PATCHES)] + noise
    features.flush()
    return np.load(path, mmap_mode="r")


def slider_clips(folder: Path, normal: int, abnormal: int) -> Path:
    """Make a tree of so many clips of a slider: a few clips of the miniature under many names."""
    miniature.make_miniature(folder / "few", snr=-6, normal=2, abnormal=0, machines=("slider",))
    sounds = [soundfile.read(file, dtype="int16") for file in sorted((folder / "few").rglob("*.wav"))]
    shift = count(1)  # of samples: equal sounds are refused
    for label, n_clips in zip(dataset.LABELS, (normal, abnormal), strict=True):
        target = folder / "data" / "-6_dB_slider" / "slider" / "id_00" / label
        target.mkdir(parents=True)
        for number in range(n_clips):
            sound, rate = sounds[number % len(sounds)]
            soundfile.write(target / f"{number:08d}.wav", np.roll(sound, next(shift)), rate)
    return folder / "data"


def slider_run(folder: Path, seeds: Sequence[int], features: NDArray[np.float32] | None = None, **settings: Any) -> Run:
    """Return a run on the clips of :func:`slider_clips` that keeps no results but the features, if they are given."""
    profile = folder / "speed.yaml"
    profile.write_text("weight_sources: [package]\n")
    cache = Path(tempfile.mkdtemp(dir=folder))
    parameters = {"ids": "id_00", "extractors": EXTRACTOR, "seeds": seeds, "settings": settings}
    run = Run("slider", profile=profile, data=folder / "data", cache=cache, **parameters)
    if features is not None:
        for seed in seeds:
            (key,) = (key for key in run.stages.keys("id_00", EXTRACTOR, "kde", seed) if key.stage == "features")
            run.cache.get(key, lambda: features)
    return run


def compute_scores(run: Run, names: Sequence[str] = tuple(paper.DETECTORS)) -> Run:
    """Compute the scores of detectors for every seed of a run; return the run."""
    run.results.compute(run.results.trials([(EXTRACTOR, name) for name in names]))
    return run


def detector_rows(folder: Path, n_train: int, repeats: int, n_seeds: int, d: int = 512) -> None:
    """Print the five detectors over several seeds: one after the other, and by the library's own run."""
    train, seeds = -(-n_train // PATCHES), range(n_seeds)
    test = min(150, train)
    slider_clips(folder, train + test, test)
    features = clustered_features(folder / "features.npy", train + 2 * test, d)
    runs: list[Run] = []

    def prepare() -> None:
        runs.append(slider_run(folder, seeds, features, **{"split.test_clips": test}))

    prepare()
    splits = {seed: proof.split_features(runs[0], "id_00", features, seed) for seed in seeds}

    def plain() -> dict[tuple[int, str], NDArray[np.float64]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return {
                (seed, name): reference.anomaly_scores(*splits[seed], name, seed)
                for seed in seeds
                for name in paper.DETECTORS
            }

    times = in_turn({"plain": plain, "ours": lambda: compute_scores(runs[-1])}, repeats, {"ours": prepare})
    (seconds, (expected, *_)), (ours, (run, *_)) = times["plain"], times["ours"]
    errors = dict.fromkeys(paper.DETECTORS, 0.0)
    for (seed, name), scores in expected.items():
        error = proof.largest_difference(run.scores("id_00", EXTRACTOR, name, seed).ravel(), scores)
        errors[name] = max(errors[name], error)
    differences = ", ".join(f"{paper.DETECTORS[name]} {error:.0e}" for name, error in errors.items())
    note = f"{train * PATCHES:,} + {2 * test * PATCHES:,} patches of {d} dimensions; scores differ by {differences}"
    print_ratio(f"five detectors, {n_seeds} seeds", seconds, ours, "3 ×", note)


# Training


def training_rows(paths: Sequence[Path], patches: int, epochs: int, repeats: int) -> None:
    """Print the training of LeNet-DCAE, from the same weights in the same order."""
    tensors, indices = proof.training_pictures(paths, patches)

    def plain(epochs: int = epochs, n: int = patches) -> list[float]:
        return reference.train(proof.plain_autoencoder(0), tensors[:n], epochs, 0)

    def ours(precision: str, epochs: int = epochs, n: int = patches) -> list[float]:
        return DCAE(epochs=epochs, precision=precision).fit(indices[:n]).losses_

    calls: dict[str, Call] = {"plain": plain} | {name: partial(ours, name) for name in proof.PRECISIONS}
    for call in calls.values():
        call(epochs=1, n=reference.BATCH)
    times = in_turn(calls, repeats)
    seconds, (expected, *_) = times["plain"]
    for precision in proof.PRECISIONS:
        fast, (losses, *_) = times[precision]
        error = proof.largest_difference(losses, expected)
        note = f"{epochs} epochs of {len(tensors)} patches; losses differ by {error:.2%}"
        target = TRAINING_TARGETS[precision]
        print_ratio(f"LeNet-DCAE, {precision}", seconds, fast, target, note, epochs * len(tensors))


# Memory


def clip_system_rows(n_train: int, repeats: int) -> None:
    """Print one clip of 10 s and the fit of a system after the paper, against the paper's system."""
    random, length = np.random.default_rng(0), Imaging().samples
    sounds = [0.01 * random.standard_normal(length, np.float32) for _ in range(n_train)]
    paper_system = Scorer(f"{EXTRACTOR}/oc-svm").fit(sounds[:8])
    for name in ("maps-middle", "ensemble"):
        scorer = Scorer(name)
        seconds, _ = timed(partial(scorer.fit, sounds))
        calls = {
            "paper": partial(paper_system.scores, sounds[:1]),
            "ours": partial(scorer.scores, sounds[:1]),
        }
        times = in_turn(calls, 5 * repeats, calls)
        note = f"scores a clip; fitting {n_train:,} clips took {seconds:.3g} s (target 120 s for 1,000)"
        print_ratio(f"{name}, one clip", times["paper"][0], times["ours"][0], "at most 0.05 s", note)


def imaging_stage(folder: Path, shrink: int) -> None:
    """Cut the patches of all clips."""
    slider_clips(folder, *(np.array(LARGEST) // shrink))
    slider_run(folder, [0]).patches("id_00")


def extraction_stage(folder: Path, shrink: int, engine: str) -> None:
    """Extract AlexNet's features, the largest network with the longest ones, with random weights."""
    path, n = folder / "alexnet.pt", PATCHES * sum(LARGEST) // shrink
    torch.save(extractors.get("alexnet").network().state_dict(), path)
    patches, features, batch = np.ones((n, 64, 64), np.uint8), np.ones((n, WIDEST), np.float32), -(-64 // shrink)
    weights = Weights("alexnet", "random", file_digest(path), path)
    features[:batch] = engines.extract(patches[:batch], weights, Imaging(), Features(engine=engine))


def detector_stage(folder: Path, shrink: int, names: Sequence[str], seeds: Sequence[int]) -> None:
    """Fit detectors on all clips, with the longest features; a mixture's iterations change nothing in its memory."""
    clips = np.array(LARGEST) // shrink
    slider_clips(folder, *clips)
    features = clustered_features(folder / "features.npy", int(clips.sum()), WIDEST)
    settings = {"detectors.max_iter": 3, "split.test_clips": max(1, 150 // shrink)}
    compute_scores(slider_run(folder, seeds, features, **settings), names)


STAGES: dict[str, Callable[[Path, int], None]] = {
    "nothing, everything imported": lambda folder, shrink: None,
    "wav → patches": imaging_stage,
    "patches → AlexNet's features, openvino": partial(extraction_stage, engine="openvino"),
    "patches → AlexNet's features, torch": partial(extraction_stage, engine="torch"),
    "KDE, one seed": partial(detector_stage, names=("kde",), seeds=(0,)),
    "five detectors, two seeds": partial(detector_stage, names=tuple(paper.DETECTORS), seeds=(0, 1)),
}


def peak_memory(name: str, shrink: int) -> float:
    """Run a stage in this process, on the largest machine ID or a part of it; return the process's peak in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        STAGES[name](Path(folder), shrink)
    status = Path("/proc/self/status")  # resource would give the parent's peak where that is higher
    if status.is_file():
        return next(float(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 2**10
    return psutil.Process().memory_info().rss / 2**20


def memory_table(quick: bool) -> None:
    """Print the peak memory of every stage, each in a process of its own; the quick form runs them in this one."""
    print(f"\nPeak memory at {sum(LARGEST):,} clips of {PATCHES} patches, the largest machine ID.")
    print_head("stage", "MiB", "limit", "seconds")
    for name in STAGES:
        if quick:
            seconds, result = timed(partial(peak_memory, name, 50))
            print_row(name, f"{result:,.0f}", f"{LIMIT:,}", f"{seconds:.0f}")
            continue
        command = [sys.executable, __file__, "--stage", name]
        seconds, process = timed(partial(subprocess.run, command, capture_output=True, text=True))
        failed = f"failed: {process.stderr.strip()[-200:]}"
        print_row(name, failed if process.returncode else process.stdout.strip(), f"{LIMIT:,}", f"{seconds:.0f}")


# Growth


def growth_table(paths: Sequence[Path], weights: Weights, n_train: int, repeats: int) -> None:
    """Print how the times grow with the number of clips, and the exponent: 1 is in proportion.

    The number of test patches does not grow: §5 limits it.
    """
    factors = (1, 2, 4, 8)
    print("\nGrowth, in seconds. The exponent is the slope of the logarithms; 1 is in proportion to the clips.")
    print_head("what", *(f"{factor} ×" for factor in factors), "exponent")
    random, settings = np.random.default_rng(0), Detectors(max_iter=10, tol=0.0)
    train, test = random.standard_normal((8 * n_train, 512)), random.standard_normal((n_train, 512))
    base = max(1, len(paths) // 8)
    our_features(paths[:1], weights, Features())

    def score(name: str, factor: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            detectors.build_detector(name, settings, 0).fit(train[: factor * n_train]).score_samples(test)

    rows: dict[str, Callable[[int], Any]] = {
        f"wav → features, {base} clips and more": lambda n: our_features(paths[: n * base], weights, Features()),
        f"KDE, {n_train:,} training patches and more, {n_train:,} to score": partial(score, "kde"),
        "GMM, the same, 10 iterations": partial(score, "gmm"),
    }
    for what, call in rows.items():
        times = in_turn({str(factor): partial(call, factor) for factor in factors}, repeats)
        seconds = [times[str(factor)][0] for factor in factors]
        exponent = np.polyfit(np.log(factors), np.log(seconds), 1)[0]
        print_row(what, *(f"{time:.3g}" for time in seconds), f"{exponent:.2f}")


def print_machine(clips: int, repeats: int) -> None:
    """Print the processor, the versions and the engines."""
    packages = ("torch", "openvino", "numpy", "scikit-learn", "librosa")
    features = [Features(engine=engine, precision=name) for engine in proof.ENGINES for name in proof.PRECISIONS]
    print(f"- Processor: {provenance.processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    print(f"- Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in packages)}")
    print(f"- Engines: {'; '.join(sorted({str(engines.choose(setting)) for setting in features}))}")
    print(f"- Median of {repeats}, {clips} clips of {PATCHES} patches")


def main() -> None:
    """Print what it runs on and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16, help="clips of the miniature for wav → features")
    parser.add_argument("--repeats", type=int, default=3, help="how often each side takes its turn")
    parser.add_argument("--memory", action="store_true", help="add the table of peak memory")
    parser.add_argument("--growth", action="store_true", help="add the table of growth with the number of clips")
    parser.add_argument("--weights", type=Path, default=proof.SHARED / "weights", help="folder of weights")
    parser.add_argument("--quick", action="store_true", help="every row from small sizes, once: shows that it runs")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(f"{peak_memory(options.stage, 1):,.0f}")
        return
    quick = options.quick
    clips, repeats = (1, 1) if quick else (options.clips, options.repeats)
    print_machine(clips, repeats)
    networks = reachable_weights((EXTRACTOR,) if quick else (EXTRACTOR, "resnet18"), options.weights)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        miniature.make_miniature(
            folder / "fan", snr=-6, normal=max(-(-clips // 4), 2 if quick else 6), abnormal=0, machines=("fan",)
        )
        paths = sorted((folder / "fan").rglob("*.wav"))
        print_head("what", "plain", "ours", "ratio", "target", "note")
        feature_rows(paths[:clips], networks, repeats, quick)
        kde_rows(*((200, 50) if quick else (4000, 1500)), repeats)
        detector_rows(folder, 100 if quick else 3000, repeats, 1 if quick else 5)
        clip_system_rows(12 if quick else 1000, repeats)
        training_rows(paths[:22], 32 if quick else 384, 1 if quick else 2, repeats)
        if options.growth or quick:
            growth_table(paths[: 8 if quick else clips], networks[EXTRACTOR], 100 if quick else 1000, repeats)
    if options.memory or quick:
        memory_table(quick)


if __name__ == "__main__":
    main()
