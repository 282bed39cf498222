"""§5.1 Pretrained feature extractors: pictures → feature vectors.

An extractor is an ImageNet classifier without its last layer. To add one, add a line to :data:`EXTRACTORS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from mimii_lib.errors import MimiiError, one_of
from mimii_lib.imaging import extractor_input, pictures
from mimii_lib.settings import Imaging
from mimii_lib.weights import IMAGENET_MEAN, IMAGENET_STD, Weights

BATCH = 8
"""Patches that go through the network together: so few that their maps stay in memory that is already there.
With 64, half of the time goes into getting memory from the system (33 instead of 82 patches a second)."""


@dataclass(frozen=True)
class Extractor:
    """A network and where its features are taken.

    Attributes
    ----------
    dimension
        Length of a feature vector.
    classifier
        Makes the whole network, untrained.
    features
        Cuts the network behind the features: input (n, 3, 224, 224), output (n, dimension).
    mean, std
        Per colour, of the images that it was trained on, in [0, 1].
    """

    name: str
    dimension: int
    classifier: Callable[[], nn.Module]
    features: Callable[[nn.Module], nn.Module]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


# The packages of the networks are imported when one is made: torchvision alone takes a second or two, and most
# pages only read features that were computed before.


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def untrained() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name, weights=None)

    return untrained


def _efficientnet_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def _alexnet(net: Any) -> nn.Module:
    return nn.Sequential(net.features, net.avgpool, nn.Flatten(), net.classifier[:6])


def _resnet(net: Any) -> nn.Module:
    net.fc = nn.Identity()
    return net


def _squeezenet(net: Any) -> nn.Module:
    return nn.Sequential(net.features, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def _efficientnet_lite(net: Any) -> nn.Module:
    net._fc = nn.Identity()
    return net


_ALL = (
    Extractor("alexnet", 4096, _torchvision("alexnet"), _alexnet),
    Extractor("resnet18", 512, _torchvision("resnet18"), _resnet),
    Extractor("resnet34", 512, _torchvision("resnet34"), _resnet),
    Extractor("squeezenet1_0", 2048, _torchvision("squeezenet1_0"), _squeezenet),
    Extractor("squeezenet1_1", 2048, _torchvision("squeezenet1_1"), _squeezenet),
    Extractor(
        "efficientnet_lite0",
        1280,
        _efficientnet_lite0,
        _efficientnet_lite,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
)

EXTRACTORS = {extractor.name: extractor for extractor in _ALL}
"""The paper's four networks (two versions of SqueezeNet) and, beyond the paper, EfficientNet-Lite0."""


def get(name: str) -> Extractor:
    """Return the extractor called `name`."""
    if name not in EXTRACTORS:
        raise one_of("extractors", name, EXTRACTORS)
    return EXTRACTORS[name]


def classifier(weights: Weights) -> nn.Module:
    """Return the whole network with its pretrained weights: an ImageNet classifier, for inspection."""
    net = get(weights.extractor).classifier()
    try:
        net.load_state_dict(weights.state)
    except (RuntimeError, TypeError, AttributeError) as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise MimiiError(
            f"weights of {weights.extractor} ({weights.source}) do not fit the network: {first[0].strip()[:160]}"
        ) from None
    return net.eval()


def load(weights: Weights) -> nn.Module:
    """Return the network from pictures to features: (n, 3, 224, 224) → (n, dimension)."""
    net = get(weights.extractor).features(classifier(weights)).eval().requires_grad_(False)
    return net.to(memory_format=torch.channels_last)


def extract(entries: NDArray[np.uint8], weights: Weights, settings: Imaging) -> NDArray[np.float32]:
    """Describe patches by an extractor's features.

    Parameters
    ----------
    entries : array of shape (n, height, width), uint8
        Patches, as :func:`mimii_lib.imaging.patches` cuts them.
    weights
        The extractor's weights.

    Returns
    -------
    array of shape (n, dimension), float32
    """
    extractor, net = get(weights.extractor), load(weights)
    features = np.empty((len(entries), extractor.dimension), np.float32)
    with torch.inference_mode():
        for start in tqdm(range(0, len(entries), BATCH), desc=extractor.name, unit="batch", disable=None):
            rgb = pictures(entries[start : start + BATCH], settings)
            images = extractor_input(rgb, extractor.mean, extractor.std, settings)
            features[start : start + BATCH] = net(images.contiguous(memory_format=torch.channels_last)).numpy()
    return features
