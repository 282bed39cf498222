"""One system on sounds, apart from any run: waveforms → anomaly scores.

Any row of the results table can be used: a clip system such as ``ensemble``, a network and a detector such as
``squeezenet1_1/oc-svm``, or an auto-encoder. Nothing is kept on disk.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mimii_lib import evaluation, extractors, paper
from mimii_lib.data.checks import level
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.imaging import log_mel, patches
from mimii_lib.settings import CLIP_SYSTEMS, Settings
from mimii_lib.systems import audio_networks, catalogue
from mimii_lib.systems.front_ends import Bands, band_statistics, decibel_limits, wide_pictures
from mimii_lib.systems.peer import pyod_features

if TYPE_CHECKING:  # a scorer whose network is handed to it needs no torch, whose import takes seconds
    from torch import nn

    from mimii_lib.data.weights import Weights

Waveforms = Sequence[NDArray[np.float32]] | NDArray[np.float32]
Network = Callable[[NDArray[Any]], NDArray[np.float32]]  # pictures (n, height, width) → rows (n, columns)


class Scorer:
    """A system that is fitted to the sounds of one machine.

    Parameters
    ----------
    system
        Name of a clip system (:data:`mimii_lib.settings.CLIP_SYSTEMS`), ``<extractor>/<detector>``, or the name of an
        auto-encoder.
    settings
        None: the defaults. The sounds have the sample rate of ``settings.imaging``, and all the same length.
    weights
        Folder of weight files ``<extractor>.pt``; None: the other sources.

    Attributes
    ----------
    limits
        Decibels at the ends of the colour map, from the training sounds.
    estimator
        The fitted scikit-learn estimator.
    network
        Function from pictures to rows. It may be replaced by the same network on another engine.
    """

    def __init__(self, system: str, settings: Settings | None = None, weights: Path | None = None):
        extractor, _, detector = system.rpartition("/")
        known = paper.DETECTORS if extractor else [*CLIP_SYSTEMS, *paper.AUTOENCODERS]
        if detector not in known:
            raise unknown_value("system", system, [*CLIP_SYSTEMS, *paper.AUTOENCODERS, "<network>/<detector>"])
        self.system, self.detector, self.settings = system, detector, settings or Settings()
        self.clip_system = catalogue.SYSTEMS.get(detector)
        self.extractor = extractor or next(iter(self.clip_system.extractors if self.clip_system else ()), "")
        self.weights_folder = weights
        self.limits: tuple[float, float] | None = None
        self.map_shapes: tuple[tuple[int, int], ...] = ()
        self.estimator: Any = None
        self.network: Network = self._engine

    # From waveforms to scores

    def prepare(self, waveforms: Waveforms) -> Self:
        """Set the scale of the pictures by the training sounds."""
        imaging = self.settings.imaging
        if not self.clip_system and imaging.scaling == "training":
            decibels = [log_mel(waveform, imaging) for waveform in waveforms]
            self.limits = float(min(map(np.min, decibels))), float(max(map(np.max, decibels)))
            return self
        self.limits = decibel_limits(np.array([level(waveform) for waveform in waveforms]), self.settings.systems)
        if self.clip_system:
            from mimii_lib.run.stages.clip_systems import map_shapes

            self.map_shapes = map_shapes(self.clip_system, self.settings)
        return self

    def features(self, waveforms: Waveforms) -> NDArray[Any]:
        """Return what the estimator takes of each sound: (n, columns), or (n, patches, columns) of the paper's rows."""
        if self.clip_system is not None:
            return catalogue.vectors(self.clip_system, _Sounds(waveforms, self), self.map_shapes)
        inputs = np.stack([self._patches(waveform) for waveform in waveforms])
        rows = self.network(inputs.reshape(-1, *inputs.shape[2:])) if self.extractor else inputs
        return rows.reshape(*inputs.shape[:2], -1)

    def _patches(self, waveform: NDArray[np.float32]) -> NDArray[Any]:
        """Return what a system of the paper takes of a sound: pictures, or windows of sound of an audio network."""
        imaging = self.settings.imaging
        if not self._takes_pictures:
            return audio_networks.windows(waveform, imaging.sample_rate, extractors.get(self.extractor))
        return patches(log_mel(waveform, imaging), imaging, self.limits if imaging.scaling == "training" else None)

    @property
    def _takes_pictures(self) -> bool:
        return not self.extractor or extractors.get(self.extractor).takes_pictures

    def fit_features(self, features: NDArray[Any]) -> Self:
        """Fit the estimator to the :meth:`features` of the training sounds; raise MimiiError if they are too few."""
        try:
            self.estimator = self._unfitted().fit(features.reshape(-1, features.shape[-1]))
        except ValueError as error:
            reason = str(error).partition(". ")[0].rstrip(".")
            raise MimiiError(
                f"{self.system}: cannot be fitted to {len(features)} sounds ({reason}); take more, or other settings"
            ) from error
        return self

    def score_features(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Return the anomaly score of each sound, the mean over its patches: (n,)."""
        normality = self.estimator.score_samples(features.reshape(-1, features.shape[-1]))
        return evaluation.pool(
            evaluation.anomaly_scores(normality).reshape(len(features), -1), self.settings.evaluation
        )

    def fit(self, waveforms: Waveforms) -> Self:
        """Fit the system to the sounds of normal operation."""
        return self.prepare(waveforms).fit_features(self.features(waveforms))

    def scores(self, waveforms: Waveforms) -> NDArray[np.float64]:
        """Return the anomaly scores of sounds, higher for more anomalous ones: (n,)."""
        return self.score_features(self.features(waveforms))

    def _unfitted(self) -> Any:
        if self.clip_system is not None:
            return catalogue.estimator(self.clip_system, self.settings, self.map_shapes)
        if not self.extractor:
            from mimii_lib import autoencoders

            return autoencoders.build_autoencoder(
                self.detector, self.settings.autoencoders, self.settings.imaging, seed=0
            )
        from sklearn.pipeline import make_pipeline

        from mimii_lib import detectors

        settings = self.settings.detectors
        return make_pipeline(detectors.preprocessor(settings, 0), detectors.build_detector(self.detector, settings, 0))

    # The network

    def picture_network(self, pictures: NDArray[np.uint8]) -> "nn.Module":
        """Return the network with its weights, from pictures such as these on: what may be saved with the system."""
        from mimii_lib.run import engines

        return engines.picture_network(*self._network_of(pictures))

    @cached_property
    def weights(self) -> "Weights":
        """The weights of the network; raises if there are none, or if the system has no network."""
        from mimii_lib.data.weights import find_weights

        return find_weights(self.extractor, self.weights_folder)

    def _network_of(self, pictures: NDArray[Any]) -> Any:
        """Return weights, picture, settings and layers, as the engines take them."""
        from mimii_lib.run import engines
        from mimii_lib.run.stages.clip_systems import map_layers

        imaging, shape = self.settings.imaging, pictures.shape[1:]
        if self.clip_system is not None:
            maps = map_layers(self.extractor, self.settings)
            return self.weights, maps.picture(shape, imaging), self.settings.features, maps
        picture = engines.patch_picture(extractors.get(self.extractor), shape, imaging)
        return self.weights, picture, self.settings.features, None

    def _engine(self, pictures: NDArray[Any]) -> NDArray[np.float32]:
        from mimii_lib.run import engines

        return engines.run(pictures, *self._network_of(pictures))


class _Sounds:
    """What front ends take of sounds (:class:`mimii_lib.systems.front_ends.Clips`)."""

    def __init__(self, waveforms: Waveforms, scorer: Scorer):
        self.waveforms, self.scorer, self.settings = waveforms, scorer, scorer.settings
        # The parts of an ensemble share them.
        self.spectrograms, self.maps = cache(self._spectrograms), cache(self._maps)

    def _spectrograms(self, decibels: str) -> NDArray[np.float32]:
        """Return the log-mel spectrograms with a decibel reference: (n, n_mels, frames)."""
        imaging = self.settings.imaging.model_copy(update={"db_reference": decibels})
        return np.stack([log_mel(waveform, imaging) for waveform in self.waveforms])

    def levels(self) -> NDArray[np.float64]:
        """Return the levels in dB: (n,)."""
        return np.array([level(waveform) for waveform in self.waveforms])

    def hand_made(self) -> NDArray[np.float64]:
        """Return PyOD's features: (n, 74)."""
        rate = self.settings.imaging.sample_rate
        return np.stack([pyod_features(waveform, rate) for waveform in self.waveforms])

    def bands(self, part: Bands) -> NDArray[np.float64]:
        """Return the statistics of the mel bands: (n, n_mels of each statistic in turn)."""
        return band_statistics(self.spectrograms(part.decibels), part.poolings, self.settings.systems)

    def _maps(self, extractor: str) -> NDArray[np.float32]:
        """Return the maps of all layers, averaged over time: (n, columns)."""
        assert self.scorer.limits is not None, "prepare comes first"
        pictures = wide_pictures(self.spectrograms("fixed"), self.scorer.limits, self.settings.imaging)
        return self.scorer.network(pictures)
