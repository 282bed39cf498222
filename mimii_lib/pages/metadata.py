"""What a run and its recordings are, in the formats that archives and search engines read.

:func:`ro_crate` describes a run and its files as an RO-Crate, :func:`croissant` the recordings and the splits as
Croissant. ``mimii auc --save`` writes both beside ``report.json``.
"""

import json
import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimii_lib.data import sources
from mimii_lib.data.files import file_digest
from mimii_lib.pages.run_box import RECORDING_KINDS
from mimii_lib.run import Run

PROJECT = "mimii-image-transfer"
CRATE, CROISSANT = "ro-crate-metadata.json", "croissant.json"
OUTPUTS = ("auc.csv", "auc.parquet", "splits.csv", "report.json", CROISSANT)
"""Files of a saved run that its RO-Crate lists."""
LICENCES = {
    "MIT": "https://spdx.org/licenses/MIT",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC BY-NC-SA 4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
}
"""Addresses of the licences of this project and of the published recordings."""
RUN_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
PROCESS_RUN = "https://w3id.org/ro/wfrun/process/0.5"
COMPLETED = "http://schema.org/CompletedActionStatus"
_TERMS = """citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isLiveDataset
jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField
transform"""
_CROISSANT = "http://mlcommons.org/croissant/"
_SPACES = {"@vocab": "https://schema.org/", "sc": "https://schema.org/", "cr": _CROISSANT, "rai": f"{_CROISSANT}RAI/"}
CONTEXT = {
    **{"@language": "en", **_SPACES, "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo"},
    **{name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")},
    **{"dataType": {"@id": "cr:dataType", "@type": "@vocab"}, **{name: f"cr:{name}" for name in _TERMS.split()}},
}
"""The context of Croissant 1.0, which its readers expect in every file."""


def ro_crate(summary: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the RO-Crate of a run (a Process Run Crate): inputs, settings, software, and the files of `folder`.

    `summary` is a report of :func:`mimii_lib.pages.report.report`. Files of `OUTPUTS` that are missing are left out.
    """
    from rocrate.model import ContextEntity, SoftwareApplication  # needed only where a run is saved
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(RUN_TERMS)

    def add(kind: str, name: str, identifier: str = "", **facts: Any) -> Any:
        entity = SoftwareApplication if kind == "SoftwareApplication" else ContextEntity
        properties = {"@type": kind, "name": name} | {key: fact for key, fact in facts.items() if fact != ""}
        return crate.add(entity(crate, identifier or f"#{kind}/{name.replace(' ', '_')}", properties=properties))

    versions = dict(summary["versions"])
    commit = {"version": versions.pop(PROJECT), "description": f"commit {summary['commit']}"}
    program = add("SoftwareApplication", PROJECT, license=LICENCES["MIT"], **commit)
    needed = [add("SoftwareApplication", name, version=number) for name, number in versions.items()]
    program["softwareRequirements"] = needed
    inputs = [add("PropertyValue", name, value=value) for name, value in _values(summary).items()]
    for network, used in summary["weights"].items():
        terms = {"description": used["source"], "usageInfo": used["licence"], "sha256": used["sha256"]}
        inputs.append(add("CreativeWork", f"weights of {network}", **terms))
    outputs = []
    for file in (folder / name for name in OUTPUTS if (folder / name).is_file()):
        known = {"name": file.name, "sha256": file_digest(file), "contentSize": str(file.stat().st_size)}
        known["encodingFormat"] = mimetypes.guess_type(file.name)[0] or "application/vnd.apache.parquet"
        outputs.append(crate.add_file(str(file), file.name, properties=known))
    name, what = f"Run of the profile {summary['profile']}", f"On {summary['data']['what']}."
    where = "Computed on {processor}, {cores} cores, {system}.".format(**summary["machine"])
    done = {"endTime": summary["date"], "description": f"{what} {where}", "actionStatus": {"@id": COMPLETED}}
    action = add("CreateAction", name, "#run", **done)
    action["instrument"], action["object"], action["result"] = program, inputs, outputs
    root = crate.root_dataset
    root["name"], root["description"], root["license"] = name, what, LICENCES["MIT"]
    root["datePublished"], root["mentions"] = summary["date"], [action]
    root["conformsTo"] = [add("CreativeWork", "Process Run Crate", PROCESS_RUN, version="0.5")]
    return crate.metadata.generate()


def _values(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the profile, the settings, and the checksums of the recordings, by name."""
    data = summary["data"]
    values = {"profile": summary["profile"], "engine": summary["engine"], "SNR in dB": data["snr"]}
    values |= {f"seeds of {machine}": seeds for machine, seeds in summary["seeds"].items()}
    values |= {
        f"{group}.{name}": one for group, settings in summary["settings"].items() for name, one in settings.items()
    }
    values |= {
        f"sha256 of the list of clips of {of_id['machine']} {of_id['id']}": of_id["sha256"] for of_id in data["ids"]
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def croissant(runs: Sequence[Run], folder: Path) -> dict[str, Any]:
    """Return the recordings of runs and their splits, ``splits.csv`` of `folder`, as Croissant 1.0.

    Of MIMII's recordings the published archives are named, with their md5; of others, only that they are wav files.
    """
    first, registered = runs[0], sources.read_registry().values()
    archives = [
        archive
        for run in runs
        for archive in registered
        if (archive.machine, archive.snr) == (run.machine, run.profile.snr)
        and run.recordings.licence == f"{archive.licence}: {archive.citation}"
    ]
    clips: dict[str, Any] = {"@type": "cr:FileSet", "@id": "clips", "name": "clips", "includes": "*.wav"}
    clips |= {
        "encodingFormat": "audio/wav",
        "description": "16 kHz; id_0X is a machine ID, normal or abnormal the label",
    }
    splits = {"@type": "cr:FileObject", "@id": "splits.csv", "name": "splits.csv", "contentUrl": "splits.csv"}
    splits |= {"encodingFormat": "text/csv", "sha256": file_digest(folder / "splits.csv")}
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": f"{_CROISSANT}1.0",
        "name": f"Recordings at {first.profile.snr} dB: {', '.join(run.machine for run in runs)}",
        "description": f"This is {RECORDING_KINDS[first.recordings.kind]}.",
        "distribution": [*map(_file_object, archives), clips, splits],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "splits", "name": "splits", "field": _fields("splits.csv")}],
    }
    if archives:
        clips["containedIn"] = [{"@id": archive.name} for archive in archives]
        content |= {"license": LICENCES[archives[0].licence], "url": archives[0].record, "citeAs": archives[0].citation}
    elif first.recordings.kind == "miniature":
        content["license"] = LICENCES["MIT"]
    return content


def _file_object(archive: sources.Archive) -> dict[str, str]:
    facts = {"@type": "cr:FileObject", "@id": archive.name, "name": archive.name, "md5": archive.md5}
    facts |= {"contentUrl": f"{archive.record}/files/{archive.name}?download=1", "encodingFormat": "application/zip"}
    return facts | ({"contentSize": f"{archive.bytes} B"} if archive.bytes else {})


def _fields(file: str) -> list[dict[str, Any]]:
    kinds, source = {"seed": "sc:Integer", "path": "sc:Text", "role": "sc:Text"}, {"fileObject": {"@id": file}}
    return [
        {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "dataType": kind}
        | {"source": source | {"extract": {"column": name}}}
        for name, kind in kinds.items()
    ]
