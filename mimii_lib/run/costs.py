"""What each kind of work costs on this machine: measured in seconds, on a few of the clips at hand.

Networks and auto-encoders are measured on all cores, the detectors as a run computes them: in a process for each
machine type at the same time, with its share of the cores, and every detector on one thread.
"""

import io
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from dataclasses import astuple, dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from mimii_lib import autoencoders, dataset, detectors, imaging, paper
from mimii_lib.data import checks
from mimii_lib.data.weights import Weights, WeightsNotFound
from mimii_lib.run import Run, engines
from mimii_lib.settings import Detectors, Imaging

CLIPS, ENOUGH, LONG, ROWS = 112, 0.25, 10.0, 320
"""Clips of each machine type to measure on at most; seconds after which a measurement is good enough, or an extractor
has described enough of a machine type; patches that the detectors are measured on at least, where there are as many."""

LARGE = 128 * 2**20
"""Bytes of features that no processor keeps at hand, and that memory is asked of the system for, time and again: more
need not be measured on."""

MIXTURES = ("gmm", "b-gmm")
"""Detectors whose fit goes on until it changes little: how long depends on the features."""

Unit = tuple[str, ...]
"""What is measured together: the kind of work and, where it matters, the network and the number of dimensions."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one kind of work, measured.

    Attributes
    ----------
    fit
        On `rows` rows of `dimension` numbers (of a mixture: its start by k-means); of an extractor: to make it ready.
    each
        Afterwards, for each row that is scored or described, or each clip.
    iteration, iterations
        Of a mixture's EM: seconds of one, on all rows, and how many it took.
    """

    fit: float = 0.0
    each: float = 0.0
    iteration: float = 0.0
    iterations: float = 0.0
    rows: int = 1
    dimension: int = 1


def measured(
    runs: Sequence[Run], units: Collection[Unit], weights: Mapping[str, Weights | WeightsNotFound], workers: int
) -> dict[Unit, Cost]:
    """Measure what kinds of work cost here, on a few normal clips of the first machine ID of each run.

    Parameters
    ----------
    runs
        One for each machine type: how soon a mixture settles depends on the sounds. Their detectors have the first
        one's settings.
    weights
        Of the extractors that are measured.
    workers
        Machine types that will be computed at the same time.
    """
    most = ceil(runs[0].settings.imaging.patches * mean(_training_clips(run) for run in runs))
    files = [[run.data / path for path in _some_clips(run)] for run in runs]
    costs: dict[Unit, Cost] = {("controls",): Cost()}

    def cut(run: Run, made: list[Any]) -> Any:
        return np.concatenate([imaging.patches(each, run.settings.imaging) for each in made])

    # Bars are for work that counts, generators for numbers that do.
    with redirect_stderr(io.StringIO()), torch.random.fork_rng(), _generator_kept():
        found_by_each = _in_processes(workers, _spectrogram_cost, files, runs[0].settings.imaging)
        costs["spectrograms",], made = _mean([cost for cost, _ in found_by_each]), found_by_each[0][1]
        if ("clips",) in units:
            paths = _some_clips(runs[0])
            seconds, _ = _clock(checks.inspect, runs[0].data, paths, runs[0].settings.imaging)
            costs["clips",] = Cost(each=seconds / len(paths))
        cutting, patches = _clock(lambda: [cut(run, each) for run, each in zip(runs, made, strict=True)])
        cutting /= sum(map(len, patches))
        for name in dict.fromkeys(unit[1] for unit in units if len(unit) > 1):
            found = weights[name]
            assert isinstance(found, Weights)

            def describe(some: Any, run: Run, found: Weights = found) -> Any:
                return engines.extract(some, found, run.settings.imaging, run.settings.features)

            ready, _ = _clock(describe, patches[0][:2], runs[0])
            first, _ = _clock(describe, patches[0][:64], runs[0])
            n = max(ROWS, int(len(patches[0][:64]) * LONG / first))
            seconds, features = _clock(
                lambda n=n: [describe(each[:n], run) for run, each in zip(runs, patches, strict=True)]
            )
            costs["features", name] = Cost(ready, seconds / sum(map(len, features)) + cutting)
            given = (runs[0].settings.detectors, name, features, units, most, torch.get_num_threads(), workers)
            seen = _in_processes(workers, _detector_costs, *given)
            costs |= {unit: _mean([each[unit] for each in seen]) for unit in seen[0]}
        for name in (name for name in paper.AUTOENCODERS if (name,) in units):
            costs[name,] = _autoencoder_cost(runs[0], name, patches[0].reshape(len(patches[0]), -1))
    return costs


def _some_clips(run: Run) -> list[str]:
    clips = run.recordings.clips_of(run.recordings.evaluable[0])
    return list(clips.path[clips.label == "normal"][:CLIPS])


def _training_clips(run: Run) -> float:
    return mean(
        len(run.recordings.split_clips(name, run.profile.seeds[0], "train")) for name in run.recordings.evaluable
    )


def _in_processes(workers: int, call: Callable[..., Any], *given: Any) -> list[Any]:
    """Return what several processes find that do the same at the same time."""
    found: list[Any] = Parallel(n_jobs=workers)(delayed(call)(*given) for _ in range(workers))
    return found


def _spectrogram_cost(files: Sequence[Sequence[Path]], settings: Imaging) -> tuple[Cost, list[list[Any]]]:
    """Return what a log-mel spectrogram costs, and those of all files."""

    def spectrogram(file: Path) -> Any:
        return imaging.log_mel(dataset.read(file, settings), settings)

    ready, _ = _clock(spectrogram, files[0][0])  # librosa makes itself ready
    seconds, made = _clock(lambda: [[spectrogram(file) for file in these] for these in files])
    return Cost(ready, seconds / sum(map(len, files))), made


def _mean(costs: Sequence[Cost]) -> Cost:
    return Cost(*(mean(each) for each in zip(*map(astuple, costs), strict=True)))


def _detector_costs(
    settings: Detectors,
    name: str,
    features: Sequence[Any],
    units: Collection[Unit],
    most: int,
    cores: int,
    workers: int,
) -> dict[Unit, Cost]:
    """Return what standardisation and the detectors cost on a network's features, where an ID trains on `most` patches.

    This is one of `workers` processes that share the cores. Detectors that hold Python's lock wait for those of their
    own process alone.
    """
    threads, costs = max(1, cores // workers), dict[Unit, Cost]()
    n = max(min(map(len, features)), settings.n_components)
    features = [np.resize(each, (n, each.shape[1])) for each in features]
    calls = threads * ceil(len(features) / threads)  # each thread as many, and each machine type at least one

    def front(pca: int) -> Any:
        return detectors.preprocessor(replace(settings, pca=min(pca, *features[0].shape)), 0)

    seen = [front(settings.pca).fit_transform(each) for each in features]
    with (
        warnings.catch_warnings(),
        threadpool_limits(limits=1),
        ThreadPoolExecutor(threads, initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)

        def at_once(call: Callable[[int], Any]) -> float:
            """Return the seconds of a call of which every core makes as many, each with a number of its own."""
            return _timed(lambda: list(pool.map(call, range(calls)))) / calls / workers

        again = _enlarged(features[0], most)
        picked = np.arange(len(again))

        def prepare(_: int, pca: int) -> Any:
            return front(pca).fit_transform(again[picked])  # a run picks its training clips

        for unit in (unit for unit in units if unit[:2] == ("prepared", name)):
            costs[unit] = Cost(cores * at_once(partial(prepare, pca=int(unit[2]))), rows=len(again))
        for detector in (unit[0] for unit in units if unit[0] in paper.DETECTORS and unit[1] == name):
            costs[detector, name] = _detector_cost(detector, settings, seen, most, at_once)
    return costs


def _enlarged(rows: Any, most: int) -> Any:
    """Return as many rows as a machine ID trains on, up to `LARGE`: the same ones again."""
    return np.resize(rows, (min(most, LARGE // (8 * rows.shape[1])), rows.shape[1]))


def _detector_cost(
    detector: str, settings: Detectors, seen: Sequence[Any], most: int, at_once: Callable[[Callable[[int], Any]], float]
) -> Cost:
    """Return what a detector costs on rows of features, an array of them for each machine type."""
    n, dimension = seen[0].shape
    large = _enlarged(seen[0], most)
    # A KDE keeps all rows, and a forest looks at all of them before it draws a few.
    learnt = [large] if detector in ("kde", "if") else seen
    fitted: dict[int, Any] = {}

    def fit(call: int, **change: Any) -> Any:
        return detectors.build_detector(detector, replace(settings, **change), call).fit(learnt[call % len(learnt)])

    def fit_and_keep(call: int) -> None:
        fitted[call] = fit(call)

    def score(call: int) -> Any:
        return fitted[call].score_samples(large)

    if detector == "kde":
        density = fit(0)
        return Cost(each=at_once(lambda _: density.score_samples(seen[0])) / n, rows=len(large), dimension=dimension)
    whole = at_once(fit_and_keep)
    each = at_once(score) / len(large)
    if detector not in MIXTURES:
        return Cost(whole, each, rows=n, dimension=dimension)
    iterations = mean(each.n_iter_ for each in fitted.values())
    start = at_once(partial(fit, max_iter=1))

    def iterate(call: int) -> None:
        # A difference of two whole fits would be lost in what surrounds their iterations.
        mixture = fitted[call]
        mixture._m_step(large, mixture._e_step(large)[1])

    iteration = at_once(iterate) * n / len(large)
    return Cost(max(0.0, start - iteration), each, iteration, iterations, n, dimension)


def _autoencoder_cost(run: Run, name: str, pictures: Any) -> Cost:
    """Return what an epoch over a batch costs, and the score of a picture."""
    net = autoencoders.build_autoencoder(name, replace(run.settings.autoencoders, epochs=1), run.settings.imaging, 0)
    batch = pictures[: net.batch_size]
    first, _ = _clock(net.fit, batch)
    net.set_params(epochs=max(1, round(4 * ENOUGH / first)))
    seconds = median(_timed(net.fit, batch) for _ in range(3)) / net.epochs  # most of the time of a whole run
    return Cost(seconds, _timed(net.score_samples, pictures) / len(pictures), rows=len(batch))


@contextmanager
def _generator_kept() -> Iterator[None]:
    """Leave numpy's own generator as it was found: a one-class SVM draws from it."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _clock(call: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    start = perf_counter()
    found = call(*given)
    return perf_counter() - start, found


def _timed(call: Callable[..., Any], *given: Any) -> float:
    """Return the mean of the seconds of as many calls as are enough: a run of many has slow ones, too."""
    seen: list[float] = []
    while sum(seen) < ENOUGH:
        seen.append(_clock(call, *given)[0])
    return mean(seen)
