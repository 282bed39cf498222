"""Computing and keeping results: :class:`Run` is one machine type, one profile, one folder of recordings.

A clip passes, from its sound to its part in an AUC, through :func:`mimii_lib.dataset.read`,
:func:`mimii_lib.imaging.log_mel` and :func:`~mimii_lib.imaging.patches`, :func:`mimii_lib.run.engines.extract`,
:func:`mimii_lib.run.stages.detection.detector_scores`, :func:`mimii_lib.evaluation.pool` and
:func:`~mimii_lib.evaluation.auc`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mimii_lib import paper
from mimii_lib.errors import unknown_value
from mimii_lib.evaluation import ClipScores, System
from mimii_lib.run.cache import ResultCache
from mimii_lib.run.profiles import Profile, as_tuple, load_profile, with_parameters
from mimii_lib.run.recordings import Recordings
from mimii_lib.run.results import Results
from mimii_lib.run.stages import Stages


class Run:
    """The experiment on one machine type: its recordings, the stages that compute, and the results.

    Parameters
    ----------
    machine
        Machine type: fan, pump, slider or valve.
    profile
        A file of ``profiles/``, a path to one, or a profile; it says what the other parameters leave open. None: the
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
        profile: str | Path | Profile | None = None,
        splits: str | Path | None = None,
        cache: Path | None = None,
        **parameters: Any,
    ):
        if machine not in paper.MACHINES:
            raise unknown_value("machine", machine, paper.MACHINES)
        base = profile if isinstance(profile, Profile) else load_profile(profile, machine)
        self.machine, self.profile = machine, with_parameters(base, **parameters)
        self.settings = self.profile.settings
        self.cache = ResultCache(cache)
        self.recordings = Recordings(machine, self.profile, self.cache, None if splits is None else Path(splits))
        self.stages = Stages(self.recordings, self.profile, self.cache)
        self.results = Results(self.recordings, self.stages, self.profile)

    def with_overrides(self, **parameters: Any) -> "Run":
        """Return the same run with some of the parameters of :class:`Run` in the place of its own."""
        splits, cache = self.recordings.splits_file, self.cache.folder
        return Run(self.machine, profile=self.profile, splits=splits, cache=cache, **parameters)

    @property
    def ids(self) -> list[str]:
        """Machine IDs that can be evaluated; raises with the reasons if there is none."""
        return self.recordings.ids

    @property
    def clips(self) -> pd.DataFrame:
        """The clip table: id, label, path."""
        return self.recordings.clips

    def waveform(self, path: str) -> NDArray[np.float32]:
        """Return the sound of one clip of the clip table: (samples,)."""
        return self.stages.waveform(path)

    def spectrograms(self, machine_id: str) -> NDArray[np.float32]:
        """Return the log-mel spectrograms of a machine ID: (clips, n_mels, frames), in dB (§5)."""
        return self.stages.spectrograms(machine_id)

    def patches(self, machine_id: str, seed: int | None = None) -> NDArray[np.uint8]:
        """Return the patches of a machine ID: (clips, patches, n_mels, patch_frames), colour map indices (§5)."""
        return self.stages.patches(machine_id, seed)

    def features(self, machine_id: str, extractor: str, seed: int | None = None) -> NDArray[np.float32]:
        """Return the features of a machine ID by one network: (clips, patches, dimension) (§5.1)."""
        return self.stages.features(machine_id, extractor, seed)

    def fit(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> Any:
        """Return a detector or auto-encoder fitted on the training clips of a machine ID (§5.2)."""
        return self.stages.fit(machine_id, extractor, detector, seed)

    def scores(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> NDArray[np.float64]:
        """Return the anomaly scores of the test clips of a split: (clips, patches) (§5.2)."""
        return self.stages.scores(machine_id, extractor, detector, seed)

    def clip_scores(self, machine_id: str, extractor: str | None, detector: str, seed: int) -> ClipScores:
        """Return the test clips of a split with one anomaly score each (§3, Equation 1)."""
        return self.results.clip_scores(machine_id, extractor, detector, seed)

    def auc(self, systems: Sequence[System] | None = None, seeds: Sequence[int] | None = None) -> pd.DataFrame:
        """Return the AUC of every machine ID, system and seed, or of some systems and seeds (§6)."""
        return self.results.auc(systems, seeds)

    def __repr__(self) -> str:
        """Return the same text for the same run: pages are compared."""
        return f"Run({self.machine!r}, profile={self.profile.name!r})"


def runs_of(machines: Any = None, **parameters: Any) -> list[Run]:
    """Return a :class:`Run` for each of several machine types; None: all that the profile names."""
    names = as_tuple(machines, parameter="machine") or load_profile(parameters.get("profile")).machines
    return [Run(name, **parameters) for name in names]
