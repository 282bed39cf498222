"""The monitor: a system of the results table, fitted on one machine's normal recordings, and its calibration."""

import dataclasses
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mimii_lib.data import model_file, own_recordings
from mimii_lib.data.own_recordings import Recording, Say, silent
from mimii_lib.errors import MimiiError
from mimii_lib.monitor.results import Check, Score, Window
from mimii_lib.run.calibration import FOLDS, Calibration, calibrate
from mimii_lib.run.scorer import Scorer
from mimii_lib.run.scorer_state import ConvertedNetwork, restored_scorer, scorer_state
from mimii_lib.settings import Settings
from mimii_lib.systems.spectra import Spectra

HIGHEST_RATE = 16_000  # Hz, unless another one is named: the rate of the recordings that the systems were measured on
LONGEST = 10.0  # seconds of a window, unless another length is named
FEWEST = 5  # normal recordings
MOST_WINDOWS = 600  # that train, so that a model file stays small
ALIKE = 0.01  # dB: recordings whose mel bands differ by less are copies of one sound
ALPHA = 0.05  # false-alarm rate


class Monitor:
    """A detector for one machine, fitted on recordings of it running well; :meth:`fit` and :meth:`load` make one.

    Attributes
    ----------
    about : dict
        ``system``, the row of the results table; ``versions`` of packages; ``names``, sample ``rates`` and ``digests``
        of the normal recordings, and their ``seconds`` in all; and the next three.
    rate : int
        In Hz: the model hears up to half of it. Recordings at higher rates are resampled.
    window : int
        Samples of a window at `rate`; a longer recording is cut into windows and its score is the mean of theirs.
    channel : int or str
        The channel that is read, from 0, or mean.
    scorer, calibration, spectra
        The fitted system, the scores of the normal recordings by fits without them, and their spectra.
    """

    def __init__(self, scorer: Scorer, calibration: Calibration, spectra: Spectra, about: dict[str, Any]):
        self.scorer, self.calibration, self.spectra, self.about = scorer, calibration, spectra, about
        self.rate, self.window, self.channel = (about[name] for name in ("rate", "window", "channel"))

    @classmethod
    def fit(
        cls,
        paths: Sequence[Path | str],
        *,
        rate: int | None = None,
        channel: int | str = 0,
        unreadable: str = "stop",
        say: Say = silent,
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
            Takes a sentence on each recording that is skipped or clipped, and on each rate that is resampled.
        options
            ``system``, ``window`` and others of :meth:`fit_recordings`.

        Raises
        ------
        MimiiError
            If fewer than 5 recordings can be used, or they are all alike.
        """
        files = own_recordings.find(paths)
        rate = min([HIGHEST_RATE, *own_recordings.rates(files)]) if rate is None else rate
        normal = list(own_recordings.usable(files, rate, channel, unreadable, say))
        if len(normal) < FEWEST:
            raise MimiiError(
                f"{', '.join(map(str, paths))}: {len(normal)} recording{'s' * (len(normal) != 1)} to fit on found, "
                f"expected at least {FEWEST}, better 20 and more, made apart from each other"
            )
        return cls.fit_recordings(normal, channel=channel, **options)

    @classmethod
    def fit_recordings(
        cls,
        normal: Sequence[Recording],
        *,
        system: str = "ensemble",
        channel: int | str = 0,
        window: float | None = None,
        folds: int = FOLDS,
        settings: Settings | None = None,
        weights: Path | None = None,
    ) -> Self:
        """Fit a system on normal recordings that are read already, all at one rate.

        `window` is the length of a window in seconds, from 1; None: that of the shortest recording, at most 10.
        `folds` are those of ``mimii_lib.run.calibration.calibrate``, `settings` and `weights` (a folder) those of
        :class:`mimii_lib.run.scorer.Scorer`; the sample rate is the recordings'.
        """
        if window is not None and not 1 <= window <= 60:
            raise MimiiError(f"window: found {window:g} s, expected 1 to 60 s")
        normal = sorted(normal, key=lambda one: one.digest)  # by contents, not by names, days and shifts
        rate = normal[0].rate
        shortest = min(len(one.samples) for one in normal)
        length = min(shortest, round(LONGEST * rate)) if window is None else round(rate * window)
        most = max(1, MOST_WINDOWS // len(normal))
        windows = [own_recordings.cut(one, length, most)[0] for one in normal]
        spectra = Spectra.measure(windows, rate)
        settings = settings or Settings()
        imaging = settings.imaging.model_copy(update={"sample_rate": rate})
        scorer = Scorer(system, settings.model_copy(update={"imaging": imaging}), weights)
        scorer.network = ConvertedNetwork(scorer)
        calibration = calibrate(scorer, windows, folds)
        if np.ptp(spectra.recordings, axis=0).max() < ALIKE or not np.ptp(calibration.recordings) > 0:
            raise MimiiError(
                f"{normal[0].path} and {len(normal) - 1} others are all alike, so that nothing can be learnt of how "
                "normal sound varies; record at different times"
            )
        about = {
            **{"system": system, "rate": rate, "window": length, "channel": channel},
            "names": [Path(one.path).name for one in normal],
            "digests": [one.digest for one in normal],
            "rates": [one.from_rate for one in normal],
            "seconds": sum(one.seconds for one in normal),
            "versions": {name: version(name) for name in ("mimii-image-transfer", "numpy", "scikit-learn")},
        }
        return cls(scorer, calibration, spectra, about)

    def window_scores(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the anomaly scores of windows at `rate`: (n, window) → (n,)."""
        return np.concatenate([self.scorer.scores(samples[start : start + 16]) for start in range(0, len(samples), 16)])

    def recordings(
        self, paths: Sequence[Path | str], unreadable: str = "stop", say: Say = silent
    ) -> Iterator[Recording]:
        """Yield the recordings of files and folders as the model hears them; see :meth:`fit` for the options."""
        files = own_recordings.find(paths)
        return own_recordings.usable(files, self.rate, self.channel, unreadable, say, shortest=self.window)

    def score(
        self,
        recording: Recording | Path | str | NDArray[np.float32],
        rate: int | None = None,
        alpha: float | None = None,
    ) -> Score:
        """Score a recording.

        Parameters
        ----------
        recording
            A file, what :meth:`recordings` yields, or samples within ±1, (samples,) or (samples, channels).
        rate
            Sample rate of the array in Hz; None: that of the model.
        alpha
            False-alarm rate; None: 0.05, or the lowest that can be decided.
        """
        if isinstance(recording, (str, Path)):
            recording = own_recordings.read(Path(recording), self.rate, self.channel)
        elif not isinstance(recording, Recording):
            recording = own_recordings.from_array(
                recording, self.rate if rate is None else rate, self.rate, self.channel
            )
        smallest = self.calibration.smallest
        alpha = max(ALPHA, smallest) if alpha is None else alpha
        if not 0 < alpha < 1:
            raise MimiiError(f"alpha: found {alpha:g}, expected a false-alarm rate between 0 and 1")
        windows, starts = own_recordings.cut(recording, self.window)
        begins = starts / self.rate
        ends = np.minimum(begins + self.window / self.rate, recording.seconds)
        scores = self.window_scores(windows)
        columns = (begins, ends, scores, self.calibration.p_values(scores, of_windows=True))
        score = float(scores.mean())
        p_value = float(self.calibration.p_values(np.array([score]))[0])
        deviations, moment, nearest = self.spectra.compare(windows, begins)
        return Score(
            path=recording.path,
            score=score,
            p_value=p_value,
            anomalous=None if p_value == smallest > alpha else p_value <= alpha,
            alpha=alpha,
            seconds=recording.seconds,
            windows=tuple(Window(*map(float, row)) for row in zip(*columns, strict=True)),
            bands=self.spectra.bands(deviations),
            moment=moment,
            deviations=tuple(map(float, deviations)),
            nearest=self.about["names"][nearest],
        )

    def check(self, normal: Sequence[Path | str], abnormal: Sequence[Path | str] = (), **options: Any) -> Check:
        """Tell whether it works on recordings that it has not seen: ``mimii_lib.monitor.checking.check``."""
        from mimii_lib.monitor.checking import check  # imports what scoring can do without

        return check(self, normal, abnormal, **options)

    def save(self, path: Path | str) -> None:
        """Write the model file (``mimii_lib.data.model_file``)."""
        parts = {"calibration": dataclasses.asdict(self.calibration), "spectra": dataclasses.asdict(self.spectra)}
        model_file.write(Path(path), {"about": self.about, "scorer": scorer_state(self.scorer), **parts})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file. Nothing in it is executed; one that is damaged, foreign or newer raises MimiiError."""
        content = model_file.read(Path(path))
        try:
            calibration, spectra = Calibration(**content["calibration"]), Spectra(**content["spectra"])
            return cls(restored_scorer(content["scorer"]), calibration, spectra, content["about"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MimiiError(f"{path}: not a model that this version of mimii reads ({error}); fit again") from None
