"""The results of a run: which systems and trials there are, their AUCs, and where every number comes from."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from torch import get_num_threads
from tqdm import tqdm

from mimii_lib import evaluation, extractors, paper
from mimii_lib.autoencoders import one_thread
from mimii_lib.errors import MimiiError, NotRun
from mimii_lib.evaluation import System
from mimii_lib.run import provenance
from mimii_lib.run.profiles import Profile
from mimii_lib.run.recordings import Recordings
from mimii_lib.run.stages import Stages
from mimii_lib.settings import CLIP_SYSTEMS, as_json
from mimii_lib.uncertainty import AucEstimates, bootstrap_aucs

LAST = {"lenet-dcae": 0} | dict.fromkeys(CLIP_SYSTEMS, 2)
"""Place of a detector in the order of work: LeNet-DCAE takes longest."""
Trial = tuple[str, str | None, str, int]
"""One AUC: machine ID, extractor, detector and seed."""


class Results:
    """The AUCs of a run."""

    def __init__(self, recordings: Recordings, stages: Stages, profile: Profile):
        self.recordings, self.stages, self.profile = recordings, stages, profile

    def systems(self, extractor: str | None = None) -> list[System]:
        """Return the systems that can be run; those of one extractor if one is named.

        Raises :class:`NotRun` if there are none.
        """
        detectors = [name for name in self.profile.detectors if name in paper.DETECTORS]
        if extractor is not None:
            if not detectors:
                raise NotRun(f"no detector of features was asked for; name one of {', '.join(paper.DETECTORS)}")
            return [(extractor, name) for name in detectors]
        others: list[System] = [(None, name) for name in (*self.autoencoders, *self.clip_systems)]
        if not others and not detectors:
            raise NotRun("; ".join(self.stages.unavailable_systems.values()))
        networks = self.stages.weights_used if others else self.stages.extractors
        return [(network, name) for network in networks for name in detectors] + others

    @property
    def image_extractors(self) -> list[str]:
        """Extractors that can run and take pictures; raises :class:`NotRun` if there is none."""
        if names := [name for name in self.stages.extractors if extractors.get(name).takes_pictures]:
            return names
        raise NotRun("this run has no network of pictures, but of sound only")

    @property
    def autoencoders(self) -> list[str]:
        """Auto-encoders that were asked for."""
        return [name for name in self.profile.detectors if name in paper.AUTOENCODERS]

    @property
    def clip_systems(self) -> list[str]:
        """Clip systems that were asked for and can run: simple baselines, then the systems after the paper."""
        runnable = [name for name in self.profile.detectors if name not in self.stages.unavailable_systems]
        return sorted((name for name in runnable if name in CLIP_SYSTEMS), key=list(CLIP_SYSTEMS).index)

    @property
    def measurable(self) -> bool:
        """Whether alternatives to the open choices can be measured: with a network of pictures and its detectors."""
        pictures = any(extractors.get(name).takes_pictures for name in self.stages.weights_used)
        return pictures and not set(self.profile.detectors) <= set(CLIP_SYSTEMS)

    def seeds(self, detector: str) -> tuple[int, ...]:
        """Return the seeds of a detector: auto-encoders may be trained for fewer."""
        fewer = self.profile.settings.autoencoders.seeds
        if detector in paper.AUTOENCODERS and fewer is not None:
            return tuple(seed for seed in self.profile.seeds if seed in fewer)
        return self.profile.seeds

    def trials(self, systems: Sequence[System] | None = None, seeds: Sequence[int] | None = None) -> list[Trial]:
        """Return all trials, or those of some systems and seeds."""
        return [
            (machine_id, extractor, detector, seed)
            for machine_id in self.recordings.evaluable
            for extractor, detector in (self.systems() if systems is None else systems)
            for seed in (self.seeds(detector) if seeds is None else seeds)
        ]

    def missing(self, trials: Sequence[Trial] | None = None) -> list[Trial]:
        """Return the trials, by default all, whose scores are not kept yet."""
        trials = self.trials() if trials is None else trials
        return [trial for trial in trials if not self.stages.cache.has(self.stages.keys(*trial)[-1])]

    def compute(self, trials: Sequence[Trial]) -> None:
        """Compute and keep the scores of trials, each on one thread, as many at a time as there are cores.

        Features come first, since an extractor takes all cores for itself. They are computed network by network, since
        compiling one takes as long as hundreds of patches.
        """
        trials = self.missing(trials)
        for network, machine_id, seed in sorted({(one[1], one[0], one[3]) for one in trials if one[1] is not None}):
            self.stages.features(machine_id, network, seed)
        # The longest first; the detectors of a seed in a row, since they share the preprocessed features.
        trials.sort(key=lambda trial: (LAST.get(trial[2], 1), trial[0], trial[1] or "", trial[3]))
        cores = get_num_threads()
        # A number must not depend on how many threads add it up. OpenMP counts threads by worker, BLAS over all.
        with (
            tqdm(total=len(trials), desc=self.recordings.machine, unit="AUC", disable=None) as progress,
            one_thread(),
            threadpool_limits(limits=1),
            ThreadPoolExecutor(cores, initializer=threadpool_limits, initargs=(1,)) as workers,
        ):
            for _ in workers.map(lambda trial: self.stages.scores(*trial), trials):
                progress.update()

    def clip_scores(
        self, machine_id: str, extractor: str | None, detector: str, seed: int, pooling: str | None = None
    ) -> evaluation.ClipScores:
        """Return the test clips of a trial with one anomaly score each; `pooling` replaces that of the settings."""
        settings = self.profile.settings.evaluation
        settings = settings.model_copy(update={"pooling": pooling or settings.pooling})
        clips = self.recordings.split_clips(machine_id, seed, "test")
        scores = self.stages.scores(machine_id, extractor, detector, seed)
        if not np.isfinite(scores).all():
            system = " on ".join(filter(None, (detector, extractor)))
            raise MimiiError(f"{machine_id}: {system}: found scores that are not finite numbers; change its settings")
        return evaluation.ClipScores(
            f"{self.recordings.machine} {machine_id}",
            (extractor, detector),
            np.array(["/".join(path.split("/")[-2:]) for path in clips.path]),
            (clips.label == "abnormal").to_numpy(),
            evaluation.pool(scores, settings),
        )

    def auc(self, systems: Sequence[System] | None = None, seeds: Sequence[int] | None = None) -> pd.DataFrame:
        """Return the AUC of every machine ID, system and seed, or of some systems and seeds, a row each.

        The column extractor is None where there is no network; auc is in [0, 1]; n_train, n_normal and n_abnormal are
        the numbers of clips that it rests on.
        """
        trials = self.trials(systems, seeds)
        self.compute(trials)
        columns = ["machine", "id", "extractor", "detector", "seed", "auc", "n_train", "n_normal", "n_abnormal"]
        return pd.DataFrame(map(self._auc_row, trials), columns=columns)

    def _auc_row(self, trial: Trial) -> tuple[Any, ...]:
        clips = self.clip_scores(*trial)
        n_train, n_abnormal = len(self.recordings.split_clips(trial[0], trial[3], "train")), int(clips.anomalous.sum())
        auc = evaluation.auc(clips.anomalous, clips.scores)
        return (self.recordings.machine, *trial, auc, n_train, len(clips.anomalous) - n_abnormal, n_abnormal)

    def _clip_scores_of(self, machine_id: str, pooling: str | None = None) -> Iterator[evaluation.ClipScores]:
        for system in self.systems():
            for seed in self.seeds(system[1]):
                yield self.clip_scores(machine_id, *system, seed, pooling=pooling)

    def estimates(self, machine_id: str) -> AucEstimates:
        """Return the AUC of every system on a machine ID, the mean over its seeds, with its covariance."""
        return bootstrap_aucs(list(self._clip_scores_of(machine_id)))

    def means(
        self, machine_id: str, measure: evaluation.Metric = evaluation.auc, pooling: str | None = None
    ) -> dict[System, float]:
        """Return the AUC of every system on a machine ID, the mean over its seeds.

        `measure` may be :func:`mimii_lib.evaluation.partial_auc`; `pooling` replaces that of the settings.
        """
        areas: dict[Any, list[float]] = {}
        for clips in self._clip_scores_of(machine_id, pooling):
            areas.setdefault(clips.system, []).append(measure(clips.anomalous, clips.scores))
        return {system: float(np.mean(values)) for system, values in areas.items()}

    @property
    def training(self) -> str:
        """How long the auto-encoders are trained, for a reader."""
        epochs, n_seeds = self.profile.settings.autoencoders.epochs, len(self.seeds("lenet-dcae"))
        return f"{epochs} epoch{'s' * (epochs > 1)}, {n_seeds} seed{'s' * (n_seeds > 1)}"

    def with_provenance(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of AUCs with the data, splits, settings, weights, versions and commit that each rests on."""
        weights = self.stages.weights_used
        return table.assign(
            data=self.recordings.kind,
            data_sha256=table.id.map({name: self.recordings.digest(name) for name in table.id.unique()}),
            left_out=table.id.map(self.recordings.left_out_by_id),
            snr=self.profile.snr,
            splits=self.recordings.splits_origin,
            weights_source=table.extractor.map({name: used.source for name, used in weights.items()}),
            weights_sha256=table.extractor.map({name: used.sha256 or None for name, used in weights.items()}),
            engine=[self.stages.engine_of(name) for name in table.detector],
            profile=self.profile.name,
            settings=as_json(self.profile.settings),
            **provenance.describe(),
        )

    @cached_property
    def identity(self) -> str:
        """A digest of what the results depend on: cache keys of all scores, the clips' names, and what was left out."""
        keys = [self.stages.keys(*trial)[-1].digest for trial in self.trials()]
        clips = [self.recordings.digest(name) for name in self.recordings.evaluable]
        settings = self.profile.model_copy(update={"name": "", "data": None, "weights": None})
        return provenance.digest([keys, clips, self.recordings.left_out, self.recordings.skipped, settings])
