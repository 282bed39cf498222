"""The record of downloads, ``download.json``: which clips came out of which archive, and how they were checked.

While single clips arrive, a journal takes a line for each before it is in its place, so that nothing is fetched twice
after a kill; the next record takes it in.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from mimii_lib import dataset
from mimii_lib.data.files import atomic_write
from mimii_lib.data.remote import without_password
from mimii_lib.data.sources import Archive

BY_ARCHIVE = "md5 of the archive"
BY_CLIP = "CRC-32 and size of each clip"
JOURNAL = ".download.journal"  # lines of [name of the archive, path of the clip, CRC-32]

Entries = dict[str, dict[str, Any]]


def load(dest: Path) -> Entries:
    """Return what is recorded below a folder, by the name of the archive, with what the journal adds."""
    entries = {entry["name"]: entry for entry in dataset.download_record(dest)}
    journal = dest / JOURNAL
    for line in journal.read_bytes().splitlines() if journal.is_file() else []:
        with suppress(ValueError, KeyError):  # a line that a power cut has torn
            name, path, crc = json.loads(line)
            entries[name]["clips"][path] = crc
    return entries


def save(dest: Path, entry: dict[str, Any]) -> None:
    """Record an archive in the place of what was recorded of its SNR and machine type; the journal is used up."""
    others = [one for one in load(dest).values() if (one["snr"], one["machine"]) != (entry["snr"], entry["machine"])]
    for temporary in dest.glob(f".{Path(dataset.DOWNLOADED).stem}-????????.json"):  # of a killed process
        temporary.unlink()
    with atomic_write(dest / dataset.DOWNLOADED) as file:
        file.write_text(json.dumps([*others, entry], indent=1) + "\n", encoding="utf-8")
    (dest / JOURNAL).unlink(missing_ok=True)


def new_entry(archive: Archive, address: str, channel: int | None, checked: str, **clips: Any) -> dict[str, Any]:
    """Return the entry of an archive; `checked` is `BY_ARCHIVE` or `BY_CLIP`."""
    channels = "all" if channel is None else channel
    address = (
        without_password(address.partition("?")[0]) if address.startswith("http") else archive.name
    )  # without folders of a machine
    known = {name: getattr(archive, name) for name in ("name", "source", "licence", "citation", "snr", "machine")}
    return known | {"address": address, "checked": checked, "channel": channels} | clips
