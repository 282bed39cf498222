"""The model file: a zip with a manifest in JSON, arrays as .npy, and bytes such as a network's; nothing executable.

The comment at the zip's end is the sha256 of all that stands before it, so that no byte can change unseen, and the
manifest has the sha256 of every member. Reading checks both, and bounds the sizes before anything is unpacked.
"""

import hashlib
import io
import json
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mimii_lib.data.files import atomic_write
from mimii_lib.errors import MimiiError

FORMAT = 1  # version of the format; a newer one is refused
MANIFEST = "manifest.json"
LARGEST = 512 * 2**20  # bytes of a model file, packed and unpacked
_MARK = b"mimii monitor, sha256 "


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a model file; `content` is made of mappings by text, lists, JSON's values, arrays and bytes."""
    members: dict[str, bytes] = {}
    manifest = {"format": FORMAT, "content": _packed(content, members)}
    manifest["sha256"] = {name: hashlib.sha256(member).hexdigest() for name, member in members.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in {MANIFEST: json.dumps(manifest, indent=1).encode(), **members}.items():
            archive.writestr(
                zipfile.ZipInfo(name), member, zipfile.ZIP_DEFLATED
            )  # dated 1980: equal content, equal file
        archive.comment = _MARK + bytes(64)
    before = buffer.getvalue()[:-64]
    with atomic_write(path) as part:
        part.write_bytes(before + hashlib.sha256(before).hexdigest().encode())


def read(path: Path) -> dict[str, Any]:
    """Return what :func:`write` was given; raise MimiiError where a model file is damaged, foreign or newer."""
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise MimiiError(f"{path}: {size / 2**20:.0f} MB found, a model file has at most {LARGEST / 2**20:.0f} MB")
        content = path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be opened ({error.strerror})"
        raise MimiiError(f"{path}: {reason}; expected a model file that `mimii fit` wrote") from None
    before, digest = content[:-64], content[-64:]
    if not content.startswith(b"PK") or not before.endswith(_MARK):
        state = (
            "cut off or edited" if content.startswith(b"PK") and _MANIFEST_START in content[:64] else "no model file"
        )
        raise MimiiError(f"{path}: {state}; expected a whole file that `mimii fit` wrote")
    if hashlib.sha256(before).hexdigest().encode() != digest:
        raise MimiiError(f"{path}: damaged or edited since `mimii fit` wrote it (its sha256 is another); fit again")
    try:
        return _content(content)
    except MimiiError as error:
        raise MimiiError(f"{path}: {error}") from None
    except Exception as error:  # zipfile, zlib, json and numpy raise errors of many types
        raise MimiiError(f"{path}: not what `mimii fit` writes ({type(error).__name__}); fit again") from None


_MANIFEST_START = MANIFEST.encode()


def _content(archive_bytes: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(archive_bytes)) as archive:
        if (unpacked := sum(member.file_size for member in archive.infolist())) > LARGEST:
            raise MimiiError(f"holds {unpacked / 2**20:.0f} MB, expected at most {LARGEST / 2**20:.0f} MB")
        manifest = json.loads(archive.read(MANIFEST))
        if (version := manifest["format"]) != FORMAT:
            raise MimiiError(f"has format {version!r}, this version of mimii reads format {FORMAT}; update mimii")
        names = {MANIFEST, *manifest["sha256"]}
        if sorted(archive.namelist()) != sorted(names):
            raise MimiiError("its members are not those of its manifest; fit again")
        members = {name: archive.read(name) for name in manifest["sha256"]}
    for name, expected in manifest["sha256"].items():
        if hashlib.sha256(members[name]).hexdigest() != expected:
            raise MimiiError(f"{name} has another sha256 than its manifest says; fit again")
    content = _unpacked(manifest["content"], members)
    return dict(content)


def _packed(value: Any, members: dict[str, bytes], place: str = "") -> Any:
    """Return a value as JSON; arrays and bytes become members, and where they stood is their name."""
    if isinstance(value, dict):
        return {name: _packed(part, members, f"{place}/{name}") for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packed(part, members, f"{place}/{number}") for number, part in enumerate(value)]
    if isinstance(value, np.ndarray):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, value, (1, 0), allow_pickle=False)
        members[name := f"{place[1:]}.npy"] = buffer.getvalue()
        return {"array": name}
    if isinstance(value, bytes):
        members[place[1:]] = value
        return {"bytes": place[1:]}
    return value


def _unpacked(value: Any, members: dict[str, bytes]) -> Any:
    if isinstance(value, list):
        return [_unpacked(part, members) for part in value]
    if not isinstance(value, dict):
        return value
    if [*value] == ["array"]:
        return _array(members[value["array"]])
    if [*value] == ["bytes"]:
        return members[value["bytes"]]
    return {name: _unpacked(part, members) for name, part in value.items()}


def _array(member: bytes) -> np.ndarray:
    """Return an array of numbers or texts, after its size is known to be that of the bytes."""
    buffer = io.BytesIO(member)
    np.lib.format.read_magic(buffer)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(member) - buffer.tell():
        raise MimiiError("holds an array that is not one of plain numbers; fit again")
    return np.frombuffer(member, dtype, offset=buffer.tell()).reshape(shape, order="F" if fortran else "C").copy("K")
