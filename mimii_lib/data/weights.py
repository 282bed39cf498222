"""Find pretrained weights: never random ones, but where a control asks for them by name.

Sources, in the order they are tried:

``folder``
    a folder that the user names, with a state dict ``<extractor>.pt`` per network;
``torchvision``
    torchvision's own download, into its usual cache, with its hash check;
``package``
    packages of the package index that carry weights, installed with this project.

Nothing is opened before its hash is known: a package's file must have the sha256 that is registered with the
extractor, a download the one in its name; a user's own file is loaded with ``weights_only`` and its sha256 goes
into the results.
"""

import io
import os
import re
import socket
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from mimii_lib import extractors
from mimii_lib.data.bundled_weights import BUNDLED, load_state_dict
from mimii_lib.data.files import file_digest
from mimii_lib.errors import MimiiError
from mimii_lib.extractors import Extractor

if TYPE_CHECKING:
    import torch

DOWNLOAD_TIMEOUT = 10.0
"""Seconds without an answer after which a download is given up."""

OFFLINE = "MIMII_OFFLINE"
"""Environment variable: if set, nothing is downloaded; what was downloaded before is used."""


class WeightsNotFound(MimiiError):
    """No source has the weights of an extractor."""


@dataclass(frozen=True)
class Weights:
    """The weights of one extractor, and where they come from.

    Those of a control are drawn, not read: they have no file and no sha256.
    """

    extractor: str
    source: str
    sha256: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        """Return the extractor and where its weights come from, for a reader."""
        return f"{self.extractor} ({self.source}{f', sha256 {self.sha256[:12]}…' if self.sha256 else ''})"

    def state(self) -> "dict[str, torch.Tensor]":
        """Load the state dict.

        Raises
        ------
        MimiiError
            If the file is not what it was found to be, or holds no state dict.
        """
        if self.path is None:
            return extractors.random_state_dict(extractors.get(self.extractor))
        if file_digest(self.path) != self.sha256:
            raise MimiiError(f"{self.path}: changed since it was found; start again")
        packaged = BUNDLED.get(self.extractor)
        load = packaged.load if packaged and self.source.startswith("package") else load_state_dict
        try:
            return load(self.path)
        except Exception as error:  # torch raises many kinds on a foreign file; each means the same to the user
            raise MimiiError(
                f"{self.path}: not a state dict that loads with weights_only ({type(error).__name__}); replace the file"
            ) from None


def find_weights(extractor: str, folder: Path | None = None, sources: Iterable[str] | None = None) -> Weights:
    """Find the pretrained weights of an extractor.

    Parameters
    ----------
    extractor
        One of :data:`mimii_lib.extractors.EXTRACTORS`.
    folder
        A folder of state dicts ``<extractor>.pt``; None: ``$MIMII_WEIGHTS``, if set.
    sources
        Where to look, in this order; None: folder, torchvision, package.

    Raises
    ------
    WeightsNotFound
        With what was tried and what to do.
    MimiiError
        If a file is there but is not what it should be.
    """
    wanted = extractors.get(extractor)
    if wanted.seed is not None:
        return Weights(extractor, f"drawn at random, seed {wanted.seed}")
    folder = folder or (Path(named) if (named := os.environ.get("MIMII_WEIGHTS")) else None)
    if folder is not None and not folder.is_dir():
        raise MimiiError(f"weights: {folder}: no such folder; expected one with files like {extractor}.pt")
    tried = []
    for source in SOURCES if sources is None else sources:
        found = SOURCES[source](wanted, folder)
        if isinstance(found, Weights):
            return found
        tried.append(found)
    raise WeightsNotFound(
        f"{extractor}: weights not reachable ({'; '.join(tried)}); "
        f"put its state dict as {extractor}.pt into a folder and name that folder as 'weights'"
    )


def _from_folder(extractor: Extractor, folder: Path | None) -> Weights | str:
    if folder is None:
        return "no folder named"
    path = folder / f"{extractor.name}.pt"
    if not path.is_file():
        return f"no {path.name} in {folder.name}"
    return Weights(extractor.name, f"folder: {path.name}", file_digest(path), path)


def _from_package(extractor: Extractor, _: Path | None) -> Weights | str:
    packaged = BUNDLED.get(extractor.name)
    if packaged is None:
        return "no package carries them"
    path = packaged.path()
    if path is None:
        return f"package {packaged.package} is not installed"
    if (digest := file_digest(path)) != packaged.sha256:
        raise MimiiError(
            f"package {packaged.package}: {path.name} has sha256 {digest[:12]}…, expected "
            f"{packaged.sha256[:12]}…; reinstall the package"
        )
    return Weights(extractor.name, f"package: {packaged}", digest, path)


def _from_torchvision(extractor: Extractor, _: Path | None) -> Weights | str:
    if extractor.torchvision is None:
        return "not one of torchvision's networks"
    import torch  # seconds, for the one source that needs them
    import torchvision

    weights = torchvision.models.get_model_weights(extractor.torchvision)["IMAGENET1K_V1"]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():
        if os.environ.get(OFFLINE):
            return "not in torchvision's cache"
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        try:
            with redirect_stdout(io.StringIO()):  # torch announces a download there, with the cache's path
                weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (OSError, HTTPException, RuntimeError) as error:  # no network, a broken one, another hash
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error  # without a path
            return f"torchvision's download failed: {reason}"
        finally:
            socket.setdefaulttimeout(before)
    digest = file_digest(path)
    expected = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if expected is None or not digest.startswith(expected[1]):
        raise MimiiError(f"{path}: has sha256 {digest[:12]}…, not the one in its name; remove the file")
    return Weights(extractor.name, f"torchvision: {weights}", digest, path)


SOURCES = {"folder": _from_folder, "torchvision": _from_torchvision, "package": _from_package}
"""Where weights are looked for, by name and in the order they are tried."""
