"""Does it work here? A monitor on recordings that it has not seen, with intervals and a verdict."""

from collections.abc import Iterator, Sequence
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from mimii_lib.data.own_recordings import Recording, Say, find, silent
from mimii_lib.errors import MimiiError
from mimii_lib.evaluation import ClipScores
from mimii_lib.imaging import mel_edges
from mimii_lib.monitor.results import Check
from mimii_lib.uncertainty import Interval, bootstrap_aucs, share

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
    say: Say = silent,
) -> Check:
    """Tell whether a monitor works, from normal and abnormal recordings that it was not fitted on.

    It works if, by 95 % intervals, the false-alarm rate is not above `alpha` and the AUC is at least 0.8. Normal
    recordings that the monitor was fitted on are left out. `alpha`, `unreadable` and `say` are those of
    :meth:`mimii_lib.monitor.model.Monitor.recordings`.
    """
    n, smallest = len(monitor.calibration.recordings), monitor.calibration.smallest
    if alpha is not None and alpha < smallest:
        raise MimiiError(
            f"alpha: {alpha:g} cannot be decided: the {n} recordings that calibrate the model give no p-value below "
            f"{smallest:.2g}; fit on {ceil(1 / alpha) - 1} and more"
        )
    of_faults = {str(path) for path in find(abnormal)}
    heard = list(monitor.recordings([*normal, *abnormal], unreadable, say))
    faulty = [one for one in heard if one.path in of_faults]
    new = [one for one in heard if one.path not in of_faults and one.digest not in monitor.about["digests"]]
    if not new:
        raise MimiiError(f"{', '.join(map(str, normal))}: no recording that the model has not seen; keep some back")
    if known := len(heard) - len(faulty) - len(new):
        say(f"left out: {known} of {known + len(new)} normal recordings, because the model was fitted on them")
    scores = [monitor.score(one, alpha=alpha) for one in [*new, *faulty]]
    values = np.array([one.score for one in scores])
    alarms = np.array([bool(one.anomalous) for one in scores])
    anomalous = np.arange(len(scores)) >= len(new)
    alpha, false_alarms, detections, auc = scores[0].alpha, share(sum(alarms[~anomalous]), len(new)), None, None
    if faulty:
        detections = share(sum(alarms[anomalous]), len(faulty))
        names = np.arange(len(scores)).astype(str)
        auc = bootstrap_aucs([ClipScores("", "", names, anomalous, values)]).interval("")
    verdict, reasons = _verdict(false_alarms, auc, alpha, len(new), len(faulty))
    deviations = np.array([one.deviations for one in scores[: len(new)]])
    warnings = tuple(_differences(monitor, new, deviations, values[~anomalous]))
    return Check(verdict, reasons, warnings, alpha, len(new), len(faulty), false_alarms, detections, auc, tuple(scores))


def _verdict(
    false_alarms: Interval, auc: Interval | None, alpha: float, n_normal: int, n_abnormal: int
) -> tuple[str, tuple[str, ...]]:
    """Return the verdict and its reasons."""
    failures, doubts = [], []
    if false_alarms.low > alpha:
        failures.append(f"more false alarms than the {alpha:.1%} asked for: normal sound is not what it was")
    elif false_alarms.high > alpha + MARGIN:
        enough = next(n for n in count(n_normal + 1) if share(round(alpha * n), n).high <= alpha + MARGIN)
        doubts.append(f"{n_normal} normal recordings do not tell the false-alarm rate well; about {enough} would")
    if auc is None:
        doubts.append("without faulty recordings nobody can tell what it detects")
    elif auc.high < WORKS:
        failures.append(f"faulty and normal recordings are not told apart: the AUC is surely below {WORKS}")
    elif auc.low < WORKS:
        reach = (
            auc.value - auc.low if auc.value > WORKS else auc.high - auc.value
        )  # shrinks with the root of the number
        factor = max(1.1, (reach / max(1e-3, abs(auc.value - WORKS))) ** 2)
        needed = [ceil(n * factor) for n in (n_normal, n_abnormal)]
        doubts.append(
            f"the AUC may be above {WORKS} or below; if it stays as it is, about {needed[0]} normal and {needed[1]} "
            "faulty recordings would tell"
            if max(needed) <= MOST
            else f"the AUC is about {WORKS}, the limit itself"
        )
    verdict = "does not work" if failures else "cannot be told" if doubts else "works"
    return verdict, tuple(failures or doubts)


def _differences(
    monitor: "Monitor", new: Sequence[Recording], deviations: NDArray[np.float64], scores: NDArray[np.float64]
) -> Iterator[str]:
    """Yield how normal recordings differ in rate, level, spectrum (deviations of the mel bands) and scores."""
    rates, fitted = {one.from_rate for one in new}, {*monitor.about["rates"]}
    if not rates <= fitted:
        rates_fitted, rates_new = (" and ".join(map(str, sorted(one))) for one in (fitted, rates))
        yield f"they were recorded at {rates_new} Hz, those that the model was fitted on at {rates_fitted} Hz"
    decibels = (deviations * monitor.spectra.deviations).mean(axis=0)
    if abs(level := decibels.mean()) >= DIFFERENT:
        yield f"they are {_change(level)} than those that the model was fitted on: another gain, place or load"
    tilt = np.convolve(decibels - level, np.full(5, 0.2), "valid")
    band = int(np.abs(tilt).argmax())
    if abs(tilt[band]) >= DIFFERENT and np.abs(deviations.mean(axis=0)[band : band + 5]).max() >= 1:
        hertz = mel_edges(deviations.shape[1], monitor.rate)[band + 3]
        yield f"apart from the level they are {_change(tilt[band])} around {hertz:.0f} Hz: another microphone or place"
    p_value = float(ks_2samp(monitor.calibration.recordings, scores).pvalue)  # Kolmogorov and Smirnov
    if p_value < UNLIKELY:
        higher = np.median(scores) > np.median(monitor.calibration.recordings)
        yield (
            f"their scores are {'higher' if higher else 'lower'} than those of the recordings that were held back (p = "
            f"{p_value:.2g}): do not trust p-values here, and fit again with some of these recordings"
        )


def _change(decibels: float) -> str:
    return f"{abs(decibels):.1f} dB {'louder' if decibels > 0 else 'quieter'} on average"
