"""The stages of a run: each computes once and keeps its result under a key of exactly what it depends on.

They are ``spectrograms`` (clips, n_mels, frames), ``features`` (clips, patches, dimension), ``maps`` (clips, columns),
``auto-encoders`` (trained networks) and ``scores`` (test clips, patches); the modules of this folder compute them.
"""

from contextlib import nullcontext
from functools import lru_cache
from importlib.metadata import version
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from mimii_lib import autoencoders, dataset, detectors, extractors, paper
from mimii_lib.imaging import SPECTROGRAM_SETTINGS
from mimii_lib.run import engines
from mimii_lib.run.cache import STATE, CacheKey, ResultCache
from mimii_lib.run.code_digest import described, syntax_digest
from mimii_lib.run.profiles import Profile
from mimii_lib.run.recordings import Recordings
from mimii_lib.run.stages import clip_systems, detection, reconstruction
from mimii_lib.run.stages.audio_features import extract_audio_features, waveform_settings
from mimii_lib.run.stages.clip_systems import KeptClips
from mimii_lib.run.stages.features import extract_features
from mimii_lib.run.stages.network_weights import NetworkWeights
from mimii_lib.run.stages.patches import Rows, cut_patches, patch_rows
from mimii_lib.run.stages.spectrograms import log_mel_spectrograms
from mimii_lib.settings import CLIP_SYSTEMS, Imaging
from mimii_lib.systems import catalogue
from mimii_lib.systems.front_ends import Decibels


class Stages(NetworkWeights):
    """What is computed from the recordings of a run, from the sound of a clip to the scores of its patches."""

    def __init__(self, recordings: Recordings, profile: Profile, cache: ResultCache):
        super().__init__(profile)
        self.recordings, self.profile, self.cache = recordings, profile, cache
        self.settings = profile.settings
        self.engine = engines.choose(self.settings.features)
        # Standardised features are as large as all others together: those of two seeds are kept for their detectors.
        self._preprocess = lru_cache(maxsize=2)(self._preprocess_features)
        self._lock = Lock()
        on_gpu = autoencoders.torch_device(self.settings.autoencoders.device).type == "cuda"
        self._device = Lock() if on_gpu else nullcontext()  # one auto-encoder at a time trains on a GPU
        self._kept_scores = lru_cache(maxsize=None)(self._scores)
        self.keys = lru_cache(maxsize=None)(self._keys)

    def engine_of(self, detector: str) -> str | None:
        """Return what computed features or maps, or trained an auto-encoder; None: the system has no network."""
        if detector in CLIP_SYSTEMS and not catalogue.SYSTEMS[detector].extractors:
            return None
        if detector not in paper.AUTOENCODERS:
            return str(self.engine)
        device = autoencoders.torch_device(self.settings.autoencoders.device).type
        return str(engines.Engine(f"torch {version('torch')}", device, self.settings.autoencoders.precision))

    # From a recording to features

    def waveform(self, path: str) -> NDArray[np.float32]:
        """Return the sound of one clip of the clip table: (samples,)."""
        return dataset.read(self.recordings.data / path, self.settings.imaging)

    def spectrograms(self, machine_id: str, decibels: Decibels | None = None) -> NDArray[np.float32]:
        """Return the log-mel spectrograms of a machine ID: (clips, n_mels, frames), in dB.

        `decibels` replaces the reference of 0 dB in the settings: clip or fixed.
        """
        clips, key = self.recordings.digests(machine_id), self.spectrograms_key(machine_id, decibels)
        imaging = self._with_reference(decibels)
        return self.cache.get(key, lambda: log_mel_spectrograms(clips, imaging, machine_id))

    def _with_reference(self, decibels: Decibels | None) -> Imaging:
        imaging = self.settings.imaging
        return imaging if decibels is None else imaging.model_copy(update={"db_reference": decibels})

    def patches(self, machine_id: str, seed: int | None = None) -> NDArray[np.uint8]:
        """Return the patches of a machine ID: (clips, patches, n_mels, patch_frames), indices of the colour map.

        The seed, by default the first one, matters only where `scaling` is training.
        """
        seed = self.profile.seeds[0] if seed is None else seed
        return cut_patches(self.spectrograms(machine_id), self.settings.imaging, self._rows(machine_id, seed, "train"))

    def _rows(self, machine_id: str, seed: int, role: str) -> Rows:
        return self.recordings.split_clips(machine_id, seed, role).index.to_numpy()

    def features(self, machine_id: str, extractor: str, seed: int | None = None) -> NDArray[np.float32]:
        """Return the features of a machine ID by one network: (clips, patches or windows, dimension).

        The seed, by default the first one, matters only where `scaling` is training.
        """
        seed = self.profile.seeds[0] if seed is None else seed
        key = self._features_key(machine_id, extractor, seed)
        if not extractors.get(extractor).takes_pictures:
            files, audio = self.recordings.digests(machine_id), self.weights(extractor)
            return self.cache.get(key, lambda: extract_audio_features(files, audio, self.settings, machine_id))
        if not self.cache.has(key):
            self.spectrograms(machine_id)  # computed before, so that their time is not counted twice
        train, weights = self._rows(machine_id, seed, "train"), self.weights(extractor)
        return self.cache.get(
            key, lambda: extract_features(self.spectrograms(machine_id), train, weights, self.settings)
        )

    # From features to scores

    def detector(self, detector: str, seed: int) -> Any:
        """Return a detector with its preprocessing, an auto-encoder or a clip system, not fitted yet."""
        if detector in CLIP_SYSTEMS:
            system = catalogue.SYSTEMS[detector]
            return catalogue.estimator(system, self.settings, clip_systems.map_shapes(system, self.settings))
        if detector in paper.AUTOENCODERS:
            return autoencoders.build_autoencoder(detector, self.settings.autoencoders, self.settings.imaging, seed)
        settings = self.settings.detectors
        return make_pipeline(detectors.preprocessor(settings, seed), detectors.build_detector(detector, settings, seed))

    def detector_inputs(
        self, machine_id: str, extractor: str | None, clips: pd.DataFrame, seed: int | None = None
    ) -> NDArray[Any]:
        """Return what a detector takes of some clips of a machine ID, patch by patch.

        (clips x patches, dimension) features of an extractor or, where `extractor` is None,
        (clips x patches, n_mels x patch_frames) pictures for the auto-encoders.
        """
        inputs = self.patches(machine_id, seed) if extractor is None else self.features(machine_id, extractor, seed)
        return patch_rows(inputs, clips.index.to_numpy())

    def vectors(self, machine_id: str, system: str, seed: int) -> NDArray[np.floating]:
        """Return what a clip system takes of all clips of a machine ID: (clips, columns)."""
        return KeptClips(self, machine_id, seed).vectors(catalogue.SYSTEMS[system])

    def preprocessed(self, machine_id: str, extractor: str, seed: int) -> detection.Preprocessed:
        """Return the standardised (and reduced) features of a split. One thread computes them, the others wait."""
        with self._lock:
            return self._preprocess(machine_id, extractor, seed)

    def _preprocess_features(self, machine_id: str, extractor: str, seed: int) -> detection.Preprocessed:
        features = self.features(machine_id, extractor, seed)
        train, test = (self._rows(machine_id, seed, role) for role in ("train", "test"))
        return detection.preprocess(features, train, test, self.settings.detectors, seed)

    def fit(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> Any:
        """Return a detector fitted on the training clips of a machine ID; it takes :meth:`detector_inputs`.

        A trained auto-encoder is kept; the others are fitted again, which is cheaper than keeping them.
        """
        if extractor is not None:
            features = self.preprocessed(machine_id, extractor, seed)
            fitted = detection.fit_detector(detector, features, self.settings.detectors, seed)
            return make_pipeline(features.preprocessor, fitted)
        train = self._rows(machine_id, seed, "train")
        if detector in CLIP_SYSTEMS:
            vectors = self.vectors(machine_id, detector, seed)[train]
            return clip_systems.fitted(detector, self.detector(detector, seed), vectors)
        untrained = self.detector(detector, seed)
        with self._device:
            state = self.cache.get(
                self._training_key(machine_id, detector, seed),
                lambda: reconstruction.train_autoencoder(untrained, self.patches(machine_id, seed), train),
            )
        return reconstruction.restore_autoencoder(untrained, state)

    def scores(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> NDArray[np.float64]:
        """Return the anomaly scores of the test clips of a split, in their order: (clips, patches).

        A clip system has one score for each clip: (clips, 1).
        """
        return self._kept_scores(machine_id, extractor, detector, seed)

    def _scores(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> NDArray[np.float64]:
        key, test = self.keys(machine_id, extractor, detector, seed)[-1], self._rows(machine_id, seed, "test")

        @threadpool_limits.wrap(limits=1)  # a number must not depend on how many threads add it up
        def compute() -> NDArray[np.float64]:
            if extractor is not None:
                features = self.preprocessed(machine_id, extractor, seed)
                return detection.detector_scores(detector, features, len(test), self.settings.detectors, seed)
            fitted = self.fit(machine_id, None, detector, seed)
            if detector in CLIP_SYSTEMS:
                return clip_systems.clip_scores(fitted, self.vectors(machine_id, detector, seed), test)
            return reconstruction.autoencoder_scores(fitted, self.patches(machine_id, seed), test)

        if not self.cache.has(key):
            if extractor is not None:
                self.features(machine_id, extractor, seed)  # on all cores
            elif detector in CLIP_SYSTEMS:
                self.vectors(machine_id, detector, seed)  # maps on all cores
            with threadpool_limits(limits=1):
                # What others share, or has a time of its own, is not part of this one's time.
                if extractor is not None:
                    self.preprocessed(machine_id, extractor, seed)
                elif detector in paper.AUTOENCODERS:
                    self.fit(machine_id, None, detector, seed)
        return self.cache.get(key, compute)

    # Cache keys

    def _keys(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> tuple[CacheKey, ...]:
        """Return the keys of what is kept on the way to a trial's scores, from the spectrograms to the scores."""
        function: Any = clip_systems.clip_scores
        way = [self.spectrograms_key(machine_id)]
        if detector in CLIP_SYSTEMS:
            way = KeptClips(self, machine_id, seed).keys(catalogue.SYSTEMS[detector])
        elif detector in paper.AUTOENCODERS:
            function = reconstruction.autoencoder_scores
            way.append(self._training_key(machine_id, detector, seed))
        elif extractor is not None:
            function = detection.detector_scores
            way = way if extractors.get(extractor).takes_pictures else []
            way.append(self._features_key(machine_id, extractor, seed))
        inputs = self._fit_inputs(machine_id, detector, seed) | {
            "test": self._content(machine_id, seed, "test"),
            way[-1].stage: way[-1].digest,
            "stages": syntax_digest(__name__),  # which clips and features are handed to the function
        }
        return (*way, CacheKey("scores", function, inputs))

    def spectrograms_key(self, machine_id: str, decibels: Decibels | None = None) -> CacheKey:
        """Return the key of :meth:`spectrograms`."""
        settings = {name: getattr(self._with_reference(decibels), name) for name in SPECTROGRAM_SETTINGS}
        inputs = {"clips": self._content(machine_id), "imaging": settings}
        return CacheKey("spectrograms", log_mel_spectrograms, inputs)

    def _patches_inputs(self, machine_id: str, seed: int) -> dict[str, Any]:
        imaging = self.settings.imaging
        scaled_by = self._content(machine_id, seed, "train") if imaging.scaling == "training" else None
        spectrograms = self.spectrograms_key(machine_id).digest
        return {"spectrograms": spectrograms, "imaging": dict(imaging), "scaled by": scaled_by}

    def _features_key(self, machine_id: str, extractor: str, seed: int) -> CacheKey:
        network = extractors.get(extractor)
        inputs: dict[str, Any] = {"extractor": extractor, "weights": self.weights(extractor).sha256}
        inputs["engine"] = str(self.engine)
        inputs["registered"] = described(network)
        if network.variant is not None:
            inputs[network.variant] = getattr(self.settings.features, network.variant)
        if network.takes_pictures:
            return CacheKey("features", extract_features, self._patches_inputs(machine_id, seed) | inputs)
        inputs |= {"clips": self._content(machine_id), "waveform": waveform_settings(self.settings, network)}
        return CacheKey("features", extract_audio_features, inputs)

    def _training_key(self, machine_id: str, detector: str, seed: int) -> CacheKey:
        inputs = self._patches_inputs(machine_id, seed) | self._fit_inputs(machine_id, detector, seed)
        return CacheKey("auto-encoders", reconstruction.train_autoencoder, inputs, STATE)

    def _fit_inputs(self, machine_id: str, detector: str, seed: int) -> dict[str, Any]:
        if detector in CLIP_SYSTEMS:
            parameters = dict(self.settings.detectors) | dict(self.settings.systems)
            parameters.pop("memory")  # changes no score
            return {"detector": detector, "parameters": parameters, "train": self._content(machine_id, seed, "train")}
        of_detector = self.detector(detector, seed).get_params().items()
        plain = {name: value for name, value in of_detector if isinstance(value, (str, int, float, type(None)))}
        plain.pop("kde__memory", None)  # changes no score
        return {"detector": detector, "parameters": plain, "train": self._content(machine_id, seed, "train")}

    def _content(self, machine_id: str, seed: int = 0, role: str | None = None) -> str:
        """Return a digest of the contents of the training or test clips of a machine ID, or of all its clips."""
        recordings = self.recordings
        clips = recordings.clips_of(machine_id) if role is None else recordings.split_clips(machine_id, seed, role)
        return recordings.content(clips.path)
