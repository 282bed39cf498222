"""The experiment on a machine type."""

from pathlib import Path
from typing import Any

import pandas as pd

from mimii_lib import paper
from mimii_lib.errors import unknown_value
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
        Folder of kept results. None: ``$MIMII_CACHE``, or ``.cache`` in a checkout.

    Raises
    ------
    MimiiError
        If a parameter names what is not there.

    Methods
    -------
    waveform(path)
        The sound of a clip of the clip table: (samples,).
    spectrograms(machine_id)
        The log-mel spectrograms of a machine ID: (clips, n_mels, frames), in dB.
    patches(machine_id, seed=None)
        Its patches: (clips, patches, n_mels, patch_frames), indices into the colour map.
    features(machine_id, extractor, seed=None)
        Its features by one network: (clips, patches, dimension).
    fit(machine_id, extractor, detector, seed)
        A detector, fitted on the training clips of a split.
    scores(machine_id, extractor, detector, seed)
        The anomaly scores of the patches of the test clips: (clips, patches).
    clip_scores(machine_id, extractor, detector, seed, pooling=None)
        The test clips with one anomaly score each: :class:`mimii_lib.evaluation.ClipScores`.
    auc(systems=None, seeds=None)
        The AUC of every machine ID, system and seed: a table with a row for each.
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
        self.stages = stages = Stages(self.recordings, self.profile, self.cache)
        self.results = Results(self.recordings, self.stages, self.profile)
        # The way of a clip, from its sound to its part in an AUC
        self.waveform, self.spectrograms, self.patches = stages.waveform, stages.spectrograms, stages.patches
        self.features, self.fit, self.scores = stages.features, stages.fit, stages.scores
        self.clip_scores, self.auc = self.results.clip_scores, self.results.auc

    def with_overrides(self, **parameters: Any) -> "Run":
        """Return the same run with some of the parameters of :class:`Run` in the place of its own.

        Nothing is downloaded or made for it, such as a sample or a miniature at another SNR.
        """
        splits, cache = self.recordings.splits_file, self.cache.folder
        profile = self.profile.model_copy(update={"sample": None, "miniature": None})
        return Run(self.machine, profile=profile, splits=splits, cache=cache, **parameters)

    @property
    def ids(self) -> list[str]:
        """Machine IDs that can be evaluated; raises with the reasons if there is none."""
        return self.recordings.ids

    @property
    def clips(self) -> pd.DataFrame:
        """The clip table: id, label, path."""
        return self.recordings.clips

    def __repr__(self) -> str:
        """Return the same text for the same run: pages are compared."""
        return f"Run({self.machine!r}, profile={self.profile.name!r})"


def runs_of(machines: Any = None, **parameters: Any) -> list[Run]:
    """Return a :class:`Run` for each of several machine types; None: all that the profile names."""
    names = as_tuple(machines, parameter="machine") or load_profile(parameters.get("profile")).machines
    return [Run(name, **parameters) for name in names]
