"""§4 Dataset: the archives in which MIMII's recordings are published, with their size, md5, licence and citation.

Two sources hold them. ``mimii`` is the data set itself: an archive for every SNR and machine type, clips of eight
channels. ``dcase2020``, the development set of DCASE 2020 Task 2, has the first channel at -6 dB alone, in an eighth of
the bytes. The name of an archive tells its source; one table, ``archives.csv``, registers them all.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from mimii_lib.data.formatting import gigabytes
from mimii_lib.errors import MimiiError, shown, unknown_value

SOURCES = ("dcase2020", "mimii")  # the smaller one first
CHANNELS = 8  # of MIMII's clips
_NAME = r"(?P<snr>-?\d+)_dB_(?P<machine>\w+)\.zip|dev_data_(?P<dcase>\w+)\.zip"
_COLUMNS = {"name": _NAME, "bytes": r"(?:[1-9]\d{0,14})?", "md5": r"[0-9a-fA-F]{32}"}


class Archive(NamedTuple):
    """A registered archive."""

    name: str
    bytes: int  # 0: not registered; the size that the server states is taken, and the md5 decides
    md5: str
    source: str  # one of `SOURCES`
    snr: int  # dB
    machine: str
    folder: str  # name of the folder that its clips lie in, unpacked
    channels: int  # of its clips
    clip: re.Pattern[str]  # of the entries that are clips, with groups: path below the folder, machine id, label
    example: str  # of such an entry
    record: str = ""  # address of the Zenodo record
    licence: str = ""
    citation: str = ""


def _archive(name: str, size: str, md5: str) -> Archive:
    match, known = re.fullmatch(_NAME, name), (name, int(size or 0), md5.lower())
    snr, machine, dcase = match.group("snr", "machine", "dcase") if match else ("", "", "")
    if dcase:
        path = r"(?P<path>(?:train|test)/(?P<label>normal|anomaly)_(?P<id>id_\d\d)_\w+\.(?i:wav))"
        clip = re.compile(rf"(?:\./)?(?:dev_data_{dcase}/)?{dcase}/{path}")
        return Archive(*known, "dcase2020", -6, dcase, dcase, 1, clip, f"{dcase}/train/normal_id_00_00000000.wav")
    path = rf"(?P<path>{machine}/(?P<id>id_\d\d)/(?P<label>normal|abnormal)/[^/.][^/]*\.(?i:wav))"
    clip, folder = re.compile(rf"(?:\./)?(?:{snr}_dB_{machine}/)?{path}"), f"{snr}_dB_{machine}"
    return Archive(*known, "mimii", int(snr), machine, folder, CHANNELS, clip, f"{machine}/id_00/normal/00000000.wav")


def read_registry(file: Path | None = None) -> dict[str, Archive]:
    """Return the archives of a CSV by name; None: those of both sources as they are published.

    The columns are name, bytes and md5; those of record, licence and citation may be left out where they are the
    published ones. A file that cannot be read, or a row that is not such an archive, raises MimiiError.
    """
    expected = f"expected a CSV of {', '.join(_COLUMNS)}, such as -6_dB_fan.zip, its size, 32 hexadecimal digits"
    archives: dict[str, Archive] = {}
    try:
        with (file or resources.files("mimii_lib.data") / "archives.csv").open(encoding="utf-8-sig") as lines:
            for row in (reader := csv.DictReader(lines)):
                for column, pattern in _COLUMNS.items():
                    text = row.get(column)
                    if text is None or not re.fullmatch(pattern, text):
                        raise MimiiError(f"{file}: line {reader.line_num}: {column} is {shown(text or '')}; {expected}")
                if (name := row["name"]) in archives:
                    raise MimiiError(f"{file}: line {reader.line_num}: {name} a second time; expected it once")
                archive = _archive(name, row["bytes"], row["md5"])
                origin = published(archive.source) if file else archive
                archives[name] = archive._replace(
                    record=row.get("record") or origin.record,
                    licence=row.get("licence") or origin.licence,
                    citation=row.get("citation") or origin.citation,
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MimiiError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}); {expected}") from None
    if not archives:
        raise MimiiError(f"{file}: no archive in it; {expected}")
    return archives


@cache
def published(source: str) -> Archive:
    """Return an archive of a source as it is published."""
    return next(archive for archive in read_registry().values() if archive.source == source)


def holding(
    registered: Mapping[str, Archive], *, snr: int, machine: str, source: str, channel: int | None, registry: str
) -> list[Archive]:
    """Return the archives that hold what is wanted, the smaller one first; raise MimiiError if there is none.

    `source` is one of `SOURCES`, or ``auto`` for both; `registry` is what errors call the table of the archives.
    """
    if source not in ("auto", *SOURCES):
        raise unknown_value("source", source, ("auto", *SOURCES))
    if channel is not None and channel not in range(CHANNELS):
        raise MimiiError(f"channel: found {channel}, expected a whole number from 0 to {CHANNELS - 1}")
    in_dcase = (snr, channel) == (-6, 0)
    if source == "dcase2020" and not in_dcase:
        channels = "all channels" if channel is None else f"channel {channel}"
        raise MimiiError(f"source: dcase2020 holds channel 0 at -6 dB alone, found {channels} at {snr} dB; name mimii")
    names = [f"dev_data_{machine}.zip"] * (in_dcase and source != "mimii")
    names += [f"{snr}_dB_{machine}.zip"] * (source != "dcase2020")
    if not (archives := [registered[name] for name in names if name in registered]):
        raise MimiiError(
            f"{registry}: no archive {names[-1]}; expected one of {', '.join(registered)}: "
            "change the SNR or the machine types"
        )
    return archives


def reason(small: Sequence[Archive], large: Sequence[Archive]) -> str:
    """Return in a sentence why archives of DCASE 2020 are taken in the place of MIMII's own."""
    eighth = sum(archive.bytes or other.bytes / CHANNELS for archive, other in zip(small, large, strict=True))
    size = f"{'' if all(archive.bytes for archive in small) else 'about '}{gigabytes(eighth)}"
    whole = gigabytes(sum(archive.bytes for archive in large))
    return (
        f"source: dcase2020, which holds what is wanted, the first channel at -6 dB, in archives of {size}; "
        f"those of mimii, with its {CHANNELS} channels, have {whole}"
    )
