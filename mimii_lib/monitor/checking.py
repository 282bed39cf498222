"""Does it work here? A monitor on recordings that it has not seen, with intervals and a verdict."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, ks_2samp

from mimii_lib.data.own_recordings import Recording, find
from mimii_lib.errors import MimiiError
from mimii_lib.evaluation import ClipScores
from mimii_lib.monitor.results import Check
from mimii_lib.monitor.spectrum import mel_edges
from mimii_lib.uncertainty import Interval, bootstrap_aucs

if TYPE_CHECKING:
    from mimii_lib.monitor.model import Monitor

WORKS = 0.8  # AUC: a faulty recording scores higher than a normal one four times out of five
MARGIN = 0.2  # over alpha: a false-alarm rate whose interval ends above is not known well enough
DIFFERENT = 3.0  # dB by which the mean level of other recordings, or of a band, differs notably
UNLIKELY = 0.01  # p-value of the test that normal scores are distributed as those of the held-back recordings
MOST = 9_999  # recordings that are worth naming


def check(
    monitor: "Monitor",
    normal: Sequence[Path | str],
    abnormal: Sequence[Path | str] = (),
    *,
    alpha: float | None = None,
    unreadable: str = "stop",
    say: Callable[[str], None] = lambda _: None,
) -> Check:
    """Tell whether a monitor works, from normal and abnormal recordings that it was not fitted on.

    It works if, by 95 % intervals, the false-alarm rate is not above `alpha` and the AUC is at least 0.8. Normal
    recordings that the monitor was fitted on are left out. `alpha`, `unreadable` and `say` are those of
    :meth:`mimii_lib.monitor.model.Monitor.recordings`.
    """
    if alpha is not None and alpha < monitor.smallest_p_value:
        raise MimiiError(
            f"alpha: {alpha:g} cannot be decided: {len(monitor.names)} normal recordings give no p-value below "
            f"{monitor.smallest_p_value:.2g}; fit on {ceil(1 / alpha) - 1} and more"
        )
    of_faults = {str(path) for path in find(abnormal)}
    heard = list(monitor.recordings([*normal, *abnormal], unreadable, say))
    faulty = [one for one in heard if one.path in of_faults]
    new = [one for one in heard if one.path not in of_faults and one.digest not in monitor.digests]
    if known := len(heard) - len(faulty) - len(new):
        say(f"left out: {known} of {known + len(new)} normal recordings, because the model was fitted on them")
    if not new:
        raise MimiiError(f"{', '.join(map(str, normal))}: no recording that the model has not seen; keep some back")
    scores = [monitor.score_recording(one, alpha) for one in [*new, *faulty]]
    values = np.array([one.score for one in scores])
    alarms = np.array([bool(one.anomalous) for one in scores])
    anomalous = np.arange(len(scores)) >= len(new)
    false_alarms, alpha, detections, auc = _share(alarms[~anomalous]), scores[0].alpha, None, None
    if faulty:
        detections = _share(alarms[anomalous])
        names = np.array([str(number) for number in range(len(scores))])
        auc = bootstrap_aucs([ClipScores("", "", names, anomalous, values)]).interval("")
    verdict, reasons = _verdict(false_alarms, auc, alpha, len(new), len(faulty))
    shifts = np.array([one.deviations for one in scores[: len(new)]])
    warnings = (*_differences(monitor, new, shifts), *_shifted_scores(monitor, values[~anomalous]))
    return Check(verdict, reasons, warnings, alpha, len(new), len(faulty), false_alarms, detections, auc, tuple(scores))


def _share(alarms: NDArray[np.bool_]) -> Interval:
    """Return the share of alarms with its 95 % interval (Wilson)."""
    test = binomtest(int(alarms.sum()), len(alarms))
    low, high = test.proportion_ci(method="wilson")
    return Interval(float(alarms.mean()), float(low), float(high))


def _verdict(
    false_alarms: Interval, auc: Interval | None, alpha: float, n_normal: int, n_abnormal: int
) -> tuple[str, tuple[str, ...]]:
    """Return the verdict and its reasons."""
    failures, doubts = [], []
    if false_alarms.low > alpha:
        failures.append(f"more false alarms than the {alpha:.1%} asked for: normal sound is not what it was")
    elif false_alarms.high > alpha + MARGIN:
        enough = next(n for n in count(n_normal + 1) if _share(np.arange(n) < round(alpha * n)).high <= alpha + MARGIN)
        doubts.append(
            f"from {n_normal} normal recordings the false-alarm rate is not known well; about {enough} would do"
        )
    if auc is None:
        doubts.append("without faulty recordings nobody can tell what it detects")
    elif auc.high < WORKS:
        failures.append(f"faulty and normal recordings are not told apart: the AUC is surely below {WORKS}")
    elif auc.low < WORKS:
        more = ((auc.high - auc.low) / 2 / max(1e-3, abs(auc.value - WORKS))) ** 2
        needed = [ceil(n * more) for n in (n_normal, n_abnormal)]
        doubts.append(
            f"the AUC may be above {WORKS} or below; if it stays as it is, about {needed[0]} normal and {needed[1]} "
            "faulty recordings would tell"
            if max(needed) <= MOST
            else f"the AUC is about {WORKS}, the limit itself"
        )
    verdict = "does not work" if failures else "cannot be told" if doubts else "works"
    return verdict, tuple(failures or doubts)


def _differences(monitor: "Monitor", new: Sequence[Recording], shifts: NDArray[np.float64]) -> Iterator[str]:
    """Yield how normal recordings differ in rate, level and spectrum; `shifts` are their deviations (n, n_mels)."""
    rates, fitted = {one.from_rate for one in new}, {*monitor.about["rates"]}
    if not rates <= fitted:
        there, here = (" and ".join(map(str, sorted(one))) for one in (fitted, rates))
        yield f"they were recorded at {here} Hz, those that the model was fitted on at {there} Hz"
    decibels = (shifts * monitor.spectra.deviations).mean(axis=0)
    level = decibels.mean()
    if abs(level) >= DIFFERENT:
        yield (
            f"they are {abs(level):.1f} dB {'louder' if level > 0 else 'quieter'} on average than those that the model "
            "was fitted on: another gain, place or load"
        )
    tilt = np.convolve(decibels - level, np.full(5, 0.2), "valid")
    band = int(np.abs(tilt).argmax())
    if abs(tilt[band]) >= DIFFERENT and np.abs(shifts.mean(axis=0)[band : band + 5]).max() >= 1:
        edges = mel_edges(shifts.shape[1], monitor.rate)
        change = f"{abs(tilt[band]):.1f} dB {'louder' if tilt[band] > 0 else 'quieter'}"
        yield (
            f"apart from the level they are {change} around {edges[band + 3]:.0f} Hz: another microphone, place or load"
        )


def _shifted_scores(monitor: "Monitor", scores: NDArray[np.float64]) -> Iterator[str]:
    """Yield whether normal scores are distributed as those of the held-back recordings (Kolmogorov and Smirnov)."""
    p_value = float(ks_2samp(monitor.calibration, scores).pvalue)
    if p_value < UNLIKELY:
        higher = np.median(scores) > np.median(monitor.calibration)
        yield (
            f"their scores are {'higher' if higher else 'lower'} than those of the held-back recordings (p = "
            f"{p_value:.2g}): p-values are not to be trusted here; fit again with some of these recordings"
        )
