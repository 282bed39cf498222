"""The monitor: a system of the results table, fitted on one machine's normal recordings, and its calibration."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mimii_lib.data import model_file, own_recordings
from mimii_lib.data.own_recordings import Recording
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.monitor.results import Check, Score, Window
from mimii_lib.monitor.spectrum import Spectra
from mimii_lib.run.scorer import Scorer
from mimii_lib.run.scorer_state import ConvertedNetwork, restored_scorer, scorer_state
from mimii_lib.settings import Settings

HIGHEST_RATE = 16_000  # Hz, unless another one is named: the rate of the recordings that the systems were measured on
LONGEST = 10.0  # seconds of a window, unless another length is named
FEWEST = 5  # normal recordings
FOLDS, FOLDS_OF_PAPER = 20, 5  # parts of the normal recordings, each of which is held back once
MOST_WINDOWS = 600  # that train, so that a model file stays small
ALIKE = 0.01  # dB: recordings whose mel bands differ by less are copies of one sound
ALPHA = 0.05  # false-alarm rate
UNREADABLE = ("stop", "skip")

Say = Callable[[str], None]  # takes a sentence for the user


def _silent(_: str) -> None:
    pass


class Monitor:
    """A detector for one machine, fitted on recordings of it running well.

    :meth:`fit` and :meth:`load` make one. Its p-values are conformal: the share of normal recordings, held back from
    the fit, that score as high. Every recording is held back once, with its part of at most 20, while the others are
    fitted on; the detector that scores new recordings is fitted on all of them.

    Attributes
    ----------
    system : str
        Name of the row of the results table.
    rate : int
        In Hz: the model hears up to half of it. Recordings at higher rates are resampled.
    window : int
        Samples of a window at `rate`; a longer recording is cut into windows and its score is the mean of theirs.
    channel : int or str
        The channel that is read, from 0, or mean.
    names : tuple of str
        The normal recordings.
    calibration : array of shape (n,)
        Sorted scores of the normal recordings, each by a fit without it.
    window_calibration : array of shape (n,)
        The same for one window of each recording, the first.

    References
    ----------
    Vovk (2015), Cross-conformal predictors. Hennhöfer and Preisach (2024), Leave-one-out-, bootstrap- and
    cross-conformal anomaly detectors.
    """

    def __init__(
        self, scorer: Scorer, spectra: Spectra, about: dict[str, Any], calibration: Sequence[NDArray[np.float64]]
    ):
        self.scorer, self.spectra, self.about = scorer, spectra, about
        self.system, self.rate, self.window, self.channel = (
            about[name] for name in ("system", "rate", "window", "channel")
        )
        self.names, self.digests = tuple(about["names"]), tuple(about["digests"])
        self.calibration, self.window_calibration = map(np.sort, calibration)

    # Fitting

    @classmethod
    def fit(
        cls,
        paths: Sequence[Path | str],
        *,
        rate: int | None = None,
        channel: int | str = 0,
        unreadable: str = "stop",
        say: Say = _silent,
        **options: Any,
    ) -> Self:
        """Fit a system of the results table, by default the ensemble, on normal recordings.

        Parameters
        ----------
        paths
            Files (WAV, FLAC, OGG, MP3), and folders that hold them.
        rate
            In Hz, from 8000; None: the recordings' lowest, at most 16000.
        channel
            The channel to read, from 0, or mean.
        unreadable
            What to do about a recording that cannot be used: stop, or skip it.
        say
            Takes a sentence on each recording that is skipped, resampled or clipped.
        options
            ``system``, ``window`` and others of :meth:`fit_recordings`.

        Raises
        ------
        MimiiError
            If fewer than 5 recordings can be used, or they are all alike.
        """
        files, places = own_recordings.find(paths), ", ".join(map(str, paths))
        if rate is None:
            rates = [one for path in files if (one := own_recordings.rate_of(path)) >= own_recordings.LOWEST_RATE]
            rate = min([HIGHEST_RATE, *rates])
        if rate < own_recordings.LOWEST_RATE:
            raise MimiiError(f"rate: found {rate} Hz, expected at least {own_recordings.LOWEST_RATE} Hz")
        usable = list(_usable(files, rate, channel, unreadable, say))
        if len(usable) < FEWEST:
            raise MimiiError(
                f"{places}: {len(usable)} recording{'s' * (len(usable) != 1)} to fit on found, expected at least "
                f"{FEWEST}, better 20 and more, made apart from each other"
            )
        return cls.fit_recordings(usable, channel=channel, **options)

    @classmethod
    def fit_recordings(
        cls,
        normal: Sequence[Recording],
        *,
        system: str = "ensemble",
        channel: int | str = 0,
        window: float | None = None,
        folds: int | None = None,
        settings: Settings | None = None,
        weights: Path | None = None,
    ) -> Self:
        """Fit a system on normal recordings that are read already, all at one rate; see :meth:`fit`.

        Parameters
        ----------
        window
            Length of a window in seconds, from 1; None: that of the shortest recording, at most 10.
        folds
            Parts of the recordings that are held back in turn, to calibrate, at most one for each recording; None: 20,
            or 5 of the paper's systems, whose fits take longer.
        settings
            Those of the system, such as the number of mixture components; the sample rate is the recordings'.
        weights
            Folder of weight files ``<extractor>.pt``.
        """
        normal = sorted(normal, key=lambda one: one.digest)  # by contents, not by names, days and shifts
        rate = normal[0].rate
        length = round(rate * window) if window else min(*(len(one.samples) for one in normal), round(LONGEST * rate))
        if length < own_recordings.SHORTEST * rate:
            raise MimiiError(f"window: found {length / rate:.3g} s, expected at least {own_recordings.SHORTEST:g} s")
        most = max(1, MOST_WINDOWS // len(normal))
        windows = [_evenly(own_recordings.cut(one, length)[0], most) for one in normal]
        owner = np.repeat(np.arange(len(normal)), [len(of_one) for of_one in windows])
        settings = settings or Settings()
        imaging = settings.imaging.model_copy(update={"sample_rate": rate})
        scorer = Scorer(system, settings.model_copy(update={"imaging": imaging}), weights)
        scorer.network = ConvertedNetwork(scorer)
        folds = folds or (FOLDS if scorer.clip_system else FOLDS_OF_PAPER)
        held_out = _held_out_scores(scorer, np.concatenate(windows), owner, folds)
        calibration = np.array([held_out[owner == number].mean() for number in range(len(normal))])
        spectra = Spectra.measure(windows, rate)
        if np.ptp(spectra.recordings, axis=0).max() < ALIKE or np.ptp(calibration) == 0:
            raise MimiiError(
                f"{normal[0].path} and {len(normal) - 1} others are all alike, so that nothing can be learnt of how "
                "normal sound varies; record at different times"
            )
        about = {
            "system": system,
            "rate": rate,
            "window": length,
            "channel": channel,
            "names": [Path(one.path).name for one in normal],
            "digests": [one.digest for one in normal],
            "rates": [one.from_rate for one in normal],
            "seconds": sum(one.seconds for one in normal),
            "versions": _versions(),
        }
        first = np.searchsorted(owner, np.arange(len(normal)))
        return cls(scorer, spectra, about, (calibration, held_out[first]))

    # Scoring

    def window_scores(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the anomaly scores of windows at `rate`: (n, window) → (n,)."""
        return np.concatenate([self.scorer.scores(samples[start : start + 16]) for start in range(0, len(samples), 16)])

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the conformal p-values of recordings' scores, (n,): at least 1 / (normal recordings + 1)."""
        return _p_values(self.calibration, scores)

    def window_p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the conformal p-values of single windows' scores: (n,)."""
        return _p_values(self.window_calibration, scores)

    @property
    def smallest_p_value(self) -> float:
        """Return the smallest p-value that so many normal recordings can give: no lower false-alarm rate is decided."""
        return 1 / (len(self.calibration) + 1)

    def score(
        self, recording: Path | str | NDArray[np.float32], rate: int | None = None, alpha: float | None = None
    ) -> Score:
        """Score a recording.

        Parameters
        ----------
        recording
            A file, or samples within ±1, (samples,) or (samples, channels).
        rate
            Sample rate of the array in Hz; None: that of the model.
        alpha
            False-alarm rate; None: 0.05, or the lowest that can be decided.
        """
        if isinstance(recording, (str, Path)):
            return self.score_recording(own_recordings.read(Path(recording), self.rate, self.channel), alpha)
        heard = own_recordings.from_array(recording, rate or self.rate, self.rate, self.channel)
        return dataclasses.replace(self.score_recording(heard, alpha), path="")

    def recordings(
        self, paths: Sequence[Path | str], unreadable: str = "stop", say: Say = _silent
    ) -> Iterator[Recording]:
        """Yield the recordings of files and folders as the model hears them; see :meth:`fit` for the options."""
        files = own_recordings.find(paths)
        return _usable(files, self.rate, self.channel, unreadable, say, shortest=self.window)

    def score_recording(self, recording: Recording, alpha: float | None = None) -> Score:
        """Score what :meth:`recordings` yields."""
        alpha = max(ALPHA, self.smallest_p_value) if alpha is None else alpha
        if not 0 < alpha < 1:
            raise MimiiError(f"alpha: found {alpha:g}, expected a false-alarm rate between 0 and 1")
        windows, starts = own_recordings.cut(recording, self.window)
        scores = self.window_scores(windows)
        score = float(scores.mean())
        p_value = float(self.p_values(np.array([score]))[0])
        begins = starts / self.rate
        ends = np.minimum(begins + self.window / self.rate, recording.seconds)
        columns = (begins, ends, scores, self.window_p_values(scores))
        deviations, moment, nearest = self.spectra.compare(windows, begins)
        undecided = alpha < self.smallest_p_value and p_value <= self.smallest_p_value
        return Score(
            path=recording.path,
            score=score,
            p_value=p_value,
            anomalous=None if undecided else p_value <= alpha,
            alpha=alpha,
            seconds=recording.seconds,
            windows=tuple(Window(*map(float, row)) for row in zip(*columns, strict=True)),
            bands=self.spectra.bands(deviations),
            moment=moment,
            deviations=tuple(map(float, deviations)),
            nearest=self.names[nearest],
        )

    def check(self, normal: Sequence[Path | str], abnormal: Sequence[Path | str] = (), **options: Any) -> Check:
        """Tell whether it works on recordings that it has not seen: :func:`mimii_lib.monitor.checking.check`."""
        from mimii_lib.monitor.checking import check

        return check(self, normal, abnormal, **options)

    # The model file

    def save(self, path: Path | str) -> None:
        """Write the model file (:mod:`mimii_lib.data.model_file`)."""
        parts = {"scorer": scorer_state(self.scorer), "spectra": vars(self.spectra)}
        calibration = [self.calibration, self.window_calibration]
        model_file.write(Path(path), {"about": self.about, "calibration": calibration, **parts})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file. Nothing in it is executed; one that is damaged, foreign or newer raises MimiiError."""
        content = model_file.read(Path(path))
        try:
            scorer, spectra = restored_scorer(content["scorer"]), Spectra(**content["spectra"])
            return cls(scorer, spectra, content["about"], content["calibration"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MimiiError(f"{path}: not a model that this version of mimii reads ({error}); fit again") from None


def _usable(
    files: Sequence[Path], rate: int, channel: int | str, unreadable: str, say: Say, shortest: int = 0
) -> Iterator[Recording]:
    """Yield the recordings that can be used, of at least so many samples, and raise or say why the others cannot."""
    if unreadable not in UNREADABLE:
        raise unknown_value("unreadable", unreadable, UNREADABLE)
    resampled: set[int] = set()
    for recording in own_recordings.read_all(files, rate, channel, shortest):
        if isinstance(recording, MimiiError):
            if unreadable == "stop":
                raise recording
            say(f"skipped: {recording}")
            continue
        if recording.from_rate != rate and recording.from_rate not in resampled:
            resampled.add(recording.from_rate)
            say(
                f"recordings at {recording.from_rate} Hz are resampled to {rate} Hz: nothing is heard above "
                f"{rate / 2000:g} kHz"
            )
        if recording.clipped > own_recordings.CLIPPED:
            say(f"{recording.path}: clipped ({recording.clipped:.2%} of the samples); turn the microphone's gain down")
        yield recording


def _evenly(windows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Return at most so many windows of a recording, at equal distances."""
    return windows[np.linspace(0, len(windows) - 1, min(most, len(windows))).round().astype(int)]


@threadpool_limits.wrap(limits=1)  # small matrices: several threads would wait for each other, and round otherwise
def _held_out_scores(
    scorer: Scorer, samples: NDArray[np.float32], owner: NDArray[np.intp], folds: int
) -> NDArray[np.float64]:
    """Return the scores of windows by fits without their recordings, (n,), and leave the scorer fitted on all of them.

    `owner` is the number of each window's recording.
    """
    rows = scorer.prepare(samples).features(samples)
    part = owner % max(2, min(folds, owner.max() + 1))
    scores = np.empty(len(rows))
    for number in np.unique(part):
        scores[part == number] = scorer.fit_features(rows[part != number]).score_features(rows[part == number])
    scorer.fit_features(rows)
    return scores


def _p_values(calibration: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    as_high = len(calibration) - np.searchsorted(calibration, scores, side="left")
    return (1 + as_high) / (len(calibration) + 1)


def _versions() -> dict[str, str]:
    versions = {}
    for package in ("mimii-image-transfer", "numpy", "scikit-learn", "openvino", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
