"""What each kind of work costs on this machine: measured in seconds, on a few of the clips at hand.

Networks and auto-encoders are measured on all cores, the detectors with every core at work on one thread, as a run
computes them.
"""

import io
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from mimii_lib import autoencoders, detectors, engines, imaging, inspection, paper
from mimii_lib.run import Run
from mimii_lib.settings import Detectors
from mimii_lib.weights import Weights, WeightsNotFound

CLIPS, ENOUGH, LONG, ROWS = 224, 0.25, 15.0, 320
"""Clips to measure on at most; seconds after which a measurement is good enough, or an extractor has described enough
of them; patches that the detectors are measured on at least, where there are as many."""

LARGE = 32 * 2**20
"""Bytes of features that no processor keeps at hand."""

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
    run: Run, units: Collection[Unit], weights: Mapping[str, Weights | WeightsNotFound], workers: int
) -> dict[Unit, Cost]:
    """Measure what kinds of work cost here, on a few normal clips of a run.

    Parameters
    ----------
    weights
        Of the extractors that are measured.
    workers
        Machine types that will be computed at the same time.
    """
    clips = run.of(run.evaluable[0])
    paths = list(clips.path[clips.label == "normal"][:CLIPS])
    costs: dict[Unit, Cost] = {}

    def spectrogram(path: str) -> Any:
        return imaging.log_mel(run.waveform(path), run.settings.imaging)

    # Bars are for work that counts, generators for numbers that do.
    with redirect_stderr(io.StringIO()), warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore", ConvergenceWarning)
        spectrogram(paths[0])  # librosa makes itself ready
        with _at_work(workers - 1):  # the other machine types' processes
            seconds, made = _clock(lambda: [spectrogram(path) for path in paths])
        costs["spectrograms",] = Cost(each=seconds / len(paths))
        if ("clips",) in units:
            seconds, _ = _clock(inspection.inspect, run.data, paths, run.settings.imaging)
            costs["clips",] = Cost(each=seconds / len(paths))
        cutting, cut = _clock(lambda: np.concatenate([imaging.patches(each, run.settings.imaging) for each in made]))
        for name in dict.fromkeys(unit[1] for unit in units if len(unit) > 1):
            found = weights[name]
            assert isinstance(found, Weights)
            how = (found, run.settings.imaging, run.settings.features)
            ready, _ = _clock(engines.extract, cut[:2], *how)
            first, _ = _clock(engines.extract, cut[:64], *how)
            n = max(ROWS, int(len(cut[:64]) * LONG / first))
            seconds, features = _clock(engines.extract, cut[:n], *how)
            costs["features", name] = Cost(ready, seconds / len(features) + cutting / len(cut))
            costs |= _detector_costs(run, name, features, units)
        for name in (name for name in paper.AUTOENCODERS if (name,) in units):
            costs[name,] = _autoencoder_cost(run, name, cut.reshape(len(cut), -1))
    return costs


def _detector_costs(run: Run, name: str, features: Any, units: Collection[Unit]) -> dict[Unit, Cost]:
    """Return what standardisation and the detectors cost on a network's features: every core at work, on a thread."""
    settings, cores, costs = run.settings.detectors, torch.get_num_threads(), {}
    features = np.resize(features, (max(len(features), settings.n_components), features.shape[1]))
    most = min(features.shape)

    def front(pca: int) -> Any:
        return detectors.prepared(replace(settings, pca=min(pca, most)), 0)

    seen = front(settings.pca).fit_transform(features)
    n, dimension = seen.shape
    # What a processor keeps at hand is no measure of what it has to fetch: more rows than that, the same ones again.
    many = max(n, LARGE // (8 * dimension))
    large = np.resize(seen, (many, dimension))
    with (
        threadpool_limits(limits=1),
        ThreadPoolExecutor(cores, initializer=threadpool_limits, initargs=(1,)) as workers,
    ):

        def at_once(call: Callable[[int], Any]) -> float:
            """Return the seconds of a call of which every core makes one, each with a number of its own."""
            return _timed(lambda: list(workers.map(call, range(cores)))) / cores

        again = np.resize(features, (max(n, LARGE // (8 * features.shape[1])), features.shape[1]))

        def prepare(_: int, pca: int) -> Any:
            return front(pca).fit_transform(again)

        for unit in (unit for unit in units if unit[:2] == ("prepared", name)):
            costs[unit] = Cost(cores * at_once(partial(prepare, pca=int(unit[2]))), rows=len(again))
        for detector in (unit[0] for unit in units if unit[0] in paper.DETECTORS and unit[1] == name):
            costs[detector, name] = _detector_cost(detector, settings, seen, large, at_once)
    return costs


def _detector_cost(
    detector: str, settings: Detectors, seen: Any, large: Any, at_once: Callable[[Callable[[int], Any]], float]
) -> Cost:
    """Return what a detector costs on rows of features; `large` are more of them."""
    n, dimension = seen.shape
    fitted: dict[int, Any] = {}

    def fit(core: int, X: Any = seen, **change: Any) -> Any:
        return detectors.make(detector, replace(settings, **change), core).fit(X)

    def fit_and_keep(core: int) -> None:
        fitted[core] = fit(core)

    def score(core: int) -> Any:
        return fitted[core].score_samples(seen)

    if detector == "kde":
        density = fit(0, large)
        return Cost(each=at_once(lambda _: density.score_samples(seen)) / n, rows=len(large), dimension=dimension)
    whole = at_once(fit_and_keep)
    each = at_once(score) / n
    if detector not in MIXTURES:
        return Cost(whole, each, rows=n, dimension=dimension)
    start = at_once(partial(fit, max_iter=1))
    one, three = (at_once(partial(fit, X=large, max_iter=k, tol=0.0, init_params="random")) for k in (1, 3))
    iteration = max(0.0, three - one) / 2 * n / len(large)
    iterations = mean(each.n_iter_ for each in fitted.values())
    return Cost(max(0.0, start - iteration), each, iteration, iterations, n, dimension)


def _autoencoder_cost(run: Run, name: str, pictures: Any) -> Cost:
    """Return what an epoch over a batch costs, and the score of a picture."""
    net = autoencoders.make(name, replace(run.settings.autoencoders, epochs=1), run.settings.imaging, 0)
    batch = pictures[: net.batch_size]
    first, _ = _clock(net.fit, batch)
    net.set_params(epochs=max(1, round(4 * ENOUGH / first)))
    seconds = median(_timed(net.fit, batch) for _ in range(3)) / net.epochs  # most of the time of a whole run
    return Cost(seconds, _timed(net.score_samples, pictures) / len(pictures), rows=len(batch))


@contextmanager
def _at_work(cores: int) -> Iterator[None]:
    """Keep some cores at work meanwhile, as other processes would: what one of them does takes longer then."""
    done, some = Event(), np.ones((512, 512))

    def work() -> None:
        while not done.is_set():
            some @ some

    with (
        threadpool_limits(limits=1),
        ThreadPoolExecutor(max(1, cores), initializer=threadpool_limits, initargs=(1,)) as workers,
    ):
        for _ in range(cores):
            workers.submit(work)
        try:
            yield
        finally:
            done.set()


def _clock(call: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    start = perf_counter()
    found = call(*given)
    return perf_counter() - start, found


def _timed(call: Callable[..., Any], *given: Any) -> float:
    """Return the median of the seconds of as many calls as are enough."""
    seen: list[float] = []
    while sum(seen) < ENOUGH:
        seen.append(_clock(call, *given)[0])
    return median(seen)
