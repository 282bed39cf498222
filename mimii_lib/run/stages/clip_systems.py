"""Stage: recordings → one vector for each clip → a fitted clip system → anomaly scores of clips."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimii_lib import evaluation, extractors
from mimii_lib.data import checks
from mimii_lib.data.weights import Weights
from mimii_lib.errors import MimiiError
from mimii_lib.run import engines
from mimii_lib.run.cache import CacheKey
from mimii_lib.run.code_digest import described
from mimii_lib.run.stages.spectrograms import waveforms
from mimii_lib.settings import Imaging, Settings
from mimii_lib.systems import catalogue
from mimii_lib.systems.front_ends import Bands, MapShapes, band_statistics, decibel_limits, wide_pictures
from mimii_lib.systems.peer import pyod_features

if TYPE_CHECKING:
    from mimii_lib.run.stages import Stages


def map_layers(extractor: str, settings: Settings) -> engines.MapLayers:
    """Return the layers whose maps are taken: those of the settings, or the extractor's own."""
    layers = settings.systems.layers or extractors.get(extractor).layers
    return engines.MapLayers(layers, settings.systems.picture_rows)


def map_shapes(system: catalogue.ClipSystem, settings: Settings) -> MapShapes:
    """Return the rows and channels of each layer's map that a system takes; none if it has no network."""
    return tuple(shape for name in system.extractors for shape in map_layers(name, settings).shapes(name))


def network_maps(
    spectrograms: NDArray[np.float32], limits: tuple[float, float], weights: Weights, settings: Settings
) -> NDArray[np.float32]:
    """Return the maps of whole clips, averaged over time: spectrograms (clips, n_mels, frames) → (clips, columns).

    `limits` are the decibels at the ends of the colour map.
    """
    pictures = wide_pictures(spectrograms, limits, settings.imaging)
    maps = map_layers(weights.extractor, settings)
    picture = maps.picture(pictures.shape[1:], settings.imaging)
    return engines.run(pictures, weights, picture, settings.features, maps)


def hand_made_features(clips: Mapping[Path, str], settings: Imaging) -> NDArray[np.float64]:
    """Return PyOD's features of clips, given by file with their sha256: (clips, 74)."""
    sounds = waveforms(clips, settings, "hand-made features")
    return np.stack([pyod_features(sound, settings.sample_rate) for sound in sounds])


def fitted(system: str, estimator: Any, vectors: NDArray[np.floating]) -> Any:
    """Return the estimator of a system, fitted on the vectors of the training clips; raise MimiiError if it cannot."""
    try:
        return estimator.fit(vectors)
    except ValueError as error:
        if isinstance(error, MimiiError):
            raise
        reason = str(error).partition(". ")[0].rstrip(".")
        raise MimiiError(f"{system}: cannot be fitted with these settings ({reason}); change them") from error


def clip_scores(fitted: Any, vectors: NDArray[np.floating], test: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the anomaly scores of the rows `test`, one for each clip: (clips, 1)."""
    return evaluation.anomaly_scores(fitted.score_samples(vectors[test]))[:, None]


class KeptClips:
    """What front ends take of the clips of a machine ID (:class:`mimii_lib.systems.front_ends.Clips`), as kept results.

    The seed's training clips decide on the scale of pictures.
    """

    def __init__(self, stages: "Stages", machine_id: str, seed: int):
        self.stages, self.machine_id, self.settings = stages, machine_id, stages.settings
        self.train = stages.recordings.split_clips(machine_id, seed, "train").index.to_numpy()

    def levels(self) -> NDArray[np.float64]:
        """Return the levels of all clips in dB: (clips,)."""
        return self.stages.recordings.levels(self.machine_id).to_numpy()

    def hand_made(self) -> NDArray[np.float64]:
        """Return PyOD's features of all clips: (clips, 74)."""
        recordings, imaging = self.stages.recordings, self.settings.imaging
        inputs = {
            "clips": recordings.content(recordings.clips_of(self.machine_id).path),
            "read": [imaging.sample_rate, imaging.seconds, imaging.channel],
            "pyod": version("pyod"),
        }
        return self.stages.cache.get(
            CacheKey("summaries", hand_made_features, inputs),
            lambda: hand_made_features(recordings.digests(self.machine_id), imaging),
        )

    def bands(self, part: Bands) -> NDArray[np.float64]:
        """Return the statistics of the mel bands: (clips, n_mels of each statistic in turn)."""
        systems = self.settings.systems
        inputs = {
            "spectrograms": self.stages.spectrograms_key(self.machine_id, part.decibels).digest,
            "statistics": part.poolings,
            "settings": [systems.loudest, systems.rank_weight],
        }
        return self.stages.cache.get(
            CacheKey("summaries", band_statistics, inputs),
            lambda: band_statistics(self.stages.spectrograms(self.machine_id, part.decibels), part.poolings, systems),
        )

    def maps(self, extractor: str) -> NDArray[np.float32]:
        """Return the maps of all layers of a network, averaged over time: (clips, columns)."""
        spectrograms = self.stages.spectrograms(self.machine_id, "fixed")
        weights, limits = self.stages.weights(extractor), self._limits
        return self.stages.cache.get(
            self.maps_key(extractor), lambda: network_maps(spectrograms, limits, weights, self.settings)
        )

    @property
    def _limits(self) -> tuple[float, float]:
        return decibel_limits(self.levels()[self.train], self.settings.systems)

    def maps_key(self, extractor: str) -> CacheKey:
        """Return the key of the maps of a network."""
        network, imaging = extractors.get(extractor), self.settings.imaging
        inputs = {
            "spectrograms": self.stages.spectrograms_key(self.machine_id, "fixed").digest,
            "limits": self._limits,
            "picture": [imaging.colormap, imaging.origin],
            "extractor": extractor,
            "layers": asdict(map_layers(extractor, self.settings)),
            "weights": self.stages.weights(extractor).sha256,
            "engine": str(self.stages.engine),
            "registered": described(network),
        }
        return CacheKey("maps", network_maps, inputs)

    def keys(self, system: catalogue.ClipSystem) -> list[CacheKey]:
        """Return the keys of what is kept on the way to the vectors of a system."""
        if not system.decibels:  # of waveforms: no spectrogram is computed
            content = self.stages.recordings.content(self.stages.recordings.clips_of(self.machine_id).path)
            return [CacheKey("clips", checks.level, {"clips": content})]
        spectrograms = [self.stages.spectrograms_key(self.machine_id, decibels) for decibels in system.decibels]
        return [*spectrograms, *map(self.maps_key, system.extractors)]

    def vectors(self, system: catalogue.ClipSystem) -> NDArray[np.floating]:
        """Return what a system takes of all clips: (clips, columns)."""
        return catalogue.vectors(system, self, map_shapes(system, self.settings))
