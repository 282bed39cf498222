"""The stages of a run: each computes once and keeps its result under a key of exactly what it depends on.

They are ``spectrograms`` (clips, n_mels, frames), ``features`` (clips, patches, dimension), ``auto-encoders`` (trained
networks) and ``scores`` (test clips, patches); the modules of this folder compute them.
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
from mimii_lib.data import checks
from mimii_lib.data.weights import Weights, WeightsNotFound, find_weights
from mimii_lib.errors import NotRun, unknown_value
from mimii_lib.imaging import SPECTROGRAM_SETTINGS
from mimii_lib.run import engines, simple_baselines
from mimii_lib.run.cache import STATE, CacheKey, ResultCache
from mimii_lib.run.code_digest import described, syntax_digest
from mimii_lib.run.profiles import Profile
from mimii_lib.run.recordings import Recordings
from mimii_lib.run.stages import detection, reconstruction
from mimii_lib.run.stages.features import extract_features
from mimii_lib.run.stages.patches import Rows, cut_patches, patch_rows
from mimii_lib.run.stages.spectrograms import log_mel_spectrograms
from mimii_lib.settings import SIMPLE_BASELINES


class Stages:
    """What is computed from the recordings of a run, from the sound of a clip to the scores of its patches."""

    def __init__(self, recordings: Recordings, profile: Profile, cache: ResultCache):
        self.recordings, self.profile, self.cache = recordings, profile, cache
        self.settings = profile.settings
        self.engine = engines.choose(self.settings.features)
        self._weights = self._find_weights()
        # Standardised features are as large as all others together: those of two seeds are kept for their detectors.
        self._preprocess = lru_cache(maxsize=2)(self._preprocess_features)
        self._lock = Lock()
        on_gpu = autoencoders.torch_device(self.settings.autoencoders.device).type == "cuda"
        self._device = Lock() if on_gpu else nullcontext()  # one auto-encoder at a time trains on a GPU
        self._kept_scores = lru_cache(maxsize=None)(self._scores)
        self.keys = lru_cache(maxsize=None)(self._keys)

    # Weights

    def _find_weights(self) -> dict[str, Weights | WeightsNotFound]:
        """Look for the weights of every extractor, once and before anything is computed."""
        weights: dict[str, Weights | WeightsNotFound] = {}
        for name in self.profile.extractors:
            try:
                weights[name] = find_weights(name, self.profile.weights, self.profile.weight_sources)
            except WeightsNotFound as error:
                weights[name] = error
        return weights

    def weights(self, extractor: str) -> Weights:
        """Return the weights of an extractor, or raise with the reason and the remedy."""
        if extractor not in self._weights:
            raise unknown_value("extractors", extractor, self._weights)
        if isinstance(weights := self._weights[extractor], WeightsNotFound):
            raise weights
        return weights

    def engine_of(self, detector: str) -> str | None:
        """Return what computed features or trained an auto-encoder; a simple baseline has neither."""
        if detector in SIMPLE_BASELINES:
            return None
        if detector not in paper.AUTOENCODERS:
            return str(self.engine)
        device = autoencoders.torch_device(self.settings.autoencoders.device).type
        return str(engines.Engine(f"torch {version('torch')}", device, self.settings.autoencoders.precision))

    @property
    def weights_used(self) -> dict[str, Weights]:
        """The weights of the extractors that can run."""
        return {name: weights for name, weights in self._weights.items() if isinstance(weights, Weights)}

    @property
    def unavailable_extractors(self) -> dict[str, str]:
        """Extractors that were asked for and have no weights, with the reason."""
        return {name: str(error) for name, error in self._weights.items() if isinstance(error, WeightsNotFound)}

    @property
    def extractors(self) -> list[str]:
        """Extractors that can run; raises :class:`NotRun` with the reasons if there is none."""
        if not self.weights_used:
            raise NotRun(f"no network has weights ({'; '.join(self.unavailable_extractors.values())})")
        return list(self.weights_used)

    # From a recording to features

    def waveform(self, path: str) -> NDArray[np.float32]:
        """Return the sound of one clip of the clip table: (samples,)."""
        return dataset.read(self.recordings.data / path, self.settings.imaging)

    def spectrograms(self, machine_id: str) -> NDArray[np.float32]:
        """Return the log-mel spectrograms of a machine ID: (clips, n_mels, frames), in dB."""
        clips, key = self.recordings.digests(machine_id), self._spectrograms_key(machine_id)
        return self.cache.get(key, lambda: log_mel_spectrograms(clips, self.settings.imaging, machine_id))

    def patches(self, machine_id: str, seed: int | None = None) -> NDArray[np.uint8]:
        """Return the patches of a machine ID: (clips, patches, n_mels, patch_frames), indices of the colour map.

        The seed, by default the first one, matters only where `scaling` is training.
        """
        seed = self.profile.seeds[0] if seed is None else seed
        return cut_patches(self.spectrograms(machine_id), self.settings.imaging, self._rows(machine_id, seed, "train"))

    def _rows(self, machine_id: str, seed: int, role: str) -> Rows:
        return self.recordings.split_clips(machine_id, seed, role).index.to_numpy()

    def features(self, machine_id: str, extractor: str, seed: int | None = None) -> NDArray[np.float32]:
        """Return the features of a machine ID by one network: (clips, patches, dimension).

        The seed, by default the first one, matters only where `scaling` is training.
        """
        seed = self.profile.seeds[0] if seed is None else seed
        key = self._features_key(machine_id, extractor, seed)
        if not self.cache.has(key):
            self.spectrograms(machine_id)  # computed before, so that their time is not counted twice
        train, weights = self._rows(machine_id, seed, "train"), self.weights(extractor)
        return self.cache.get(
            key, lambda: extract_features(self.spectrograms(machine_id), train, weights, self.settings)
        )

    # From features to scores

    def detector(self, detector: str, seed: int) -> Any:
        """Return a detector with its preprocessing, a simple baseline or an auto-encoder, not fitted yet."""
        if detector in paper.AUTOENCODERS:
            return autoencoders.build_autoencoder(detector, self.settings.autoencoders, self.settings.imaging, seed)
        if detector in SIMPLE_BASELINES:
            return simple_baselines.build_baseline(detector, self.settings.detectors)
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

    def summary(self, machine_id: str, baseline: str) -> NDArray[np.float64]:
        """Return what a simple baseline takes of the clips of a machine ID, in dB.

        (clips, 1) levels, or (clips, 2 x n_mels) band statistics.
        """
        if baseline == "level":
            return self.recordings.levels(machine_id).to_numpy()[:, None]
        inputs = {"spectrograms": self._spectrograms_key(machine_id).digest}
        key = CacheKey("summaries", simple_baselines.band_statistics, inputs)
        return self.cache.get(key, lambda: simple_baselines.band_statistics(self.spectrograms(machine_id)))

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
        train, untrained = self._rows(machine_id, seed, "train"), self.detector(detector, seed)
        if detector in SIMPLE_BASELINES:
            return untrained.fit(self.summary(machine_id, detector)[train])
        with self._device:
            state = self.cache.get(
                self._training_key(machine_id, detector, seed),
                lambda: reconstruction.train_autoencoder(untrained, self.patches(machine_id, seed), train),
            )
        return reconstruction.restore_autoencoder(untrained, state)

    def scores(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> NDArray[np.float64]:
        """Return the anomaly scores of the test clips of a split, in their order: (clips, patches).

        A simple baseline has one score for each clip: (clips, 1).
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
            if detector in SIMPLE_BASELINES:
                return simple_baselines.baseline_scores(fitted, self.summary(machine_id, detector), test)
            return reconstruction.autoencoder_scores(fitted, self.patches(machine_id, seed), test)

        if not self.cache.has(key):
            if extractor is not None:
                self.features(machine_id, extractor, seed)  # on all cores
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
        function: Any = simple_baselines.baseline_scores
        way = [self._spectrograms_key(machine_id)]
        if detector in paper.AUTOENCODERS:
            function = reconstruction.autoencoder_scores
            way.append(self._training_key(machine_id, detector, seed))
        elif extractor is not None:
            function = detection.detector_scores
            way.append(self._features_key(machine_id, extractor, seed))
        elif detector == "level":  # of waveforms: no spectrogram is computed
            way = [CacheKey("clips", checks.level, {"clips": self._content(machine_id)})]
        inputs = self._fit_inputs(machine_id, detector, seed) | {
            "test": self._content(machine_id, seed, "test"),
            way[-1].stage: way[-1].digest,
            "stages": syntax_digest(__name__),  # which clips and features are handed to the function
        }
        return (*way, CacheKey("scores", function, inputs))

    def _spectrograms_key(self, machine_id: str) -> CacheKey:
        settings = {name: getattr(self.settings.imaging, name) for name in SPECTROGRAM_SETTINGS}
        inputs = {"clips": self._content(machine_id), "imaging": settings}
        return CacheKey("spectrograms", log_mel_spectrograms, inputs)

    def _patches_inputs(self, machine_id: str, seed: int) -> dict[str, Any]:
        imaging = self.settings.imaging
        scaled_by = self._content(machine_id, seed, "train") if imaging.scaling == "training" else None
        spectrograms = self._spectrograms_key(machine_id).digest
        return {"spectrograms": spectrograms, "imaging": dict(imaging), "scaled by": scaled_by}

    def _features_key(self, machine_id: str, extractor: str, seed: int) -> CacheKey:
        network = extractors.get(extractor)
        inputs = self._patches_inputs(machine_id, seed) | {
            "extractor": extractor,
            "weights": self.weights(extractor).sha256,
            "engine": str(self.engine),
            "registered": described(network),
        }
        if network.variant is not None:
            inputs[network.variant] = getattr(self.settings.features, network.variant)
        return CacheKey("features", extract_features, inputs)

    def _training_key(self, machine_id: str, detector: str, seed: int) -> CacheKey:
        inputs = self._patches_inputs(machine_id, seed) | self._fit_inputs(machine_id, detector, seed)
        return CacheKey("auto-encoders", reconstruction.train_autoencoder, inputs, STATE)

    def _fit_inputs(self, machine_id: str, detector: str, seed: int) -> dict[str, Any]:
        parameters = self.detector(detector, seed).get_params().items()
        plain = {name: value for name, value in parameters if isinstance(value, (str, int, float, type(None)))}
        plain.pop("kde__memory", None)  # changes no score
        return {"detector": detector, "parameters": plain, "train": self._content(machine_id, seed, "train")}

    def _content(self, machine_id: str, seed: int = 0, role: str | None = None) -> str:
        """Return a digest of the contents of the training or test clips of a machine ID, or of all its clips."""
        recordings = self.recordings
        clips = recordings.clips_of(machine_id) if role is None else recordings.split_clips(machine_id, seed, role)
        return recordings.content(clips.path)
