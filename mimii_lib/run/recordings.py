"""The recordings of a run: the clips of one machine type, their contents, and their splits into training and test."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import pandas as pd

from mimii_lib import dataset
from mimii_lib.data import checks, miniature, sources
from mimii_lib.data.files import file_digest
from mimii_lib.data.sample import fetch_sample
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.run.cache import TABLE, CacheKey, ResultCache
from mimii_lib.run.profiles import Profile
from mimii_lib.run.provenance import digest


class Recordings:
    """The clips of one machine type; what the profile asks for is made (a miniature) or downloaded (a sample)."""

    def __init__(self, machine: str, profile: Profile, cache: ResultCache, splits_file: Path | None = None):
        self.machine, self.profile, self.cache, self.splits_file = machine, profile, cache, splits_file
        if profile.recordings is not None and profile.miniature is not None:
            miniature.make_miniature(profile.recordings, snr=profile.snr, **dict(profile.miniature))
        if profile.recordings is not None and profile.sample is not None:
            fetch_sample(profile.recordings, snr=profile.snr, machine=machine, ids=profile.ids, **dict(profile.sample))
        self.data = dataset.data_folder(profile.recordings)

    @cached_property
    def clips(self) -> pd.DataFrame:
        """The clip table: id, label, path; raises if a clip cannot be used and is not to be left out."""
        faults = self._faults
        if faults and self.profile.settings.split.unreadable == "stop":
            more = f"; so it is with {len(faults) - 1} more, which 'mimii check' names" if len(faults) > 1 else ""
            raise MimiiError(f"{next(iter(faults.values()))}, by the setting split.unreadable=leave_out{more}")
        return self._listed[~self._listed.path.isin(faults)].reset_index(drop=True)

    @property
    def left_out(self) -> dict[str, str]:
        """Clips that cannot be used and were left out, with the reason, by path."""
        return self._faults if self.profile.settings.split.unreadable == "leave_out" else {}

    @cached_property
    def left_out_by_id(self) -> dict[str, int]:
        """Number of clips that were left out, by machine ID."""
        left_out = self._listed.path.isin(self.left_out)
        return {str(name): int(count) for name, count in left_out.groupby(self._listed.id).sum().items()}

    @cached_property
    def _listed(self) -> pd.DataFrame:
        """The clip table of all files that are there, usable or not."""
        table = dataset.clips(self.data, self.machine, self.profile.snr, self.profile.ids)
        if table.empty:
            raise MimiiError(f"{self.data}: no clip of the {self.machine}; expected wav files in normal/, abnormal/")
        return table

    @cached_property
    def _inspected(self) -> pd.DataFrame:
        """The columns of :class:`mimii_lib.data.checks.Clip` of every file, by path."""
        return pd.concat([self._inspect(list(clips.path)) for _, clips in self._listed.groupby("id")])

    @cached_property
    def _digests(self) -> dict[str, str]:  # a look-up in a table takes a hundred times as long
        return dict(self._inspected.sha256)

    def _inspect(self, paths: list[str]) -> pd.DataFrame:
        """Read the clips of a machine ID; contents are kept for files that have not been touched since."""
        imaging = self.profile.settings.imaging
        inputs = {"files": self._states(paths), "read": [imaging.sample_rate, imaging.seconds, imaging.channel]}

        def inspect() -> pd.DataFrame:
            table = pd.DataFrame(map(asdict, checks.inspect(self.data, paths, imaging)))
            if self._states(paths) != inputs["files"]:
                raise MimiiError(f"{self.data}: files changed while they were read; give the same command again")
            return table

        table = self.cache.get(CacheKey("clips", checks.inspect, inputs, TABLE), inspect)
        return table.assign(path=paths).set_index("path")

    def _states(self, paths: list[str]) -> str:
        return digest([dataset.state(self.data / path) for path in paths])

    @cached_property
    def _faults(self) -> dict[str, str]:
        reasons: dict[str, str] = {}
        for _, listed in self._listed.groupby("id"):
            rows = self._inspected.loc[listed.path].reset_index().to_dict("records")
            reasons |= checks.faults([checks.Clip(**row) for row in rows])
        return reasons

    @cached_property
    def splits(self) -> pd.DataFrame:
        """Training and test clips of every seed: seed, path, role."""
        seeds = self.profile.seeds
        if self.splits_file is None:
            return dataset.split(self.clips, seeds, self.profile.settings.split)
        splits = dataset.load_split(self.splits_file, self._listed, seeds)
        return splits[splits.path.isin(self.clips.path)].reset_index(drop=True)

    @cached_property
    def splits_origin(self) -> str:
        """Where the splits come from: the seeds, or a file with its sha256."""
        if self.splits_file is None:
            return "drawn by the seeds"
        return f"file {self.splits_file.name}, sha256 {file_digest(self.splits_file)}"

    @cached_property
    def skipped(self) -> dict[str, str]:
        """Machine IDs that cannot be evaluated, with the reason."""
        lost = {str(name): "every clip was left out" for name in self._listed.id.unique() if name not in self._by_id}
        return lost | dataset.not_evaluable(self.clips, self.splits, self.profile.settings)

    @property
    def evaluable(self) -> list[str]:
        """Machine IDs that can be evaluated; there may be none."""
        return [name for name in self._by_id if name not in self.skipped]

    @property
    def ids(self) -> list[str]:
        """Machine IDs that can be evaluated; raises with the reasons if there is none."""
        if not self.evaluable:
            raise MimiiError(self.no_ids_reason)
        return self.evaluable

    @property
    def no_ids_reason(self) -> str:
        """Why no machine ID can be evaluated."""
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.skipped.items())
        return f"{self.machine}: no machine ID can be evaluated ({reasons})"

    @cached_property
    def kind(self) -> str:
        """What the recordings are: miniature, sample, MIMII or other recordings."""
        repeated = self._inspected.sound[self._listed.path].duplicated().to_numpy()  # links to few clips are no MIMII
        return dataset.kind(self.data, self._listed[~repeated], self.machine)

    @cached_property
    def licence(self) -> str:
        """Licence and citation of recordings of MIMII; empty for others."""
        if self.kind not in ("MIMII", "sample"):
            return ""
        in_dcase_layout = Path(self._listed.path[0]).parent.name in ("train", "test")
        default = sources.published("dcase2020" if in_dcase_layout else "mimii")
        for entry in dataset.downloads(self.data):
            if (entry["snr"], entry["machine"]) == (self.profile.snr, self.machine):
                return f"{entry['licence']}: {entry['citation']}"
        return f"{default.licence}: {default.citation}"

    @cached_property
    def _by_id(self) -> dict[str, pd.DataFrame]:
        return {str(name): table.reset_index(drop=True) for name, table in self.clips.groupby("id")}

    def clips_of(self, machine_id: str) -> pd.DataFrame:
        """Return the clips of one machine ID; a clip's index is its row in that ID's arrays."""
        if machine_id not in self._by_id:
            raise unknown_value("machine ID", machine_id, self._by_id)
        return self._by_id[machine_id]

    @cached_property
    def _split_clips(self) -> dict[tuple[str, int, str], pd.DataFrame]:
        roles = {key: set(table.path) for key, table in self.splits.groupby(["seed", "role"])}
        return {
            (name, seed, role): table[table.path.isin(paths)]
            for name, table in self._by_id.items()
            for (seed, role), paths in roles.items()
        }

    def split_clips(self, machine_id: str, seed: int, role: str) -> pd.DataFrame:
        """Return the training or test clips (`role`: train, test) of one machine ID: rows of :meth:`clips_of`."""
        self.clips_of(machine_id)
        if (machine_id, seed, role) not in self._split_clips:
            raise unknown_value("seed", seed, self.profile.seeds)
        return self._split_clips[machine_id, seed, role]

    def levels(self, machine_id: str) -> pd.Series:
        """Return the level of every clip of a machine ID in dB, 0 being full scale, in the order of its clips."""
        return self._inspected.level[self.clips_of(machine_id).path]

    def digest(self, machine_id: str) -> str:
        """Return the sha256 of the list of a machine ID's clips, as sha256sum prints it."""
        lines = [f"{self._digests[path]}  {path}\n" for path in self.clips_of(machine_id).path]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def digests(self, machine_id: str) -> dict[Path, str]:
        """Return the sha256 of every clip of a machine ID by its file, in the order of its clips."""
        return {self.data / path: self._inspected.sha256[path] for path in self.clips_of(machine_id).path}

    def content(self, paths: Sequence[str]) -> str:
        """Return a digest of the contents of clips in this order, whatever their names: an input of cache keys."""
        return digest([self._digests[path] for path in paths])
