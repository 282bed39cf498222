"""§4 Dataset: fetch single clips out of an archive that stays where it is, through its central directory.

Which clips is drawn by a seed: two people get the same, and a larger number of clips contains the smaller one. They are
drawn in runs of neighbours: one request fetches a run, where servers limit the number of requests, and a training clip
is about as similar to a test clip as in the whole archive, where most clips have their neighbours beside them. A clip
is there if the record of downloads has it with the CRC-32 that it has in the archive.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from mimii_lib.data import record
from mimii_lib.data.remote import LocalFile, RemoteFile, Report, SeekableFile, WrongContent, patiently
from mimii_lib.data.sources import Archive
from mimii_lib.data.unpacking import BROKEN, Clip, bytes_of, check_room_for, clip_entries, intact, kept_of, save
from mimii_lib.errors import MimiiError, unknown_value

CONNECTIONS = 4
RUN = 10  # clips of an ID and label, in the order of the archive, that are drawn together
LARGEST_REQUEST = 1 << 25  # bytes of neighbours in an archive that are requested at once


class Selection(NamedTuple):
    """Which clips of an archive: of these machine IDs (None: all), so many of each label (None: all), by this seed."""

    ids: list[str] | None
    normal: int | None
    abnormal: int | None
    seed: int

    @classmethod
    def wanted(
        cls, ids: Sequence[str] | None, clips: int | None, abnormal: int | None, seed: int
    ) -> "Selection | None":
        """Return which single clips the parameters of a download name; None: whole archives."""
        for name, number, least in (("clips", clips, 1), ("abnormal", abnormal, 0), ("seed", seed, 0)):
            if number is not None and number < least:
                raise MimiiError(f"{name}: found {number}, expected a whole number from {least}")
        if ids is None and clips is None and abnormal is None:
            return None
        only = None if ids is None else [*dict.fromkeys(ids)]
        return cls(only, clips, clips if abnormal is None else abnormal, seed)

    def draw(self, clips: Mapping[str, Clip], name: str) -> list[str]:
        """Return the paths of the clips: of each ID and label the first runs, in an order that the seed gives."""
        ids = sorted({clip.id for clip in clips.values()})
        drawn = []
        for machine_id in self.ids or ids:
            if machine_id not in ids:
                raise unknown_value(f"{name}: machine ID", machine_id, ids)
            for label, count in (("normal", self.normal), ("abnormal", self.abnormal)):
                paths = [path for path, clip in clips.items() if (clip.id, clip.label) == (machine_id, label)]
                paths.sort(key=lambda path: clips[path].start)
                first = min(range(len(paths)), key=lambda place: self._rank(paths[place]), default=0)
                paths = paths[first:] + paths[:first]
                runs = [paths[start : start + RUN] for start in range(0, len(paths), RUN)]
                runs.sort(key=lambda run: self._rank(run[0]))
                drawn += [*chain.from_iterable(runs)][:count]
        return drawn

    def _rank(self, path: str) -> bytes:
        """Return the place of a path in the order of the seed, the same on every machine."""
        return sha256(f"{self.seed} {path}".encode()).digest()

    def is_part_of(self, other: Mapping[str, Any]) -> bool:
        """Return whether another selection, as the record has it, contains this one."""
        pairs = [(self.normal, other["normal"]), (self.abnormal, other["abnormal"])]
        fewer = all(most is None or (count is not None and count <= most) for count, most in pairs)
        ids = other["ids"] is None or (self.ids is not None and {*self.ids} <= {*other["ids"]})
        return fewer and ids and self.seed == other["seed"]


def fetch_clips(
    dest: Path,
    archive: Archive,
    file: RemoteFile | LocalFile,
    selection: Selection,
    channel: int | None,
    report: Report,
) -> None:
    """Fetch the clips of a selection that are not there; what has arrived is kept, and the same call goes on."""
    before = record.load(dest).get(archive.name, {})
    known = {path: crc for path, crc in before.get("clips", {}).items() if (dest / path).is_file()}
    transfer = _Transfer(dest, archive, file, channel, report)
    transfer.patiently(transfer.read_directory)
    drawn = selection.draw(transfer.clips, archive.name)
    transfer.missing = {path: clip for path in drawn if known.get(path) != (clip := transfer.clips[path]).crc}
    check_room_for(transfer.missing.values(), channel, dest, archive)
    n_missing = len(transfer.missing)
    selections = [done for done in before.get("selections", []) if done != selection._asdict()]
    entry = record.new_entry(archive, file.where, channel, record.BY_CLIP, selections=selections, clips=known)
    record.save(dest, entry)
    transfer.run()
    record.save(dest, record.load(dest)[archive.name] | {"selections": [*selections, selection._asdict()]})
    channels = "all channels" if channel is None else f"channel {channel}"
    there = f"; {len(drawn) - n_missing} were there already" if n_missing < len(drawn) else ""
    report(f"{archive.folder}: {n_missing} clips fetched, {channels}{there}")


class _Transfer:
    """The transfer of the `missing` clips of one archive to a folder; `clips` are all, by their path below `dest`."""

    def __init__(self, dest: Path, archive: Archive, file: RemoteFile | LocalFile, channel: int | None, report: Report):
        self.dest, self.archive, self.file, self.channel, self.report = dest, archive, file, channel, report
        self.clips: dict[str, Clip] = {}
        self.missing: dict[str, Clip] = {}
        self._wrong: set[str] = set()

    def patiently(self, attempt: Callable[[], None]) -> None:
        """Repeat an attempt while the server fails."""
        patiently(
            attempt,
            self.archive.name,
            self.file.where,
            self.report,
            progress=lambda: self.file.received,
            kept=lambda: f"{len(self.missing)} clips are missing, the others are kept",
        )

    def read_directory(self) -> None:
        """Read which clips the archive has, and where."""
        fault = f"{self.archive.name}: {self.file.where} has no directory that can be read"
        with intact(fault), zipfile.ZipFile(SeekableFile(self.file)) as directory:
            clips = clip_entries(directory, self.archive, self.file.size)
        self.clips = {f"{self.archive.folder}/{path}": clip for path, clip in clips.items()}

    def run(self) -> None:
        """Fetch what is missing."""
        total = sum(clip.end - clip.start for clip in self.missing.values())
        with (
            tqdm(desc=self.archive.name, total=total, unit="B", unit_scale=True, disable=None) as bar,
            (self.dest / record.JOURNAL).open("ab", buffering=0) as self._journal,
        ):
            self.file.count = bar.update
            self.patiently(self._fetch_missing)

    def _fetch_missing(self) -> None:
        """Fetch the missing clips over a few connections; an error cancels what has not begun."""
        with ThreadPoolExecutor(CONNECTIONS) as connections:
            try:
                for fetched in as_completed([connections.submit(self._fetch, paths) for paths in self._requests()]):
                    fetched.result()
            finally:
                connections.shutdown(wait=False, cancel_futures=True)

    def _requests(self) -> list[list[str]]:
        """Return the missing clips by request: neighbours in the archive together."""
        requests: list[list[str]] = []
        begin = end = -1
        for path, clip in sorted(self.missing.items(), key=lambda item: item[1].start):
            if clip.start == end and clip.end - begin <= LARGEST_REQUEST:
                requests[-1].append(path)
            else:
                requests.append([path])
                begin = clip.start
            end = clip.end
        return requests

    def _fetch(self, paths: Sequence[str]) -> None:
        """Fetch neighbours and put each into its place; one that is wrong is fetched again, once."""
        begin, end = self.clips[paths[0]].start, self.clips[paths[-1]].end
        packed, fault = self.file.read(begin, end), ""
        for path in paths:
            clip, name = self.clips[path], f"{self.archive.name}: {path}"
            try:
                content = clip.content(packed[clip.start - begin : clip.end - begin])
            except BROKEN as error:
                fault = f"gave {path} with wrong content ({error})"
                if path in self._wrong or isinstance(self.file, LocalFile):
                    raise MimiiError(f"{self.archive.name}: {self.file.where} {fault}; name another mirror") from None
                self._wrong.add(path)
                continue
            content = kept_of(content, self.channel, name)
            if len(content) > bytes_of([clip], self.channel):
                check_room_for([*self.missing.values()], None, self.dest, self.archive)
            (self.dest / path).unlink(missing_ok=True)  # of another archive of that name
            line = json.dumps([self.archive.name, path, clip.crc]).encode() + b"\n"
            save(self.dest / path, content, partial(self._journal.write, line))
            del self.missing[path]
        if fault:
            raise WrongContent(fault)
