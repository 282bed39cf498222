"""One machine type, one profile, one data folder: the way through all rooms.

Each stage computes once and keeps its result under a key made of exactly the settings and inputs it depends
on; asking again reads it back. So a notebook stands on its own, and the workflow only warms what the
notebooks will ask for.
"""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import cached_property, lru_cache, partial
from html import escape
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from joblib import hash as joblib_hash
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits
from torch import get_num_threads
from tqdm import tqdm

from mimii_lib import autoencoders, dataset, detectors, evaluation, extractors, imaging, paper
from mimii_lib.data import bundled_weights, checks, miniature
from mimii_lib.data.weights import Weights, WeightsNotFound, find_weights
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.run import engines, provenance, simple_baselines
from mimii_lib.run.cache import CacheKey, ResultCache, timed
from mimii_lib.run.profiles import Profile, as_tuple, load_profile, with_parameters
from mimii_lib.settings import SIMPLE_BASELINES, Settings, as_json
from mimii_lib.uncertainty import AucEstimates, Measure, resampled

KINDS = {
    "miniature": "the miniature, synthesised by this project: its numbers say nothing about MIMII",
    "MIMII": "MIMII (Hitachi, CC BY-SA 4.0), whole machine IDs",
    "other recordings": "recordings that are not whole machine IDs of MIMII",
}
"""What a reader is told of each kind of recordings."""


class Run:
    """The experiment on one machine type.

    Parameters
    ----------
    machine
        Machine type: fan, pump, slider or valve.
    profile
        A file of ``profiles/`` or a path to one; it says what the other parameters leave open. None: the
        paper's settings on data that must be named.
    data
        Folder that holds MIMII's tree.
    snr
        Signal-to-noise ratio in dB.
    ids, extractors, detectors, seeds
        One or several, as a list or as a text with blanks or commas between.
    weights
        Folder of weight files ``<extractor>.pt``.
    settings
        Settings by name, as ``{"imaging.hop": 512}`` or as a text: ``imaging.hop=512 split.balanced=true``.
    splits
        A CSV of splits (seed, path, role) to use instead of drawing them.
    cache
        Folder of kept results; see :func:`mimii_lib.run.cache.default_folder`.

    Raises
    ------
    MimiiError
        If a parameter names what is not there.
    """

    def __init__(
        self,
        machine: str,
        *,
        profile: str | Path | None = None,
        data: str | Path | None = None,
        snr: int | None = None,
        ids: Any = None,
        extractors: Any = None,
        detectors: Any = None,
        seeds: Any = None,
        weights: str | Path | None = None,
        settings: Any = None,
        splits: str | Path | None = None,
        cache: Path | None = None,
    ):
        if machine not in paper.MACHINES:
            raise unknown_value("machine", machine, paper.MACHINES)
        self.machine = machine
        self.profile: Profile = with_parameters(
            load_profile(profile, machine),
            data=data,
            snr=snr,
            ids=ids,
            extractors=extractors,
            detectors=detectors,
            seeds=seeds,
            weights=weights,
            settings=settings,
        )
        self._start(None if splits is None else Path(splits), ResultCache(cache, get_num_threads()))

    def _start(self, splits_file: Path | None, store: ResultCache) -> None:
        self.settings: Settings = self.profile.settings
        self._weights = self._find_weights()
        self.engine = engines.choose(self.settings.features)
        self.data = self._data_folder()
        self._splits_file = splits_file
        self.store = store
        # Standardised features are as large as all others together: two seeds' are kept for the detectors to share.
        self._prepared = lru_cache(maxsize=2)(self._prepare)
        self._limits = lru_cache(self._training_limits)
        self._members = lru_cache(maxsize=None)(self._find_members)
        self._truth = lru_cache(maxsize=None)(self._find_truth)
        self._scored = lru_cache(maxsize=None)(self._score)
        self._identity = lru_cache(self._list_digest)
        self._names = lru_cache(maxsize=None)(self._names_digest)
        self._lock = Lock()

    def with_overrides(self, **parameters: Any) -> "Run":
        """Return the same run with some of the parameters of :class:`Run` in the place of its own."""
        other = copy(self)
        other.__dict__ = {"machine": self.machine, "profile": with_parameters(self.profile, **parameters)}
        other._start(self._splits_file, self.store)
        return other

    def _data_folder(self) -> Path:
        wanted, size = self.profile.recordings, self.profile.miniature
        if wanted is not None and size is not None:
            miniature.make(wanted, snr=self.profile.snr, **dict(size))
        return dataset.data_folder(wanted)

    # What there is

    @cached_property
    def clips(self) -> pd.DataFrame:
        """The clip table: id, label, path; raises where a clip cannot be used and shall not be left out."""
        faults = self._faults
        if faults and self.settings.split.unreadable == "stop":
            more = f"; so it is with {len(faults) - 1} more, which 'mimii check' names" if len(faults) > 1 else ""
            raise MimiiError(f"{next(iter(faults.values()))}, by the setting split.unreadable=leave_out{more}")
        return self._listed[~self._listed.path.isin(faults)].reset_index(drop=True)

    @property
    def left_out(self) -> dict[str, str]:
        """Clips that cannot be used and were left out, with the reason."""
        return self._faults if self.settings.split.unreadable == "leave_out" else {}

    @cached_property
    def _listed(self) -> pd.DataFrame:
        """The clip table of all that are there."""
        table = dataset.clips(self.data, self.machine, self.profile.snr, self.profile.ids)
        if table.empty:
            raise MimiiError(f"{self.data}: no clip of the {self.machine}; expected wav files in normal/, abnormal/")
        return table

    @cached_property
    def inspected(self) -> dict[str, checks.Clip]:
        """Every clip as it was seen before anything is computed, by path."""
        found: dict[str, checks.Clip] = {}
        for _, clips in self._listed.groupby("id"):
            paths = list(clips.path)
            look = partial(checks.inspect, self.data, paths, self.settings.imaging)
            found |= {clip.path: clip for clip in self.store.get(self._clips_place(paths), look)}
        return found

    def _clips_place(self, paths: list[str]) -> CacheKey:
        # Contents are read once and remembered for files that have not been touched since.
        states = [dataset.state(self.data / path) for path in paths]
        read = {name: getattr(self.settings.imaging, name) for name in ("sample_rate", "seconds", "channel")}
        return CacheKey("clips", {"files": joblib_hash([paths, states]), "read": read}, dataset, checks)

    @property
    def _faults(self) -> dict[str, str]:
        return {path: clip.fault for path, clip in self.inspected.items() if clip.fault}

    @cached_property
    def splits(self) -> pd.DataFrame:
        """Training and test clips of every seed: seed, path, role."""
        if self._splits_file is not None:
            said = dataset.load_split(self._splits_file, self._listed, self.profile.seeds)
            return said[said.path.isin(self.clips.path)].reset_index(drop=True)
        return dataset.split(self.clips, self.profile.seeds, self.settings.split)

    @cached_property
    def skipped(self) -> dict[str, str]:
        """Machine IDs that cannot be evaluated, with the reason."""
        here = set(self.clips.id)
        lost = {str(name): "every clip was left out" for name in self._listed.id.unique() if name not in here}
        return lost | dataset.not_evaluable(self.clips, self.splits, self.settings)

    @property
    def ids(self) -> list[str]:
        """Machine IDs that can be evaluated; raises with the reasons if there is none."""
        if not self.evaluable:
            raise MimiiError(self.no_ids_reason)
        return self.evaluable

    @property
    def no_ids_reason(self) -> str:
        """Why no machine ID can be evaluated, where none can."""
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.skipped.items())
        return f"{self.machine}: no machine ID can be evaluated ({reasons})"

    @property
    def evaluable(self) -> list[str]:
        """Machine IDs that can be evaluated; there may be none."""
        return [str(name) for name in self.clips.id.unique() if name not in self.skipped]

    @cached_property
    def kind(self) -> str:
        """What the recordings are: miniature, MIMII or other recordings."""
        return dataset.kind(self.data, self._listed, self.machine)

    def clips_of(self, machine_id: str) -> pd.DataFrame:
        """Return the clips of one machine ID; a clip's index is its row in that ID's arrays."""
        if machine_id not in self._by_id:
            raise unknown_value("machine ID", machine_id, self._by_id)
        return self._by_id[machine_id]

    @cached_property
    def _by_id(self) -> dict[str, pd.DataFrame]:
        return {str(name): table.reset_index(drop=True) for name, table in self.clips.groupby("id")}

    def split_clips(self, machine_id: str, seed: int, role: str) -> pd.DataFrame:
        """Return the training or test clips of one machine ID: rows of :meth:`clips_of`."""
        if (seed, role) not in self._paths_of:
            raise unknown_value("seed", seed, self.profile.seeds)
        return self._members(machine_id, seed, role)

    def _find_members(self, machine_id: str, seed: int, role: str) -> pd.DataFrame:
        table = self.clips_of(machine_id)
        return table[table.path.isin(self._paths_of[seed, role])]

    @cached_property
    def _paths_of(self) -> dict[tuple[int, str], set[str]]:
        return {(seed, role): set(table.path) for (seed, role), table in self.splits.groupby(["seed", "role"])}

    # The stages

    def waveform(self, path: str) -> NDArray[np.float32]:
        """Return the sound of one clip of the clip table: (samples,)."""
        return dataset.read(self.data / path, self.settings.imaging)

    def spectrograms(self, machine_id: str) -> NDArray[np.float32]:
        """Return the log-mel spectrograms of a machine ID: (clips, n_mels, frames), in dB."""
        return self.store.get(
            self._spectrograms_place(machine_id),
            lambda: np.stack(
                [
                    imaging.log_mel(self.waveform(path), self.settings.imaging)
                    for path in tqdm(self.clips_of(machine_id).path, desc=f"{machine_id} log-mel", disable=None)
                ]
            ),
        )

    def patches(self, machine_id: str, seed: int | None = None) -> NDArray[np.uint8]:
        """Return the patches of a machine ID: (clips, patches, n_mels, patch_frames), colour map entries.

        The seed, by default the first one, matters only where `scaling` is training.
        """
        limits = self._limits(machine_id, seed)
        return np.stack(
            [imaging.patches(each, self.settings.imaging, limits) for each in self.spectrograms(machine_id)]
        )

    def _training_limits(self, machine_id: str, seed: int | None) -> tuple[float, float] | None:
        """Return the lowest and highest decibels of the training clips, where pictures are scaled by them."""
        if self.settings.imaging.scaling != "training":
            return None
        train = self.split_clips(machine_id, self.profile.seeds[0] if seed is None else seed, "train").index
        spectrograms = self.spectrograms(machine_id)[train]
        return float(spectrograms.min()), float(spectrograms.max())

    def weights(self, extractor: str) -> Weights:
        """Return the pretrained weights of an extractor, or raise with the reason and the remedy."""
        if extractor not in self._weights:
            raise unknown_value("extractors", extractor, self._weights)
        found = self._weights[extractor]
        if isinstance(found, WeightsNotFound):
            raise found
        return found

    def _find_weights(self) -> dict[str, Weights | WeightsNotFound]:
        """Explanation for the weights of every extractor, once and before anything else."""
        found: dict[str, Weights | WeightsNotFound] = {}
        for name in self.profile.extractors:
            try:
                found[name] = find_weights(name, self.profile.weights, self.profile.weight_sources)
            except WeightsNotFound as error:
                found[name] = error
        return found

    @property
    def weights_used(self) -> dict[str, Weights]:
        """The weights of the extractors that can run."""
        return {name: found for name, found in self._weights.items() if isinstance(found, Weights)}

    @property
    def unavailable_extractors(self) -> dict[str, str]:
        """Extractors that were asked for and cannot run, with the reason."""
        return {name: str(found) for name, found in self._weights.items() if isinstance(found, Exception)}

    @property
    def extractors(self) -> list[str]:
        """Extractors that can run; raises with the reasons if there is none."""
        if not self._reachable:
            raise MimiiError("; ".join(self.unavailable_extractors.values()))
        return self._reachable

    @property
    def _reachable(self) -> list[str]:
        return [name for name in self.profile.extractors if name not in self.unavailable_extractors]

    def features(self, machine_id: str, extractor: str, seed: int | None = None) -> NDArray[np.float32]:
        """Return the features of a machine ID by one network: (clips, patches, dimension).

        The seed, by default the first one, matters only where `scaling` is training.
        """

        def compute() -> NDArray[np.float32]:
            patches = self.patches(machine_id, seed)
            flat = patches.reshape(-1, *patches.shape[2:])
            found = engines.extract(flat, self.weights(extractor), self.settings.imaging, self.settings.features)
            return found.reshape(*patches.shape[:2], -1)

        return self.store.get(self._features_place(machine_id, extractor, seed), compute)

    def detector(self, detector: str, seed: int) -> Any:
        """Return a detector or auto-encoder that is not fitted yet, with this run's settings."""
        if detector in paper.AUTOENCODERS:
            return autoencoders.make(detector, self.settings.autoencoders, self.settings.imaging, seed)
        if detector in SIMPLE_BASELINES:
            return simple_baselines.make(detector, self.settings.detectors)
        front = detectors.prepared(self.settings.detectors, seed)
        return make_pipeline(
            *(step for _, step in front.steps), detectors.make(detector, self.settings.detectors, seed)
        )

    def detector_inputs(
        self, machine_id: str, extractor: str | None, clips: pd.DataFrame, seed: int | None = None
    ) -> NDArray[Any]:
        """Return what a detector sees of some clips of :meth:`clips_of`, patch by patch.

        (clips x patches, dimension) features of an extractor, or where `extractor` is None
        (clips x patches, n_mels x patch_frames) pictures, which the auto-encoders take.
        """
        found = self.patches(machine_id, seed) if extractor is None else self.features(machine_id, extractor, seed)
        return _by_patch(found, clips)

    def summary(self, machine_id: str, control: str) -> NDArray[np.float64]:
        """Return what a control knows of the clips of :meth:`clips_of`: (clips, 1) or (clips, 2 x n_mels).

        Both are in dB; see :func:`mimii_lib.run.simple_baselines.band_statistics`.
        """
        if control == "level":
            return np.array([[self.inspected[path].level] for path in self.clips_of(machine_id).path])
        place = CacheKey("summaries", self._spectrogram_key(machine_id), dataset, imaging, simple_baselines)
        return self.store.get(place, lambda: simple_baselines.band_statistics(self.spectrograms(machine_id)))

    def _ready(
        self, machine_id: str, extractor: str, seed: int
    ) -> tuple[Pipeline, NDArray[np.float64], NDArray[np.float64]]:
        """Return the fitted standardisation (and PCA), and what it makes of training and test patches.

        One detector prepares them for all; the others wait. Neither is time that the detector itself takes.
        """
        with timed("waited"), self._lock, timed("prepared"):
            return self._prepared(machine_id, extractor, seed)

    def _prepare(
        self, machine_id: str, extractor: str, seed: int
    ) -> tuple[Pipeline, NDArray[np.float64], NDArray[np.float64]]:
        features = self.features(machine_id, extractor, seed)
        train, test = (_by_patch(features, self.split_clips(machine_id, seed, role)) for role in ("train", "test"))
        if self.settings.detectors.pca > min(train.shape):
            raise MimiiError(
                f"detectors.pca: found {self.settings.detectors.pca}, expected at most {min(train.shape)}: "
                f"{self.machine} {machine_id} has {train.shape[0]} training patches of {train.shape[1]} features"
            )
        front = detectors.prepared(self.settings.detectors, seed).fit(train)
        return front, front.transform(train), front.transform(test)

    def fit(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> Any:
        """Return a detector fitted on the training clips of a machine ID, as it takes :meth:`detector_inputs`.

        A trained auto-encoder is kept; the others are fitted again, which is cheaper than keeping them.
        """
        if extractor is not None:
            front, train, _ = self._ready(machine_id, extractor, seed)
            steps = [*(step for _, step in front.steps), self._fitted(machine_id, detector, train, seed)]
            return make_pipeline(*steps)
        train = self.split_clips(machine_id, seed, "train")
        if detector in SIMPLE_BASELINES:
            return self.detector(detector, seed).fit(self.summary(machine_id, detector)[train.index])
        return self.store.get(
            self._training_place(machine_id, detector, seed),
            lambda: self.detector(detector, seed).fit(self.detector_inputs(machine_id, None, train, seed)),
        )

    def _fitted(self, machine_id: str, detector: str, train: NDArray[np.float64], seed: int) -> Any:
        """Return a detector of prepared features, fitted."""
        components = self.settings.detectors.n_components
        if detector in ("gmm", "b-gmm") and len(train) < components:
            raise MimiiError(
                f"{self.machine} {machine_id}: {len(train)} training patches for {components} mixture "
                "components; use more clips or fewer components"
            )
        with warnings.catch_warnings():
            # The paper's iteration limit ends a fit early on purpose, and identical patches make k-means warn.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return detectors.make(detector, self.settings.detectors, seed).fit(train)

    def scores(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> NDArray[np.float64]:
        """Return the anomaly scores of the test clips, row by row of ``members(…, "test")``: (clips, patches).

        A control has one score for each clip: (clips, 1).
        """
        return self._scored(machine_id, extractor, detector, seed)

    def _score(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> NDArray[np.float64]:
        clips = self.split_clips(machine_id, seed, "test")

        def compute() -> NDArray[np.float64]:
            if extractor is None:
                fitted = self.fit(machine_id, None, detector, seed)
                test: NDArray[Any] = (
                    self.summary(machine_id, detector)[clips.index]
                    if detector in SIMPLE_BASELINES
                    else self.detector_inputs(machine_id, None, clips, seed)
                )
            else:
                _, train, test = self._ready(machine_id, extractor, seed)
                fitted = self._fitted(machine_id, detector, train, seed)
            return evaluation.anomaly_scores(fitted.score_samples(test)).reshape(len(clips), -1)

        scores: NDArray[np.float64] = self.store.get(self._scores_place(machine_id, extractor, detector, seed), compute)
        return scores

    def _find_truth(self, machine_id: str, seed: int) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
        """Return a name for each test clip, and whether it is abnormal."""
        clips = self.split_clips(machine_id, seed, "test")
        return clips.path.str.split("/").str[-2:].str.join("/").to_numpy(str), (clips.label == "abnormal").to_numpy()

    def clip_scores(
        self, machine_id: str, extractor: str | None, detector: str, seed: int, pooling: str | None = None
    ) -> evaluation.ClipScores:
        """Return the test clips with one anomaly score each; `pooling`: another one than the settings name."""
        how = self.settings.evaluation
        return evaluation.ClipScores(
            f"{self.machine} {machine_id}",
            (extractor, detector),
            *self._truth(machine_id, seed),
            evaluation.pool(
                self.scores(machine_id, extractor, detector, seed),
                how.model_copy(update={"pooling": pooling or how.pooling}),
            ),
        )

    def trials(
        self, rows: Sequence[tuple[str | None, str]] | None = None, seeds: Sequence[int] | None = None
    ) -> list[tuple[str, str | None, str, int]]:
        """Return what can be evaluated, or some rows or seeds of it: machine ID, extractor, detector and seed."""
        return [
            (machine_id, extractor, detector, seed)
            for machine_id in self.evaluable
            for extractor, detector in (self.systems() if rows is None else rows)
            for seed in (self.seeds(detector) if seeds is None else seeds)
        ]

    def _missing(self, cells: Sequence[tuple[str, str | None, str, int]]) -> list[tuple[str, str | None, str, int]]:
        """Return the cells whose scores are not kept yet."""
        return [cell for cell in cells if not self.store.has(self._scores_place(*cell))]

    def compute(self, cells: Sequence[tuple[str, str | None, str, int]]) -> None:
        """Compute and keep the scores of machine ID, extractor, detector and seed, as many at once as there are cores.

        Features come first: an extractor takes all cores for itself, and so does an auto-encoder.
        """
        cells = self._missing(cells)
        features = {(machine_id, name, seed): None for machine_id, name, _, seed in cells if name is not None}
        for machine_id, name, seed in features:
            self.features(machine_id, name, seed)
        # All detectors of a seed in a row: they share the prepared features.
        classical = sorted((cell for cell in cells if cell[1] is not None), key=lambda cell: (*cell[:2], cell[3]))
        others = [cell for cell in cells if cell[1] is None]
        with tqdm(total=len(cells), desc=self.machine, unit="AUC", disable=None) as progress:
            # A worker computes on one thread. OpenMP counts threads for each worker, BLAS for all: both are told.
            with (
                threadpool_limits(limits=1),
                ThreadPoolExecutor(get_num_threads(), initializer=threadpool_limits, initargs=(1,)) as workers,
            ):
                for _ in workers.map(lambda cell: self.scores(*cell), classical):
                    progress.update()
            for cell in others:
                self.scores(*cell)
                progress.update()

    # The results

    def systems(self, extractor: str | None = None) -> list[tuple[str | None, str]]:
        """Return the rows of the table that can be run: (extractor, detector), None for auto-encoders and controls.

        Where an `extractor` is named, its rows alone; raises if no detector was asked for.
        """
        classical = [name for name in self.profile.detectors if name in paper.DETECTORS]
        if extractor is not None:
            if not classical:
                raise MimiiError(f"detectors: only auto-encoders found; name one of {', '.join(paper.DETECTORS)} too")
            return [(extractor, name) for name in classical]
        rows: list[tuple[str | None, str]] = [(name, other) for name in self._reachable for other in classical]
        return rows + [(None, name) for name in (*self.autoencoders, *self.simple_baselines)]

    @property
    def training(self) -> str:
        """How far the auto-encoders are trained, for a reader."""
        epochs, n_seeds = self.settings.autoencoders.epochs, len(self.seeds("lenet-dcae"))
        return f"{epochs} epoch{'s' * (epochs > 1)}, {n_seeds} seed{'s' * (n_seeds > 1)}"

    @property
    def _trainer(self) -> engines.Engine:
        """What trains the auto-encoders."""
        return engines.training_engine(self.settings.autoencoders)

    @property
    def autoencoders(self) -> list[str]:
        """Auto-encoders that were asked for."""
        return [name for name in self.profile.detectors if name in paper.AUTOENCODERS]

    @property
    def simple_baselines(self) -> list[str]:
        """Controls that were asked for."""
        return [name for name in self.profile.detectors if name in SIMPLE_BASELINES]

    def seeds(self, detector: str) -> tuple[int, ...]:
        """Return the seeds of a row: the auto-encoders may be trained for fewer."""
        fewer = self.settings.autoencoders.seeds
        if detector in paper.AUTOENCODERS and fewer is not None:
            return tuple(seed for seed in self.profile.seeds if seed in fewer) or self.profile.seeds[:1]
        return self.profile.seeds

    def auc(
        self, rows: Sequence[tuple[str | None, str]] | None = None, seeds: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Return the AUC of every machine ID, row and seed.

        Parameters
        ----------
        rows, seeds
            Only these; None: all of the run.

        Returns
        -------
        DataFrame
            Columns machine, id, extractor (None: no network), detector, seed, auc in [0, 1],
            n_train, n_normal, n_abnormal: the clips it rests on.
        """
        columns = ["machine", "id", "extractor", "detector", "seed", "auc", "n_train", "n_normal", "n_abnormal"]
        cells = self.trials(rows, seeds)
        self.compute(cells)
        return pd.DataFrame(list(self._auc_rows(cells)), columns=columns)

    @property
    def complete(self) -> bool:
        """Whether the scores of every machine ID, row and seed are kept already."""
        return not self._missing(self.trials())

    def estimates(self, machine_id: str) -> AucEstimates:
        """Return the AUC of every row on a machine ID, the mean of its seeds, and how sure they are.

        Rows are (extractor, detector).
        """
        return resampled(list(self._tested(machine_id)))

    def means(
        self, machine_id: str, measure: Measure = evaluation.auc, pooling: str | None = None
    ) -> dict[tuple[str | None, str], float]:
        """Return the AUC of every row on a machine ID, the mean of its seeds, by extractor and detector.

        `measure` may be :func:`mimii_lib.evaluation.partial_auc`; `pooling`: another one than the settings name.
        """
        found: dict[Any, list[float]] = {}
        for each in self._tested(machine_id, pooling):
            found.setdefault(each.row, []).append(measure(each.anomalous, each.scores))
        return {row: float(np.mean(areas)) for row, areas in found.items()}

    def _tested(self, machine_id: str, pooling: str | None = None) -> Iterator[evaluation.ClipScores]:
        """Yield the test clips of every row and seed."""
        for row in self.systems():
            for seed in self.seeds(row[1]):
                yield self.clip_scores(machine_id, *row, seed, pooling=pooling)

    def _auc_rows(self, cells: Sequence[tuple[str, str | None, str, int]]) -> Iterator[tuple[Any, ...]]:
        for machine_id, extractor, detector, seed in cells:
            tested = self.clip_scores(machine_id, extractor, detector, seed)
            area = evaluation.auc(tested.anomalous, tested.scores)
            n_train = len(self.split_clips(machine_id, seed, "train"))
            counts = (n_train, int((~tested.anomalous).sum()), int(tested.anomalous.sum()))
            yield (self.machine, machine_id, extractor, detector, seed, area, *counts)

    def with_provenance(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return an AUC table with everything needed to know where a number came from."""
        digests = {machine_id: self._identity(machine_id) for machine_id in table.id.unique()}
        return table.assign(
            data=self.kind,
            data_sha256=table.id.map(digests),
            left_out=table.id.map(self._listed.id[self._listed.path.isin(self.left_out)].value_counts())
            .fillna(0)
            .astype(int),
            snr=self.profile.snr,
            weights_source=table.extractor.map({name: found.source for name, found in self.weights_used.items()}),
            weights_sha256=table.extractor.map(
                {name: found.sha256 or None for name, found in self.weights_used.items()}
            ),
            engine=[self._engine_of(name) for name in table.detector],
            profile=self.profile.name,
            settings=as_json(self.settings),
            **provenance.describe(),
        )

    def _engine_of(self, detector: str) -> str | None:
        """Return what computed features or trained an auto-encoder; a control has neither."""
        if detector in SIMPLE_BASELINES:
            return None
        return str(self._trainer if detector in paper.AUTOENCODERS else self.engine)

    # Keys

    @property
    def identity(self) -> str:
        """A digest of what the results depend on: the clips' contents and names, the weights, the profile."""
        clips = {str(name): self._identity(str(name)) for name in self.clips.id.unique()}
        used = {name: found.sha256 for name, found in self.weights_used.items()}
        return str(joblib_hash([clips, self.left_out, used, as_json(self.profile.model_copy(update={"machines": ()}))]))

    def digest(self, machine_id: str) -> str:
        """Return the sha256 of the list of a machine ID's clips, as sha256sum prints it."""
        return self._identity(machine_id)

    def _list_digest(self, machine_id: str) -> str:
        lines = [f"{self.inspected[path].sha256}  {path}\n" for path in self.clips_of(machine_id).path]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _names_digest(self, machine_id: str, seed: int, role: str) -> str:
        """Return a digest of the names of the training or test clips."""
        return str(joblib_hash(list(self.split_clips(machine_id, seed, role).path)))

    def keys(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> list[CacheKey]:
        """Return what is kept on the way to a score, from the spectrograms to the scores themselves."""
        if detector in SIMPLE_BASELINES:
            return [self._spectrograms_place(machine_id), self._scores_place(machine_id, None, detector, seed)]
        between = (
            self._training_place(machine_id, detector, seed)
            if extractor is None
            else self._features_place(machine_id, extractor, seed)
        )
        return [
            self._spectrograms_place(machine_id),
            between,
            self._scores_place(machine_id, extractor, detector, seed),
        ]

    def _spectrograms_place(self, machine_id: str) -> CacheKey:
        return CacheKey("spectrograms", self._spectrogram_key(machine_id), dataset, imaging)

    def _features_place(self, machine_id: str, extractor: str, seed: int | None) -> CacheKey:
        key = self._imaging_key(machine_id, seed) | self._extractor_key(extractor)
        return CacheKey("features", key, dataset, imaging, extractors, bundled_weights, engines)

    def _training_place(self, machine_id: str, detector: str, seed: int) -> CacheKey:
        key = self._fit_key(machine_id, None, detector, seed)
        return CacheKey("auto-encoders", key, dataset, imaging, autoencoders)

    def _scores_place(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> CacheKey:
        key = self._fit_key(machine_id, extractor, detector, seed) | {"test": self._names(machine_id, seed, "test")}
        rooms = [extractors, bundled_weights, engines, detectors]
        if extractor is None:
            rooms = [simple_baselines, detectors, checks] if detector in SIMPLE_BASELINES else [autoencoders]
        return CacheKey("scores", key, dataset, imaging, *rooms)

    def _spectrogram_key(self, machine_id: str) -> dict[str, Any]:
        stated = {name: getattr(self.settings.imaging, name) for name in imaging.OF_THE_SPECTROGRAM}
        clips = self._identity(machine_id)
        return {"machine": self.machine, "id": machine_id, "clips": clips, "spectrogram": stated}

    def _imaging_key(self, machine_id: str, seed: int | None) -> dict[str, Any]:
        key = self._spectrogram_key(machine_id) | {"imaging": dict(self.settings.imaging)}
        limits = self._limits(machine_id, seed)
        return key if limits is None else key | {"limits": limits}

    def _extractor_key(self, extractor: str) -> dict[str, Any]:
        key = {"extractor": extractor, "weights": self.weights(extractor).sha256, "engine": str(self.engine)}
        variant = extractors.get(extractor).variant
        return key if variant is None else key | {variant: getattr(self.settings.features, variant)}

    def _fit_key(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> dict[str, Any]:
        parameters = self.detector(detector, seed).get_params().items()
        plain = {name: value for name, value in parameters if isinstance(value, (str, int, float, type(None)))}
        plain.pop("kde__memory", None)  # changes no score
        key = {"detector": detector, "parameters": plain, "train": self._names(machine_id, seed, "train")}
        if detector in SIMPLE_BASELINES:  # knows no pictures
            return key | self._spectrogram_key(machine_id)
        key |= self._imaging_key(machine_id, seed)
        return key if extractor is None else key | self._extractor_key(extractor)

    @property
    def recordings(self) -> "Run":
        """The recordings of this run."""
        return self

    stages = results = recordings

    def __repr__(self) -> str:
        """Return the same text for the same run: pages are compared."""
        return f"Run({self.machine!r}, profile={self.profile.name!r})"

    def _repr_html_(self) -> str:
        return facts([self])


def _by_patch(found: NDArray[Any], clips: pd.DataFrame) -> NDArray[Any]:
    """Return what was found of some clips, (clips, patches, …), patch by patch: (clips x patches, …) in a row each."""
    some = found[clips.index]
    return some.reshape(len(some) * some.shape[1], prod(some.shape[2:]))


def by_machine(said: Mapping[str, str]) -> str:
    """Return what is said of machine types for a reader: once if it is the same of all."""
    different = dict.fromkeys(said.values())
    return "; ".join(different if len(different) == 1 else (f"{name}: {fact}" for name, fact in said.items()))


def seeds_of(runs: Sequence[Run]) -> str:
    """Return the seeds of runs for a reader."""
    return by_machine({run.machine: ", ".join(map(str, run.profile.seeds)) for run in runs})


def training_of(runs: Sequence[Run]) -> str:
    """Return how far the auto-encoders of runs are trained, for a reader."""
    return by_machine({run.machine: run.results.training if run.results.autoencoders else "not run" for run in runs})


def facts_box(said: Mapping[str, str]) -> str:
    """Return a box of facts, as HTML."""
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in said.items())
    return f'<dl class="run">{items}</dl>'


def facts(runs: Sequence[Run]) -> str:
    """Tell a reader of a page what its numbers rest on: a box of facts, as HTML, on runs of one profile."""
    first = runs[0]
    lost = sum(len(run.recordings.left_out) for run in runs)
    return facts_box(
        {
            "Machine": "; ".join(f"{run.machine}: {', '.join(map(str, run.clips.id.unique()))}" for run in runs),
            "Data": f"{KINDS[first.recordings.kind]}, {first.profile.snr} dB".replace("-", "−"),
            **({"Left out": f"{lost} clip{'s' * (lost > 1)} that cannot be used"} if lost else {}),
            "Weights": ", ".join(map(str, first.stages.weights_used.values())) or "none could be reached",
            "Engine": str(first.stages.engine),
            "Seeds": seeds_of(runs),
            "Auto-encoders": training_of(runs),
            "Profile": first.profile.name,
            "Commit": provenance.short(provenance.commit()),
        }
    )


def runs_of(machines: Any = None, **said: Any) -> list[Run]:
    """Return a :class:`Run` for each of several machine types; None: all that the profile names."""
    names = as_tuple(machines, parameter="machine") or load_profile(said.get("profile")).machines
    return [Run(name, **said) for name in names]
