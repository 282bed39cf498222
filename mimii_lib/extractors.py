"""§5.1 Feature extractors: the pretrained networks, and the layer at which each is cut.

Conventions
-----------
An extractor is an ImageNet classifier without its last layer: images (n, 3, 224, 224) → features (n, dimension),
float32. To add one, :func:`register` an :class:`Extractor`; no other module names the networks.
``mimii_lib.data.weights`` finds the weights, ``mimii_lib.run.engines`` runs the networks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mimii_lib.errors import MimiiError, unknown_value

if TYPE_CHECKING:  # torchvision takes seconds to import, and most pages only read stored features
    import torch
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Extractor:
    """A network and the layer at which its features are taken.

    Attributes
    ----------
    name
        Name in parameters, profiles and weight files (``<name>.pt``).
    title
        Name on the pages.
    dimension
        Length of a feature vector.
    network
        Returns the whole network, untrained.
    cut
        Cuts the network: images (n, 3, 224, 224) → features (n, dimension).
    torchvision
        torchvision's name of the model whose weights it can download; None: none.
    mean, std
        Mean and standard deviation of R, G and B in [0, 1] that the network expects its images standardised by.
    variant
        Field of :class:`mimii_lib.settings.Features` that `cut` takes as its second argument; None: it takes none.
    seed
        Seed of the weights of an untrained network; None: the network is pretrained.
    """

    name: str
    title: str
    dimension: int
    network: "Callable[[], nn.Module]"
    cut: "Callable[..., nn.Module]"
    torchvision: str | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    variant: str | None = None
    seed: int | None = None


EXTRACTORS: dict[str, Extractor] = {}
"""The extractors by name: the paper's four networks (SqueezeNet in both versions), and those beyond the paper."""

OURS: list[str] = []
"""Names of the extractors that come with the library."""

UNTRAINED = ", random"  # end of the title of an untrained network


def register(extractor: Extractor) -> None:
    """Add an extractor, so that parameters and profiles can name it, or replace an earlier one of one's own.

    The name of one that comes with the library raises MimiiError.
    """
    if EXTRACTORS.get(extractor.name, extractor) != extractor and extractor.name in OURS:
        raise MimiiError(f"extractor: the name '{extractor.name}' is taken; choose another one")
    EXTRACTORS[extractor.name] = extractor


def get(name: str) -> Extractor:
    """Return the extractor called `name`."""
    if name not in EXTRACTORS:
        raise unknown_value("extractors", name, EXTRACTORS)
    return EXTRACTORS[name]


def from_torchvision(model: str) -> "Callable[[], nn.Module]":
    """Return a function that builds torchvision's network `model`, untrained."""

    def build() -> "nn.Module":
        import torchvision

        return torchvision.models.get_model(model, weights=None)

    return build


def without_layer(layer: str) -> "Callable[[Any], nn.Module]":
    """Return a function that removes the last layer, called `layer`: ResNets up to the average pooling (§5.1)."""

    def cut(net: Any) -> "nn.Module":
        from torch import nn

        setattr(net, layer, nn.Identity())
        return net

    return cut


def cut_alexnet(net: Any, after_relu: bool) -> "nn.Module":
    """Cut AlexNet behind its penultimate layer: 4096 features, after or before its ReLU (§5.1)."""
    from torch import nn

    return nn.Sequential(net.features, net.avgpool, nn.Flatten(), net.classifier[: 6 if after_relu else 5])


def cut_squeezenet(net: Any) -> "nn.Module":
    """Cut SqueezeNet behind its last feature map, averaged to 2 x 2: 512 x 4 = 2048 features (§5.1)."""
    from torch import nn

    return nn.Sequential(net.features, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def random_state_dict(extractor: Extractor) -> "dict[str, torch.Tensor]":
    """Return the initial weights of an untrained network, determined by its seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(extractor.seed or 0)
        return dict(extractor.network().state_dict())


def untrained_variant(name: str) -> Extractor:
    """Return the same network with random weights: what it describes as well does not need the pretraining."""
    trained = get(name)
    return replace(trained, name=f"{name}_random", title=trained.title + UNTRAINED, torchvision=None, seed=0)


def _efficientnet_lite0() -> "nn.Module":
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def _torchvision(name: str, title: str, dimension: int, cut: Any, variant: str | None = None) -> Extractor:
    return Extractor(name, title, dimension, from_torchvision(name), cut, torchvision=name, variant=variant)


_HALF = (127 / 255,) * 3, (128 / 255,) * 3
for _extractor in (
    _torchvision("alexnet", "AlexNet", 4096, cut_alexnet, variant="alexnet_relu"),
    _torchvision("resnet18", "ResNet18", 512, without_layer("fc")),
    _torchvision("resnet34", "ResNet34", 512, without_layer("fc")),
    _torchvision("squeezenet1_0", "SqueezeNet 1.0", 2048, cut_squeezenet),
    _torchvision("squeezenet1_1", "SqueezeNet 1.1", 2048, cut_squeezenet),
    Extractor(
        "efficientnet_lite0", "EfficientNet-Lite0", 1280, _efficientnet_lite0, without_layer("_fc"), None, *_HALF
    ),
):
    register(_extractor)
for _name in ("resnet18", "squeezenet1_1"):
    register(untrained_variant(_name))
OURS += EXTRACTORS
